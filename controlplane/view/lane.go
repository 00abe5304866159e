package view

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

// recentMost is how many earlier sets a delta can start from.
const recentMost = 8

// lane makes the views of all scopes that select the same objects.
type lane struct {
	level int32
	view  atomic.Pointer[View] // stored by the publisher only

	mu   sync.Mutex
	subs map[*Subscription]struct{} // guarded by mu
}

func newLane(level int32) *lane { return &lane{level: level, subs: map[*Subscription]struct{}{}} }

// stamp is what a publication says besides its objects.
type stamp struct {
	epoch    string
	revision int64
	since    time.Time
	history  []Change
	trail    trail
}

// publish makes the next view from the delta of all levels.
func (l *lane) publish(d confset.Delta, at stamp) {
	next := &View{Epoch: at.epoch, Revision: at.revision, Since: at.since, history: at.history, trail: at.trail}
	prev := l.view.Load()
	if prev == nil {
		next.Set = confset.Empty().Apply(l.filter(d))
	} else {
		next.Set, next.recent = prev.Set.Apply(l.filter(d)), prev.recent
		if next.Set != prev.Set {
			recent := append([]*confset.Set{prev.Set}, prev.recent...)
			next.recent = recent[:min(len(recent), recentMost)]
		}
		if prev.Epoch == next.Epoch {
			next.Changes = next.ChangesAfter(prev.Revision)
		}
	}
	l.view.Store(next)
	l.notify()
}

// filter turns objects that the level can't read into removals.
func (l *lane) filter(d confset.Delta) confset.Delta {
	out := confset.Delta{Removals: slices.Clip(d.Removals)} // shared: the first append copies
	for _, o := range d.Upserts {
		if selects(l.level, o) {
			out.Upserts = append(out.Upserts, o)
		} else {
			out.Removals = append(out.Removals, o.Key)
		}
	}
	return out
}

func (l *lane) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subs {
		s.wake()
	}
}

// Subscription tells of new views through one slot: however many views come, one notice waits, and Current is the newest.
type Subscription struct {
	lane *lane
	c    chan struct{}
}

// Subscribe returns a subscription to a scope's views; it must be closed. If there is a view, a notice is waiting.
func (v *Views) Subscribe(scope Scope) *Subscription {
	s := &Subscription{lane: v.lane(scope), c: make(chan struct{}, 1)}
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	s.lane.subs[s] = struct{}{}
	if s.lane.view.Load() != nil {
		s.wake()
	}
	return s
}

// C gets a value when there is a view newer than the one that was current at the last value.
func (s *Subscription) C() <-chan struct{} { return s.c }

// Current returns the newest view; nil when there is none yet.
func (s *Subscription) Current() *View { return s.lane.view.Load() }

// Close ends the subscription.
func (s *Subscription) Close() {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	delete(s.lane.subs, s)
}

func (s *Subscription) wake() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}
