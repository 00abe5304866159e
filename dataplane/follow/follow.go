// Package follow keeps a data plane's table in step with the control plane: the receiving half of a change's journey.
//
// It promises, in this order for every update: the parts are collected within a bound, what results is what the digest says, the change is
// on disk as pending, the table is in force, the answer goes out. So a process that dies on a config finds that config on disk as the
// suspect, starts on the last good one, says so, and tries the suspect again at most three times. A process that starts without a control
// plane serves what it has. A lost stream comes back with jitter, so that ten thousand don't come back at once.
//
// A disk that fails doesn't stop config: the change is served, the failure logged, counted and shown by Status; what is lost is the crash
// rule for that change. No outcome in the answer speaks of it, since no object is at fault.
//
// It refuses a config that is suspect, one that isn't what its digest says (and asks for the whole set), one that is older than what it
// has within one epoch, and a whole set of another epoch that lacks more than a fifth and more than ten of the objects it serves: a store that
// lost its content doesn't empty the fleet.
package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/dataplane/follow/lastgood"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// FeatureLevel is the highest level of config features this version understands.
const FeatureLevel = rules.MostLevel

// Conn is one connection to a control plane; *grpc.ClientConn is one.
type Conn interface {
	grpc.ClientConnInterface
	io.Closer
}

// Config says who follows whom.
type Config struct {
	// Node is the name of this data plane, unique in the fleet. Required.
	Node string
	// Region and Group say where it stands.
	Region, Group string
	// Version of the program.
	Version string
	// BootID is random per process start. Default: a random one.
	BootID string

	// Addresses of control planes, tried in turn. At least one.
	Addresses []string
	// Dial makes a connection without waiting for it; DialOptions are meant for it. It is called for every attempt, and what it returns
	// is closed when that attempt is over. Required.
	Dial func(address string) (Conn, error)

	// Table holds the table that is in force: at first one made by table.New with the region and the static principals. Required.
	Table *table.Holder
	// Dir is the state directory of this data plane alone. Required.
	Dir string

	// Barred takes the SHA-256 of credentials that must never be passed on, with each Welcome. Optional.
	Barred func(sums [][]byte)
	// GoodAfter is how long a config must have served in good health to be good. Default 30 s.
	GoodAfter time.Duration
	// Healthy says whether the process serves. Default: always.
	Healthy func() bool
	// RetrySuspect is how long after the start a suspect config is tried again, by how often that was done before; then never. Default
	// 1, 5 and 15 minutes.
	RetrySuspect []time.Duration
	// MaxUpdate is the most bytes that the parts of one update may have together. Default 256 MiB.
	MaxUpdate int

	// Health is what is reported beside revision and digest, which are filled in. Called every 10 s and after
	// Changed; what is new is told at once, the same again every two minutes. Default: nothing.
	Health func() *syncv1.Health
	// Failing says whether Health would tell of calls that failed: then it is told within 2 s. Asked every 500 ms. Default: never.
	Failing func() bool
	// Demand is what callers want of fleet-wide limits: what is new since the last call, or with all everything, for a control plane that
	// hasn't heard of this data plane yet. Called after each Welcome, then every 500 ms and after Shares. Default: nothing is told.
	Demand func(all bool) []*syncv1.Demand
	// Shares gets the parts of fleet-wide limits that this data plane has. Default: they are ignored.
	Shares func(*syncv1.Shares)
	// Log gets changes of state. Default: discarded.
	Log *slog.Logger
	// Tracer makes the span of an update. Default: none are made.
	Tracer trace.TracerProvider
}

// Follower follows a control plane. Boot, then Run; Status, Changed and Collect at any time from any goroutine.
type Follower struct {
	cfg     Config // read-only after New
	tracer  trace.Tracer
	metrics *metrics
	changed chan struct{} // health changed; holds one
	second  int           // of healthEvery, in which health is reported

	store   *lastgood.Store // set by Boot
	set     *confset.Set    // the desired set as received; Boot, then Run only
	retryAt time.Time       // set by Boot; zero: the suspect isn't tried again
	pace    *pacing         // Run only

	mu     sync.Mutex
	status Status // guarded by mu; without what lives elsewhere
}

