package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// The formats of access lines.
const (
	FormatHuman = "human" // INFO: 127.0.0.1:57230 - "POST /everything/mcp HTTP/1.1" 200 OK key=value …
	FormatJSON  = "json"  // one object per line
	FormatOff   = "off"   // none
)

// Config is what New needs. Only Registry is required.
type Config struct {
	// Access is where access lines go; nil: none are made.
	Access io.Writer
	// Format is how access and error lines look: human (default), json, or off (no access lines).
	Format string
	// BufferSize bounds the access lines that wait to be written, in bytes; 0 means 1 MiB. Lines beyond it are dropped and counted.
	BufferSize int
	// Log takes one line per failed hop; nil: none are written.
	Log *slog.Logger
	// Registry takes the metrics; never the default one.
	Registry *prometheus.Registry
	// Tracer makes the spans; nil or a no-op provider: none are made. Its sampler must say yes to everything and its id generator must
	// be an IDGenerator.
	Tracer trace.TracerProvider
	// Region and Node say where this data plane stands.
	Region, Node string
	// Version of the program, the version of the instrumentation scope.
	Version string
	// SampleRatio is asked once per request for the share of traces to export, 0 to 1; nil means 0.01.
	SampleRatio func() float64
}

// Telemetry tells about requests. All methods are safe for concurrent use; a record belongs to one goroutine.
type Telemetry struct {
	cfg      Config
	series   *series
	access   *accessLog // nil: off
	spans    *spanMaker // nil: off
	live     *liveList
	streams  Gauge
	drifts   drifts
	errorOut *errorLog // nil: off
}

// New checks cfg and registers the metrics. It starts nothing; see Run.
func New(cfg Config) (*Telemetry, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	t := &Telemetry{cfg: cfg, live: newLiveList()}
	if cfg.Access != nil && cfg.Format != FormatOff {
		t.access = newAccessLog(cfg.Access, cfg.BufferSize, cfg.Format == FormatJSON)
	}
	if cfg.Log != nil {
		t.errorOut = newErrorLog(cfg.Log, cfg.Format == FormatJSON)
	}
	t.series = newSeries(cfg.Region)
	if cfg.Tracer != nil {
		t.spans = newSpanMaker(cfg)
		t.spans.onSuppressed = t.series.suppressed.Inc
	}
	if err := t.series.register(cfg.Registry, t); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if err := cfg.Registry.Register(&t.drifts); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return t, nil
}

func (c *Config) fill() error {
	switch c.Format {
	case "":
		c.Format = FormatHuman
	case FormatHuman, FormatJSON, FormatOff:
	default:
		return fmt.Errorf("config: Format %q is not known; use human, json or off", c.Format)
	}
	if c.Registry == nil {
		return errors.New("config: Registry is required")
	}
	if c.BufferSize <= 0 {
		c.BufferSize = 1 << 20
	}
	if _, silent := c.Tracer.(noop.TracerProvider); silent {
		c.Tracer = nil
	}
	if c.SampleRatio == nil {
		c.SampleRatio = func() float64 { return 0.01 }
	}
	return nil
}

// Begin gives a record fresh ids and the head sampling decision, and lists it as in flight. The record is otherwise empty, or holds what
// is known by then (HTTPMethod, Path, ClientAddr, Start). A zero Start becomes now. Every Begin needs one Finish.
func (t *Telemetry) Begin(r *Record) {
	if r.Start.IsZero() {
		r.Start = time.Now()
	}
	r.IDs = newIDs()
	r.Sampled = sampledBy(r.IDs.Trace, t.cfg.SampleRatio())
	t.live.add(r)
}

// Finish tells about the request: metrics, access line, on a fault the error line, and spans if it was sampled or failed. A zero End
// becomes now. It does nothing for a record that isn't between Begin and Finish, so a second call is harmless.
func (t *Telemetry) Finish(r *Record) {
	if !t.live.remove(r) {
		return
	}
	if r.End.IsZero() {
		r.End = time.Now()
	}
	t.series.observe(r)
	if t.access != nil && !probe(r) {
		t.access.add(r)
	}
	if r.Fault != nil {
		t.fault(r)
	}
	t.export(r)
	r.legs = nil
}

// export makes the spans of a request that was sampled, or that failed as a whole or in one of its legs.
func (t *Telemetry) export(r *Record) {
	if t.spans == nil {
		return
	}
	if r.Sampled {
		t.spans.export(r)
		return
	}
	if r.Fault != nil {
		t.spans.exportFault(r, keyOf(r))
	} else if k, failed := r.legs.fault(); failed {
		t.spans.exportFault(r, k)
	}
}

// probe reports whether a balancer asked after our health and got a good answer: once a second each, that would drown the calls.
func probe(r *Record) bool {
	return r.Status == http.StatusOK && (r.Path == "/healthz" || r.Path == "/readyz")
}

// fault tells what only failed requests have: the error line and the counter.
func (t *Telemetry) fault(r *Record) {
	t.series.fault(r)
	if t.errorOut != nil {
		t.errorOut.write(r)
	}
}

// Run writes the access lines until ctx ends, then writes what is left and returns nil. Stop it after the last Finish.
func (t *Telemetry) Run(ctx context.Context) error {
	if t.access == nil {
		<-ctx.Done()
		return nil
	}
	t.access.run(ctx, t.cfg.Log)
	return nil
}

// Streams counts the event streams that are open now (hopgate_active_streams).
func (t *Telemetry) Streams() *Gauge { return &t.streams }

// Active returns how many requests are between Begin and Finish.
func (t *Telemetry) Active() int64 { return t.live.n.Load() }
