package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// recordPart is the part of the largest body that a new rollout may fill: it grows with each step.
const recordPart = 2

// StagedIndex is what an Index tells of changes on their way. It is safe for concurrent use; *view.Views is one.
type StagedIndex interface {
	// Staged names the open rollout that holds an object, also one that it deletes.
	Staged(key confset.Key) (change string, ok bool)
}

// checkRollout reads how a change is to reach the fleet; nil: everywhere at once.
func checkRollout(r *adminv1.CreateChangeRequest) (*adminv1.RolloutPlan, admit.Violations) {
	if r.GetRollout() == nil {
		return nil, nil
	}
	plan, vs := rollout.Plan(r.GetRollout())
	var bad admit.Violations
	for _, v := range vs {
		bad = append(bad, admit.Violation{Field: v.Field, Problem: v.Problem, Fix: v.Fix})
	}
	if len(bad) > 0 || plan.GetStrategy() == rollout.Immediate {
		return nil, bad
	}
	if r.GetOwner() != "" {
		bad = append(bad, admit.Violation{Field: "rollout", Problem: "is given with an owner", Fix: "give one of them: what a file owns reaches the fleet at once"})
	}
	return plan, bad
}

// stage adds the rollout to a plan that changes something.
func (s *service) stage(p *plan, in intent) error {
	rec := &p.write.Record
	p.rollout = rollout.New(rec.ID, rec.Author, rec.Message, rec.Traceparent, in.rollout, p.staged(), rec.Time)
	h, err := rollout.Head(p.rollout)
	if err != nil {
		return err
	}
	limits := s.cfg.Store.Limits()
	if n := len(rec.Objects) + 1; limits.Objects > 0 && n > limits.Objects {
		limit := store.LimitError{What: "objects in a change with its rollout", Asked: n, Limit: limits.Objects, Flag: limits.Flag}
		return admit.Violations{{Field: "rollout", Problem: "doesn't fit: " + limit.Error(), Fix: "stage fewer objects at a time"}}
	}
	if most := limits.Bytes / recordPart; limits.Bytes > 0 && len(h.Object.Body) > most {
		problem := fmt.Sprintf("needs %d bytes to keep what was before, at most %d are possible", len(h.Object.Body), most)
		return admit.Violations{{Field: "rollout", Problem: problem, Fix: "stage fewer objects at a time"}}
	}
	key := h.Object.Key
	p.write.Puts = append(p.write.Puts, h)
	p.write.Expect = append(p.write.Expect, store.Precondition{Key: key})
	rec.Objects = append(rec.Objects, store.Changed{Kind: key.Kind, Name: key.Name, UID: h.Object.UID, After: h.Object.Hash.String()})
	return nil
}

// staged are the objects of a plan with what was before.
func (p *plan) staged() []*adminv1.StagedObject {
	out := make([]*adminv1.StagedObject, len(p.write.Record.Objects))
	for i, c := range p.write.Record.Objects {
		o := &adminv1.StagedObject{Kind: c.Kind, Name: c.Name, Uid: c.UID, Set: c.SetBefore}
		// These were made from hashes just now.
		o.Before, _ = hex.DecodeString(c.Before)
		o.After, _ = hex.DecodeString(c.After)
		if was := p.before[i]; was != nil {
			o.Generation, o.CreateTime, o.Owner = was.Generation, timestamppb.New(was.Created), was.Owner
		}
		out[i] = o
	}
	return out
}

// held is an object that an open rollout has.
type held struct {
	key confset.Key
	by  *rollout.State
}

// unheld returns nothing if no open rollout has an object that a plan writes.
func (s *service) unheld(ctx context.Context, p *plan) error {
	if p.idle() {
		return nil
	}
	holder := s.holder(ctx, p)
	states := map[string]*rollout.State{}
	var found []held
	for i, c := range p.write.Record.Objects {
		key := confset.Key{Kind: c.Kind, Name: c.Name}
		change := holder(key, p.before[i])
		if change == "" {
			continue
		}
		st, known := states[change]
		if !known {
			var err error
			if st, err = s.rolloutOf(ctx, change); err != nil {
				return err
			}
			states[change] = st
		}
		if st != nil && st.Open() {
			found = append(found, held{key, st})
		}
	}
	if len(found) > 0 {
		return stagedBy(found)
	}
	return nil
}

