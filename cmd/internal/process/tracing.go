package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hopgate/hopgate/proto/attr"
)

const (
	traceDelay = time.Second     // the longest a finished span waits; OTEL_BSP_SCHEDULE_DELAY overrides
	traceQueue = 8192            // spans that may wait; more are dropped. OTEL_BSP_MAX_QUEUE_SIZE overrides
	traceGrace = 5 * time.Second // what Run gives the last spans
)

// TracingConfig says who a process is in its traces. Where they go is said by the standard OTEL_ variables.
type TracingConfig struct {
	// Service is the service.name unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise; required.
	Service string
	// Instance is service.instance.id: the node's name; may be empty.
	Instance string
	// Region is cloud.region; may be empty.
	Region string
	// Version is service.version; "" takes the program's.
	Version string
	// IDs makes span ids. With it every span is recorded, because who chooses the ids has decided; without it the SDK's own generator
	// and OTEL_TRACES_SAMPLER apply.
	IDs sdktrace.IDGenerator
	// Log says, at most once a minute, that traces can't be delivered; required.
	Log *slog.Logger
	// Exporter replaces the one of the environment, for tests; nil: by the environment.
	Exporter sdktrace.SpanExporter
}

// Tracing exports the spans of one service. Without an endpoint in the environment it does nothing and costs nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider // nil: off
	out      *exporter
}

// StartTracing reads OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER (otlp or none), OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT and _PROTOCOL (grpc or
// http/protobuf; unset means grpc for port 4317, else http/protobuf), OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES itself; headers,
// TLS, timeout, compression and OTEL_BSP_ variables are honoured by the SDK. Nothing is exported unless an endpoint is set. It connects
// lazily: a collector that is away is logged, never an error. What it starts ends with Run or Shutdown.
func StartTracing(ctx context.Context, cfg TracingConfig) (*Tracing, error) {
	if cfg.Service == "" || cfg.Log == nil {
		return nil, errors.New("config: Service and Log are required")
	}
	spans := cfg.Exporter
	if spans == nil {
		var err error
		if spans, err = exporterFromEnv(ctx); err != nil || spans == nil {
			return &Tracing{}, err
		}
	}
	res, err := resourceOf(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Tracing{out: newExporter(spans, cfg.Log)}
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithBatcher(t.out, batchOptions()...)}
	if cfg.IDs != nil {
		opts = append(opts, sdktrace.WithIDGenerator(cfg.IDs), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	}
	t.provider = sdktrace.NewTracerProvider(opts...)
	return t, nil
}

func batchOptions() (opts []sdktrace.BatchSpanProcessorOption) {
	if os.Getenv("OTEL_BSP_SCHEDULE_DELAY") == "" {
		opts = append(opts, sdktrace.WithBatchTimeout(traceDelay))
	}
	if os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE") == "" {
		opts = append(opts, sdktrace.WithMaxQueueSize(traceQueue))
	}
	return opts
}

// resourceOf describes the process; what the environment says wins.
func resourceOf(ctx context.Context, cfg TracingConfig) (*resource.Resource, error) {
	if cfg.Version == "" {
		cfg.Version = ThisBuild().Version
	}
	attrs := []attribute.KeyValue{attribute.String(attr.ServiceName, cfg.Service), attribute.String(attr.ServiceVersion, cfg.Version)}
	if cfg.Instance != "" {
		attrs = append(attrs, attribute.String(attr.ServiceInstance, cfg.Instance))
	}
	if cfg.Region != "" {
		attrs = append(attrs, attribute.String(attr.CloudRegion, cfg.Region))
	}
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attrs...), resource.WithFromEnv())
}

// Enabled reports whether spans go anywhere.
func (t *Tracing) Enabled() bool { return t.provider != nil }

// Provider returns the tracer provider, a no-op one when tracing is off.
func (t *Tracing) Provider() trace.TracerProvider {
	if t.provider == nil {
		return noop.NewTracerProvider()
	}
	return t.provider
}

// Run waits for ctx to end and then delivers what is left, for at most 5 s. Make it the first actor of a Group, so that it stops last.
func (t *Tracing) Run(ctx context.Context) error {
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceGrace)
	defer cancel()
	return t.Shutdown(grace)
}

// Shutdown delivers what is left and ends what StartTracing started. When ctx ends first the rest is dropped, which is logged but no
// error: telemetry never makes a clean end an unclean one.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, t.out.giveUp)
	defer stop()
	if err := t.provider.Shutdown(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("stop tracing: %w", err)
	}
	t.out.wait()
	return nil
}
