package telemetry_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func family(t testing.TB, reg *prometheus.Registry, name string) []*dto.Metric {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// value sums a metric (for histograms: their counts) over the series that have all of match.
func value(t testing.TB, reg *prometheus.Registry, name string, match map[string]string) (sum float64) {
	t.Helper()
	for _, m := range family(t, reg, name) {
		has := labels(m)
		if slices.ContainsFunc(slices.Collect(maps.Keys(match)), func(k string) bool { return has[k] != match[k] }) {
			continue
		}
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

func TestDurations(t *testing.T) {
	k := newKit(t, nil)
	k.tell(call())
	want := map[string]string{"method": "tools/call", "server": "everything", "tool": "echo", "outcome": "ok", "region": "eu"}
	for name, sum := range map[string]float64{"mcp_server_operation_duration_seconds": 0.024, "mcp_client_operation_duration_seconds": 0.0234} {
		got := family(t, k.registry, name)
		if len(got) != 1 || !maps.Equal(labels(got[0]), want) {
			t.Fatalf("%s: %v", name, got)
		}
		if h := got[0].GetHistogram(); h.GetSampleCount() != 1 || !near(h.GetSampleSum(), sum) {
			t.Errorf("%s: %v", name, h)
		}
	}
	if h := family(t, k.registry, "hopgate_overhead_seconds")[0].GetHistogram(); !near(h.GetSampleSum(), 0.0006) {
		t.Errorf("overhead %v", h.GetSampleSum())
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

func TestARequestWithoutUpstreamHasNoUpstreamSeries(t *testing.T) {
	k := newKit(t, nil)
	r := call()
	r.Upstream = telemetry.Timing{}
	k.tell(r)
	if n := len(family(t, k.registry, "mcp_client_operation_duration_seconds")); n != 0 {
		t.Errorf("%d series", n)
	}
	if n := value(t, k.registry, "hopgate_overhead_seconds", nil); n != 0 {
		t.Errorf("%v overheads", n)
	}
}

func TestOutcomeLabels(t *testing.T) {
	tests := []struct {
		name, outcome string
		status        int
		fault         *fault.Error
		want          string
	}{
		{"tool error", "tool_error", 200, nil, "tool_error"},
		{"known code", "-32602", 200, nil, "-32602"},
		{"code of a server's own", "12345", 200, nil, "rpc_error"},
		{"nothing known", "", 202, nil, "ok"},
		{"refusal without fault", "", 405, nil, "client_error"},
		{"failure without fault", "", 500, nil, "server_error"},
		{"fault", "ok", 502, &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.Reset}, "reset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			r := call()
			r.Outcome, r.Status, r.Fault = tt.outcome, tt.status, tt.fault
			k.tell(r)
			if n := value(t, k.registry, "mcp_server_operation_duration_seconds", map[string]string{"outcome": tt.want}); n != 1 {
				t.Errorf("no %q in %v", tt.want, family(t, k.registry, "mcp_server_operation_duration_seconds"))
			}
		})
	}
}

func TestFaultsAreCounted(t *testing.T) {
	k := newKit(t, nil)
	k.tell(refused())
	k.tell(refused())
	k.tell(call())
	want := map[string]string{"hop": "upstream", "phase": "connect", "kind": "refused", "server": "everything", "region": "eu"}
	if n := value(t, k.registry, "hopgate_faults_total", want); n != 2 {
		t.Errorf("%v: %v", n, family(t, k.registry, "hopgate_faults_total"))
	}
}

func TestGauges(t *testing.T) {
	k := newKit(t, nil)
	a, b := call(), call()
	k.Begin(a)
	k.Begin(b)
	k.Streams().Inc()
	k.Streams().Inc()
	k.Streams().Dec()
	if n := value(t, k.registry, "hopgate_active_requests", nil); n != 2 || k.Active() != 2 {
		t.Errorf("%v requests", n)
	}
	if n := value(t, k.registry, "hopgate_active_streams", nil); n != 1 {
		t.Errorf("%v streams", n)
	}
	k.Finish(a)
	k.Finish(a) // harmless
	k.Finish(b)
	if n := value(t, k.registry, "hopgate_active_requests", nil); n != 0 {
		t.Errorf("%v requests", n)
	}
	if n := value(t, k.registry, "mcp_server_operation_duration_seconds", nil); n != 2 {
		t.Errorf("%v counted", n)
	}
}

// Callers choose methods and tool names; neither may make series without end.
func TestLabelsAreBounded(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer, c.Log = nil, nil, nil })
	send := func(method, tool, server, outcome string) {
		r := call()
		r.Method, r.Tool, r.Server, r.Outcome = method, tool, server, outcome
		k.tell(r)
	}
	for i := range 400 {
		send("junk/"+fmt.Sprint(i), "", "everything", "ok")
		send("tools/call", fmt.Sprint("guess-", i), "everything", "tool_error")
	}
	for i := range 1200 {
		send("tools/call", fmt.Sprint("tool-", i), "everything", "ok")
	}
	send("tools/call", "bad\xff", "everything", "ok")
	send("tools/call", strings.Repeat("x", 500), "everything", "ok")
	name := "mcp_server_operation_duration_seconds"
	if n := value(t, k.registry, name, map[string]string{"method": "other"}); n != 400 {
		t.Errorf("%v junk methods under other", n)
	}
	if n := value(t, k.registry, name, map[string]string{"tool": "other", "outcome": "tool_error"}); n != 150 {
		t.Errorf("%v guessed tools under other, want all but 250", n)
	}
	if n := value(t, k.registry, name, map[string]string{"tool": "other", "outcome": "ok"}); n != 452 {
		t.Errorf("%v tools under other, want all beyond 1000", n)
	}
	if n := len(family(t, k.registry, name)); n != 1003 {
		t.Errorf("%d series", n)
	}
	if n := value(t, k.registry, name, nil); n != 2002 {
		t.Errorf("%v requests counted", n)
	}
}

func TestServersAreBounded(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer, c.Log = nil, nil, nil })
	for i := range 4200 {
		r := refused()
		r.Server = fmt.Sprint("s", i)
		k.tell(r)
	}
	name := "mcp_server_operation_duration_seconds"
	if n := value(t, k.registry, name, map[string]string{"server": "other"}); n != 104 {
		t.Errorf("%v under other", n)
	}
	if n := value(t, k.registry, "hopgate_faults_total", map[string]string{"server": "other"}); n != 104 {
		t.Errorf("%v faults under other", n)
	}
}

func TestBucketsReachBelowAMillisecond(t *testing.T) {
	k := newKit(t, nil)
	r := call()
	r.End = t0.Add(300 * time.Microsecond)
	r.Upstream = telemetry.Timing{}
	k.tell(r)
	for _, b := range family(t, k.registry, "mcp_server_operation_duration_seconds")[0].GetHistogram().GetBucket() {
		if b.GetUpperBound() >= 0.0005 && b.GetCumulativeCount() != 1 {
			t.Errorf("bucket %v has %d", b.GetUpperBound(), b.GetCumulativeCount())
		}
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	if _, err := telemetry.New(telemetry.Config{}); err == nil || !strings.Contains(err.Error(), "Registry") {
		t.Error(err)
	}
	if _, err := telemetry.New(telemetry.Config{Format: "xml", Registry: prometheus.NewRegistry()}); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Error(err)
	}
	reg := prometheus.NewRegistry()
	if _, err := telemetry.New(telemetry.Config{Registry: reg}); err != nil {
		t.Error(err)
	}
	if _, err := telemetry.New(telemetry.Config{Registry: reg}); err == nil {
		t.Error("two on one registry")
	}
}