// holder says which change may hold an object in its rollout; empty: none does. The index knows of all, once it stands where the plan does.
// Until then the change that touched an object last may be it; of an object that is gone the index says what it has heard.
func (s *service) holder(ctx context.Context, p *plan) func(key confset.Key, current *store.Head) string {
	x, ok := s.cfg.Index.(StagedIndex)
	staged := func(key confset.Key, _ *store.Head) string {
		change, _ := x.Staged(key)
		return change
	}
	if ok {
		at := p.newest
		for _, h := range p.before {
			if h != nil {
				at = max(at, h.Revision)
			}
		}
		s.catchUp(ctx, at)
		if s.cfg.Index.Revision() >= at {
			return staged
		}
	}
	return func(key confset.Key, current *store.Head) string {
		switch {
		case current != nil:
			return current.Change
		case ok:
			return staged(key, nil)
		}
		return ""
	}
}

// rolloutOf reads the rollout of a change from the store; nil: it has none.
func (s *service) rolloutOf(ctx context.Context, change string) (*rollout.State, error) {
	key := rollout.Key(change)
	if store.CheckKey(key) != nil {
		return nil, nil //nolint:nilerr // what can't be a key names no rollout
	}
	h, err := s.cfg.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return rollout.Parse(h.Object.Body, h.Revision)
}

// stagedBy is the answer to a write of objects that a rollout holds.
func stagedBy(found []held) error {
	fail := &errdetails.PreconditionFailure{}
	var names []string
	for _, h := range found {
		names = append(names, h.key.String())
		fail.Violations = append(fail.Violations, &errdetails.PreconditionFailure_Violation{Type: reasonStaged, Subject: h.key.String(),
			Description: "is in the staged change " + h.by.Body.GetChange()})
	}
	first := found[0]
	change := first.by.Body.GetChange()
	more := ""
	if n := len(found) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more objects", n)
	}
	msg := fmt.Sprintf("%s %q%s can't be written: the staged change %s has it and is %s; "+
		"wait until it is done (hopgate rollout status %s) or end it first (hopgate rollout abort %s)",
		first.key.Kind, nameOf(first.key), more, change, progress(first.by), change, change)
	return withDetails(codes.FailedPrecondition, msg, &errdetails.ErrorInfo{Reason: reasonStaged, Domain: domain,
		Metadata: map[string]string{"change": change, "state": first.by.Body.GetState(), "objects": strings.Join(names[:min(len(names), touchedMost)], ",")}}, fail)
}

// progress is how far a rollout is, in words.
func progress(st *rollout.State) string {
	if st.Body.GetState() == rollout.Queued || st.Body.GetStep() == 0 {
		return st.Body.GetState()
	}
	return fmt.Sprintf("%s at step %d of %d", st.Body.GetState(), st.Body.GetStep(), len(st.Body.GetSteps()))
}

// isStaged says whether a record is of a change that began a rollout.
func isStaged(rec *store.ChangeRecord) bool {
	return slices.ContainsFunc(rec.Objects, func(c store.Changed) bool { return c.Kind == rollout.Kind && c.Before == "" && c.Name == rec.ID })
}

// notStaged refuses to revert a change that is still on its way.
func (s *service) notStaged(ctx context.Context, rec *store.ChangeRecord) error {
	if !isStaged(rec) {
		return nil
	}
	st, err := s.rolloutOf(ctx, rec.ID)
	if err != nil || st == nil || !st.Open() {
		return err
	}
	msg := fmt.Sprintf("change %s is staged and %s: abort it instead, which leaves everything as it was before (hopgate rollout abort %s)",
		rec.ID, progress(st), rec.ID)
	return withDetails(codes.FailedPrecondition, msg, &errdetails.ErrorInfo{Reason: reasonStaged, Domain: domain,
		Metadata: map[string]string{"change": rec.ID, "state": st.Body.GetState()}})
}

// pushed are the objects of a record that data planes get.
func pushed(objects []store.Changed) []confset.Key {
	keys := make([]confset.Key, 0, len(objects))
	for _, o := range objects {
		if !rules.Kept(o.Kind) {
			keys = append(keys, confset.Key{Kind: o.Kind, Name: o.Name})
		}
	}
	return keys
}
