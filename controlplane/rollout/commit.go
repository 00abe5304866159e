package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/attr"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const (
	// Kept is how many rollouts that ended stay stored; the change log has all of them.
	Kept = 50

	tidyMost = 20 // rollouts deleted by one change
	// rivalsMost bounds the queue that is looked at when one begins: its newest.
	rivalsMost = 16
)

// store commits the next state of a rollout, if others are as expected.
func (l *Leader) store(ctx context.Context, s *State, d Decision, fence store.Fence, now time.Time, expect ...store.Precondition) error {
	ctx, done := l.span(ctx, s, did(s.Body, d.Body))
	err := l.replace(ctx, s, d, fence, now, expect)
	done(err)
	return err
}

// rivals are what is expected of the others while one of the queue begins: that none of them has begun meanwhile.
func rivals(s *State, open []*State) (expect []store.Precondition) {
	if s.Body.GetState() != Queued {
		return nil
	}
	for _, o := range open {
		if o.Body.GetChange() != s.Body.GetChange() && o.Body.GetState() == Queued && len(expect) < rivalsMost {
			expect = append(expect, store.Precondition{Key: Key(o.Body.GetChange()), Revision: o.Revision})
		}
	}
	return expect
}

func (l *Leader) replace(ctx context.Context, s *State, d Decision, fence store.Fence, now time.Time, expect []store.Precondition) error {
	epoch := l.c.Store.Epoch()
	was, err := stored(ctx, l.c.Store, s)
	if err != nil {
		return err
	}
	h, c, err := next(was, d.Body, now)
	if err != nil {
		return err
	}
	w := store.Write{
		Record: s.record(now, was.Change), Epoch: epoch, Fence: fence,
		Expect: append(expect, store.Precondition{Key: h.Object.Key, Revision: was.Revision}), Puts: []store.Head{h},
	}
	w.Record.Message, w.Record.Objects = d.Message, []store.Changed{c}
	if _, err := store.CommitSurely(ctx, l.c.Store, w); err != nil {
		return fmt.Errorf("%s: %w", h.Object.Key, err)
	}
	l.c.Log.InfoContext(ctx, "rollout", "change", s.Body.GetChange(), "state", d.Body.GetState(), "step", d.Body.GetStep(), "did", d.Message)
	return nil
}

// did names the span of a step by what it does: begins, admits eu, converged eu, or the state that it leads to.
func did(was, is *adminv1.Rollout) string {
	at := int(is.GetStep())
	switch {
	case was.GetState() == Queued && is.GetState() == Rolling:
		return "rollout begins"
	case was.GetState() != is.GetState() || at < 1 || at > len(is.GetSteps()):
		return "rollout " + is.GetState()
	case was.GetStep() != is.GetStep():
		return "rollout admits " + is.GetSteps()[at-1].GetName()
	}
	return "rollout converged on " + is.GetSteps()[at-1].GetName()
}

// undo takes a change back. When that can't be done the rollout is paused: then at least nobody more gets it.
func (l *Leader) undo(ctx context.Context, s *State, trip *Trip, fence store.Fence, now time.Time) error {
	sctx, done := l.span(ctx, s, "rollout "+trip.Final)
	err := l.takeBack(sctx, s, trip, fence, now)
	done(err)
	var limit *store.LimitError
	if !errors.As(err, &limit) && !errors.Is(err, ErrLost) {
		return err
	}
	reason := trip.Reason + "; it can't be undone: " + err.Error()
	if s.Body.GetState() == Paused && s.Body.GetReason() == reason {
		return err
	}
	m := s.In(Paused, reason, now)
	m.Node = trip.Node
	return l.store(ctx, s, Decision{Body: m, Message: s.say("paused: %s", reason)}, fence, now)
}

func (l *Leader) takeBack(ctx context.Context, s *State, trip *Trip, fence store.Fence, now time.Time) error {
	w, err := Undo(ctx, l.c.Store, s, trip.Final, trip.Reason, trip.Node, fence, now)
	if err != nil {
		return err
	}
	if _, err := store.CommitSurely(ctx, l.c.Store, w); err != nil {
		return fmt.Errorf("undo change %s: %w", s.Body.GetChange(), err)
	}
	l.c.Log.WarnContext(ctx, "rollout undone", "change", s.Body.GetChange(), "state", trip.Final, "by", w.Record.ID, "reason", trip.Reason, "node", trip.Node)
	return nil
}

// span begins a span in the trace of the call that staged the change.
func (l *Leader) span(ctx context.Context, s *State, name string) (context.Context, func(error)) {
	ctx, cancel := context.WithTimeout(ctx, commitWait)
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": s.Body.GetTraceparent()})
	ctx, span := l.tracer.Start(ctx, name, trace.WithAttributes(
		attribute.String(attr.Change, s.Body.GetChange()), attribute.Int("hopgate.rollout.step", int(s.Body.GetStep()))))
	return ctx, func(err error) {
		defer cancel()
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			return // somebody was faster, and it is looked at anew: nothing was done, and a span that doesn't end isn't told
		}
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// tidy deletes the oldest of those that ended, when there are too many, and says when to go on.
func (l *Leader) tidy(ctx context.Context, all []*State, fence store.Fence, now time.Time) (again time.Time, err error) {
	if len(all) <= Kept {
		return again, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitWait)
	defer cancel()
	old := all[max(Kept, len(all)-tidyMost):] // none is open
	w := store.Write{Epoch: l.c.Store.Epoch(), Fence: fence}
	newest := ""
	for _, s := range old {
		h, err := stored(ctx, l.c.Store, s)
		if err != nil {
			return again, err
		}
		newest = max(newest, h.Change)
		w.Deletes = append(w.Deletes, h.Object.Key)
		w.Expect = append(w.Expect, store.Precondition{Key: h.Object.Key, Revision: h.Revision})
		w.Record.Objects = append(w.Record.Objects, store.Changed{Kind: Kind, Name: h.Object.Key.Name, UID: h.Object.UID, Before: h.Object.Hash.String()})
	}
	w.Record.ID, w.Record.Time, w.Record.Author = store.NextID(now, newest), now, author
	w.Record.Message = fmt.Sprintf("forgot %d rollouts that ended", len(old))
	if _, err := store.CommitSurely(ctx, l.c.Store, w); err != nil {
		return again, fmt.Errorf("forget rollouts that ended: %w", err)
	}
	return now.Add(retryAfter), nil
}
