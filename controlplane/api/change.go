package api

import (
	"context"
	"encoding/hex"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// record starts the change record of an intent and returns the revision of the newest change before it. Its id is chosen here, before the
// write, so that an unclear outcome can be looked up.
func (s *service) record(ctx context.Context, in intent) (rec store.ChangeRecord, before int64, err error) {
	newest, err := s.cfg.Store.Changes(ctx, "", 1)
	if err != nil {
		return rec, 0, fmt.Errorf("read the newest change: %w", err)
	}
	rec = store.ChangeRecord{
		Time: s.cfg.Now().UTC(), Author: callerOf(ctx).name, Message: in.message,
		Traceparent: traceparent(ctx), RequestID: in.request.String(), Reverts: in.reverts,
	}
	if len(newest) > 0 {
		rec.Parent, before = newest[0].ID, newest[0].Revision
	}
	rec.ID, err = s.ids.next(rec.Time, rec.Parent)
	return rec, before, err
}

// traceparent is the W3C header of the running span; empty without one.
func traceparent(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c.Get("traceparent")
}

// changeOf is a record as callers see it: internal objects stay out.
func changeOf(rec *store.ChangeRecord) *adminv1.Change {
	c := &adminv1.Change{
		Id: rec.ID, Author: rec.Author, Message: rec.Message, Revision: rec.Revision, Traceparent: rec.Traceparent, Reverts: rec.Reverts,
	}
	if !rec.Time.IsZero() {
		c.Time = timestamppb.New(rec.Time)
	}
	for _, o := range rec.Objects {
		if open(o.Kind) {
			c.Objects = append(c.Objects, changedOf(o))
		}
	}
	return c
}

func changedOf(o store.Changed) *adminv1.ChangedObject {
	out := &adminv1.ChangedObject{Kind: o.Kind, Name: o.Name, Action: action(o.Before != "", o.After != ""), Pruned: o.Pruned}
	// The store wrote these itself; what doesn't decode is shown as empty.
	out.Before, _ = hex.DecodeString(o.Before)
	out.After, _ = hex.DecodeString(o.After)
	return out
}

// action is what happened to an object that was there before, after, or both.
func action(before, after bool) string {
	switch {
	case !before:
		return "created"
	case !after:
		return "deleted"
	}
	return "updated"
}

// delivered is a stored change and how the fleet took it.
func (s *service) delivered(rec *store.ChangeRecord) *adminv1.Change {
	c := changeOf(rec)
	keys := make([]confset.Key, 0, len(rec.Objects))
	for _, o := range rec.Objects {
		keys = append(keys, confset.Key{Kind: o.Kind, Name: o.Name})
	}
	c.Delivery = s.cfg.Fleet.Delivery(rec.Revision, keys)
	return c
}

// answer is what a write of many objects returns: the change; without an id where nothing had to be stored, then with how the fleet stands to
// the objects as they are, or for a dry run with the fields that would change.
func (s *service) answer(in intent, out *outcome) (*adminv1.Change, error) {
	c := changeOf(out.record)
	if in.validateOnly && len(out.record.Objects) > 0 {
		return c, s.tell(c.GetObjects(), out.turns)
	}
	keys := make([]confset.Key, 0, len(in.edits))
	for _, e := range in.edits {
		keys = append(keys, e.key)
	}
	for _, o := range out.record.Objects {
		if o.Pruned {
			keys = append(keys, confset.Key{Kind: o.Kind, Name: o.Name})
		}
	}
	c.Delivery = s.cfg.Fleet.Delivery(c.GetRevision(), keys)
	return c, nil
}
