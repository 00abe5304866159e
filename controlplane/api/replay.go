package api

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// requestID is a caller's own id of a write, with a fingerprint of what it asked for.
type requestID struct{ id, print string }

// String is how a change record keeps it; empty without an id.
func (r requestID) String() string {
	if r.id == "" {
		return ""
	}
	return r.id + " " + r.print
}

var uuidForm = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func validRequestID(s string) bool {
	_, err := ulid.ParseStrict(s)
	return err == nil || uuidForm.MatchString(s)
}

// replay answers a repeat with what the first request did. It returns nothing when this is the first.
func (s *service) replay(ctx context.Context, in intent) (*outcome, error) {
	if in.request.id == "" {
		return nil, nil
	}
	id, err := s.cfg.Store.Request(ctx, in.request.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up the request id: %w", err)
	}
	rec, err := s.cfg.Store.Change(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read change %s of a repeated request: %w", id, err)
	}
	if in.request.print == "" || rec.RequestID != in.request.String() {
		return nil, invalidField("request_id", "was used for another request, which made change "+id, "make a fresh one per change")
	}
	trailOf(ctx).repeated(id)
	out := &outcome{record: rec, heads: make([]store.Head, len(in.edits))}
	for i, e := range in.edits {
		if e.deletes() {
			continue
		}
		if out.heads[i], err = s.recall(ctx, rec, e.key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// recall is an object as a change left it. Where it was changed again since, generation and creation time are unknown and left out, and
// its etag is the one of then: a write that depends on it loses, as it should.
func (s *service) recall(ctx context.Context, rec *store.ChangeRecord, key confset.Key) (store.Head, error) {
	h, err := s.cfg.Store.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return h, fmt.Errorf("read %s: %w", key, err)
	}
	if err == nil && h.Change == rec.ID {
		return h, nil
	}
	i := slices.IndexFunc(rec.Objects, func(c store.Changed) bool { return c.Kind == key.Kind && c.Name == key.Name })
	switch {
	case i < 0 && err == nil:
		return h, nil // it was as wanted then
	case i < 0:
		return h, missing(key, "")
	}
	var hash confset.Hash
	if !unhex(hash[:], rec.Objects[i].After) {
		return h, fmt.Errorf("change %s names %s with a bad hash", rec.ID, key)
	}
	body, err := s.cfg.Store.Body(ctx, hash)
	if err != nil {
		return h, fmt.Errorf("read %s as of change %s: %w", key, rec.ID, err)
	}
	o := confset.Object{Key: key, UID: rec.Objects[i].UID, Hash: hash, Body: body}
	return store.Head{Object: o, Updated: rec.Time, Change: rec.ID, Set: rec.Objects[i].SetAfter, Revision: rec.Revision}, nil
}
