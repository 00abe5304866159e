package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
)

// tree renders spans as indented lines in the order they started.
func tree(spans tracetest.SpanStubs) string {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var b strings.Builder
	var walk func(parent string, depth int)
	walk = func(parent string, depth int) {
		for _, s := range spans {
			if s.Parent.SpanID().String() != parent {
				continue
			}
			fmt.Fprintf(&b, "%s%s %s %s\n", strings.Repeat("  ", depth), s.Name, s.SpanKind, value(s.Attributes, "error.type"))
			walk(s.SpanContext.SpanID().String(), depth+1)
		}
	}
	walk("b7ad6b7169203331", 0)
	return b.String()
}

func value(attrs []attribute.KeyValue, key string) string {
	for _, a := range attrs {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}

func TestAChangeIsOneTrace(t *testing.T) {
	exp := tracetest.NewInMemoryExporter()
	p := start(t, memstore.New(), withTracer(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exp))))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := p.do("PUT", "/v1/servers/a", demo, "traceparent", parent)
	spans := exp.GetSpans()
	if got, want := tree(spans), "Apply server \n  admit internal \n  store.commit internal \n"; got != want {
		t.Errorf("spans:\n%s\nwant:\n%s", got, want)
	}
	if a.header.Get("x-hopgate-trace-id") != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace id header: %v", a.header)
	}
	change := str(decoded(t, a), "meta", "change")
	rec := p.must(200, "GET", "/v1/changes/"+change, "")
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == "Apply" })
	apply := spans[i]
	if want := "00-" + apply.SpanContext.TraceID().String() + "-" + apply.SpanContext.SpanID().String() + "-01"; str(rec, "traceparent") != want {
		t.Errorf("traceparent %q, want %q", str(rec, "traceparent"), want)
	}
	if value(apply.Attributes, "hopgate.change") != change || value(apply.Attributes, "hopgate.caller") != "master" {
		t.Errorf("attributes: %v", apply.Attributes)
	}
	exp.Reset()
	p.must(400, "PUT", "/v1/servers/a", `{"spec":{}}`, "traceparent", parent)
	if got, want := tree(exp.GetSpans()), "Apply server invalid_argument\n  admit internal invalid_argument\n"; got != want {
		t.Errorf("refused:\n%s\nwant:\n%s", got, want)
	}
	exp.Reset()
	p.as("sk-nobody").must(401, "PUT", "/v1/servers/a", demo, "traceparent", parent)
	if got := exp.GetSpans(); len(got) != 0 {
		t.Errorf("a stranger made spans: %v", got)
	}
}
