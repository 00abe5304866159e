package telemetry

import "sync/atomic"

// Gauge is a number that goes up and down. The zero value is ready; all methods are safe for concurrent use.
type Gauge struct{ n atomic.Int64 }

// Inc adds one.
func (g *Gauge) Inc() { g.n.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.n.Add(-1) }

// Value returns the number.
func (g *Gauge) Value() int64 { return g.n.Load() }
