package follow_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/attr"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func traceparent(i int) string { return fmt.Sprintf("00-%032d-%016d-01", i, i) }

func TestAnUpdateIsASpanOfItsChange(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir(), func(cfg *follow.Config) {
			cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		})
		want := with(set(t, "a"), server(t, "b", "nowhere"))
		p, _ := c.accept(t, want, 4)
		traced := func(u *syncv1.Update) {
			u.Traceparent, u.Links, u.Changes = traceparent(1), []string{traceparent(2), "nonsense"}, []string{"01A", "01B"}
		}
		p.push(nil, want, 4, traced)
		p.ack(t)
		p.push(want, set(t, "a"), 3, traced)
		p.ack(t)
	})
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans", len(ended))
	}
	s := ended[0]
	if s.Name() != "apply" || s.Parent().TraceID().String() != fmt.Sprintf("%032d", 1) || s.Parent().SpanID().String() != fmt.Sprintf("%016d", 1) ||
		len(s.Links()) != 1 || s.Links()[0].SpanContext.TraceID().String() != fmt.Sprintf("%032d", 2) {
		t.Errorf("span %s, parent %v, links %v", s.Name(), s.Parent(), s.Links())
	}
	have := attribute.NewSet(s.Attributes()...)
	for key, want := range map[attribute.Key]any{attr.Node: "dp-1", attr.Region: "eu", attr.ConfigRevision: int64(4), attr.Objects: int64(2), attr.Rejected: int64(1), attr.Outcome: "rejected", attr.Full: true} {
		if v, _ := have.Value(key); v.AsInterface() != want {
			t.Errorf("%s is %v, want %v", key, v.AsInterface(), want)
		}
	}
	if len(s.Events()) != 1 || s.Events()[0].Name != "rejected" {
		t.Errorf("events %v", s.Events())
	}
	if s := ended[1]; s.Status().Code != codes.Error || !strings.Contains(s.Status().Description, "older") {
		t.Errorf("refused: status %v", s.Status())
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		desired := with(set(t, "a"), server(t, "b", "nowhere"), key(t, "k"), key(t, "l"))
		p, _ := c.accept(t, desired, 4)
		p.push(nil, desired, 4)
		p.ack(t)
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(n)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				have[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		want := map[string]float64{
			attr.MetricRevision: 4, attr.MetricConfigAge: 0, attr.MetricRejected: 1, attr.MetricApply: 1, attr.MetricConfigResyncs: 0,
			"hopgate_control_connected": 1, "hopgate_config_objects server": 1, "hopgate_config_objects apikey": 2,
			"hopgate_config_refused_total": 0, "hopgate_config_disk_errors_total": 0,
		}
		if !maps.Equal(have, want) {
			t.Errorf("metrics %v, want %v", have, want)
		}
	})
}
