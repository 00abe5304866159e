//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// jaeger is a real Jaeger with memory storage.
type jaeger struct{ otlp, query string }

const jaegerConfig = `
service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines:
    traces: {receivers: [otlp], processors: [], exporters: [jaeger_storage_exporter]}
  telemetry: {metrics: {level: none}, logs: {level: warn}}
extensions:
  healthcheckv2: {use_v2: true, http: {endpoint: "HOST:13133"}}
  jaeger_query:
    http: {endpoint: "HOST:16686"}
    grpc: {endpoint: "HOST:16685"}
    storage: {traces: mem}
  jaeger_storage: {backends: {mem: {memory: {max_traces: 100000}}}}
receivers:
  otlp: {protocols: {grpc: {endpoint: "HOST:4317"}, http: {endpoint: "HOST:4318"}}}
exporters:
  jaeger_storage_exporter: {trace_storage: mem}
`

func startJaeger(t *testing.T) jaeger {
	t.Helper()
	host := ownHost()
	file := filepath.Join(t.TempDir(), "jaeger.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(jaegerConfig, "HOST", host)), 0o644); err != nil {
		t.Fatal(err)
	}
	r := start(t, program{Name: "jaeger", Args: []string{tool(t, "E2E_JAEGER", "jaeger"), "--config", file}, Env: []string{"OTEL_TRACES_SAMPLER=always_off"}})
	eventually(t, 30*time.Second, "Jaeger is ready", func() error {
		if !r.alive() {
			t.Fatalf("jaeger ended: %v\n%s", r.state, tail(r.output(), 30))
		}
		return okay("http://" + host + ":13133/status")
	})
	return jaeger{otlp: "http://" + host + ":4317", query: "http://" + host + ":16686"}
}

// env makes a process export its spans here, soon.
func (j jaeger) env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + j.otlp, "OTEL_BSP_SCHEDULE_DELAY=100"}
}

type jaegerTrace struct {
	TraceID   string
	Spans     []span
	Processes map[string]struct{ ServiceName string }
}

func (j jaeger) get(path string) ([]jaegerTrace, error) {
	res, err := quick.Get(j.query + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	var m struct{ Data []jaegerTrace }
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
		return nil, err
	}
	for _, tr := range m.Data {
		for i := range tr.Spans {
			tr.Spans[i].service = tr.Processes[tr.Spans[i].ProcessID].ServiceName
		}
	}
	return m.Data, nil
}

// holds waits until a trace holds the tree, and shows it.
func (j jaeger) holds(t *testing.T, traceID string, want tree) {
	t.Helper()
	var last []jaegerTrace
	defer func() {
		for _, tr := range last {
			t.Logf("trace %s\n%s", tr.TraceID, draw(tr.Spans, "", 0))
		}
	}()
	eventually(t, shown, "the tree is in trace "+traceID, func() error {
		traces, err := j.get("/api/traces/" + traceID)
		if err != nil {
			return err
		}
		if last = traces; len(traces) != 1 {
			return fmt.Errorf("%d traces", len(traces))
		}
		return want.match(traces[0].Spans, "")
	})
}

const (
	dataPlane    = "hopgate-dataplane"
	controlPlane = "hopgate-controlplane"
)

// tracedFleet is a fleet whose three kinds of processes all export to one Jaeger; every request is sampled.
func tracedFleet(t *testing.T) (jaeger, *control, *proxy, string) {
	t.Helper()
	j := startJaeger(t)
	c := startControl(t, "control", j.env())
	p := startProxy(t, "proxy", j.env(), []*control{c}, "--region", "eu")
	c.apply(t, server("demo", demoServer(t, j.env()...))+server("gone", "http://"+ownHost()+":3001/mcp")+"kind: Settings\nname: default\nspec: {tracing: {sample_ratio: \"1\"}}\n")
	return j, c, p, c.key(t, "traced", "*")
}

func TestJaegerShowsACallThroughEveryHop(t *testing.T) {
	j, _, p, key := tracedFleet(t)
	a, err := post(p.url("demo"), key, toolCall("echo", map[string]any{"message": "traced"}))
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v %+v", err, a)
	}
	j.holds(t, a.Header.Get("X-Hopgate-Trace-Id"), tree{service: dataPlane, name: "tools/call echo", kind: "server",
		tags: map[string]string{"hopgate.hop": "client", "hopgate.region": "eu", "hopgate.server": "demo", "mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "hopgate.caller": "traced"},
		below: []tree{
			{service: dataPlane, name: "auth"}, {service: dataPlane, name: "route"},
			{service: dataPlane, name: "tools/call echo.*", kind: "client", tags: map[string]string{"hopgate.hop": "upstream", "hopgate.server": "demo"},
				events: []string{"request sent", "headers", "first event", "end"},
				below:  []tree{{service: "hopgate-demo", name: "tools/call echo", kind: "server"}}},
		}})
}

func TestJaegerFindsAFailedCallByItsErrorType(t *testing.T) {
	j, _, p, key := tracedFleet(t)
	a, err := post(p.url("gone"), key, toolCall("echo", map[string]any{"message": "lost"}))
	if err != nil || a.Status != http.StatusBadGateway {
		t.Fatalf("%v %+v", err, a)
	}
	query := url.Values{"service": {dataPlane}, "limit": {"5"}, "tags": {`{"error.type":"refused"}`}}
	eventually(t, shown, "the failed call is found by error.type=refused", func() error {
		found, err := j.get("/api/traces?" + query.Encode())
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].TraceID != a.Header.Get("X-Hopgate-Trace-Id") {
			return fmt.Errorf("found %d traces", len(found))
		}
		return nil
	})
	j.holds(t, a.Header.Get("X-Hopgate-Trace-Id"), tree{service: dataPlane, name: "tools/call echo", kind: "server", tags: map[string]string{"error.type": "refused"},
		below: []tree{{service: dataPlane, name: "tools/call echo.*", kind: "client",
			tags: map[string]string{"error.type": "refused", "hopgate.hop": "upstream", "hopgate.phase": "connect", "error": "true"}, events: []string{"connect", "end"}}}})
}

func TestJaegerShowsAChangeUpToTheDataPlanesAnswer(t *testing.T) {
	j, c, p, _ := tracedFleet(t)
	out := c.apply(t, server("later", "http://"+ownHost()+":3001/mcp"))
	id := regexp.MustCompile(`change (\w+)`).FindStringSubmatch(out)
	var change struct{ Traceparent string }
	if id == nil || c.get("/v1/changes/"+id[1], &change) != nil || len(change.Traceparent) != 55 {
		t.Fatalf("no traceparent of the change in %+v, applied with\n%s", change, out)
	}
	j.holds(t, change.Traceparent[3:35], tree{service: controlPlane, name: "Apply.*|.*CreateChange", kind: "server", below: []tree{
		{service: controlPlane, name: "admit"}, {service: controlPlane, name: "store.commit"},
		{service: controlPlane, name: "push.*", kind: "producer", below: []tree{
			{service: dataPlane, name: "apply", tags: map[string]string{"hopgate.node": p.Name}},
			{service: controlPlane, name: "ack.*"},
		}},
	}})
}
