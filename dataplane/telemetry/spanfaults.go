package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// failure is a fault as spans show it, by value: a leg's is told when the fault may be gone.
type failure struct {
	hop    fault.Hop
	phase  fault.Phase
	kind   fault.Kind
	remote bool
	text   string
	code   int // JSON-RPC
}

// failureOf returns what spans show of a fault; nil for none.
func failureOf(f *fault.Error) *failure {
	if f == nil {
		return nil
	}
	return &failure{hop: f.Hop, phase: f.Phase, kind: f.Kind, remote: f.Remote, text: oneLine(f.Error(), maxCause), code: f.JSONRPCCode()}
}

// fault is the failure as a fault again, for what reads it of a record.
func (f *failure) fault() *fault.Error {
	if f == nil {
		return nil
	}
	return &fault.Error{Hop: f.hop, Phase: f.phase, Kind: f.kind, Remote: f.remote, Code: f.code}
}

// failureIf is the request's failure for the span that bears it.
func failureIf(bears bool, r *Record) *failure {
	if !bears {
		return nil
	}
	return failureOf(r.Fault)
}

func markFault(s trace.Span, f *failure) {
	typeFault(s, f)
	s.SetStatus(codes.Error, f.text)
}

// typeFault makes a failed span findable by what failed; on the SERVER span, too, Hop is then the hop that failed.
func typeFault(s trace.Span, f *failure) {
	s.SetAttributes(attribute.String(attr.Hop, f.hop.String()), attribute.String(attr.Phase, f.phase.String()),
		attribute.String(attr.Kind, f.kind.String()), attribute.Bool(attr.Remote, f.remote), attribute.String(attr.ErrorType, f.kind.String()))
}

// The spans that can bear a fault beside the SERVER span.
const (
	spanRoot = iota
	spanAuth
	spanRoute
	spanCredential
	spanCall
)

// failedSpan tells which child a fault belongs to.
func failedSpan(r *Record) int {
	f := r.Fault
	switch {
	case f == nil:
		return spanRoot
	case f.Hop == fault.Upstream:
		return spanCall
	case !r.Credential.Start.IsZero() && r.Routed.IsZero():
		return spanCredential
	case f.Hop == fault.AuthServer:
		return spanAuth
	case f.Phase == fault.Auth:
		return spanAuth
	}
	switch f.Phase {
	case fault.Grant, fault.Policy, fault.Limit, fault.Route, fault.Session, fault.Config:
		return spanRoute
	}
	return spanRoot
}
