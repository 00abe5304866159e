package balance

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestTheLessBusyOfTwoIsTaken(t *testing.T) {
	b := New(newClock().now)
	v := b.Of(server("a", "b", "c", "d"))
	for range 4000 {
		must(t, v, 0)
	}
	least, most := int64(4000), int64(0)
	for _, m := range v.members {
		least, most = min(least, m.inFlight.Load()), max(most, m.inFlight.Load())
	}
	if most-least > 40 {
		t.Errorf("between %d and %d calls", least, most)
	}
}

func TestACallOfOneInstanceGoesToNoOther(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a", "b"))
	if l := must(t, v, 2); l.Target.Host != "b" {
		t.Errorf("%s", l.Target.Host)
	}
	broken(t, v, 2)
	if f := refused(t, v, 2); f.Kind != fault.CircuitOpen {
		t.Errorf("%s", f.Header())
	}
	f := refused(t, v, 9)
	if f.Hop != fault.Upstream || f.Phase != fault.Session || f.Kind != fault.NotFound || f.HTTPStatus() != 404 {
		t.Errorf("%s", f.Header())
	}
	one := newBalance(c).Of(server("a"))
	must(t, one, 1)
	if f := refused(t, one, 2); f.Phase != fault.Session || f.HTTPStatus() != 404 {
		t.Errorf("%s", f.Header())
	}
}

func TestBrokenInstancesAreLeftOut(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a", "b", "c"))
	broken(t, v, 1)
	v.balance.random = rand.Float64
	for range 100 {
		if l := must(t, v, 0); l.Target.Host == "a" {
			t.Fatal("a was called")
		}
	}
	broken(t, v, 2)
	c.t = c.t.Add(time.Millisecond)
	broken(t, v, 3)
	if f := refused(t, v, 0); f.Kind != fault.CircuitOpen || f.RetryAfter > time.Second-time.Millisecond {
		t.Errorf("%s, %v", f.Header(), f.RetryAfter)
	}
	c.t = c.t.Add(time.Second)
	first, second, third := must(t, v, 0), must(t, v, 0), must(t, v, 0)
	refused(t, v, 0)
	first.over(Failed)
	second.over(Alive)
	third.over(Failed)
	if l := must(t, v, 0); l.Target != second.Target {
		t.Errorf("%s", l.Target.Host)
	}
}

func TestTheOneThatFailedJustNowIsTakenLast(t *testing.T) {
	v := New(newClock().now).Of(server("a", "b"))
	for range 50 {
		if l, err := v.Pick(0, v.members[0].target); err != nil || l.Target.Host != "b" {
			t.Fatalf("%s %v", l.Target.Host, err)
		}
	}
	broken(t, v, 2)
	if l, err := v.Pick(0, v.members[0].target); err != nil || l.Target.Host != "a" {
		t.Errorf("%v", err)
	}
}

func TestABreakerOutlivesAChangeThatKeepsItsInstance(t *testing.T) {
	b := newBalance(newClock())
	old := server("a", "b")
	broken(t, b.Of(old), 1)
	changed := server("c", "a")
	changed.Name = "up"
	v := b.Of(changed)
	if open := v.Open(); len(open) != 1 || open[0].Target.Host != "a" {
		t.Errorf("%v", open)
	}
	moved := server("a")
	moved.Instances[0].Path = "/other"
	if open := b.Of(moved).Open(); len(open) != 0 {
		t.Error("another path has the same state")
	}
	other := server("a")
	other.Name = "other"
	if open := b.Of(other).Open(); len(open) != 0 {
		t.Error("another server has the same state")
	}
}

func TestWhatIsNotUsedIsForgotten(t *testing.T) {
	c := newClock()
	b := newBalance(c)
	gone, kept, busy := server("a"), server("b"), server("c")
	gone.Name, busy.Name = "gone", "busy"
	b.Of(gone)
	b.Of(kept)
	l := must(t, b.Of(busy), 0)
	down := server("d")
	down.Name = "down"
	broken(t, b.Of(down), 0)
	for range 2 {
		c.t = c.t.Add(sweepEvery)
		b.Of(kept)
		b.Peek(down).Keep()
		b.Sweep()
	}
	if len(b.Of(down).Open()) != 1 {
		t.Error("what is down was forgotten")
	}
	if b.Peek(gone) != nil || b.sites["gone"] != nil {
		t.Error("gone is remembered")
	}
	if b.Peek(kept) == nil || b.Peek(busy) == nil {
		t.Error("what is used was forgotten")
	}
	l.over(Alive)
}

func TestCallsFromManyGoroutinesAddUp(t *testing.T) {
	b := New(nil)
	s := server("a", "b", "c")
	s.Resilience.MaxInFlight, s.Resilience.Queue, s.Resilience.QueueTimeout = 2, 100, time.Minute
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			v := b.Of(s)
			for i := range 300 {
				if err := v.Enter(t.Context(), 0, ""); err != nil {
					if f := fault.As(err); f == nil || f.Kind != fault.CircuitOpen {
						t.Error(err)
					}
					continue
				}
				if l, err := v.Pick(0, nil); err == nil {
					l.over(Verdict((i + g) % 3))
				}
				v.Exit()
			}
		})
	}
	wg.Wait()
	b.Snapshot(func(st State) {
		if st.InFlight != 0 || st.Queued != 0 {
			t.Errorf("%+v", st)
		}
	})
	if n := b.Of(s).site.queue.taken; n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

func BenchmarkPick(b *testing.B) {
	for name, s := range map[string]*table.Server{"one": server("a"), "three": server("a", "b", "c")} {
		b.Run(name, func(b *testing.B) {
			bal := New(nil)
			b.ReportAllocs()
			for b.Loop() {
				l, err := bal.Of(s).Pick(0, nil)
				if err != nil {
					b.Fatal(err)
				}
				l.Settle(Alive)
				l.Release()
			}
		})
	}
}
