package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// order is what an operator wants of a rollout.
type order struct {
	word string   // pause
	from []string // states in which it is possible
	to   string   // state after it
	done string   // paused, in the reason; empty: it leaves none
}

var (
	orderPause  = order{"pause", []string{rollout.Rolling}, rollout.Paused, "paused"}
	orderResume = order{"resume", []string{rollout.Paused}, rollout.Rolling, ""}
	orderAbort  = order{"abort", []string{rollout.Queued, rollout.Rolling, rollout.Paused}, rollout.Aborting, "aborted"}
)

// PauseRollout keeps a staged change where it is.
func (s *service) PauseRollout(ctx context.Context, r *adminv1.PauseRolloutRequest) (*adminv1.Rollout, error) {
	return s.steer(ctx, orderPause, r)
}

// ResumeRollout lets a paused change go on.
func (s *service) ResumeRollout(ctx context.Context, r *adminv1.ResumeRolloutRequest) (*adminv1.Rollout, error) {
	return s.steer(ctx, orderResume, r)
}

// AbortRollout ends a staged change. The control plane that leads undoes it.
func (s *service) AbortRollout(ctx context.Context, r *adminv1.AbortRolloutRequest) (*adminv1.Rollout, error) {
	return s.steer(ctx, orderAbort, r)
}

// steering is a request that names a rollout.
type steering interface {
	GetChange() string
	GetEtag() string
	GetMessage() string
}

// steer writes the next state of a rollout as a change of its own. The leader writes to it as well: a lost race is looked at anew.
func (s *service) steer(ctx context.Context, o order, r steering) (*adminv1.Rollout, error) {
	key := rollout.Key(r.GetChange())
	trailOf(ctx).note([]confset.Key{key})
	if n := len(r.GetMessage()); n > messageMost {
		return nil, invalidField("message", fmt.Sprintf("has %d bytes, at most %d are possible", n, messageMost), "shorten it")
	}
	want := edit{key: key}
	if bad := want.match("etag", r.GetEtag()); len(bad) > 0 {
		return nil, invalid(bad)
	}
	for attempt := range attemptsMost {
		h, w, err := s.ordered(ctx, o, want, r.GetMessage())
		if err != nil {
			return nil, refusal(err)
		}
		res, err := s.cfg.Store.Commit(ctx, w)
		if err == nil {
			trailOf(ctx).committed(w.Record.ID)
			s.catchUp(ctx, res.Revision)
			h.Revision = res.Revision
			out, err := s.progressOf(h)
			return out, refusal(err)
		}
		if !raced(err) {
			return nil, refusal(err)
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, refusal(err)
		}
	}
	return nil, busy(key, attemptsMost)
}

// ordered works out the write that carries out an order on what is stored, and the head after it.
func (s *service) ordered(ctx context.Context, o order, want edit, why string) (h store.Head, w store.Write, err error) {
	rec, _, err := s.record(ctx, intent{message: why}) // first: a relay refuses here
	if err != nil {
		return h, w, err
	}
	none := missing(want.key, "")
	if store.CheckKey(want.key) != nil {
		return h, w, none
	}
	was, err := s.cfg.Store.Get(ctx, want.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return h, w, none
	case err != nil:
		return h, w, fmt.Errorf("read %s: %w", want.key, err)
	case want.etag != nil && !want.etag.of(&was):
		return h, w, stale(want.key, &was, nil)
	}
	st, err := rollout.Parse(was.Object.Body, was.Revision)
	if err != nil {
		return h, w, fmt.Errorf("read %s: %w", want.key, err)
	}
	if !slices.Contains(o.from, st.Body.GetState()) {
		return h, w, impossible(o, st)
	}
	body, err := rollout.Encode(st.In(o.to, o.reason(rec.Author, why), rec.Time))
	if err != nil {
		return h, w, err
	}
	h = turned(was, body)
	h.Updated, h.Change = rec.Time, rec.ID
	if rec.Message == "" {
		rec.Message = o.word + " of " + want.key.Name
	}
	if tp := st.Body.GetTraceparent(); tp != "" {
		rec.Traceparent = tp // all that becomes of a staged change is one trace
	}
	rec.Objects = []store.Changed{{Kind: rollout.Kind, Name: want.key.Name, UID: h.Object.UID, Before: was.Object.Hash.String(), After: h.Object.Hash.String()}}
	expect := []store.Precondition{{Key: want.key, Revision: was.Revision}}
	return h, store.Write{Record: rec, Epoch: s.cfg.Store.Epoch(), Expect: expect, Puts: []store.Head{h}}, nil
}

func (o *order) reason(author, why string) string {
	if o.done == "" {
		return ""
	}
	if why == "" {
		return o.done + " by " + author
	}
	return o.done + " by " + author + ": " + why
}

// impossible is the answer to an order that the state of a rollout doesn't allow.
func impossible(o order, st *rollout.State) error {
	var can []string
	for _, other := range []order{orderPause, orderResume, orderAbort} {
		if slices.Contains(other.from, st.Body.GetState()) {
			can = append(can, other.word)
		}
	}
	fix := "nothing can be done to it any more"
	switch {
	case len(can) > 0:
		fix = "possible is: " + strings.Join(can, ", ")
	case st.Body.GetState() == rollout.Aborting:
		fix = "wait until it is aborted"
	case st.Body.GetState() == rollout.Done:
		fix = "revert the change to undo it"
	}
	change := st.Body.GetChange()
	return withDetails(codes.FailedPrecondition, fmt.Sprintf("rollout %q is %s, so it can't %s; %s", change, st.Body.GetState(), o.word, fix),
		&errdetails.ErrorInfo{Reason: reasonState, Domain: domain,
			Metadata: map[string]string{"change": change, "state": st.Body.GetState(), "possible": strings.Join(can, ",")}})
}
