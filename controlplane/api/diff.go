package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// DiffChanges compares the config after two changes; see DiffChangesRequest for what empty ids mean.
func (s *service) DiffChanges(ctx context.Context, r *adminv1.DiffChangesRequest) (*adminv1.DiffChangesResponse, error) {
	list := "diff " + r.GetFrom() + " " + r.GetTo()
	n, after, err := page(&adminv1.ListRequest{PageSize: r.GetPageSize(), PageToken: r.GetPageToken()}, list)
	if err != nil {
		return nil, err
	}
	to, last, _ := strings.Cut(after, " ") // now stays what it was on the first page
	if to == "" {
		to = r.GetTo()
	}
	span, err := s.span(ctx, r.GetFrom(), to)
	if err != nil {
		return nil, refusal(err)
	}
	out := &adminv1.DiffChangesResponse{From: r.GetFrom(), To: span.to}
	size := 0
	for i, key := range span.keys() {
		if key.String() <= last {
			continue
		}
		if len(out.GetObjects()) == n || size > pageBytes {
			out.NextPageToken = token{list, span.to + " " + span.keys()[i-1].String()}.String()
			break
		}
		o, err := s.difference(ctx, key, span)
		if err != nil {
			return nil, refusal(err)
		}
		size += proto.Size(o)
		out.Objects = append(out.Objects, o)
	}
	return out, nil
}

// span is a part of the history: for every object in it the oldest and the newest change of it.
type span struct {
	to         string // id of the newest change in it
	backwards  bool   // the first point is the later one
	first      map[confset.Key]store.Changed
	last       map[confset.Key]store.Changed
	sortedKeys []confset.Key
}

// span reads the history between two points.
func (s *service) span(ctx context.Context, from, to string) (*span, error) {
	out := &span{to: to, first: map[confset.Key]store.Changed{}, last: map[confset.Key]store.Changed{}}
	if to == "" {
		newest, err := s.cfg.Store.Changes(ctx, "", 1)
		if err != nil {
			return nil, fmt.Errorf("read the newest change: %w", err)
		}
		if len(newest) == 0 && from == "" {
			return out, nil
		}
		if len(newest) > 0 {
			out.to = newest[0].ID
		}
	}
	newest, err := s.stored(ctx, out.to)
	if err != nil {
		return nil, err
	}
	if from == "" {
		out.add(newest)
		return out, nil
	}
	oldest, err := s.stored(ctx, from)
	if err != nil {
		return nil, err
	}
	if oldest.ID > newest.ID {
		oldest, newest, out.backwards = newest, oldest, true
	}
	return out, s.fill(ctx, out, oldest.ID, newest)
}

// fill adds the records up to one that are newer than another.
func (s *service) fill(ctx context.Context, out *span, oldest string, newest *store.ChangeRecord) error {
	if newest.ID == oldest {
		return nil
	}
	var seen looked
	out.add(newest)
	seen.at(newest)
	for rec, err := range s.before(ctx, newest.ID) {
		if err != nil {
			return err
		}
		if rec.ID <= oldest {
			return nil
		}
		if seen.enough() {
			return status.Errorf(codes.FailedPrecondition, "too many changes lie between: at most %d are compared, of %d objects in all; choose points that are nearer to each other",
				historyMost, historyObjects)
		}
		out.add(rec)
		seen.at(rec)
	}
	return nil
}

// add takes a record that is older than those before.
func (x *span) add(rec *store.ChangeRecord) {
	for _, c := range rec.Objects {
		key := confset.Key{Kind: c.Kind, Name: c.Name}
		if !open(c.Kind) {
			continue
		}
		x.first[key] = c
		if _, ok := x.last[key]; !ok {
			x.last[key] = c
		}
	}
}

// keys are the objects that aren't the same at both ends, in order.
func (x *span) keys() []confset.Key {
	if x.sortedKeys == nil {
		x.sortedKeys = slices.SortedFunc(maps.Keys(x.first), func(a, b confset.Key) int { return strings.Compare(a.String(), b.String()) })
		x.sortedKeys = slices.DeleteFunc(x.sortedKeys, func(key confset.Key) bool {
			a, b := x.first[key], x.last[key]
			return a.Before == b.After && a.SetBefore == b.SetAfter && (a.UID == b.UID || a.Before == "")
		})
	}
	return x.sortedKeys
}

// difference is one object at both ends.
func (s *service) difference(ctx context.Context, key confset.Key, x *span) (*adminv1.ChangedObject, error) {
	a, b := x.first[key], x.last[key]
	t := turn{key: key, before: state{there: a.Before != "", uid: a.UID, set: a.SetBefore}, after: state{there: b.After != "", uid: b.UID, set: b.SetAfter}}
	c := store.Changed{Kind: key.Kind, Name: key.Name, Before: a.Before, After: b.After}
	if x.backwards {
		t.before, t.after, c.Before, c.After = t.after, t.before, c.After, c.Before
	}
	for _, side := range []struct {
		state *state
		hash  string
	}{{&t.before, c.Before}, {&t.after, c.After}} {
		if !side.state.there {
			continue
		}
		var err error
		if side.state.body, err = s.body(ctx, key, side.hash); err != nil {
			return nil, err
		}
	}
	fields, err := s.fields(t)
	if err != nil {
		return nil, err
	}
	out := changedOf(c)
	fit(out, fields)
	return out, nil
}
