package rollout_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
)

// minutes is by how much clocks differ here.
var minutes = []time.Duration{-5 * time.Minute, 5 * time.Minute}

func TestABakeIsNoShorterByTheClockOfWhoLeadsNext(t *testing.T) {
	for _, skew := range minutes {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fleetOf(8, 2, "eu", "us"))
			w.skew[1] = skew
			before(t, w.store)
			first := w.open(0)
			synctest.Wait()
			defer w.open(1).stop()
			synctest.Wait()
			id := stage(t, w.store, "regions eu")
			converged := func(s *rollout.State) bool { return s.Body.GetSteps()[0].GetConvergeTime() != nil }
			w.follow(id, func(_ int, _, is *rollout.State) bool { return !converged(is) })
			from := time.Now()
			w.kill(first, 1)
			w.mu.Lock()
			for _, d := range w.fleet {
				for c, at := range d.serves {
					d.serves[c] = at.Add(-time.Hour) // also by the clock of who they go to
				}
			}
			w.mu.Unlock()
			end := w.follow(id, func(_ int, _, is *rollout.State) bool {
				return is.Body.GetStep() == 1 && is.Body.GetState() == rollout.Rolling
			})
			if took := time.Since(from); end.Body.GetStep() != 2 || took < 30*time.Second || took > 40*time.Second {
				t.Errorf("%s: %s at step %d after %s: %s", skew, end.Body.GetState(), end.Body.GetStep(), took, end.Body.GetReason())
			}
		})
	}
}

func TestADataPlaneIsMissedByTheClockOfWhoLeads(t *testing.T) {
	for _, skew := range minutes {
		for _, back := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fleetOf(8, 2, "eu", "us"))
				w.skew[1] = skew
				before(t, w.store)
				defer w.open(0).stop()
				synctest.Wait()
				defer w.open(1).stop()
				synctest.Wait()
				id := stage(t, w.store, "regions eu us")
				w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 0 })
				time.Sleep(5 * time.Second) // of the bubble
				w.mu.Lock()
				away := w.fleet[1]
				away.home, away.away = 1, time.Now().Add(skew)
				w.mu.Unlock()
				from := time.Now()
				if back {
					time.Sleep(3 * time.Second) // of the bubble
					w.mu.Lock()
					away.away = time.Time{}
					w.mu.Unlock()
				}
				end := w.follow(id, always)
				if back && end.Body.GetState() != rollout.Done {
					t.Errorf("%s: %s: %s", skew, end.Body.GetState(), end.Body.GetReason())
				}
				if took := time.Since(from); !back && (end.Body.GetState() != rollout.Reverted || took < rollout.VanishedAfter || took > 7*time.Second) {
					t.Errorf("%s: %s after %s: %s", skew, end.Body.GetState(), took, end.Body.GetReason())
				}
			})
		}
	}
}

// Data planes of a control plane that went are on their way: nobody is admitted, from the moment that this is known.
func TestNobodyIsAdmittedOnceAControlPlaneIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 2, "eu", "us"))
		before(t, w.store)
		defer w.open(0).stop()
		synctest.Wait()
		second := w.open(1)
		synctest.Wait()
		id := stage(t, w.store, "regions eu")
		w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetSteps()[0].GetConvergeTime() == nil })
		time.Sleep(30*time.Second - time.Millisecond) // of the bubble: the bake is about to end
		from := time.Now()
		w.kill(second, 0)
		w.follow(id, func(_ int, _, is *rollout.State) bool { return is.Body.GetStep() == 1 })
		if took := time.Since(from); took < rollout.UnsureFor {
			t.Errorf("the next step was admitted %s after a control plane went", took)
		}
	})
}

// A control plane that lags behind its own writes takes the older of two for the first of the queue, though the other has begun.
func TestNoneBeginsBesideOneThatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleetOf(8, 1, "eu", "us"))
		before(t, w.store)
		p := w.open(0)
		defer p.stop()
		synctest.Wait()
		p.know(state("canary", is(rollout.Done)))
		var queued []*rollout.State
		for range 2 {
			filled, _ := rollout.Plan(plan("regions eu"))
			h := must(rollout.Head(rollout.New(storetest.ID(), "ann", "", "", filled, nil, time.Now())))
			if _, err := w.store.Commit(t.Context(), storetest.Put(h)); err != nil {
				t.Fatal(err)
			}
			queued = append(queued, current(t, w.store, h.Object.Key.Name))
		}
		p.know(queued[1])
		synctest.Wait()
		p.know(queued[1], queued[0])
		time.Sleep(10 * time.Second) // of the bubble
		for i, want := range []string{rollout.Queued, rollout.Rolling} {
			if got := current(t, w.store, queued[i].Body.GetChange()).Body.GetState(); got != want {
				t.Errorf("rollout %d is %s, want %s", i, got, want)
			}
		}
	})
}

// know makes a control plane know these rollouts, whatever is stored.
func (p *plane) know(all ...*rollout.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = all
	close(p.moved)
	p.moved = make(chan struct{})
}