// New checks cfg and fills in its defaults.
func New(cfg Config) (*Follower, error) {
	for _, required := range []struct {
		field string
		ok    bool
	}{
		{"Node", cfg.Node != ""},
		{"Addresses", len(cfg.Addresses) > 0},
		{"Dial", cfg.Dial != nil},
		{"Table", cfg.Table != nil},
		{"Dir", cfg.Dir != ""},
	} {
		if !required.ok {
			return nil, fmt.Errorf("follow: %s is missing", required.field)
		}
	}
	cfg.BootID = cmp.Or(cfg.BootID, randomID())
	cfg.GoodAfter = cmp.Or(cfg.GoodAfter, 30*time.Second)
	cfg.MaxUpdate = cmp.Or(cfg.MaxUpdate, 256<<20)
	if cfg.Healthy == nil {
		cfg.Healthy = func() bool { return true }
	}
	if cfg.Health == nil {
		cfg.Health = func() *syncv1.Health { return &syncv1.Health{} }
	}
	if cfg.Failing == nil {
		cfg.Failing = func() bool { return false }
	}
	if cfg.Demand == nil {
		cfg.Demand = func(bool) []*syncv1.Demand { return nil }
	}
	if cfg.Shares == nil {
		cfg.Shares = func(*syncv1.Shares) {}
	}
	if cfg.RetrySuspect == nil {
		cfg.RetrySuspect = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider()
	}
	return &Follower{
		cfg:     cfg,
		tracer:  cfg.Tracer.Tracer("github.com/hopgate/hopgate/dataplane/follow"),
		metrics: newMetrics(),
		changed: make(chan struct{}, 1),
		second:  rand.N(int(healthEvery / time.Second)),
		pace:    &pacing{},
	}, nil
}

// Status is how a follower stands.
type Status struct {
	// Connected: a control plane has answered on the present stream.
	Connected bool
	// Since is when Connected became what it is.
	Since time.Time
	// LastContact is when a control plane was last heard of; zero: never in this process.
	LastContact time.Time
	// Address of the control plane that is or was followed last, and the error that ended its stream last.
	Address   string
	LastError error
	// Loaded: there is a config to serve, from disk or from a control plane; it may be an empty one.
	Loaded bool
	// Version that is served.
	Version table.Version
	// Suspect: a config under which the process ended without a clean stop is held off.
	Suspect bool
	// Held is why the newest update is not served although nothing is wrong with it: it would remove much; empty: none is held.
	Held string
	// DiskError is why the last change isn't kept on disk; nil when it is.
	DiskError error
}

// Age is how long ago a control plane last confirmed the config; 0 while connected, and -1 when none ever did in this process.
func (s Status) Age(now time.Time) time.Duration {
	switch {
	case s.Connected:
		return 0
	case s.LastContact.IsZero():
		return -1
	}
	return now.Sub(s.LastContact)
}

// Status says how the follower stands.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Version = f.cfg.Table.Load().Version()
	s.Suspect = f.store != nil && f.store.Suspect() != nil
	return s
}

// Changed says that what Config.Health returns has changed: it is sent at once. It never blocks.
func (f *Follower) Changed() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// note changes the status.
func (f *Follower) note(change func(*Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

// Run follows until ctx ends, then marks the stop as clean and frees the state directory. Boot comes first. It returns nil after ctx ends,
// or what kept the clean mark from the disk.
func (f *Follower) Run(ctx context.Context) error {
	if f.store == nil {
		return errors.New("follow: Boot comes before Run")
	}
	var proof sync.WaitGroup
	proof.Go(func() { f.prove(ctx) })
	f.follow(ctx)
	proof.Wait()
	f.note(func(s *Status) { s.Connected, s.Since = false, time.Now() })
	if err := errors.Join(f.store.MarkClean(), f.store.Close()); err != nil {
		return fmt.Errorf("follow: the next start won't know that this stop was clean: %w", err)
	}
	return nil
}

// follow holds one stream after the other.
func (f *Follower) follow(ctx context.Context) {
	var end ending
	for turn := 0; ctx.Err() == nil; turn += end.turn {
		address := f.cfg.Addresses[turn%len(f.cfg.Addresses)]
		end = f.session(ctx, address, end.resync)
		if ctx.Err() != nil {
			return
		}
		wait := end.wait
		if end.paced {
			wait = max(wait, f.pace.next(end.welcomed))
		} else {
			f.pace.reset()
		}
		f.note(func(s *Status) {
			if s.Connected {
				s.Connected, s.Since = false, time.Now()
			}
			s.LastError = end.err
		})
		f.cfg.Log.Warn("control plane stream ended", "address", address, "error", end.err, "next_in", wait.Round(time.Millisecond))
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
