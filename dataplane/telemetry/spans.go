package telemetry

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// faultSpansPerSecond bounds the traces exported only because they failed, per (server, hop, phase, kind): a flood of refusals must not
// cost more than the work it was refused. The metrics count them all.
const faultSpansPerSecond = 100

// scope is the name of the instrumentation scope.
const scope = "github.com/hopgate/hopgate/dataplane"

// spanMaker makes the tree of a finished request:
//
//	SERVER tools/call echo            hop=client
//	├─ INTERNAL auth
//	├─ INTERNAL route
//	├─ INTERNAL credential             hop=authserver, for servers that want one
//	└─ CLIENT tools/call echo         hop=upstream, with the phases as events
type spanMaker struct {
	tracer       trace.Tracer
	region, node string
	limit        *limiter
	onSuppressed func()
}

func newSpanMaker(cfg Config) *spanMaker {
	return &spanMaker{
		tracer: cfg.Tracer.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version)),
		region: cfg.Region, node: cfg.Node, limit: newLimiter(faultSpansPerSecond),
	}
}

// exportFault exports a request nobody sampled that failed in a way, unless too many like it failed in this second.
func (m *spanMaker) exportFault(r *Record, k faultKey) {
	if ok, _ := m.limit.allow(k, r.End); !ok {
		m.onSuppressed()
		return
	}
	m.export(r)
}

func (m *spanMaker) export(r *Record) {
	ctx, root := m.startRoot(r)
	failed := failedSpan(r)
	if !r.AuthEnd.IsZero() || failed == spanAuth {
		m.inner(ctx, r, attr.SpanAuth, r.IDs.Auth, r.Start, orEnd(r.AuthEnd, r), failureIf(failed == spanAuth, r))
	}
	if !routeEnd(r).IsZero() || failed == spanRoute {
		m.inner(ctx, r, attr.SpanRoute, r.IDs.Route, routeStart(r), orEnd(routeEnd(r), r), failureIf(failed == spanRoute, r))
	}
	if !r.Credential.Start.IsZero() {
		m.credential(ctx, r, failureIf(failed == spanCredential, r))
	}
	if !r.Upstream.Start.IsZero() || failed == spanCall {
		m.call(ctx, r, failureIf(failed == spanCall, r))
	}
	m.legs(ctx, r)
	root.SetAttributes(m.rootAttributes(r)...)
	markRoot(root, r)
	root.End(trace.WithTimestamp(r.End))
}

func (m *spanMaker) startRoot(r *Record) (context.Context, trace.Span) {
	ctx := context.Background()
	if r.Parent != [8]byte{} {
		state, _ := trace.ParseTraceState(r.State)
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: r.IDs.Trace, SpanID: r.Parent, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true}))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Start)}
	if r.Link.Trace != [16]byte{} {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: r.Link.Trace, SpanID: r.Link.Call, Remote: true})}))
	}
	return m.tracer.Start(withIDs(ctx, r.IDs.Trace, r.IDs.Request), spanName(r), opts...)
}

// inner makes the span of a step inside this process.
func (m *spanMaker) inner(ctx context.Context, r *Record, name string, id [8]byte, from, to time.Time, f *failure) {
	_, s := m.tracer.Start(withIDs(ctx, r.IDs.Trace, id), name, trace.WithTimestamp(from))
	s.SetAttributes(attribute.String(attr.Hop, fault.Gateway.String()), attribute.String(attr.Region, m.region))
	if r.Caller != "" {
		s.SetAttributes(attribute.String(attr.Caller, strings.Clone(r.Caller)))
	}
	if r.Server != "" && name != attr.SpanAuth {
		s.SetAttributes(attribute.String(attr.Server, strings.Clone(r.Server)))
	}
	if f != nil {
		markFault(s, f)
	}
	s.End(trace.WithTimestamp(to))
}

