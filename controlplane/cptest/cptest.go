// Package cptest is a real small control plane for tests of others: store, views, streams and fleet ledger as in production, on an in-memory
// listener.
//
// It promises that a change made with Put, Delete or Commit is committed through the store and pushed like any other, that Stop looks to
// data planes like a control plane that died, and that Restart comes back on the same store with nothing else remembered. It refuses to be
// configured beyond what tests need; failures of its own end the test.
package cptest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/controlplane/view"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Config of a Control. The zero value is good.
type Config struct {
	// Store holds the config; default: a new memstore.
	Store store.Store
	// Replica is its name in Welcome; default "test".
	Replica string
	// KEK seals the values of secrets that are put, as the admin API does, and opens what is stored; nil: they are stored as they are.
	KEK *secret.KEK
	// Tracer makes the spans of changes; default: none.
	Tracer trace.TracerProvider
	// Log; default: discarded.
	Log *slog.Logger
	// Stream and View change further settings before use; nil: none.
	Stream func(*stream.Config)
	View   func(*view.Config)
}

// Control is a running control plane.
type Control struct {
	// Store is the same over restarts.
	Store store.Store

	tb  testing.TB
	cfg Config

	mu  sync.Mutex
	run *running // nil: stopped; guarded by mu
}

// running is one life of a Control.
type running struct {
	views    *view.Views
	fleet    *fleet.Ledger
	streams  *stream.Server
	registry *prometheus.Registry
	listener *bufconn.Listener
	server   *grpc.Server
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// New starts a control plane and stops it at the end of the test. It returns once it can serve streams.
func New(tb testing.TB, cfg Config) *Control {
	tb.Helper()
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	if cfg.Replica == "" {
		cfg.Replica = "test"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Control{Store: cfg.Store, tb: tb, cfg: cfg}
	c.Restart()
	tb.Cleanup(c.Stop)
	return c
}

// Restart stops the control plane if it runs, and starts it on the same store.
func (c *Control) Restart() {
	c.tb.Helper()
	c.Stop()
	r, err := c.start()
	if err != nil {
		c.tb.Fatalf("cptest: start: %v", err)
	}
	c.mu.Lock()
	c.run = r
	c.mu.Unlock()
	select {
	case <-r.views.Ready():
	case <-time.After(10 * time.Second):
		c.tb.Fatal("cptest: no view within 10 s: is the store down?")
	}
}

func (c *Control) start() (*running, error) {
	r := &running{registry: prometheus.NewRegistry(), listener: bufconn.Listen(32 << 10)}
	vc := view.Config{Store: c.cfg.Store, Registerer: r.registry, Log: c.cfg.Log}
	if c.cfg.KEK != nil {
		vc.Open = secret.OpenHead(c.cfg.KEK)
	}
	if c.cfg.View != nil {
		c.cfg.View(&vc)
	}
	var err error
	if r.views, err = view.New(vc); err != nil {
		return nil, err
	}
	if r.fleet, err = fleet.New(fleet.Config{Current: r.views.Current, Revision: r.views.Revision, Needs: r.views.Needs, Registerer: r.registry}); err != nil {
		return nil, err
	}
	sc := stream.Config{Views: r.views, Fleet: r.fleet, Replica: c.cfg.Replica, Registerer: r.registry, Log: c.cfg.Log, Tracer: c.cfg.Tracer}
	if c.cfg.Stream != nil {
		c.cfg.Stream(&sc)
	}
	if r.streams, err = stream.New(sc); err != nil {
		return nil, err
	}
	r.serve()
	return r, nil
}

func (r *running) serve() {
	r.server = grpc.NewServer(stream.ServerOptions()...)
	syncv1.RegisterSyncServiceServer(r.server, r.streams)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wg.Go(func() { _ = r.views.Run(ctx) })
	r.wg.Go(func() { _ = r.streams.Watch(ctx) })
	r.wg.Go(func() { _ = r.server.Serve(r.listener) })
}

// Stop ends the control plane at once, as a crash would: streams break. It does nothing when it is stopped already.
func (c *Control) Stop() {
	c.mu.Lock()
	r := c.run
	c.run = nil
	c.mu.Unlock()
	if r == nil {
		return
	}
	r.server.Stop()
	r.cancel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.streams.Drain(ended)
	r.wg.Wait()
}

// Drain stops it as a planned shutdown would: data planes are asked to move first, and cut when ctx ends.
func (c *Control) Drain(ctx context.Context) error {
	err := c.now().streams.Drain(ctx)
	c.Stop()
	return err
}

// Running says whether it runs.
func (c *Control) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run != nil
}

func (c *Control) now() *running {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil {
		c.tb.Fatal("cptest: the control plane is stopped")
	}
	return c.run
}

// Views of the present life.
func (c *Control) Views() *view.Views { return c.now().views }

// Fleet of the present life.
func (c *Control) Fleet() *fleet.Ledger { return c.now().fleet }

// Registry holds the metrics of the present life.
func (c *Control) Registry() *prometheus.Registry { return c.now().registry }

var errStopped = errors.New("cptest: the control plane is stopped")

// Dial connects to the present life; it fails while the control plane is stopped.
func (c *Control) Dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r == nil {
		return nil, errStopped
	}
	return r.listener.DialContext(ctx)
}

// Conn returns a connection that outlives restarts: it dials whatever life is the present one. It is closed at the end of the test.
func (c *Control) Conn(context.Context) (*grpc.ClientConn, error) { return c.ConnWith() }

// ConnWith is Conn with further options.
func (c *Control) ConnWith(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.Dial(ctx) }),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:///cptest", opts...)
	if err == nil {
		c.tb.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}
