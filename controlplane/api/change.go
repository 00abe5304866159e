package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// record starts the change record of an intent and returns the revision of the newest change before it. Its id is chosen here, before the
// write, so that an unclear outcome can be looked up.
func (s *service) record(ctx context.Context, in intent) (rec store.ChangeRecord, before int64, err error) {
	var newest []*store.ChangeRecord
	if s.cfg.Home == nil || !in.kept { // a relay has no history, and keeps tokens only
		if newest, err = s.cfg.Store.Changes(ctx, "", 1); err != nil {
			return rec, 0, fmt.Errorf("read the newest change: %w", err)
		}
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

// changeOf is a record as callers see it: internal objects that data planes get stay out.
func changeOf(rec *store.ChangeRecord) *adminv1.Change {
	c := &adminv1.Change{
		Id: rec.ID, Author: rec.Author, Message: rec.Message, Revision: rec.Revision, Traceparent: rec.Traceparent, Reverts: rec.Reverts,
	}
	if !rec.Time.IsZero() {
		c.Time = timestamppb.New(rec.Time)
	}
	for _, o := range rec.Objects {
		if open(o.Kind) || rules.Kept(o.Kind) {
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
func (s *service) delivered(ctx context.Context, rec *store.ChangeRecord) (*adminv1.Change, error) {
	c := changeOf(rec)
	return c, s.deliver(ctx, c, rec, pushed(rec.Objects))
}

// deliver adds to a change how the fleet took it, and how far it is if it is staged.
func (s *service) deliver(ctx context.Context, c *adminv1.Change, rec *store.ChangeRecord, keys []confset.Key) error {
	if !isStaged(rec) {
		c.Delivery = s.cfg.Fleet.Delivery(c.GetRevision(), keys)
		return nil
	}
	h, err := s.cfg.Store.Get(ctx, rollout.Key(rec.ID))
	switch {
	case errors.Is(err, store.ErrNotFound): // it ended long ago
		c.Delivery = s.cfg.Fleet.Delivery(c.GetRevision(), keys)
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", rollout.Key(rec.ID), err)
	}
	if c.Rollout, err = s.progressOf(h); err != nil {
		return err
	}
	st, err := rollout.Parse(h.Object.Body, h.Revision)
	if err != nil {
		return err
	}
	if fleet, ok := s.cfg.Fleet.(StagedFleet); ok && st.Open() {
		c.Delivery = fleet.StagedDelivery(st, rec.Revision, keys)
		return nil
	}
	c.Delivery = s.cfg.Fleet.Delivery(c.GetRevision(), keys)
	return nil
}

// answer is what a write of many objects returns: the change; without an id where nothing had to be stored, then with how the fleet stands to
// the objects as they are, or for a dry run with the fields that would change.
func (s *service) answer(ctx context.Context, in intent, out *outcome) (*adminv1.Change, error) {
	c := changeOf(out.record)
	if in.validateOnly && len(out.record.Objects) > 0 {
		c.Rollout = out.rollout
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
	return c, s.deliver(ctx, c, out.record, keys)
}