// credential makes the span of finding what the server wants of us.
func (m *spanMaker) credential(ctx context.Context, r *Record, f *failure) {
	_, s := m.tracer.Start(withIDs(ctx, r.IDs.Trace, newSpanID()), attr.SpanCredential, trace.WithTimestamp(r.Credential.Start))
	s.SetAttributes(attribute.String(attr.Hop, fault.AuthServer.String()), attribute.String(attr.Region, m.region),
		attribute.String(attr.Server, strings.Clone(r.Server)))
	if f != nil {
		markFault(s, f)
	}
	s.End(trace.WithTimestamp(orEnd(r.Credential.End, r)))
}

// call makes the span of the upstream leg.
func (m *spanMaker) call(ctx context.Context, r *Record, f *failure) {
	u, start := &r.Upstream, r.Upstream.Start
	if start.IsZero() { // it failed before the transport was asked
		start = orEnd(r.Routed, r)
	}
	_, s := m.tracer.Start(withIDs(ctx, r.IDs.Trace, r.IDs.Call), spanName(r), trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start))
	s.SetAttributes(m.callAttributes(r)...)
	end := orEnd(u.End, r)
	addEvents(s, u, end)
	switch {
	case f != nil:
		markFault(s, f)
	case r.Outcome == attr.ToolError:
		markError(s, r.Outcome, "the tool answered with isError")
	case isCode(r.Outcome):
		markError(s, r.Outcome, "the server answered with a JSON-RPC error")
	}
	s.End(trace.WithTimestamp(end))
}

func addEvents(s trace.Span, u *Timing, end time.Time) {
	event := func(name string, from, at time.Time) {
		if at.IsZero() {
			return
		}
		opts := []trace.EventOption{trace.WithTimestamp(at)}
		if d := between(from, at); d >= 0 {
			opts = append(opts, trace.WithAttributes(attribute.Float64(attr.Milliseconds, float64(d.Microseconds())/1000)))
		}
		s.AddEvent(name, opts...)
	}
	event("dns", u.DNSStart, u.DNSDone)
	event("connect", u.ConnStart, u.ConnDone)
	event("tls", u.TLSStart, u.TLSDone)
	event("request sent", time.Time{}, u.Sent)
	event("headers", u.Sent, u.Headers)
	event("first event", u.Sent, u.First)
	event("end", u.Start, end)
}

func orEnd(t time.Time, r *Record) time.Time {
	if t.IsZero() {
		return r.End
	}
	return t
}

// spanName is the method and what it is applied to, as the MCP conventions want it; names that are no MCP methods are folded.
func spanName(r *Record) string {
	name := methodLabel(r.Method)
	target := r.Tool
	if target == "" {
		target = r.Prompt
	}
	switch {
	case name == "":
		return strings.Clone(cut(r.HTTPMethod, 16))
	case target == "" || name == other:
		return strings.Clone(name)
	}
	return name + " " + cut(target, maxLabel)
}

// markRoot gives the SERVER span its outcome. A caller's own mistake is not this server's error, though it has a type.
func markRoot(s trace.Span, r *Record) {
	switch {
	case r.Fault != nil:
		f := failureOf(r.Fault)
		typeFault(s, f)
		if !callersMistake(rpcStatus(r)) {
			s.SetStatus(codes.Error, f.text)
		}
	case r.Outcome == attr.ToolError:
		markError(s, r.Outcome, "the tool answered with isError")
	case isCode(r.Outcome) && !callersMistake(r.Outcome):
		markError(s, r.Outcome, "the server answered with a JSON-RPC error")
	}
}

func markError(s trace.Span, kind, text string) {
	s.SetAttributes(attribute.String(attr.ErrorType, kind))
	s.SetStatus(codes.Error, text)
}

// isCode reports whether an outcome is a JSON-RPC error code.
func isCode(outcome string) bool {
	return outcome != "" && outcome != "ok" && outcome != attr.ToolError
}

// callersMistake reports the JSON-RPC codes that the MCP conventions don't count as errors of a server: parse error, invalid request,
// method not found, invalid params, resource not found.
func callersMistake(code string) bool {
	switch code {
	case "-32700", "-32600", "-32601", "-32602", "-32002":
		return true
	}
	return false
}
