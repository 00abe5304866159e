// Package view folds what the store holds into immutable views: the sets of config that data planes should have.
//
// It promises that a view is computed once and shared by every stream that follows it, that the first change after a quiet time leaves at
// once and a burst is merged, that a store that can't be reached changes nothing but the staleness, and that after a compaction or a
// restore only true differences are published. A secret is in the views of those regions alone where a server with an endpoint refers to it; it
// comes and goes with the same update as that server. Reads of the API come from its index, in name order, without asking the store, and so
// do the answers who refers to an object and who holds what only one may have.
//
// While a change is rolled out there are two rings of views: that of the data planes which are to have it, and that of the others, for which
// its objects are as they were before. Any two replicas give a data plane the same ring at the same revision. What was before is read, never
// guessed: until it could be read, views stay as they are. Kinds that stay in the control plane are in the index alone.
//
// It refuses to take absence for deletion: removals of more than a fifth of the config and more than ten objects that no change record
// names are held, logged and reported until someone calls Confirm; meanwhile views carry an epoch of their own, so that the data planes hold
// these removals when this process, which alone remembers them, is gone. It never drops a server because none of its endpoints serves a region:
// the data plane then says "not reachable from this region" instead of "unknown".
package view

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// Config of Views.
type Config struct {
	// Store is what is folded; required.
	Store store.Store
	// Open turns a stored head into the object that is pushed, for kinds that are stored otherwise than sent; default: the head's own object.
	// It must be pure: the same head gives the same object. A head that can't be opened leaves the fleet with what it has of it.
	Open func(store.Head) (confset.Object, error)
	// Debounce is how long a burst must pause before it is published; the first change after a pause leaves at once. Default 50 ms.
	Debounce time.Duration
	// MostDelay bounds the wait of a change in a burst without pauses. Default 500 ms.
	MostDelay time.Duration
	// Backoff is the longest wait between two attempts at a store that is unavailable. Default 500 ms.
	Backoff time.Duration
	// Registerer gets the metrics; nil: none.
	Registerer prometheus.Registerer
	// Log gets state changes; default: slog.Default().
	Log *slog.Logger
}

func (c *Config) fill() error {
	if c.Store == nil {
		return errors.New("view: config: Store is required")
	}
	if c.Open == nil {
		c.Open = func(h store.Head) (confset.Object, error) { return h.Object, nil }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Debounce, 50 * time.Millisecond}, {&c.MostDelay, 500 * time.Millisecond}, {&c.Backoff, 500 * time.Millisecond}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return nil
}

// Views keeps the views of one store. Its methods may be called at the same time.
type Views struct {
	cfg   Config        // read-only after New
	dirty chan struct{} // one slot: something waits to be published
	ready chan struct{} // closed after the first view
	subs  subscribers

	index atomic.Pointer[Snapshot]              // nil before the first load
	web   *web                                  // stands at index
	laid  atomic.Pointer[map[confset.Key]int32] // objects that overlays change, and the feature levels that these need
	lanes atomic.Pointer[lanes]                 // stored by the publisher only

	staging atomic.Pointer[staging] // stored before the index that it belongs to

	mu       sync.Mutex
	moved    chan struct{}                   // closed and replaced when index moves; guarded by mu
	pending  map[confset.Key]*confset.Object // unpublished; nil: removal; guarded by mu
	since    time.Time                       // when the oldest unpublished change came; guarded by mu
	held     map[confset.Key]struct{}        // removals that wait for Confirm; guarded by mu
	sights   *sights                         // guarded by mu
	trail    trail                           // guarded by mu
	history  []Change                        // newest changes, oldest first; replaced, never written to; guarded by mu
	lostAt   time.Time                       // when the store was lost; zero: it isn't; guarded by mu
	loads    int64                           // guarded by mu
	unopened int64                           // guarded by mu

	listeners map[*listener]struct{} // guarded by mu
}

// New returns views without content; Run fills them.
func New(cfg Config) (*Views, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	v := &Views{
		cfg:     cfg,
		dirty:   make(chan struct{}, 1),
		ready:   make(chan struct{}),
		moved:   make(chan struct{}),
		pending: map[confset.Key]*confset.Object{},
		held:    map[confset.Key]struct{}{},
		subs:    subscribers{all: map[*Subscription]struct{}{}},
		web:     newWeb(),
		sights:  newSights(),

		listeners: map[*listener]struct{}{},
	}
	v.laid.Store(&map[confset.Key]int32{})
	v.lanes.Store(&lanes{other: newTier(everywhere), regions: map[string]tier{}})
	v.staging.Store(newStaging(nil, nil))
	return v, v.register()
}

// Run loads the store, watches it and publishes views until ctx ends; then it returns nil.
func (v *Views) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { v.publishAll(ctx) })
	v.follow(ctx)
	wg.Wait()
	return nil
}

// Ready is closed once the first view is published.
func (v *Views) Ready() <-chan struct{} { return v.ready }

// Current returns the newest view of a scope; nil before Ready.
func (v *Views) Current(s Scope) *View { return v.lanes.Load().view(s) }

// Snapshot returns the stored heads at one revision; nil before the first load.
func (v *Views) Snapshot() *Snapshot { return v.index.Load() }

// Get returns one stored head.
func (v *Views) Get(kind, name string) (store.Head, bool) { return v.index.Load().Get(kind, name) }

// List returns at most n heads of a kind with names after the given one, in name order.
func (v *Views) List(kind, after string, n int) []store.Head {
	return v.index.Load().List(kind, after, n)
}

// Revision returns the store revision the index stands at; 0 before the first load.
func (v *Views) Revision() int64 {
	if s := v.index.Load(); s != nil {
		return s.Revision
	}
	return 0
}

// Moved returns a channel that is closed when the index, and with it what Rollouts returns, moves on.
func (v *Views) Moved() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.moved
}

// WaitRevision returns nil once the index stands at rev or later, or ctx's error. It makes a read see a write that was committed at rev.
func (v *Views) WaitRevision(ctx context.Context, rev int64) error {
	for {
		moved := v.Moved()
		if s := v.index.Load(); s != nil && s.Revision >= rev {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Status is how the views stand to the store.
type Status struct {
	// Epoch and Revision of the index.
	Epoch    string
	Revision int64
	// Stale is how long the store has been out of reach; 0: it isn't.
	Stale time.Duration
	// Held are the removals that wait for Confirm, in canonical order.
	Held []confset.Key
	// Loads counts how often the whole store was read.
	Loads int64
	// Unopened counts heads that couldn't be opened.
	Unopened int64
}

// Status returns how the views stand to the store.
func (v *Views) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	st := Status{Held: sortedKeys(v.held), Loads: v.loads, Unopened: v.unopened}
	if s := v.index.Load(); s != nil {
		st.Epoch, st.Revision = s.Epoch, s.Revision
	}
	if !v.lostAt.IsZero() {
		st.Stale = time.Since(v.lostAt)
	}
	return st
}
