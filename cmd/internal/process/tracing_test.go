package process_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

// collector is a small real OTLP collector on both protocols.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu  sync.Mutex
	got []*collectorv1.ExportTraceServiceRequest
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, r)
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var m collectorv1.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), &m)
}

// told returns "service/version/instance/region: span" of each span that came.
func (c *collector) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, r := range c.got {
		for _, rs := range r.GetResourceSpans() {
			attrs := map[string]string{}
			for _, kv := range rs.GetResource().GetAttributes() {
				attrs[kv.GetKey()] = kv.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					b.WriteString(strings.Join([]string{attrs["service.name"], attrs["service.version"], attrs["service.instance.id"], attrs["cloud.region"]}, "/") + ": " + s.GetName())
				}
			}
		}
	}
	return b.String()
}

func (c *collector) grpc(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(srv, c)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return "http://" + ln.Addr().String()
}

func (c *collector) http(t *testing.T) string {
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	return srv.URL
}

// clearEnv keeps the machine's own settings out of a test.
func clearEnv(t *testing.T) {
	for _, name := range []string{"SDK_DISABLED", "TRACES_EXPORTER", "TRACES_SAMPLER", "SERVICE_NAME", "RESOURCE_ATTRIBUTES", "EXPORTER_OTLP_ENDPOINT",
		"EXPORTER_OTLP_TRACES_ENDPOINT", "EXPORTER_OTLP_PROTOCOL", "EXPORTER_OTLP_TRACES_PROTOCOL", "EXPORTER_OTLP_HEADERS", "BSP_SCHEDULE_DELAY"} {
		t.Setenv("OTEL_"+name, "")
	}
}

func start(t *testing.T, change func(*process.TracingConfig)) (*process.Tracing, *buffer) {
	t.Helper()
	log, out := newLog(t)
	cfg := process.TracingConfig{Service: "hopgate-dataplane", Instance: "dp-1", Region: "eu", Version: "v9", Log: log}
	if change != nil {
		change(&cfg)
	}
	tr, err := process.StartTracing(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr, out
}

func span(tr *process.Tracing, name string) {
	_, s := tr.Provider().Tracer("test").Start(context.Background(), name)
	s.End()
}

func TestSpansReachACollector(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			clearEnv(t)
			c := &collector{}
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			if protocol == "grpc" {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.grpc(t))
			} else {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.http(t))
			}
			tr, out := start(t, nil)
			span(tr, "apply")
			eventually(t, "a batch after a second", func() bool { return c.told() != "" })
			if got := c.told(); got != "hopgate-dataplane/v9/dp-1/eu: apply" {
				t.Error(got)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- tr.Run(ctx) }()
			span(tr, " last")
			cancel()
			if err := <-done; err != nil || !strings.HasSuffix(c.told(), " last") {
				t.Error(err, c.told(), out)
			}
		})
	}
}

func TestEnvironmentNamesTheService(t *testing.T) {
	clearEnv(t)
	c := &collector{}
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.http(t)+"/v1/traces")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "cloud.region=mars")
	tr, _ := start(t, nil)
	span(tr, "x")
	if err := tr.Shutdown(t.Context()); err != nil || c.told() != "mine/v9/dp-1/mars: x" {
		t.Error(err, c.told())
	}
}

func TestNoEndpointNoExporter(t *testing.T) {
	for name, set := range map[string][]string{
		"nothing set":   {},
		"disabled":      {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_SDK_DISABLED", "TRUE"},
		"exporter none": {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			for i := 0; i < len(set); i += 2 {
				t.Setenv(set[i], set[i+1])
			}
			tr, out := start(t, nil)
			if tr.Enabled() {
				t.Error("enabled")
			}
			span(tr, "x")
			if err := tr.Shutdown(t.Context()); err != nil || out.String() != "" {
				t.Error(err, out)
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	for name, set := range map[string][]string{
		"OTEL_TRACES_EXPORTER":        {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER", "zipkin"},
		"OTEL_EXPORTER_OTLP_PROTOCOL": {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"},
		"OTEL_EXPORTER_OTLP_ENDPOINT": {"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			for i := 0; i < len(set); i += 2 {
				t.Setenv(set[i], set[i+1])
			}
			log, _ := newLog(t)
			_, err := process.StartTracing(t.Context(), process.TracingConfig{Service: "s", Log: log})
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
	}
}

func TestCollectorAwayIsOneWarningAndACleanEnd(t *testing.T) {
	clearEnv(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	tr, out := start(t, nil)
	span(tr, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := tr.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if n := strings.Count(out.String(), "traces can't be delivered"); n != 1 {
		t.Errorf("%d warnings: %s", n, out)
	}
}

// moody fails until told otherwise.
type moody struct {
	mu   sync.Mutex
	err  error
	seen int
}

func (m *moody) ExportSpans(_ context.Context, s []sdktrace.ReadOnlySpan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen += len(s)
	return m.err
}

func (m *moody) Shutdown(context.Context) error { return nil }

func (m *moody) heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = nil
}

func TestWarningsAreRateLimitedAndRecoveryIsTold(t *testing.T) {
	clearEnv(t)
	m := &moody{err: errors.New("collector said no")}
	tr, out := start(t, func(c *process.TracingConfig) { c.Exporter = m })
	flush := func() {
		span(tr, "x")
		if err := tr.Provider().(*sdktrace.TracerProvider).ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		flush()
	}
	if n := strings.Count(out.String(), "collector said no"); n != 1 {
		t.Errorf("%d warnings: %s", n, out)
	}
	m.heal()
	flush()
	flush()
	if n := strings.Count(out.String(), "traces are delivered again"); n != 1 {
		t.Errorf("recovery told %d times: %s", n, out)
	}
	if err := tr.Shutdown(t.Context()); err != nil || m.seen != 22 {
		t.Error(err, m.seen)
	}
}

// keep lets an in-memory exporter survive its Shutdown, which would empty it.
type keep struct{ *tracetest.InMemoryExporter }

func (keep) Shutdown(context.Context) error { return nil }

// counting is an id generator of our own.
type counting struct{}

func (counting) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{1}, trace.SpanID{1}
}

func (counting) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{2} }

func TestWhoChoosesIDsHasDecided(t *testing.T) {
	clearEnv(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	for _, own := range []bool{true, false} {
		spans := tracetest.NewInMemoryExporter()
		tr, _ := start(t, func(c *process.TracingConfig) {
			c.Exporter = keep{spans}
			if own {
				c.IDs = counting{}
			}
		})
		span(tr, "x")
		if err := tr.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(spans.GetSpans()); (n == 1) != own {
			t.Errorf("own ids %v: %d spans", own, n)
		}
	}
}
