package hop

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/proto/attr"
)

// Metrics of the upstreams' resilience, and their label beside the server.
const (
	MetricInstanceOpen = "hopgate_upstream_instance_open"
	MetricInFlight     = "hopgate_upstream_in_flight"
	MetricQueued       = "hopgate_upstream_queued"
	LabelInstance      = "instance"
)

// Bounds of the metrics' series; what is beyond isn't told.
const (
	maxServers   = 4096
	maxInstances = 8192
)

// collector tells what a balance knows when it is asked.
type collector struct {
	balance                *balance.Balance
	open, inFlight, queued *prometheus.Desc
}

// Collector returns the metrics of servers that were called lately: calls in flight, calls that wait, and which instances get no calls. Of
// servers with several configs in use the calls are counted once.
func (h *Hop) Collector(region string) prometheus.Collector {
	at := prometheus.Labels{attr.LabelRegion: region}
	return &collector{balance: h.balance,
		open: prometheus.NewDesc(MetricInstanceOpen, "1 while an instance gets no calls because its breaker is open.",
			[]string{attr.LabelServer, LabelInstance}, at),
		inFlight: prometheus.NewDesc(MetricInFlight, "Calls under way to a server.", []string{attr.LabelServer}, at),
		queued:   prometheus.NewDesc(MetricQueued, "Calls that wait for a place among those to a server.", []string{attr.LabelServer}, at)}
}

// Describe is of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.open
	out <- c.inFlight
	out <- c.queued
}

// Collect is of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	servers, instances := map[string]balance.State{}, map[[2]string]bool{}
	c.balance.Snapshot(func(s balance.State) {
		had, ok := servers[s.Server]
		if !ok && len(servers) >= maxServers {
			return
		}
		s.InFlight, s.Queued = max(s.InFlight, had.InFlight), max(s.Queued, had.Queued)
		servers[s.Server] = s
		for _, i := range s.Instances {
			k := [2]string{s.Server, i.Host}
			if open, ok := instances[k]; ok || len(instances) < maxInstances {
				instances[k] = open || i.Open
			}
		}
	})
	for name, s := range servers {
		out <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(s.InFlight), name)
		out <- prometheus.MustNewConstMetric(c.queued, prometheus.GaugeValue, float64(s.Queued), name)
	}
	for k, open := range instances {
		v := 0.0
		if open {
			v = 1
		}
		out <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, v, k[0], k[1])
	}
}
