package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// Bounds of what becomes a label.
const (
	maxServers = 4096  // server names with their own series; the rest is "other"
	maxTools   = 1000  // (server, tool) pairs with their own series; the rest is "other"
	maxGuessed = 250   // of which first seen on a call that failed: callers choose such names
	maxKeys    = 16384 // (server, method, tool, outcome) tuples; the rest has no tool
	maxLabel   = 128   // bytes of a tool name; a longer one is "other"
)

// series are the metrics of requests. The hot path is two lookups, by server and by call, and then atomic additions.
type series struct {
	server, client *prometheus.HistogramVec
	overhead       prometheus.Histogram
	faults         *prometheus.CounterVec
	suppressed     prometheus.Counter
	region         string

	servers  cow[string, *serverSeries]
	failing  atomic.Bool // calls to a server failed and weren't reported
	nServers atomic.Int64
	keys     atomic.Int64
	faulted  cow[faultKey, prometheus.Counter]
	nFaults  atomic.Int64

	mu      sync.Mutex
	pairs   map[pair]struct{} // guarded by mu
	guessed int               // guarded by mu
}

// serverSeries are the handles and the health of one server.
type serverSeries struct {
	name   string
	calls  cow[callKey, *callSeries]
	health health
}

// callKey is a call as the record tells it: before anything is folded.
type callKey struct {
	method, tool, outcome string
	upstream              bool
	leg                   bool // one of several: no caller waited for it alone
}

type callSeries struct{ server, client prometheus.Observer }

type faultKey struct {
	hop    fault.Hop
	phase  fault.Phase
	kind   fault.Kind
	server string
}

type pair struct{ server, tool string }

// Seconds; the coarse ones are those of OpenTelemetry's MCP conventions.
var (
	operationBuckets = []float64{.00025, .0005, .001, .0025, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300}
	overheadBuckets  = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
)

func newSeries(region string) *series {
	at := prometheus.Labels{attr.LabelRegion: region}
	labels := []string{attr.LabelMethod, attr.LabelServer, attr.LabelTool, attr.LabelOutcome}
	hist := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: at, Buckets: operationBuckets}, labels)
	}
	return &series{
		region: region,
		pairs:  map[pair]struct{}{},
		server: hist(attr.MetricServerDuration, "Time from a caller's request head to the last byte of its answer."),
		client: hist(attr.MetricClientDuration, "Time of the upstream leg of a request."),
		overhead: prometheus.NewHistogram(prometheus.HistogramOpts{Name: attr.MetricOverhead, ConstLabels: at, Buckets: overheadBuckets,
			Help: "Time of a request that was not spent on its upstream leg."}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{Name: attr.MetricFaults, ConstLabels: at,
			Help: "Failed requests by where and how they failed."}, []string{attr.LabelHop, attr.LabelPhase, attr.LabelKind, attr.LabelServer}),
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{Name: attr.MetricSuppressed, ConstLabels: at,
			Help: "Failed requests whose trace was not exported because too many of the same failure were."}),
	}
}

func (s *series) register(reg *prometheus.Registry, t *Telemetry) error {
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{attr.LabelRegion: s.region}},
			func() float64 { return float64(f()) })
	}
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: attr.MetricAccessDropped,
		ConstLabels: prometheus.Labels{attr.LabelRegion: s.region}, Help: "Access lines lost because their reader was too slow."},
		func() float64 { return float64(t.access.lost()) })
	for _, c := range []prometheus.Collector{
		s.server, s.client, s.overhead, s.faults, s.suppressed, dropped,
		gauge(attr.MetricRequests, "Requests in flight.", t.Active),
		gauge(attr.MetricStreams, "Event streams open.", t.streams.Value),
	} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// observe counts a finished request.
func (s *series) observe(r *Record) {
	sv, ok := s.servers.get(r.Server)
	if !ok {
		sv = s.addServer(r.Server)
	}
	k := callKey{method: r.Method, tool: r.Tool, outcome: outcomeLabel(r), upstream: !r.Upstream.Start.IsZero()}
	c, ok := sv.calls.get(k)
	if !ok {
		c = s.addCall(sv, k)
	}
	total := r.End.Sub(r.Start)
	c.server.Observe(total.Seconds())
	if k.upstream {
		leg := upstreamLeg(r)
		c.client.Observe(leg.Seconds())
		s.overhead.Observe(max(total-leg, 0).Seconds())
		sv.health.note(r)
	}
	s.count(sv, r)
}

// observeLeg counts a call to one of several servers: what the call says about the server, and the time of its upstream leg.
func (s *series) observeLeg(r *Record) {
	sv, ok := s.servers.get(r.Server)
	if !ok {
		sv = s.addServer(r.Server)
	}
	if !r.Upstream.Start.IsZero() {
		k := callKey{method: r.Method, tool: r.Tool, outcome: outcomeLabel(r), upstream: true, leg: true}
		c, ok := sv.calls.get(k)
		if !ok {
			c = s.addCall(sv, k)
		}
		c.client.Observe(upstreamLeg(r).Seconds())
		sv.health.note(r)
	}
	s.count(sv, r)
}

func (s *series) count(sv *serverSeries, r *Record) {
	if sv.health.tally.count(r) && !s.failing.Load() {
		s.failing.Store(true)
	}
}

func upstreamLeg(r *Record) time.Duration {
	end := r.Upstream.End
	if end.IsZero() {
		end = r.End
	}
	return max(end.Sub(r.Upstream.Start), 0)
}

// fault counts a failed request.
func (s *series) fault(r *Record) {
	k := faultKey{r.Fault.Hop, r.Fault.Phase, r.Fault.Kind, r.Server}
	c, ok := s.faulted.get(k)
	if !ok {
		c = s.addFault(k)
	}
	c.Inc()
}
