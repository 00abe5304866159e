package telemetry

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/proto/attr"
)

// maxDrifted bounds the pinned tools that are remembered as changed; further ones are only logged.
const maxDrifted = 1000

// drifts are the pinned tools whose definition has changed. The zero value is ready; safe for concurrent use.
type drifts struct {
	mu sync.Mutex
	of map[string]map[string]struct{} // by server; guarded by mu
	n  int                            // guarded by mu
}

// Drift notes that a pinned tool of a server isn't what was pinned any more (now), or is again.
func (t *Telemetry) Drift(server, tool string, now bool) {
	d := &t.drifts
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.of[server][tool]
	switch {
	case now && !known && d.n < maxDrifted:
		if d.of == nil {
			d.of = map[string]map[string]struct{}{}
		}
		if d.of[server] == nil {
			d.of[server] = map[string]struct{}{}
		}
		d.of[server][tool] = struct{}{}
		d.n++
	case !now && known:
		delete(d.of[server], tool)
		d.n--
		if len(d.of[server]) == 0 {
			delete(d.of, server)
		}
	}
}

// Drifted returns the pinned tools of a server whose definition has changed, in order.
func (t *Telemetry) Drifted(server string) []string {
	t.drifts.mu.Lock()
	defer t.drifts.mu.Unlock()
	return slices.Sorted(maps.Keys(t.drifts.of[server]))
}

var driftedDesc = prometheus.NewDesc("hopgate_drifted_tools", "Pinned tools whose definition has changed.", []string{attr.LabelServer}, nil)

// Describe is prometheus.Collector.
func (d *drifts) Describe(out chan<- *prometheus.Desc) { out <- driftedDesc }

// Collect is prometheus.Collector.
func (d *drifts) Collect(out chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for server, tools := range d.of {
		out <- prometheus.MustNewConstMetric(driftedDesc, prometheus.GaugeValue, float64(len(tools)), server)
	}
}
