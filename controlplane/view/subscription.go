package view

import "sync"

// subscribers are who is told of new views.
type subscribers struct {
	mu  sync.Mutex
	all map[*Subscription]struct{} // guarded by mu
}

func (b *subscribers) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.all {
		s.wake()
	}
}

// Subscription tells of new views through one slot: however many views come, one notice waits, and Current is the newest.
type Subscription struct {
	views *Views
	scope Scope
	c     chan struct{}
}

// Subscribe returns a subscription to a scope's views; it must be closed. If there is a view, a notice is waiting.
func (v *Views) Subscribe(scope Scope) *Subscription {
	s := &Subscription{views: v, scope: scope, c: make(chan struct{}, 1)}
	v.subs.mu.Lock()
	defer v.subs.mu.Unlock()
	v.subs.all[s] = struct{}{}
	if s.Current() != nil {
		s.wake()
	}
	return s
}

// C gets a value when there is a view newer than the one that was current at the last value.
func (s *Subscription) C() <-chan struct{} { return s.c }

// Current returns the newest view; nil when there is none yet.
func (s *Subscription) Current() *View { return s.views.Current(s.scope) }

// Close ends the subscription.
func (s *Subscription) Close() {
	s.views.subs.mu.Lock()
	defer s.views.subs.mu.Unlock()
	delete(s.views.subs.all, s)
}

func (s *Subscription) wake() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}
