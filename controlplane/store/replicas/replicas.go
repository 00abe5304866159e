// Package replicas knows how many control planes are at work on one store.
//
// It promises a number that never falls because the store is away: the last one stays until there is a better one. It refuses to guess
// at the start: Wait tells when the number is known. A control plane without anything to do rests: it isn't counted by the others.
package replicas

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Config of a Count.
type Config struct {
	// Store is the one they share. Required.
	Store store.Store
	// Name of this control plane.
	Name string
	// Busy reports whether this control plane has anything to do; nil: always. It is asked four times a second. One that had nothing for
	// RestAfter (default 10 s) rests.
	Busy      func() bool
	RestAfter time.Duration
	// Backoff is the longest pause between two attempts while the store is away; the first is a tenth of it. Default 2 s.
	Backoff time.Duration
	// Log; default: discarded.
	Log *slog.Logger
}

// Count is how many there are. Run it.
type Count struct {
	cfg     Config
	n       atomic.Int64
	resting atomic.Bool
	turned  chan struct{} // one slot
	known   chan struct{} // closed once there is a number
	once    sync.Once
}

// busyEvery is how often Busy is asked.
const busyEvery = 250 * time.Millisecond

// New returns a Count that knows nothing yet.
func New(cfg Config) (*Count, error) {
	if cfg.Store == nil {
		return nil, errors.New("replicas: Store is required")
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 2 * time.Second
	}
	if cfg.RestAfter <= 0 {
		cfg.RestAfter = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Count{cfg: cfg, turned: make(chan struct{}, 1), known: make(chan struct{})}
	c.resting.Store(cfg.Busy != nil)
	return c, nil
}

// Now returns how many there are: others at work, and this one, whether it is at work or rests. 1 before that is known.
func (c *Count) Now() int { return max(1, int(c.n.Load())) }

// Wait returns once the number is known, or with ctx's error.
func (c *Count) Wait(ctx context.Context) error {
	select {
	case <-c.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run counts this control plane among the others, and them, until ctx ends; it returns nil.
func (c *Count) Run(ctx context.Context) error {
	var busy sync.WaitGroup
	if c.cfg.Busy != nil {
		busy.Go(func() { c.watchBusy(ctx) })
	}
	defer busy.Wait()
	who := store.Attendee{Name: c.cfg.Name, Resting: c.resting.Load, Turned: c.turned}
	pause := c.cfg.Backoff / 10
	for {
		heard := false
		err := c.cfg.Store.Attend(ctx, who, func(n int) { heard = true; c.set(n) })
		if ctx.Err() != nil {
			return nil
		}
		if heard {
			pause = c.cfg.Backoff / 10
		}
		c.cfg.Log.Warn("control planes can't be counted: the last number stays", "number", c.Now(), "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
		pause = min(2*pause, c.cfg.Backoff)
	}
}

func (c *Count) set(n int) {
	if old := c.n.Swap(int64(n)); old != int64(n) && (old != 0 || n > 1) {
		c.cfg.Log.Info("control planes on this store", "number", n, "before", max(1, old))
	}
	c.once.Do(func() { close(c.known) })
}

// watchBusy follows Busy until ctx ends.
func (c *Count) watchBusy(ctx context.Context) {
	tick := time.NewTicker(busyEvery)
	defer tick.Stop()
	var last time.Time
	for {
		if c.cfg.Busy() {
			last = time.Now()
		}
		if rests := time.Since(last) >= c.cfg.RestAfter; c.resting.Swap(rests) != rests {
			select {
			case c.turned <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
