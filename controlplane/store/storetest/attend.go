package storetest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Attendance is the part of the contract about control planes at work that needs several handles on one content: open makes another one, and
// closes it when the test ends.
func Attendance(t *testing.T, open func(t *testing.T) store.Store) {
	t.Run("each counts all", func(t *testing.T) { eachCountsAll(t, open) })
	t.Run("one name, two at work", func(t *testing.T) { oneNameTwoAtWork(t, open) })
	t.Run("who comes back is counted once", func(t *testing.T) { comesBack(t, open) })
	t.Run("who rests counts for itself alone", func(t *testing.T) { restsAlone(t, open) })
}

// seat is a running Attend and what it counted.
type seat struct {
	t      *testing.T
	counts chan int
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	resting atomic.Bool
	turned  chan struct{}
}

func attend(t *testing.T, s store.Store, name string) *seat { return sit(t, s, name, false) }

func sit(t *testing.T, s store.Store, name string, rests bool) *seat {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &seat{t: t, counts: make(chan int, 1000), cancel: cancel, done: make(chan struct{}), turned: make(chan struct{}, 1)}
	a.resting.Store(rests)
	go func() {
		defer close(a.done)
		a.err = s.Attend(ctx, store.Attendee{Name: name, Resting: a.resting.Load, Turned: a.turned}, func(n int) { a.counts <- n })
	}()
	t.Cleanup(func() { cancel(); <-a.done })
	return a
}

// rest lets it rest, or work again.
func (a *seat) rest(rests bool) {
	a.resting.Store(rests)
	a.turned <- struct{}{}
}

// leave ends it.
func (a *seat) leave() {
	a.t.Helper()
	a.cancel()
	a.ends(context.Canceled)
}

// ends waits until Attend has ended and checks its error.
func (a *seat) ends(want error) {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(patience):
		a.t.Fatal("it still attends")
	}
	mustBe(a.t, "attending ended", a.err, want)
}

// until waits for a number and returns what was counted before it.
func (a *seat) until(want int) (before []int) {
	a.t.Helper()
	late := time.After(patience)
	for {
		select {
		case n := <-a.counts:
			if n == want {
				return before
			}
			before = append(before, n)
		case <-a.done:
			a.t.Fatalf("it ended after counting %v: %v", before, a.err)
		case <-late:
			a.t.Fatalf("counted %v, want %d", before, want)
		}
	}
}

func attends(t *testing.T, s store.Store) {
	for _, name := range []string{"one", "", "a/b ☃"} {
		a := attend(t, s, name)
		if before := a.until(1); len(before) > 0 {
			t.Errorf("%q: counted %v before itself alone", name, before)
		}
		a.leave()
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	mustBe(t, "attending with a canceled context", s.Attend(canceled, store.Attendee{Name: "one"}, func(int) {}), context.Canceled)
	a := attend(t, s, "one")
	a.until(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a.ends(store.ErrUnavailable)
	mustBe(t, "attending a closed store", s.Attend(t.Context(), store.Attendee{Name: "one"}, func(int) {}), store.ErrUnavailable)
}

func eachCountsAll(t *testing.T, open func(t *testing.T) store.Store) {
	one := attend(t, open(t), "one")
	one.until(1)
	two := attend(t, open(t), "two")
	if before := two.until(2); len(before) > 0 {
		t.Errorf("the second counts %v before both", before) // it would hand out more than its part
	}
	one.until(2)
	three := attend(t, open(t), "three")
	for _, a := range []*seat{one, two, three} {
		a.until(3)
	}
	two.leave()
	one.until(2)
	three.until(2)
}

func oneNameTwoAtWork(t *testing.T, open func(t *testing.T) store.Store) {
	one := attend(t, open(t), "same")
	one.until(1)
	two := attend(t, open(t), "same")
	one.until(2)
	two.until(2)
	one.leave()
	two.until(1)
}

func comesBack(t *testing.T, open func(t *testing.T) store.Store) {
	other := attend(t, open(t), "other")
	other.until(1)
	s := open(t)
	for range 3 {
		a := attend(t, s, "one")
		a.until(2)
		other.until(2)
		a.leave()
		if before := other.until(1); slices.ContainsFunc(before, func(n int) bool { return n > 2 }) {
			t.Errorf("counted %v on the way to one", before)
		}
	}
}

func restsAlone(t *testing.T, open func(t *testing.T) store.Store) {
	one, two := attend(t, open(t), "one"), sit(t, open(t), "two", true)
	two.until(2)
	three := attend(t, open(t), "three")
	two.until(3)
	one.until(2)
	if before := three.until(2); len(before) > 0 {
		t.Errorf("one that rests is counted: %v", before)
	}
	for range 3 {
		two.rest(false)
		one.until(3)
		three.until(3)
		two.rest(true)
		one.until(2)
		three.until(2)
	}
	three.leave()
	two.until(2)
	one.until(1)
}
