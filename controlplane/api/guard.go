package api

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/proto/attr"
)

// Metadata that the REST face sets for the service behind it.
const (
	ifMatchKey = "hopgate-if-match"
	remoteKey  = "hopgate-remote"
	traceIDKey = "x-hopgate-trace-id"
)

// guard stands before every call: it settles who calls, refuses what isn't allowed, and audits.
type guard struct {
	cfg    Config
	tracer trace.Tracer
}

func newGuard(cfg Config) *guard {
	return &guard{cfg: cfg, tracer: cfg.Tracer.Tracer(tracerName)}
}

// unary is the interceptor of every unary call.
func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (res any, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	tr := &trail{method: info.FullMethod, remote: remoteOf(ctx, md)}
	who, err := g.admit(md.Get, tr)
	if err != nil {
		g.audit(ctx, tr, err)
		return nil, err
	}
	ctx = context.WithValue(withCaller(ctx, who), trailKey{}, tr)
	ctx, span := g.begin(ctx, md, tr)
	defer func() {
		if p := recover(); p != nil {
			err = refusal(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
		g.end(span, tr, err)
		if !readOnly(info.FullMethod) || err != nil {
			g.audit(ctx, tr, err)
		}
	}()
	return handle(ctx, req)
}

// admit identifies the caller and checks the role.
func (g *guard) admit(h headers, tr *trail) (caller, error) {
	who, err := g.identify(h)
	if err != nil {
		return who, err
	}
	tr.caller = who
	return who, allow(who, tr.method)
}

// stream is the interceptor of every streaming call. Whoever loses the key or the role during the call loses the call.
func (g *guard) stream(srv any, st grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx := st.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	tr := &trail{method: info.FullMethod, remote: remoteOf(ctx, md)}
	defer func() {
		if p := recover(); p != nil {
			err = refusal(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
		if ctx.Err() == nil && err != nil && !errors.Is(err, errClosing) {
			g.audit(ctx, tr, err)
		}
	}()
	if _, err = g.admit(md.Get, tr); err != nil {
		return err
	}
	again := func() error {
		_, err := g.admit(md.Get, &trail{method: tr.method})
		return err
	}
	return handle(srv, &admitted{st, context.WithValue(withCaller(ctx, tr.caller), againKey{}, again)})
}

// admitted is a stream whose caller is known.
type admitted struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream's own
}

// Context carries who calls.
func (a *admitted) Context() context.Context { return a.ctx }

type againKey struct{}

// admitAgain asks whether the caller of a stream may still call it.
func admitAgain(ctx context.Context) error {
	if again, ok := ctx.Value(againKey{}).(func() error); ok {
		return again()
	}
	return nil
}

// begin starts the span of an admitted call; only admitted callers may be its parent. Writes are called Apply, whatever the method: a change
// looks alike in every trace.
func (g *guard) begin(ctx context.Context, md metadata.MD, tr *trail) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, carrier(md))
	name := path.Base(tr.method)
	if !readOnly(tr.method) {
		name = attr.SpanApply
	}
	ctx, span := g.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String(attr.RPCSystem, "grpc"), attribute.String(attr.RPCMethod, tr.method[1:]), attribute.String(attr.Caller, tr.caller.name)))
	if id := span.SpanContext().TraceID(); id.IsValid() {
		// Fails only without a running call, as in a test of the interceptor alone.
		_ = grpc.SetHeader(ctx, metadata.Pairs(traceIDKey, id.String()))
	}
	return ctx, span
}

func (g *guard) end(span trace.Span, tr *trail, err error) {
	if tr.change != "" {
		span.SetAttributes(attribute.String(attr.Change, tr.change))
	}
	fail(span, err)
	span.End()
}

// step starts a child span; its end takes the step's error.
func (s *service) step(ctx context.Context, name string) (context.Context, func(error)) {
	ctx, span := s.tracer.Start(ctx, name)
	return ctx, func(err error) {
		fail(span, err)
		span.End()
	}
}

// fail marks a span as failed with the answer's code, never with its text: that may quote what the caller sent.
func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	word := codeWord(status.Code(refusal(err)))
	span.SetAttributes(attribute.String(attr.ErrorType, word))
	span.SetStatus(otelcodes.Error, word)
}

// carrier lets the propagator read gRPC metadata.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }
func (c carrier) Keys() []string        { return nil }

// remoteOf is the address of the caller; the REST face, which calls from memory, says whose call it carries.
func remoteOf(ctx context.Context, md metadata.MD) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if p.Addr.Network() == "bufconn" {
		return carrier(md).Get(remoteKey)
	}
	return p.Addr.String()
}
