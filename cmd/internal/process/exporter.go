package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// exporterFromEnv returns nil when the environment asks for no export.
func exporterFromEnv(ctx context.Context) (sdktrace.SpanExporter, error) {
	endpoint := firstEnv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || endpoint == "" {
		return nil, nil
	}
	switch kind := os.Getenv("OTEL_TRACES_EXPORTER"); kind {
	case "", "otlp":
	case "none":
		return nil, nil
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER %q is not supported; use otlp or none", kind)
	}
	protocol, err := protocolOf(endpoint)
	if err != nil {
		return nil, err
	}
	if protocol == protocolGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// protocolOf reads the protocol from the environment, or from the endpoint's port where it says nothing: 4317 is OTLP over gRPC.
func protocolOf(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	schemed := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	protocol := firstEnv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol == "" {
		protocol = protocolHTTP
		if strings.HasSuffix(endpoint, ":4317") || (schemed && u.Port() == "4317") {
			protocol = protocolGRPC
		}
	}
	switch protocol {
	case protocolGRPC:
		return protocol, nil
	case protocolHTTP:
		if !schemed {
			return "", errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL; write for example http://127.0.0.1:4318")
		}
		return protocol, nil
	}
	return "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL %q is not supported; use grpc or http/protobuf", protocol)
}

func firstEnv(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return ""
}

// complainEvery is the least time between two warnings that traces are not delivered.
const complainEvery = time.Minute

// exporter wraps the real one: failures become one warning now and then instead of noise, and giveUp ends a delivery under way.
type exporter struct {
	to     sdktrace.SpanExporter
	log    *slog.Logger
	ctx    context.Context // ends with giveUp; every delivery hangs on it
	giveUp context.CancelFunc
	closed chan struct{} // after Shutdown

	mu     sync.Mutex
	warned time.Time // guarded by mu; zero while deliveries succeed
	lost   int       // guarded by mu; spans since the last warning
}

func newExporter(to sdktrace.SpanExporter, log *slog.Logger) *exporter {
	ctx, cancel := context.WithCancel(context.Background())
	return &exporter{to: to, log: log, ctx: ctx, giveUp: cancel, closed: make(chan struct{})}
}

// ExportSpans implements sdktrace.SpanExporter; it never fails.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(e.ctx, cancel)
	defer stop()
	e.note(e.to.ExportSpans(ctx, spans), len(spans), time.Now())
	return nil
}

func (e *exporter) note(err error, spans int, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		if !e.warned.IsZero() {
			e.warned = time.Time{}
			e.log.Info("traces are delivered again")
		}
		return
	}
	e.lost += spans
	if now.Sub(e.warned) < complainEvery {
		return
	}
	e.log.Warn("traces can't be delivered", "spans_lost", e.lost, "error", err)
	e.warned, e.lost = now, 0
}

// Shutdown implements sdktrace.SpanExporter. The batch processor calls it once, after the last delivery.
func (e *exporter) Shutdown(ctx context.Context) error {
	defer close(e.closed)
	defer e.giveUp()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return e.to.Shutdown(grace)
}

// wait returns when Shutdown has; deliveries under way after giveUp end at once.
func (e *exporter) wait() { <-e.closed }
