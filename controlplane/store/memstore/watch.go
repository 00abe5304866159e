package memstore

import (
	"context"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Watch calls emit for every event after revision from, in order; see store.Store. Any number of watches may run at the same time.
func (s *Store) Watch(ctx context.Context, from int64, emit func(store.Event) error) error {
	epoch := s.Epoch()
	for {
		events, changed, err := s.after(ctx, epoch, from)
		if err != nil {
			return err
		}
		for _, event := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := emit(copyEvent(event)); err != nil {
				return err
			}
			from = event.Revision
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
}

// after returns the events newer than from and a channel that is closed when there may be more.
func (s *Store) after(ctx context.Context, epoch string, from int64) ([]store.Event, <-chan struct{}, error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer s.c.mu.Unlock()
	switch {
	case s.c.epoch != epoch || from > s.c.revision:
		return nil, nil, store.ErrEpoch
	case from+1 < s.c.compacted:
		return nil, nil, store.ErrCompacted
	}
	i, _ := slices.BinarySearchFunc(s.c.events, from+1, func(e store.Event, rev int64) int { return int(e.Revision - rev) })
	return slices.Clone(s.c.events[i:]), s.c.changed, nil
}

// copyEvent keeps watchers from sharing slices that one of them might sort or append to.
func copyEvent(e store.Event) store.Event {
	e.Upserts, e.Removals, e.Change = slices.Clone(e.Upserts), slices.Clone(e.Removals), clone(e.Change)
	return e
}
