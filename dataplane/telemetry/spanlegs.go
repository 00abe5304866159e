package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/proto/fault"
)

// legs makes the spans of a request's legs, under its SERVER span: a CLIENT span for each, and one for its credential where it wants one.
func (m *spanMaker) legs(ctx context.Context, parent *Record) {
	kept := parent.legs.first(maxLegs)
	var r Record
	for i := range kept {
		l := &kept[i]
		l.fill(&r, parent)
		if !r.Credential.Start.IsZero() {
			m.credential(ctx, &r, l.credentialFailure())
		}
		m.call(ctx, &r, l.failure)
	}
}

// late makes the spans of legs that ended when their request's own span was out already.
func (m *spanMaker) late(parent *Record) {
	above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: parent.IDs.Trace, SpanID: parent.IDs.Request, TraceFlags: trace.FlagsSampled})
	m.legs(trace.ContextWithSpanContext(context.Background(), above), parent)
}

// lateFault is late for those nobody sampled, unless too many failed in that way in this second.
func (m *spanMaker) lateFault(parent *Record, k faultKey) {
	if ok, _ := m.limit.allow(k, time.Now()); !ok {
		m.onSuppressed()
		return
	}
	m.late(parent)
}

// fill makes r what spans read of the leg.
func (l *leg) fill(r, parent *Record) {
	*r = Record{
		IDs: l.ids, Start: l.start, Routed: l.start, End: l.end, Method: l.method, Tool: l.tool, Prompt: l.prompt, Resource: l.resource,
		RequestID: l.requestID, Revision: l.revision, Session: l.session, Server: l.server, HTTPMethod: parent.HTTPMethod,
		UpstreamAddr: l.addr, UpstreamPort: l.port, UpstreamStatus: l.status, Attempts: l.attempts, Credential: l.credential,
		Upstream: l.upstream, Outcome: l.outcome, Fault: l.failure.fault(),
	}
}

// credentialFailure is the failure of a leg that didn't get as far as its server.
func (l *leg) credentialFailure() *failure {
	if l.failure != nil && (l.failure.hop == fault.AuthServer || l.upstream.Start.IsZero()) {
		return l.failure
	}
	return nil
}
