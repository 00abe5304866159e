package memstore

import (
	"context"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Attend counts this handle among those at work on the store; see store.Store. Names mean nothing here: no handle dies without a word.
func (s *Store) Attend(ctx context.Context, who store.Attendee, count func(n int)) error {
	defer s.force(func(c *content) { s.workLocked(false) })
	for told := 0; ; {
		n, changed, err := s.attending(ctx, !who.Rests())
		if err != nil {
			return err
		}
		if n != told {
			told = n
			count(n)
		}
		select {
		case <-changed:
		case <-who.Turned:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
}

// attending returns how many handles are at work, this one in any case, and a channel that is closed when that may have changed.
func (s *Store) attending(ctx context.Context, work bool) (int, <-chan struct{}, error) {
	if err := s.enter(ctx); err != nil {
		return 0, nil, err
	}
	defer s.c.mu.Unlock()
	if s.workLocked(work) {
		s.c.wakeLocked()
	}
	if work {
		return s.c.attending, s.c.changed, nil
	}
	return s.c.attending + 1, s.c.changed, nil
}

// workLocked notes whether this handle is at work, and reports whether that is new.
func (s *Store) workLocked(work bool) bool {
	if s.atWork == work {
		return false
	}
	s.atWork = work
	if work {
		s.c.attending++
	} else {
		s.c.attending--
	}
	return true
}
