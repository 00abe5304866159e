package follow

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/proto/attr"
)

// Names of metrics that only a follower has.
const (
	metricConnected  = "hopgate_control_connected"
	metricRefused    = "hopgate_config_refused_total"
	metricDiskErrors = "hopgate_config_disk_errors_total"
	metricObjects    = "hopgate_config_objects"
)

type metrics struct {
	apply                        prometheus.Histogram
	resyncs, refused, diskErrors prometheus.Counter

	revision, age, rejected, connected, objects *prometheus.Desc
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    attr.MetricApply,
			Help:    "From the last part of an update to its table in force.",
			Buckets: []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5},
		}),
		resyncs:    counter(attr.MetricConfigResyncs, "Updates that didn't lead to what their digest says, so that the whole set was asked for."),
		refused:    counter(metricRefused, "Updates refused as a whole."),
		diskErrors: counter(metricDiskErrors, "Changes served but not kept on disk."),
		revision:   prometheus.NewDesc(attr.MetricRevision, "Revision of the store the served config stands at.", nil, nil),
		age:        prometheus.NewDesc(attr.MetricConfigAge, "Since a control plane was last heard of; 0 while connected, since the start when never.", nil, nil),
		rejected:   prometheus.NewDesc(attr.MetricRejected, "Objects of the config that are rejected.", nil, nil),
		connected:  prometheus.NewDesc(metricConnected, "1 while a control plane is followed.", nil, nil),
		objects:    prometheus.NewDesc(metricObjects, "Objects served.", []string{attr.LabelKind}, nil),
	}
}

// Describe is part of prometheus.Collector.
func (f *Follower) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, ch) }

// Collect is part of prometheus.Collector.
func (f *Follower) Collect(ch chan<- prometheus.Metric) {
	m, s, t := f.metrics, f.Status(), f.cfg.Table.Load()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	connected, age := 0.0, s.Age(time.Now())
	if s.Connected {
		connected = 1
	}
	if age < 0 && !s.Since.IsZero() {
		age = time.Since(s.Since)
	}
	servers, keys := t.Len()
	gauge(m.revision, float64(s.Version.Revision))
	gauge(m.age, max(age.Seconds(), 0))
	gauge(m.rejected, float64(t.Rejected()))
	gauge(m.connected, connected)
	gauge(m.objects, float64(servers), "server")
	gauge(m.objects, float64(keys), "apikey")
	for _, c := range []prometheus.Collector{m.apply, m.resyncs, m.refused, m.diskErrors} {
		c.Collect(ch)
	}
}
