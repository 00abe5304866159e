package view

import "github.com/hopgate/hopgate/controlplane/store"

// Told is what a listener hears: a change that reached this replica, or that changes are missing before it.
type Told struct {
	// Change as it was committed, with its revision; shared and read-only. Nil: only Gap is told.
	Change *store.ChangeRecord
	// Gap: the store was read anew, and changes before this one may not have been told.
	Gap bool
}

// listener is one listener; its address tells two apart.
type listener struct{ hear func(Told) }

// Listen calls hear with every change that reaches this replica from now on, in order, after the index stands at it. hear must return at once
// and must not call the views. stop ends it; hear may run once more while stop is called, never after it has returned.
func (v *Views) Listen(hear func(Told)) (stop func()) {
	l := &listener{hear}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.listeners[l] = struct{}{}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.listeners, l)
	}
}

// tell lets listeners hear of a change, nil for none; mu is held.
func (v *Views) tell(c *store.ChangeRecord, revision int64, gap bool) {
	if len(v.listeners) == 0 || c == nil && !gap {
		return
	}
	t := Told{Gap: gap}
	if c != nil {
		rec := *c
		rec.Revision = revision
		t.Change = &rec
	}
	for l := range v.listeners {
		l.hear(t)
	}
}

// retell lets listeners hear what a new reading of the store tells: its newest change if it wasn't known, and a gap unless that one follows
// the newest known one. mu is held; last is the change that was known before.
func (v *Views) retell(snap *store.Snapshot, last string) {
	c := snap.Change
	if c == nil {
		v.tell(nil, 0, true)
		return
	}
	if c.ID != last {
		revision := c.Revision
		if revision == 0 {
			revision = snap.Revision
		}
		v.tell(c, revision, c.Parent != last)
	}
}

// ConfirmCount is Confirm if exactly so many removals are held. It returns how many were; only if ok they are published.
func (v *Views) ConfirmCount(n int) (held int, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if held = len(v.held); held != n {
		return held, false
	}
	return v.confirm(), true
}

// newest returns the id of the newest change that is known; mu is held.
func (v *Views) newest() string {
	if len(v.history) == 0 {
		return ""
	}
	return v.history[len(v.history)-1].ID
}
