package rollout_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// world is a store, a fleet and the control planes between.
type world struct {
	t     *testing.T
	store *memstore.Store
	lag   time.Duration    // how long a data plane takes to serve a change
	skew  [4]time.Duration // by which the clocks of control planes are ahead

	mu    sync.Mutex
	fleet []*dataplane // guarded by mu
	seen  int          // reports made; guarded by mu
}

// plane is one control plane of a world.
type plane struct {
	w      *world
	home   int
	store  *memstore.Store
	leader *rollout.Leader
	stop   func()

	mu    sync.Mutex
	all   map[string]*rollout.State // guarded by mu
	moved chan struct{}             // guarded by mu
	known []*rollout.State          // instead of all, if it isn't nil; guarded by mu
}

func newWorld(t *testing.T, fleet []*dataplane) *world {
	return &world{t: t, store: memstore.New(), fleet: fleet, lag: 700 * time.Millisecond}
}

// open starts a control plane.
func (w *world) open(home int) *plane {
	p := &plane{w: w, home: home, store: w.store.Replica(), all: map[string]*rollout.State{}, moved: make(chan struct{})}
	l, err := rollout.NewLeader(rollout.Config{Store: p.store, Rollouts: p.rollouts, Moved: p.wake, Report: p.report,
		Now: func() time.Time { return time.Now().Add(w.skew[home]) }, Replica: fmt.Sprint("cp-", home), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	p.leader = l
	ctx, cancel := context.WithCancel(w.t.Context())
	snap, err := p.store.Load(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	p.take(store.Event{Upserts: snap.Heads})
	var running sync.WaitGroup
	running.Go(func() { _ = p.store.Watch(ctx, snap.Revision, p.take) })
	running.Go(func() {
		if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("run ended: %v", err)
		}
	})
	p.stop = func() { cancel(); running.Wait() }
	return p
}

func (p *plane) take(e store.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range e.Upserts {
		if h.Object.Key.Kind == rollout.Kind {
			p.all[h.Object.Key.Name] = must(rollout.Parse(h.Object.Body, h.Revision))
		}
	}
	for _, k := range e.Removals {
		delete(p.all, k.Name)
	}
	close(p.moved)
	p.moved = make(chan struct{})
	return nil
}

func (p *plane) rollouts() []*rollout.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known
	}
	var out []*rollout.State
	for _, s := range p.all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *rollout.State) int { return cmp.Compare(b.Body.GetChange(), a.Body.GetChange()) })
	return out
}

func (p *plane) wake() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

func (p *plane) report(now time.Time) rollout.Report {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.seen++
	for _, s := range p.rollouts() {
		if s.Active() {
			return report(s, p.w.fleet, p.home, now, p.w.lag)
		}
	}
	return rollout.Report{}
}

// kill stops a control plane; its data planes go to another one a while later.
func (w *world) kill(p *plane, other int) {
	p.stop()
	w.move(p.home, -1)
	go func() {
		time.Sleep(3 * time.Second) // of the bubble
		w.move(-1, other)
	}()
}

func (w *world) move(from, to int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.fleet {
		if d.home == from {
			d.home = to
		}
	}
}

// follow calls each with every state of a rollout from now on, until it returns false or the rollout is over.
func (w *world) follow(id string, each func(n int, was, is *rollout.State) bool) *rollout.State {
	w.t.Helper()
	return w.after(current(w.t, w.store, id), each)
}

// after is follow from a state on that may be past.
func (w *world) after(was *rollout.State, each func(n int, was, is *rollout.State) bool) *rollout.State {
	w.t.Helper()
	n, key := 0, rollout.Key(was.Body.GetChange())
	if !was.Open() {
		return was
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	ended := errors.New("over")
	err := w.store.Replica().Watch(ctx, was.Revision, func(e store.Event) error {
		for _, h := range e.Upserts {
			if h.Object.Key != key {
				continue
			}
			is := must(rollout.Parse(h.Object.Body, h.Revision))
			w.mu.Lock()
			bad := lawful(was, is, w.fleet, time.Now())
			w.mu.Unlock()
			if bad != "" && is.Body.GetRevertedBy() == "" {
				w.t.Error(bad)
			}
			more := each(n, was, is)
			if was, n = is, n+1; !more || !is.Open() {
				return ended
			}
		}
		return nil
	})
	if !errors.Is(err, ended) {
		w.t.Fatalf("rollout is %s at step %d: %v: %s", was.Body.GetState(), was.Body.GetStep(), err, was.Body.GetReason())
	}
	return was
}

func always(int, *rollout.State, *rollout.State) bool { return true }

func TestRolloutRunsToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(12, 2, "eu", "us", "asia"))
		before(t, w.store)
		for i := range 2 {
			defer w.open(i).stop()
		}
		synctest.Wait()
		began := time.Now()
		end := w.follow(stage(t, w.store, "regions eu us"), always)
		if took := time.Since(began); end.Body.GetState() != rollout.Done || took < 90*time.Second || took > 100*time.Second {
			t.Errorf("%s after %s", end.Body.GetState(), took)
		}
		for _, step := range end.Body.GetSteps() {
			if r := step.GetRegions(); len(r) != 1 || r[0].GetAdmitted() != 4 || r[0].GetApplied() != 4 || step.GetLastAckMs() < 700 || step.GetLastAckMs() > 1200 {
				t.Errorf("%v", step)
			}
		}
		replay(t, w.store)
	})
}

