package stream

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/proto/attr"
)

// metrics of the sync service.
type metrics struct {
	streams        prometheus.Gauge
	refused, ended *prometheus.CounterVec
	acks           *prometheus.CounterVec
	resyncs        prometheus.Counter
	push, ack      prometheus.Histogram
}

var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func (s *Server) register() error {
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds})
	}
	m := metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: attr.MetricSyncStreams, Help: "Sync streams open now."}),
		refused: counters("hopgate_sync_streams_refused_total", "Streams that were not taken, by gRPC code.", "code"),
		ended:   counters("hopgate_sync_streams_ended_total", "Streams that ended, by gRPC code.", "code"),
		acks:    counters(attr.MetricAcks, "Answers of data planes, by outcome.", attr.LabelOutcome),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Name: attr.MetricResyncs, Help: "Whole sets sent because the digests differed."}),
		push:    histogram(attr.MetricPush, "From the arrival of a change at this replica to its being handed to one stream's connection."),
		ack:     histogram("hopgate_sync_ack_seconds", "From the start of an update to its answer."),
	}
	s.metrics = m
	if s.cfg.Registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.streams, m.refused, m.ended, m.acks, m.resyncs, m.push, m.ack} {
		if err := s.cfg.Registerer.Register(c); err != nil {
			return fmt.Errorf("stream: register metrics: %w", err)
		}
	}
	return nil
}
