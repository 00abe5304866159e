package demo

import (
	"context"
	"reflect"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/proto/attr"
)

// traced makes one SERVER span per call whose parent is the trace context in params._meta (SEP-414), else in the HTTP header.
func traced(t trace.Tracer) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			name := method
			if call, ok := req.(*mcp.CallToolRequest); ok {
				name += " " + call.Params.Name
			}
			ctx, span := t.Start(parent(ctx, req), name, trace.WithSpanKind(trace.SpanKindServer),
				trace.WithAttributes(attribute.String(attr.Method, method)))
			defer span.End()
			res, err := next(ctx, method, req)
			outcome(span, res, err)
			return res, err
		}
	}
}

func outcome(span trace.Span, res mcp.Result, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return
	}
	if r, ok := res.(*mcp.CallToolResult); ok && r != nil && r.IsError {
		span.SetStatus(codes.Error, "tool error")
		span.SetAttributes(attribute.String(attr.ErrorType, attr.ToolError))
	}
}

func parent(ctx context.Context, req mcp.Request) context.Context {
	carrier := propagation.MapCarrier{}
	if x := req.GetExtra(); x != nil {
		if v := x.Header.Get("Traceparent"); v != "" {
			carrier["traceparent"], carrier["tracestate"] = v, x.Header.Get("Tracestate")
		}
	}
	if meta := metaOf(req); meta != nil {
		if v, ok := meta["traceparent"].(string); ok {
			carrier["traceparent"] = v
			state, _ := meta["tracestate"].(string)
			carrier["tracestate"] = state
		}
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// metaOf is _meta of the request's params; nil when there are none. The SDK hands typed nil params to handlers of methods without any.
func metaOf(req mcp.Request) map[string]any {
	p := req.GetParams()
	if p == nil || reflect.ValueOf(p).IsNil() {
		return nil
	}
	return p.GetMeta()
}