// TestAnybodyMayDieAtAnyStep stops the control plane that leads after each of a rollout's commits; another one goes on.
func TestAnybodyMayDieAtAnyStep(t *testing.T) {
	for at := range 7 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleetOf(20, 2, "eu", "us"))
			before(t, w.store)
			first := w.open(0)
			synctest.Wait()
			second := w.open(1)
			synctest.Wait()
			defer second.stop()
			killed := make(chan struct{})
			end := w.after(staged(t, w.store, "canary 1 30%"), func(n int, _, _ *rollout.State) bool {
				if n == at {
					go func() { defer close(killed); w.kill(first, 1) }()
				}
				return true
			})
			<-killed
			if end.Body.GetState() != rollout.Done {
				t.Errorf("killed after commit %d: %s: %s", at, end.Body.GetState(), end.Body.GetReason())
			}
			replay(t, w.store)
			time.Sleep(10 * time.Second) // of the bubble: data planes moved
		})
	}
}

func TestCrashIsTakenBackEverywhereOnce(t *testing.T) {
	for _, kill := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleetOf(20, 2, "eu", "us"))
			want := before(t, w.store)
			first := w.open(0)
			synctest.Wait()
			second := w.open(1)
			synctest.Wait()
			defer second.stop()
			id := stage(t, w.store, "canary 3 30%")
			var crashed time.Time
			w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 0 })
			w.mu.Lock()
			st := current(t, w.store, id)
			for _, d := range w.fleet {
				if d.crashed = crashed.IsZero() && st.Admits(d.place()); d.crashed {
					d.home, crashed = 1, time.Now()
				}
			}
			w.mu.Unlock()
			if kill {
				w.kill(first, 1)
			} else {
				defer first.stop()
			}
			end := w.follow(id, always)
			if took := time.Since(crashed); end.Body.GetState() != rollout.Reverted || took > time.Second || end.Body.GetNode() == "" {
				t.Errorf("%s after %s: %s", end.Body.GetState(), took, end.Body.GetReason())
			}
			if !strings.Contains(end.Body.GetReason(), "crashed: signal 11") {
				t.Errorf("reason %q", end.Body.GetReason())
			}
			time.Sleep(time.Minute) // of the bubble
			same(t, heads(t, w.store), want)
			if n := reverts(t, w.store, id); n != 1 {
				t.Errorf("undone %d times", n)
			}
			replay(t, w.store)
		})
	}
}

func reverts(t *testing.T, s store.Store, id string) (n int) {
	t.Helper()
	recs, err := s.Changes(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if rec.Reverts == id {
			n++
		}
	}
	return n
}

func TestUnknownOutcomesAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 2, "eu", "us"))
		before(t, w.store)
		for i := range 2 {
			defer w.open(i).stop()
		}
		synctest.Wait()
		id := stage(t, w.store, "regions eu")
		w.store.Ambiguous(true)
		end := w.follow(id, func(n int, _, is *rollout.State) bool {
			w.store.Ambiguous(n%2 == 0)
			return true
		})
		if end.Body.GetState() != rollout.Done {
			t.Errorf("%s: %s", end.Body.GetState(), end.Body.GetReason())
		}
		replay(t, w.store)
	})
}

func TestAbortIsDoneByTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 1, "eu", "us"))
		want := before(t, w.store)
		defer w.open(0).stop()
		id := stage(t, w.store, "regions eu")
		w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 0 })
		st := current(t, w.store, id)
		h, err := w.store.Get(t.Context(), rollout.Key(id))
		if err != nil {
			t.Fatal(err)
		}
		was := h.Object
		h.Object.Body = must(rollout.Encode(st.In(rollout.Aborting, "ann: not today", time.Now())))
		h.Object = confObject(h)
		c := store.Changed{Kind: rollout.Kind, Name: id, UID: was.UID, Before: was.Hash.String(), After: h.Object.Hash.String()}
		rec := store.ChangeRecord{ID: above(h.Change), Time: time.Now(), Author: "ann", Objects: []store.Changed{c}}
		write := store.Write{Record: rec, Puts: []store.Head{h}, Expect: []store.Precondition{{Key: h.Object.Key, Revision: st.Revision}}}
		if _, err := w.store.Commit(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if end := w.follow(id, always); end.Body.GetState() != rollout.Aborted || end.Body.GetReason() != "ann: not today" {
			t.Errorf("%v", end.Body)
		}
		same(t, heads(t, w.store), want)
		replay(t, w.store)
	})
}

// TestWhoStoodStillDoesNotLead: a control plane that still thinks it leads can't write anything.
func TestWhoStoodStillDoesNotLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 1, "eu", "us"))
		before(t, w.store)
		p := w.open(0)
		defer p.stop()
		synctest.Wait()
		p.store.Stall()
		id := stage(t, w.store, "regions eu")
		time.Sleep(time.Minute) // of the bubble
		if s := current(t, w.store, id).Body; s.GetState() != rollout.Queued {
			t.Errorf("went on to %s, step %d", s.GetState(), s.GetStep())
		}
		p.store.Wake()
		if end := w.follow(id, always); end.Body.GetState() != rollout.Done {
			t.Errorf("%s: %s", end.Body.GetState(), end.Body.GetReason())
		}
	})
}

func TestWhatCannotBeUndoneIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 1, "eu", "us"))
		before(t, w.store)
		defer w.open(0).stop()
		id := stage(t, w.store, "regions eu")
		w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 0 })
		w.store.SetLimits(store.Limits{Objects: 2, Bytes: 1 << 20})
		w.mu.Lock()
		w.fleet[0].crashed = true
		w.mu.Unlock()
		end := w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetState() == rollout.Rolling })
		if end.Body.GetState() != rollout.Paused || !strings.Contains(end.Body.GetReason(), "can't be undone") || end.Body.GetNode() != "dp-0" {
			t.Errorf("%s: %s", end.Body.GetState(), end.Body.GetReason())
		}
		w.store.SetLimits(memstore.DefaultLimits)
		if end := w.follow(id, always); end.Body.GetState() != rollout.Reverted {
			t.Errorf("once it can be: %s: %s", end.Body.GetState(), end.Body.GetReason())
		}
	})
}

func TestIdleCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 2, "eu", "us"))
		before(t, w.store)
		p := w.open(0)
		defer p.stop()
		time.Sleep(time.Hour) // of the bubble: timers would fire
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.seen != 0 {
			t.Errorf("%d reports were made while no rollout is open", w.seen)
		}
	})
}

func TestLiveRegionsAreThoseOfAllControlPlanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 2, "eu"))
		before(t, w.store)
		planes := []*plane{w.open(0), w.open(1)}
		for _, p := range planes {
			defer p.stop()
		}
		id := stage(t, w.store, "regions eu")
		w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 0 })
		time.Sleep(5 * time.Second) // of the bubble: everybody serves it
		for _, p := range planes {
			live := p.leader.Live(current(t, w.store, id))
			if len(live) != 1 || live[0].GetNodes() != 8 || live[0].GetApplied() != 8 || live[0].GetLastAckMs() < 700 {
				t.Errorf("cp-%d: %v", p.home, live)
			}
		}
	})
}

func TestOldRolloutsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for range 3 {
			var put []store.Head
			for range 40 {
				m := rollout.New(storetest.ID(), "ann", "", "", &adminv1.RolloutPlan{Strategy: rollout.Canary}, nil, time.Now())
				m.State = rollout.Done
				put = append(put, must(rollout.Head(m)))
			}
			if _, err := w.store.Commit(t.Context(), storetest.Put(put...)); err != nil {
				t.Fatal(err)
			}
		}
		p := w.open(0)
		defer p.stop()
		newest := p.rollouts()[:rollout.Kept]
		time.Sleep(time.Minute) // of the bubble
		got := p.rollouts()
		if len(got) != rollout.Kept || got[0] != newest[0] || got[len(got)-1] != newest[len(newest)-1] {
			t.Errorf("%d are kept", len(got))
		}
	})
}
