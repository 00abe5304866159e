package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

var _ store.Store = (*Store)(nil)

// Load returns what is held; before anything was ever received it waits for home, at most until ctx ends.
func (s *Store) Load(ctx context.Context) (*store.Snapshot, error) {
	for {
		now, _, moved := s.version()
		if now != nil {
			return s.load(), nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: nothing was received from home yet: %w", store.ErrUnavailable, ctx.Err())
		case <-s.done:
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, errClosed)
		}
	}
}

// load hands over what is held, and notes which objects went since the last time.
func (s *Store) load() *store.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	s.explained = nil
	if s.handed != nil {
		s.explained = confset.Diff(s.handed.set, now.set).Removals
	}
	s.handed = now
	snap := &store.Snapshot{Epoch: now.epoch, Revision: now.revision, Heads: make([]store.Head, 0, now.set.Len()), Change: now.record(nil)}
	for o := range now.set.All() {
		snap.Heads = append(snap.Heads, now.head(o))
	}
	return snap
}

// head makes a head of an object: what only home knows of it is made up from the version.
func (v *version) head(o confset.Object) store.Head {
	return store.Head{Object: o, Generation: 1, Change: v.change, Revision: v.revision}
}

// record is the newest change, which stands for all that led here; nil when none is known.
func (v *version) record(removals []confset.Key) *store.ChangeRecord {
	if v.change == "" {
		return nil
	}
	c := &store.ChangeRecord{ID: v.change, Author: "home", Traceparent: v.traceparent, Revision: v.revision}
	for _, k := range removals {
		c.Objects = append(c.Objects, store.Changed{Kind: k.Kind, Name: k.Name})
	}
	return c
}

// Watch tells what comes after what was loaded or told last; what came meanwhile is one event. Whatever has no later revision of the same
// epoch ends it with store.ErrEpoch. While home is away nothing comes; see Stale.
func (s *Store) Watch(ctx context.Context, from int64, emit func(store.Event) error) error {
	for {
		now, handed, moved := s.version()
		if handed == nil || handed.revision != from {
			return store.ErrCompacted
		}
		if now != handed {
			e, ok := now.after(handed)
			if !ok {
				return store.ErrEpoch
			}
			if err := emit(e); err != nil {
				return err
			}
			s.mu.Lock()
			s.handed = now
			s.mu.Unlock()
			from = now.revision
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, errClosed)
		}
	}
}

// after is the event that leads from another version to this one, if one can.
func (v *version) after(was *version) (store.Event, bool) {
	if v.epoch != was.epoch || v.revision <= was.revision {
		return store.Event{}, false
	}
	d := confset.Diff(was.set, v.set)
	e := store.Event{Revision: v.revision, Removals: d.Removals, Change: v.record(d.Removals)}
	for _, o := range d.Upserts {
		e.Upserts = append(e.Upserts, v.head(o))
	}
	return e, e.Change != nil || len(d.Removals) == 0
}

// Get returns one head of what home sent, or of what the relay keeps of its own; store.ErrNotFound.
func (s *Store) Get(_ context.Context, key confset.Key) (store.Head, error) {
	if rules.Kept(key.Kind) {
		return s.localHead(key)
	}
	now, _, _ := s.version()
	if now == nil {
		return store.Head{}, fmt.Errorf("%w: nothing was received from home yet", store.ErrUnavailable)
	}
	o, ok := now.set.Get(key)
	if !ok {
		return store.Head{}, store.ErrNotFound
	}
	return now.head(o), nil
}

// Attend counts this relay as as many control planes as make the share that home gave the region, 1 before home said one; see store.Store.
func (s *Store) Attend(ctx context.Context, _ store.Attendee, count func(n int)) error {
	for told := 0; ; {
		s.mu.Lock()
		n, moved := partsOf(s.part), s.moved
		s.mu.Unlock()
		if n != told {
			told = n
			count(n)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, errClosed)
		}
	}
}

// partsOf returns into how many parts a limit is cut of which one has so many millionths.
func partsOf(ppm int32) int {
	if ppm <= 0 {
		return 1
	}
	return max(1, (1_000_000+int(ppm)/2)/int(ppm))
}

// Epoch is home's; empty before anything was received.
func (s *Store) Epoch() string {
	if now, _, _ := s.version(); now != nil {
		return now.epoch
	}
	return ""
}

// Limits are those of an embedded store at home. Nothing is written here.
func (s *Store) Limits() store.Limits { return store.Limits{Objects: 1000, Bytes: 3 << 19} }

// Body refuses: earlier bodies are kept at home.
func (s *Store) Body(context.Context, confset.Hash) ([]byte, error) { return nil, s.elsewhere() }

// Change refuses: the change log is kept at home.
func (s *Store) Change(context.Context, string) (*store.ChangeRecord, error) {
	return nil, s.elsewhere()
}

// Changes refuses: the change log is kept at home.
func (s *Store) Changes(context.Context, string, int) ([]*store.ChangeRecord, error) {
	return nil, s.elsewhere()
}

// Request refuses: the change log is kept at home.
func (s *Store) Request(context.Context, string) (string, error) { return "", s.elsewhere() }

// Source is the store for the view: the one whose Changes say that home asked for the removals between the last two loads, so that they
// aren't held a second time.
func (s *Store) Source() store.Store { return source{s} }

type source struct{ *Store }

// Changes returns one record with the removals. Its id is later than any.
func (s source) Changes(context.Context, string, int) ([]*store.ChangeRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &store.ChangeRecord{ID: "~", Author: "home", Time: time.Now()}
	for _, k := range s.explained {
		c.Objects = append(c.Objects, store.Changed{Kind: k.Kind, Name: k.Name})
	}
	return []*store.ChangeRecord{c}, nil
}
