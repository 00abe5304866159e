package memstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
)

// Load returns every head at the newest revision, ordered by key, and takes over the store's epoch.
func (s *Store) Load(ctx context.Context) (*store.Snapshot, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.c.mu.Unlock()
	s.epoch = s.c.epoch
	snap := &store.Snapshot{Epoch: s.c.epoch, Revision: s.c.revision, Heads: make([]store.Head, 0, len(s.c.heads))}
	for _, h := range s.c.heads {
		snap.Heads = append(snap.Heads, h)
	}
	slices.SortFunc(snap.Heads, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	if s.c.newest != "" {
		snap.Change = clone(s.c.changes[s.c.newest])
	}
	return snap, nil
}

// Get returns one head; store.ErrNotFound.
func (s *Store) Get(ctx context.Context, key confset.Key) (store.Head, error) {
	if err := s.enter(ctx); err != nil {
		return store.Head{}, err
	}
	defer s.c.mu.Unlock()
	h, ok := s.c.heads[key]
	if !ok {
		return store.Head{}, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return h, nil
}

// Body returns a body by its hash; store.ErrNotFound.
func (s *Store) Body(ctx context.Context, hash confset.Hash) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.c.mu.Unlock()
	body, ok := s.c.bodies[hash]
	if !ok {
		return nil, fmt.Errorf("body %s: %w", hash, store.ErrNotFound)
	}
	return body, nil
}

// Change returns one record; store.ErrNotFound.
func (s *Store) Change(ctx context.Context, id string) (*store.ChangeRecord, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.c.mu.Unlock()
	record, ok := s.c.changes[id]
	if !ok {
		return nil, fmt.Errorf("change %s: %w", id, store.ErrNotFound)
	}
	return clone(record), nil
}

// Changes returns at most n records older than id before (empty: from the newest), newest id first.
func (s *Store) Changes(ctx context.Context, before string, n int) ([]*store.ChangeRecord, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.c.mu.Unlock()
	end := len(s.c.order)
	if before != "" {
		if _, err := ulid.ParseStrict(before); err != nil {
			return nil, fmt.Errorf("changes before %q: %w; use the id of a change", before, err)
		}
		end, _ = slices.BinarySearch(s.c.order, before)
	}
	ids := slices.Clone(s.c.order[max(0, end-max(n, 0)):end])
	slices.Reverse(ids)
	records := make([]*store.ChangeRecord, 0, len(ids))
	for _, id := range ids {
		records = append(records, clone(s.c.changes[id]))
	}
	return records, nil
}

// Request returns the change that a request id led to within RequestLife; store.ErrNotFound.
func (s *Store) Request(ctx context.Context, requestID string) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.c.mu.Unlock()
	change, ok := s.c.requestLocked(requestID)
	if !ok {
		return "", fmt.Errorf("request %q: %w", requestID, store.ErrNotFound)
	}
	return change, nil
}

func (c *content) requestLocked(id string) (string, bool) {
	r, ok := c.requests[id]
	return r.change, ok && c.now().Before(r.until)
}

func clone(r *store.ChangeRecord) *store.ChangeRecord {
	other := *r
	other.Objects = slices.Clone(r.Objects)
	return &other
}
