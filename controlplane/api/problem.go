package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// domain of our ErrorInfo reasons.
const domain = "hopgate.dev"

// Reasons that callers may branch on, in ErrorInfo.
const (
	reasonStale   = "STALE_ETAG"      // ABORTED: the object changed since the etag was read; HTTP 412
	reasonBusy    = "CONTENTION"      // ABORTED: others kept changing the object; HTTP 409
	reasonUnknown = "OUTCOME_UNKNOWN" // UNAVAILABLE: look the change up by metadata change_id
	reasonOwned   = "FILE_OWNED"      // FAILED_PRECONDITION: a file owns the object
	reasonSet     = "SET_OWNED"       // FAILED_PRECONDITION: the object belongs to another set
	reasonPrune   = "PRUNE_MANY"      // FAILED_PRECONDITION: pruning would delete surprisingly much
	reasonHeld    = "HELD_OTHERWISE"  // FAILED_PRECONDITION: another number of removals is held
	reasonSince   = "CHANGED_SINCE"   // ABORTED: what is to be undone was changed again; HTTP 412
	reasonStaged  = "STAGED"          // FAILED_PRECONDITION: an open rollout has the object
	reasonState   = "ROLLOUT_STATE"   // FAILED_PRECONDITION: the rollout's state doesn't allow it
)

func withDetails(code codes.Code, msg string, details ...protoadapt.MessageV1) error {
	s := status.New(code, msg)
	if d, err := s.WithDetails(details...); err == nil {
		s = d
	}
	return s.Err()
}

// invalid is the answer to input that breaks a rule.
func invalid(vs admit.Violations) error {
	bad := &errdetails.BadRequest{}
	for _, v := range vs {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.FieldPath(), Description: v.Description()})
	}
	return withDetails(codes.InvalidArgument, headline(vs), bad)
}

// headline is the one sentence of an answer that has details: the first violation, and how many more there are.
func headline(vs admit.Violations) string {
	switch len(vs) {
	case 0:
		return "invalid"
	case 1:
		return vs[0].String()
	}
	return fmt.Sprintf("%d problems; first: %s", len(vs), vs[0])
}

// invalidField is invalid with one field of the request.
func invalidField(field, problem, fix string) error {
	return invalid(admit.Violations{{Field: field, Problem: problem, Fix: fix}})
}

// invalidRules is invalid with violations of one object.
func invalidRules(key confset.Key, path string, vs rules.Violations) error {
	out := make(admit.Violations, len(vs))
	for i, v := range vs {
		out[i] = admit.Violation{Key: key, Path: path, Field: v.Field, Problem: v.Problem, Fix: v.Fix}
	}
	return invalid(out)
}

func missing(key confset.Key, hint string) error {
	if key.Kind != kindChange {
		key.Name = nameOf(key)
	}
	msg := fmt.Sprintf("%s %q doesn't exist", key.Kind, key.Name)
	if hint != "" {
		msg += fmt.Sprintf("; nearest is %q", hint)
	}
	return withDetails(codes.NotFound, msg, &errdetails.ResourceInfo{ResourceType: key.Kind, ResourceName: key.Name})
}

// stale is the answer to a lost race. current is nil when the object is gone; changed are names of fields, never values.
func stale(key confset.Key, current *store.Head, changed []string) error {
	meta := map[string]string{"kind": key.Kind, "name": key.Name, "current_etag": ""}
	msg := fmt.Sprintf("%s %q doesn't exist any more", key.Kind, key.Name)
	if current != nil {
		meta["current_etag"] = etagOf(*current)
		msg = fmt.Sprintf("%s %q was changed since that etag", key.Kind, key.Name)
	}
	if len(changed) > 0 {
		meta["changed_fields"] = strings.Join(changed, ",")
		msg += " in " + strings.Join(changed, ", ")
	}
	return withDetails(codes.Aborted, msg+"; read it again and repeat the change", &errdetails.ErrorInfo{Reason: reasonStale, Domain: domain, Metadata: meta})
}

func busy(key confset.Key, attempts int) error {
	return withDetails(codes.Aborted, fmt.Sprintf("others kept changing %s %q, or what changes with it, during %d attempts; try again", key.Kind, key.Name, attempts),
		&errdetails.ErrorInfo{Reason: reasonBusy, Domain: domain, Metadata: map[string]string{"kind": key.Kind, "name": key.Name}})
}

func owned(e *admit.OwnedError) error {
	fail := &errdetails.PreconditionFailure{}
	for _, o := range e.Objects {
		v := &errdetails.PreconditionFailure_Violation{Type: reasonOwned, Subject: o.Key.String(), Description: "belongs to the file " + o.File + "; change it in that file"}
		if o.File == "" {
			v.Type, v.Description = reasonSet, o.Description()
		}
		fail.Violations = append(fail.Violations, v)
	}
	return withDetails(codes.FailedPrecondition, e.Error(), fail)
}

// refusal makes what admit or the store returned an answer. Causes stay in the log: they may name addresses.
func refusal(err error) error {
	var (
		vs    admit.Violations
		own   *admit.OwnedError
		limit *store.LimitError
		vague *store.AmbiguousError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &vs):
		return invalid(vs)
	case errors.As(err, &own):
		return owned(own)
	case errors.As(err, &limit):
		return invalid(admit.Violations{{Problem: limit.Error()}})
	case errors.As(err, &vague):
		return withDetails(codes.Unavailable, fmt.Sprintf("unknown whether change %s was stored; ask for that change before you repeat it", vague.ChangeID),
			&errdetails.ErrorInfo{Reason: reasonUnknown, Domain: domain, Metadata: map[string]string{"change_id": vague.ChangeID}})
	case errors.Is(err, store.ErrUnavailable):
		return &causedError{status.New(codes.Unavailable, "the store can't be reached; nothing was changed"), err}
	case errors.Is(err, store.ErrEpoch):
		return &causedError{status.New(codes.Unavailable, "the store was made anew or restored; try again"), err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return &causedError{status.New(codes.Internal, "internal error; the log of this control plane has the cause"), err}
}

// causedError is an answer whose cause only the log sees.
type causedError struct {
	answer *status.Status
	cause  error
}

func (e *causedError) Error() string              { return e.answer.Message() + ": " + e.cause.Error() }
func (e *causedError) Unwrap() error              { return e.cause }
func (e *causedError) GRPCStatus() *status.Status { return e.answer }
