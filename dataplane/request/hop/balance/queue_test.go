package balance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func limited(most, queue int) *table.Server {
	s := server("a")
	s.Resilience.MaxInFlight, s.Resilience.Queue, s.Resilience.QueueTimeout = most, queue, 5*time.Second
	return s
}

// enter is a call that asks for a place, and what came of it.
func enter(ctx context.Context, v *Server) <-chan error { return enterAs(ctx, v, "") }

func enterAs(ctx context.Context, v *Server, principal string) <-chan error {
	got := make(chan error, 1)
	go func() { got <- v.Enter(ctx, 0, principal) }()
	synctest.Wait()
	return got
}

func waits(t *testing.T, got <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-got:
		t.Fatalf("it didn't wait: %v", err)
	default:
	}
}

func TestPlacesAreGivenInTheOrderOfAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 2))
		ctx := context.Background()
		if err := <-enter(ctx, v); err != nil {
			t.Fatal(err)
		}
		second, third := enter(ctx, v), enter(ctx, v)
		f := faultOf(t, <-enter(ctx, v))
		if f.Hop != fault.Gateway || f.Phase != fault.Limit || f.Kind != fault.Exhausted || f.HTTPStatus() != 503 || f.RetryAfter != time.Second || f.Server != "up" {
			t.Errorf("%s, %v", f.Header(), f.RetryAfter)
		}
		v.Exit()
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		waits(t, third)
		v.Exit()
		if err := <-third; err != nil {
			t.Fatal(err)
		}
		v.Exit()
		if v.site.queue.taken != 0 || v.site.queue.Waiting() != 0 {
			t.Error("places are lost")
		}
	})
}

func TestWhoWaitsTooLongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 2))
		<-enter(context.Background(), v)
		began := time.Now()
		f := faultOf(t, <-enter(context.Background(), v))
		if f.Kind != fault.Exhausted || time.Since(began) != 5*time.Second {
			t.Errorf("%s after %v", f.Header(), time.Since(began))
		}
		if v.site.queue.Waiting() != 0 {
			t.Error("it still waits")
		}
	})
}

func TestWhoLeavesFreesItsPlaceInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 1))
		<-enter(context.Background(), v)
		ctx, leave := leaving()
		left := enter(ctx, v)
		waits(t, left)
		leave(errLeft)
		if err := <-left; !errors.Is(err, context.Canceled) || fault.As(err) != nil {
			t.Fatalf("%v", err)
		}
		next := enter(context.Background(), v)
		waits(t, next)
		v.Exit()
		if err := <-next; err != nil {
			t.Fatal(err)
		}
	})
}

func TestNobodyWaitsForAServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 5))
		<-enter(context.Background(), v)
		broken(t, v, 0)
		if f := faultOf(t, <-enter(context.Background(), v)); f.Kind != fault.CircuitOpen {
			t.Errorf("%s", f.Header())
		}
		if f := faultOf(t, v.Enter(context.Background(), 1, "")); f.Kind != fault.CircuitOpen || f.RetryAfter <= 0 {
			t.Errorf("%s", f.Header())
		}
		time.Sleep(time.Second)
		next := enter(context.Background(), v) // it may be the one that finds out
		waits(t, next)
		v.Exit()
		<-next
	})
}

// Red when one caller can fill the queue: the other would be refused for as long as the first one likes.
func TestNobodyHasMoreThanHalfOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 4))
		ctx := context.Background()
		<-enterAs(ctx, v, "greedy")
		first, second := enterAs(ctx, v, "greedy"), enterAs(ctx, v, "greedy")
		third := enterAs(ctx, v, "greedy")
		var f *fault.Error
		select {
		case err := <-third:
			f = faultOf(t, err)
		default:
			t.Fatal("it waits, too")
		}
		if f.Hop != fault.Client || f.Phase != fault.Limit || f.Kind != fault.Exhausted || f.HTTPStatus() != 429 || f.RetryAfter != time.Second || f.Server != "up" {
			t.Errorf("%s, %v", f.Header(), f.RetryAfter)
		}
		other := enterAs(ctx, v, "other")
		waits(t, other)
		v.Exit()
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		again := enterAs(ctx, v, "greedy") // its share is free again
		waits(t, again)
		for _, next := range []<-chan error{second, other, again} {
			v.Exit()
			if err := <-next; err != nil {
				t.Fatal(err)
			}
		}
		v.Exit()
	})
}

func TestOnePlaceInTheQueueIsForAnybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(nil).Of(limited(1, 1))
		<-enterAs(context.Background(), v, "a")
		next := enterAs(context.Background(), v, "a")
		waits(t, next)
		v.Exit()
		if err := <-next; err != nil {
			t.Fatal(err)
		}
	})
}

func TestALimitThatGrowsLetsThoseIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		v := b.Of(limited(1, 5))
		<-enter(context.Background(), v)
		second := enter(context.Background(), v)
		waits(t, second)
		wider := b.Of(limited(3, 5))
		if err := <-enter(context.Background(), wider); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		full := enter(context.Background(), wider)
		waits(t, full)
		wider.Exit()
		<-full
	})
}

// Whatever callers do, the places are never exceeded, nobody overtakes, and nothing is lost.
func TestTheQueueKeepsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := table.Resilience{MaxInFlight: rapid.IntRange(1, 3).Draw(t, "most"), Queue: rapid.IntRange(0, 4).Draw(t, "queue"), QueueTimeout: time.Second}
		var q queue
		var waiting []asked
		taken := 0
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				who := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "principal")
				used := who != "" && held(waiting, who) >= max(1, r.Queue/2)
				e, err := q.ask(&r, who)
				switch {
				case err != nil:
					if taken < r.MaxInFlight && len(waiting) == 0 || len(waiting) < r.Queue && !used {
						t.Fatal("refused although there is room")
					}
				case e == nil:
					if taken >= r.MaxInFlight || len(waiting) > 0 {
						t.Fatal("it overtook, or there was no place")
					}
					taken++
				default:
					if taken < r.MaxInFlight || len(waiting) >= r.Queue || used {
						t.Fatal("it waits although it needn't, or mustn't")
					}
					waiting = append(waiting, asked{e.Value.(*waiter), func() bool { return q.leave(e) }})
				}
			},
			"exit": func(t *rapid.T) {
				if taken == 0 {
					return
				}
				if q.exit(); len(waiting) == 0 {
					taken--
					return
				}
				if !waiting[0].has() {
					t.Fatal("the first one wasn't served")
				}
				waiting = waiting[1:]
			},
			"leave": func(t *rapid.T) {
				if len(waiting) == 0 {
					return
				}
				n := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
				if !waiting[n].leave() {
					t.Fatal("it had a place")
				}
				waiting = append(waiting[:n], waiting[n+1:]...)
			},
			"": func(t *rapid.T) {
				if len(waiting) == 0 && len(q.shares) > 0 {
					t.Fatalf("%v is kept", q.shares)
				}
				if q.taken != taken || q.Waiting() != len(waiting) {
					t.Fatalf("%d taken and %d waiting, want %d and %d", q.taken, q.Waiting(), taken, len(waiting))
				}
				for _, w := range waiting {
					if w.has() {
						t.Fatal("one who waits has a place")
					}
				}
			},
		})
	})
}

// asked is a call in the queue as the model knows it.
type asked struct {
	*waiter
	leave func() bool
}

// held is how many of a principal wait.
func held(waiting []asked, principal string) (n int) {
	for _, w := range waiting {
		if w.principal == principal {
			n++
		}
	}
	return n
}

func (w asked) has() bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}
