package memstore

import (
	"context"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// Commit writes all or nothing; see store.Store.
func (s *Store) Commit(ctx context.Context, w store.Write) (store.Result, error) {
	if err := w.Check(s.Limits()); err != nil {
		return store.Result{}, err
	}
	if err := s.enter(ctx); err != nil {
		return store.Result{}, err
	}
	defer s.c.mu.Unlock()
	if done, ok := s.c.changes[w.Record.ID]; ok {
		return store.Result{Revision: done.Revision}, nil
	}
	if err := s.checkLocked(&w); err != nil {
		return store.Result{}, err
	}
	if len(s.c.outcomes) > 0 {
		return store.Result{}, s.c.ambiguousLocked(&w)
	}
	s.c.applyLocked(&w)
	return store.Result{Revision: s.c.revision}, nil
}

// checkLocked compares what the write expects with what is there.
func (s *Store) checkLocked(w *store.Write) error {
	if s.c.epoch != s.epoch || (w.Epoch != "" && w.Epoch != s.c.epoch) {
		return store.ErrEpoch
	}
	if change, ok := s.c.requestLocked(w.RequestID); ok && w.RequestID != "" {
		return &store.DuplicateRequestError{RequestID: w.RequestID, ChangeID: change}
	}
	if w.Fence != (store.Fence{}) && !s.c.standsLocked(w.Fence) {
		return store.ErrFenced
	}
	for _, p := range w.Expect {
		if current := s.c.heads[p.Key].Revision; current != p.Revision {
			return &store.ConflictError{Key: p.Key, Expected: p.Revision, Current: current}
		}
	}
	return nil
}

func (c *content) applyLocked(w *store.Write) {
	c.revision++
	record := clone(&w.Record)
	record.Revision = c.revision
	event := store.Event{Revision: c.revision, Change: record}
	for _, h := range w.Puts {
		h.Revision, h.Change = c.revision, record.ID
		c.heads[h.Object.Key] = h
		c.bodies[h.Object.Hash] = h.Object.Body
		event.Upserts = append(event.Upserts, h)
	}
	for _, key := range w.Deletes {
		delete(c.heads, key)
		event.Removals = append(event.Removals, key)
	}
	slices.SortFunc(event.Upserts, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	slices.SortFunc(event.Removals, confset.Key.Compare)
	c.rememberLocked(record, w.RequestID)
	c.events = append(c.events, event)
	c.wakeLocked()
}

func (c *content) rememberLocked(record *store.ChangeRecord, requestID string) {
	c.changes[record.ID] = record
	c.newest = record.ID
	i, _ := slices.BinarySearchFunc(c.order, record.ID, strings.Compare)
	c.order = slices.Insert(c.order, i, record.ID)
	if requestID != "" {
		c.requests[requestID] = request{change: record.ID, until: c.now().Add(RequestLife)}
	}
}
