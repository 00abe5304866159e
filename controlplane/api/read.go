package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Page sizes.
const (
	pageDefault = 100
	pageMost    = 1000
	// pageBytes ends a page early, so that clients with gRPC's default of 4 MiB per message can read it.
	pageBytes = 2 << 20
	// nearMost bounds the names looked at to suggest one.
	nearMost = 5000
)

// get returns one object of the kind of T.
func get[T object](s *service, r *adminv1.GetRequest) (T, error) {
	var none T
	key := confset.Key{Kind: kindOf(none), Name: r.GetName()}
	h, ok := s.cfg.Index.Get(key.Kind, key.Name)
	if !ok {
		return none, missing(key, s.near(key))
	}
	return shown[T](s, h)
}

// shown is present with the type a call answers.
func shown[T object](s *service, h store.Head) (T, error) {
	var none T
	m, err := s.present(h)
	if err != nil {
		return none, refusal(err)
	}
	t, ok := m.(T)
	if !ok {
		return none, refusal(fmt.Errorf("%s was read as %T", h.Object.Key, m))
	}
	return t, nil
}

// list returns one page of the kind of T and the token of the next.
func list[T object](s *service, r *adminv1.ListRequest) (items []T, next string, err error) {
	var none T
	kind := kindOf(none)
	n, after, err := page(r, kind)
	if err != nil {
		return nil, "", err
	}
	heads := s.cfg.Index.List(kind, after, n+1)
	bytes := 0
	for i, h := range heads {
		if bytes += len(h.Object.Body); i == n || i > 0 && bytes > pageBytes {
			return items, token{kind, heads[i-1].Object.Key.Name}.String(), nil
		}
		t, err := shown[T](s, h)
		if err != nil {
			return nil, "", err
		}
		items = append(items, t)
	}
	return items, "", nil
}

// near returns the stored name closest to one that doesn't exist, or nothing.
func (s *service) near(key confset.Key) string {
	heads := s.cfg.Index.List(key.Kind, "", nearMost)
	names := make([]string, len(heads))
	for i, h := range heads {
		names[i] = h.Object.Key.Name
	}
	return rules.Nearest(key.Name, names)
}

// ListNodes returns the whole fleet.
func (s *service) ListNodes(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListNodesResponse, error) {
	if _, _, err := page(r, "node"); err != nil {
		return nil, err
	}
	if r.GetPageToken() != "" {
		return nil, invalidField("page_token", "the fleet has one page", "leave it empty")
	}
	revision := s.cfg.Index.Revision() // first: in_sync is to hold for it
	return &adminv1.ListNodesResponse{Nodes: s.cfg.Fleet.Nodes(), Revision: revision}, nil
}

// GetChange returns one record and how the fleet took it.
func (s *service) GetChange(ctx context.Context, r *adminv1.GetChangeRequest) (*adminv1.Change, error) {
	rec, err := s.stored(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	c, err := s.delivered(ctx, rec)
	return c, refusal(err)
}

// stored returns one record, or the answer to one that there isn't.
func (s *service) stored(ctx context.Context, id string) (*store.ChangeRecord, error) {
	none := missing(confset.Key{Kind: kindChange, Name: id}, "")
	if _, err := ulid.ParseStrict(id); err != nil {
		return nil, none
	}
	rec, err := s.cfg.Store.Change(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, none
	}
	return rec, refusal(err)
}

// ListChanges pages through the records, newest first. How the fleet took each is left to GetChange: it costs a walk over the fleet.
func (s *service) ListChanges(ctx context.Context, r *adminv1.ListRequest) (*adminv1.ListChangesResponse, error) {
	if r.GetObject() != "" {
		return s.changesOf(ctx, r)
	}
	n, before, err := page(r, kindChange)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListChangesResponse{}
	bytes, last := 0, ""
	for rec, err := range s.before(ctx, before) {
		if err != nil {
			return nil, refusal(err)
		}
		c := changeOf(rec)
		if bytes += proto.Size(c); len(out.GetChanges()) == n || last != "" && bytes > pageBytes {
			out.NextPageToken = token{kindChange, last}.String()
			break
		}
		out.Changes, last = append(out.Changes, c), rec.ID
	}
	return out, nil
}
