package memstore

import (
	"fmt"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Replica returns another handle on the same content.
func (s *Store) Replica() *Store {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.handle()
}

// SetLimits changes what one commit may hold.
func (s *Store) SetLimits(l store.Limits) { s.force(func(c *content) { c.limits = l }) }

// SetClock sets the clock that request ids age by.
func (s *Store) SetClock(now func() time.Time) { s.force(func(c *content) { c.now = now }) }

// Compact forgets every event up to the newest revision: a watch from before it ends with store.ErrCompacted. Running watches that have
// caught up go on.
func (s *Store) Compact() {
	s.force(func(c *content) {
		c.compacted = c.revision
		c.events = slices.DeleteFunc(c.events, func(e store.Event) bool { return e.Revision < c.compacted })
	})
}

// NewEpoch gives the content another epoch, as a restore does: watches and commits of every handle fail with store.ErrEpoch until it loads again.
func (s *Store) NewEpoch() {
	s.force(func(c *content) {
		c.epoch = newEpoch()
		c.revision++
	})
}

// Wipe empties the store under a new epoch, with revisions from the start again.
func (s *Store) Wipe() { s.force((*content).wipe) }

// SetDown makes every call and watch fail with an error wrapping store.ErrUnavailable, until SetUp.
func (s *Store) SetDown() {
	s.force(func(c *content) { c.down = fmt.Errorf("%w: set down by the test", store.ErrUnavailable) })
}

// SetUp ends SetDown.
func (s *Store) SetUp() { s.force(func(c *content) { c.down = nil }) }

// LoseNotes takes the notes of this handle's meetings away, as the end of a lease does: fences on them fall. Its meetings hear
// that, and end with an error wrapping store.ErrUnavailable.
func (s *Store) LoseNotes() {
	s.force(func(c *content) { c.loseLocked(s) })
}

// Stall takes this handle's notes away, too, but keeps its meetings from hearing of it and from saying anything, until Wake: as a process that
// stood still longer than its lease. Its other calls work.
func (s *Store) Stall() {
	s.force(func(c *content) {
		c.loseLocked(s)
		s.stalled = true
	})
}

// Wake ends Stall.
func (s *Store) Wake() { s.force(func(*content) { s.stalled = false }) }

func (c *content) loseLocked(s *Store) {
	c.unsayLocked(func(n *note) bool { return n.by == s })
}

// Ambiguous makes the next commit whose preconditions hold fail with *store.AmbiguousError; applied says whether it is stored nevertheless.
// Calls queue up.
func (s *Store) Ambiguous(applied bool) {
	s.force(func(c *content) { c.outcomes = append(c.outcomes, applied) })
}

func (s *Store) force(change func(*content)) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	change(s.c)
	s.c.wakeLocked()
}

// ambiguousLocked handles a commit that Ambiguous was asked for.
func (c *content) ambiguousLocked(w *store.Write) error {
	applied := c.outcomes[0]
	c.outcomes = c.outcomes[1:]
	if applied {
		c.applyLocked(w)
	}
	return &store.AmbiguousError{ChangeID: w.Record.ID, Err: fmt.Errorf("%w: made unknown by the test", store.ErrUnavailable)}
}
