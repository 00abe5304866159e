package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Meetings is the part of the contract about meetings that needs several handles on one content: open makes another one, and closes it when
// the test ends.
func Meetings(t *testing.T, open func(t *testing.T) store.Store) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, open func(t *testing.T) store.Store)
	}{
		{"all hear all, oldest first", allHearAll},
		{"who leaves and comes back is the youngest", youngestAgain},
		{"the note of a killed one goes", killedGoes},
		{"the fence of another leader", otherLeader},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open) })
	}
}

// guest is a running Meet and what it heard.
type guest struct {
	t      *testing.T
	heard  chan []store.Note
	last   string // heard before, as lines has it
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	text   atomic.Pointer[string]
	turned chan struct{}
}

func meet(t *testing.T, s store.Store, name, text string) *guest {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &guest{t: t, heard: make(chan []store.Note, 1000), cancel: cancel, done: make(chan struct{}), turned: make(chan struct{}, 1)}
	g.text.Store(&text)
	var within atomic.Int32
	go func() {
		defer close(g.done)
		g.err = s.Meet(ctx, store.Meeting{
			Name: name, Turned: g.turned,
			Note: func() []byte { return []byte(*g.text.Load()) },
			Heard: func(notes []store.Note) {
				if within.Add(1) != 1 {
					t.Error("Heard is called twice at a time")
				}
				g.heard <- notes
				within.Add(-1)
			},
		})
	}()
	t.Cleanup(func() { cancel(); <-g.done })
	return g
}

// say changes its note.
func (g *guest) say(text string) {
	g.text.Store(&text)
	g.turned <- struct{}{}
}

// leave ends it.
func (g *guest) leave() {
	g.t.Helper()
	g.cancel()
	g.ends(context.Canceled)
}

// ends waits until Meet has ended and checks its error.
func (g *guest) ends(want error) {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatal("it still meets")
	}
	if want != nil {
		mustBe(g.t, "meeting ended", g.err, want)
	}
}

// until waits for notes, each as name=text and the own with a star, and returns them.
func (g *guest) until(want ...string) []store.Note {
	g.t.Helper()
	late := time.After(patience)
	for {
		select {
		case notes := <-g.heard:
			if g.check(notes) == strings.Join(want, " ") {
				return notes
			}
		case <-late:
			g.t.Fatalf("heard %q, want %q", g.last, want)
		}
	}
}

// check returns notes in one line. They must be in order, each with a fence of its own, and no more than one is the own.
func (g *guest) check(notes []store.Note) string {
	g.t.Helper()
	var lines []string
	var own int
	var before int64
	for _, n := range notes {
		line := fmt.Sprintf("%s=%.20s", n.Name, n.Text)
		if n.Own {
			own++
			line += "*"
		}
		if n.Fence.Key == "" || n.Fence.Created <= before || own > 1 {
			g.t.Fatalf("heard %+v", notes)
		}
		before = n.Fence.Created
		lines = append(lines, line)
	}
	g.last = strings.Join(lines, " ")
	return g.last
}

func meets(t *testing.T, s store.Store) {
	for _, name := range []string{"one", "", "a/b ☃"} {
		g := meet(t, s, name, "first")
		first := ownFence(g.until(name + "=first*"))
		g.say("second")
		if again := ownFence(g.until(name + "=second*")); again != first {
			t.Errorf("%q: another text, another fence: %+v and %+v", name, again, first)
		}
		g.say("second")
		g.say("third")
		g.until(name + "=third*")
		g.leave()
		if len(g.heard) > 0 {
			t.Errorf("%q: heard %+v in the end", name, <-g.heard)
		}
	}
	g := meet(t, s, "one", "")
	g.until("one=*")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g.until() // it leads no more
	g.ends(store.ErrUnavailable)
	mustBe(t, "meeting in a closed store", s.Meet(t.Context(), meeting("x")), store.ErrUnavailable)
}

func meetsCanceled(t *testing.T, s store.Store) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	mustBe(t, "meeting with a canceled context", s.Meet(canceled, meeting("x")), context.Canceled)
}

func meeting(text string) store.Meeting {
	return store.Meeting{Note: func() []byte { return []byte(text) }, Heard: func([]store.Note) {}}
}

func largeNotes(t *testing.T, s store.Store) {
	var limit *store.LimitError
	tooLarge := func(err error) {
		t.Helper()
		if !errors.As(err, &limit) || limit.Limit != store.NoteBytes || limit.Asked != store.NoteBytes+1 {
			t.Fatalf("a note that is too large: %v", err)
		}
	}
	tooLarge(s.Meet(t.Context(), meeting(noise(store.NoteBytes+1))))
	full := noise(store.NoteBytes)
	g := meet(t, s, "one", full)
	first := <-g.heard
	if len(first) != 1 || string(first[0].Text) != full {
		t.Fatal("the largest note isn't what was said")
	}
	g.say(full + "x")
	g.ends(nil)
	tooLarge(g.err)
	g.until()
	_, err := s.Commit(t.Context(), fenced(first[0].Fence, Head("server", "a", "a")))
	mustBe(t, "write of one that said too much", err, store.ErrFenced)
}

func allHearAll(t *testing.T, open func(t *testing.T) store.Store) {
	one := meet(t, open(t), "same", "1")
	one.until("same=1*")
	two := meet(t, open(t), "same", "2")
	one.until("same=1*", "same=2")
	two.until("same=1", "same=2*")
	three := meet(t, open(t), "a", "3")
	one.until("same=1*", "same=2", "a=3")
	two.until("same=1", "same=2*", "a=3")
	three.until("same=1", "same=2", "a=3*")
	one.say("one")
	two.until("same=one", "same=2*", "a=3")
	three.until("same=one", "same=2", "a=3*")
	two.leave()
	one.until("same=one*", "a=3")
	three.until("same=one", "a=3*")
}

func youngestAgain(t *testing.T, open func(t *testing.T) store.Store) {
	s := open(t)
	one := meet(t, s, "one", "x")
	fence := ownFence(one.until("one=x*"))
	two := meet(t, open(t), "two", "x")
	two.until("one=x", "two=x*")
	one.leave()
	two.until("two=x*")
	one = meet(t, s, "one", "x")
	two.until("two=x*", "one=x")
	if again := ownFence(one.until("two=x", "one=x*")); again == fence {
		t.Errorf("it has its old fence: %+v", again)
	}
}
