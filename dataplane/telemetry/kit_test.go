package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kit is a Telemetry with everything it writes to at hand.
type kit struct {
	*telemetry.Telemetry
	access, errors *buffer
	registry       *prometheus.Registry
	spans          *tracetest.InMemoryExporter
}

// buffer is a bytes.Buffer that may be written and read at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newKit(t testing.TB, change func(*telemetry.Config)) *kit {
	t.Helper()
	k := &kit{access: &buffer{}, errors: &buffer{}, registry: prometheus.NewRegistry(), spans: tracetest.NewInMemoryExporter()}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(k.spans), sdktrace.WithIDGenerator(telemetry.IDGenerator{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample()))
	cfg := telemetry.Config{
		Access: k.access, Log: slog.New(slog.NewTextHandler(k.errors, nil)), Registry: k.registry, Tracer: provider,
		Region: "eu", Node: "dp-1", Version: "v0", SampleRatio: func() float64 { return 0 },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if k.Telemetry, err = telemetry.New(cfg); err != nil {
		t.Fatal(err)
	}
	return k
}

// flush writes the access lines that wait, by running the writer once to its end.
func (k *kit) flush(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return k.access.String()
}

var t0 = time.Date(2026, 11, 23, 7, 22, 0, 0, time.UTC)

func ms(n float64) time.Time { return t0.Add(time.Duration(n * float64(time.Millisecond))) }

// call is a finished tools/call through a fresh connection, at fixed times.
func call() *telemetry.Record {
	return &telemetry.Record{
		Start: t0, AuthEnd: ms(0.1), Read: ms(0.3), Routed: ms(0.35), End: ms(24),
		HTTPMethod: "POST", Path: "/everything/mcp", Proto: "HTTP/1.1", ClientAddr: "127.0.0.1:57230", Status: 200,
		Method: "tools/call", RequestID: `"a-7"`, Tool: "echo", Revision: "2025-11-25", Server: "everything", Caller: "alice",
		Session: "5e55", Era: "legacy", ConfigRevision: 42,
		UpstreamAddr: "localhost", UpstreamPort: 3001, UpstreamOrigin: "http://localhost:3001", UpstreamStatus: 200, Attempts: 1,
		Upstream: telemetry.Timing{
			Start: ms(0.4), DNSStart: ms(0.4), DNSDone: ms(1.4), ConnStart: ms(1.4), ConnDone: ms(2), Sent: ms(2.1),
			Headers: ms(20), First: ms(20.1), End: ms(23.8), Remote: "127.0.0.1:3001",
		},
		Outcome: "ok",
	}
}

// refused is the same call when the upstream's machine refuses the connection.
func refused() *telemetry.Record {
	r := call()
	r.Status, r.UpstreamStatus, r.Outcome, r.End = 502, 0, "", ms(2)
	u := &r.Upstream
	u.ConnDone, u.Sent, u.Headers, u.First, u.End, u.Remote = time.Time{}, time.Time{}, time.Time{}, time.Time{}, ms(1.8), ""
	r.Fault = &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused, Server: "everything",
		Message: "The server refused the connection.", Err: errRefused}
	return r
}

type plainError string

func (e plainError) Error() string { return string(e) }

const errRefused = plainError("dial tcp 127.0.0.1:3001: connect: connection refused")

// tell runs a record through Begin and Finish.
func (k *kit) tell(r *telemetry.Record) *telemetry.Record {
	k.Begin(r)
	k.Finish(r)
	return r
}
