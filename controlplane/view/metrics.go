package view

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/proto/attr"
)

// register hands in metrics that are read from Status when they are collected.
func (v *Views) register() error {
	if v.cfg.Registerer == nil {
		return nil
	}
	gauge := func(name, help string, f func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(v.Status()) })
	}
	counter := func(name, help string, f func(Status) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return f(v.Status()) })
	}
	for _, c := range []prometheus.Collector{
		gauge(attr.MetricStoreStale, "How long the store has been out of reach.", func(s Status) float64 { return s.Stale.Seconds() }),
		gauge(attr.MetricStoreRevision, "Store revision of the index.", func(s Status) float64 { return float64(s.Revision) }),
		gauge(attr.MetricHeldRemovals, "Removals that no change record names, waiting to be confirmed.", func(s Status) float64 { return float64(len(s.Held)) }),
		counter(attr.MetricStoreLoads, "Times the whole store was read.", func(s Status) float64 { return float64(s.Loads) }),
		counter(attr.MetricUnopenedObject, "Stored objects that couldn't be opened.", func(s Status) float64 { return float64(s.Unopened) }),
	} {
		if err := v.cfg.Registerer.Register(c); err != nil {
			return fmt.Errorf("view: register metrics: %w", err)
		}
	}
	return nil
}
