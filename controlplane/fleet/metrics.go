package fleet

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/attr"
)

// metrics of the fleet.
type metrics struct{ convergence prometheus.Histogram }

func (l *Ledger) register() error {
	l.metrics.convergence = prometheus.NewHistogram(prometheus.HistogramOpts{Name: attr.MetricConvergence,
		Help:    "From the arrival of a committed change at this replica to the answer of its last data plane.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2, 5, 10, 30, 60}})
	if l.cfg.Registerer == nil {
		return nil
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	for _, c := range []prometheus.Collector{
		l.metrics.convergence,
		gauge("hopgate_nodes_connected", "Data planes with an open stream.", l.Connected),
		gauge(attr.MetricNodesBehind, "Connected data planes that don't serve the desired set.", func() int { _, behind := l.Counts(); return behind }),
	} {
		if err := l.cfg.Registerer.Register(c); err != nil {
			return fmt.Errorf("fleet: register metrics: %w", err)
		}
	}
	return nil
}

// Connected returns how many data planes are connected. It costs the same however many there are.
func (l *Ledger) Connected() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
}

// Counts returns how many data planes are connected, and how many of them don't serve the desired set.
func (l *Ledger) Counts() (connected, behind int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	committed := l.cfg.Revision()
	for _, n := range l.nodes {
		if n.connected && !n.inSync(l.cfg.Current(n.scope), committed) {
			behind++
		}
	}
	return l.connected, behind
}

// observe notes how long a view took to be answered by all, once; the answer of a node that joined later doesn't measure it. mu is held.
func (l *Ledger) observe(n *node, v *view.View) {
	if len(v.Changes) == 0 || v.Since.Before(n.since) {
		return
	}
	if l.settled.epoch == v.Epoch && l.settled.revision >= v.Revision || !l.answered(v.Epoch, v.Revision) {
		return
	}
	l.settled.epoch, l.settled.revision = v.Epoch, v.Revision
	l.metrics.convergence.Observe(time.Since(v.Since).Seconds())
}
