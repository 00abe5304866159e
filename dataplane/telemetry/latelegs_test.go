package telemetry_test

import (
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// Legs that end when their request has been told of have their spans under its own, if it was sampled or they failed, and it isn't told of again.
func TestLateLegsAreExportedUnderTheirRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		kit    func(*telemetry.Config)
		change func(*telemetry.Record)
		want   int
	}{{"sampled", sampled, nil, 1}, {"not sampled", nil, nil, 0}, {"failed", nil, notReached, 1}} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, c.kit)
			r := fanOut()
			k.Begin(r)
			late := telemetry.Record{IDs: r.IDs, Sampled: r.Sampled}
			k.Finish(r)
			k.spans.Reset()
			k.leg(&late, "jira", 1, 2, c.change)
			k.ExportLegs(&late)
			k.ExportLegs(&late)
			spans := k.spans.GetSpans()
			if len(spans) != c.want {
				t.Fatalf("%d spans", len(spans))
			}
			for _, s := range spans {
				if s.SpanKind != trace.SpanKindClient || s.Parent.SpanID() != trace.SpanID(r.IDs.Request) || s.SpanContext.TraceID() != trace.TraceID(r.IDs.Trace) {
					t.Errorf("%v %v under %v", s.SpanKind, s.SpanContext, s.Parent)
				}
			}
		})
	}
}
