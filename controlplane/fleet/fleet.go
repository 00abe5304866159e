// Package fleet is the ledger of the data planes: which are connected, what each one serves, refused and reports.
//
// It promises answers whose cost follows the number of different states in the fleet, not the number of data planes, for the status of an
// object and the delivery of a change; and memory bounded by the number of connected data planes, with the gone ones kept for an hour.
// While a staged change is on its way it also keeps, per data plane, since when that one serves the change and how its calls ended.
//
// It refuses to guess: a data plane counts as applied only after it said so, or after it said that it holds the digest in question. What it
// knows is what this replica was told; it is not stored.
package fleet

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// Config of a Ledger.
type Config struct {
	// Current returns the view a scope should be at, nil when there is none yet; required. It is (*view.Views).Current.
	Current func(view.Scope) *view.View
	// Revision returns the newest revision of the store that this replica knows of, which a view may not have reached yet; default: that of
	// the view. It is (*view.Views).Revision.
	Revision func() int64
	// Needs returns the feature level a data plane must have to get an object; default: what its body needs.
	Needs func(confset.Object) int32
	// Keep is how long a data plane is remembered after its stream ended. Default 1 h.
	Keep time.Duration
	// KeepMost bounds how many of them are remembered; the longest gone is forgotten first. Default 20,000.
	KeepMost int
	// Registerer gets the metrics; nil: none.
	Registerer prometheus.Registerer
}

func (c *Config) fill() error {
	if c.Current == nil {
		return errors.New("fleet: config: Current is required")
	}
	if c.Revision == nil {
		c.Revision = func() int64 { return 0 }
	}
	if c.Needs == nil {
		c.Needs = func(o confset.Object) int32 { return rules.Level(o.Key.Kind, o.Body) }
	}
	if c.Keep <= 0 {
		c.Keep = time.Hour
	}
	if c.KeepMost <= 0 {
		c.KeepMost = 20_000
	}
	return nil
}

// Ledger is what is known of every data plane. Its methods may be called at the same time.
type Ledger struct {
	cfg     Config // read-only after New
	metrics metrics

	mu        sync.Mutex
	nodes     map[string]*node                   // by name; guarded by mu
	gone      *list.List                         // of *node without a stream, longest gone first; guarded by mu
	connected int                                // guarded by mu
	positions map[position]int                   // connected nodes by where they stand; guarded by mu
	verdicts  map[confset.Key]map[*node]*verdict // of connected nodes; guarded by mu
	refusing  map[*node]struct{}                 // connected nodes that refused a whole update; guarded by mu
	waiters   map[*waiter]struct{}               // guarded by mu
	settled   struct {
		epoch    string
		revision int64
	} // newest view that every node was seen to have answered; guarded by mu
	upstreams int                    // entries over all nodes; guarded by mu
	listeners map[*listener]struct{} // guarded by mu
	rolling   *rolling               // guarded by mu; nil: nobody asks about a rollout
}

// New returns an empty ledger.
func New(cfg Config) (*Ledger, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	l := &Ledger{
		cfg:       cfg,
		nodes:     map[string]*node{},
		gone:      list.New(),
		positions: map[position]int{},
		verdicts:  map[confset.Key]map[*node]*verdict{},
		refusing:  map[*node]struct{}{},
		waiters:   map[*waiter]struct{}{},
		listeners: map[*listener]struct{}{},
	}
	return l, l.register()
}

// position is where a data plane stands. Nodes with equal content and feature level share one.
type position struct {
	epoch    string
	revision int64
	set      *confset.Set // nil: not a set this replica knows
	level    int32        // feature level, from 0 to rules.MostLevel
}

// answers says whether a node there has what was committed at a revision of an epoch.
func (p position) answers(epoch string, revision int64) bool {
	return p.epoch == epoch && p.revision >= revision
}

// stand moves a connected node; mu is held.
func (l *Ledger) stand(n *node, to position) {
	l.leavePosition(n)
	to.level = n.level()
	n.at = to
	l.positions[to]++
}

func (l *Ledger) leavePosition(n *node) {
	if l.positions[n.at]--; l.positions[n.at] <= 0 {
		delete(l.positions, n.at)
	}
}

// epoch returns the epoch of the current view.
func (l *Ledger) epoch() string {
	if v := l.cfg.Current(view.Scope{}); v != nil {
		return v.Epoch
	}
	return ""
}
