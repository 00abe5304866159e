// Package controlplane puts the rooms of a control plane together: the admin API, the store behind it, and the streams to data planes.
//
// It promises that it takes no call before its view of the store is complete, and that it stops in order: data planes are asked to connect
// elsewhere, calls under way finish, then the store is let go. It refuses plaintext on any address but loopback.
package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/replicas"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

// drainTime bounds how long streams and calls under way are waited for.
const drainTime = 8 * time.Second

// Store is a store that has to be opened.
type Store interface {
	store.Store
	Open(ctx context.Context) error
}

// Config of a Plane.
type Config struct {
	// Store keeps the config. With a Relay, the plane is that of a region which follows another.
	Store Store
	// KEK opens what the store keeps encrypted.
	KEK *secret.KEK
	// Admin is the address of the admin API; AdminTLS nil is plaintext, only on loopback.
	Admin    string
	AdminTLS *tls.Config
	// AdminPages serves what the API doesn't: metrics and debug pages; may be nil.
	AdminPages http.Handler
	// Sync is the address data planes connect to; empty: only those of this process (Local). SyncTLS nil is plaintext, only on loopback; with
	// client certificates required, these say who a data plane is.
	Sync    string
	SyncTLS *tls.Config
	// Compile is the data plane's own compile function, asked before a change is stored.
	Compile func(confset.Object) []admit.Problem
	// MasterKey is the SHA-256 of the master key.
	MasterKey [32]byte
	// Version of the program and name of this replica.
	Version, Replica string
	Log              *slog.Logger
	Registry         *prometheus.Registry
	Tracer           trace.TracerProvider
}

// Plane is one control plane. Boot it, then Run it.
type Plane struct {
	cfg      Config
	views    *view.Views
	fleet    *fleet.Ledger
	replicas *replicas.Count
	shares   *share.Ledger
	leader   *rollout.Leader // nil: a relay
	rotator  *secret.Rotator // nil: a relay
	stream   *stream.Server
	api      *api.Server
	grpc     *grpc.Server
	http     *http.Server

	local       *bufconn.Listener
	admin, sync net.Listener
}

// New checks cfg and builds the plane; it opens nothing.
func New(cfg Config) (*Plane, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Plane{cfg: cfg, local: bufconn.Listen(1 << 20)}
	var err error
	if p.views, err = view.New(cfg.view()); err != nil {
		return nil, err
	}
	if p.fleet, err = fleet.New(fleet.Config{Current: p.views.Current, Revision: p.views.Revision, Needs: p.views.Needs, Registerer: cfg.Registry}); err != nil {
		return nil, err
	}
	if r, ok := cfg.Store.(Relay); ok {
		r.Report(p.fleet.Counts)
	}
	if err = p.newShares(); err != nil {
		return nil, err
	}
	if err = p.newLeader(); err != nil {
		return nil, err
	}
	if err := p.newStream(); err != nil {
		return nil, err
	}
	if err = p.newRotator(); err != nil {
		return nil, err
	}
	return p, p.newAPI()
}

func (c *Config) view() view.Config {
	if r, ok := c.Store.(Relay); ok {
		return view.Config{Store: r.Source(), Registerer: c.Registry, Log: c.Log}
	}
	return view.Config{Store: c.Store, Open: secret.OpenHead(c.KEK), Registerer: c.Registry, Log: c.Log}
}

func (c *Config) check() error {
	if c.Store == nil || c.KEK == nil || c.Log == nil || c.Registry == nil {
		return errors.New("controlplane: Store, KEK, Log and Registry are required")
	}
	if c.AdminTLS == nil && !netrange.Loopback(c.Admin) {
		return fmt.Errorf("the admin API on %s needs a certificate (--tls-cert, --tls-key): plaintext is only for loopback addresses", c.Admin)
	}
	if c.Sync != "" && c.SyncTLS == nil && !netrange.Loopback(c.Sync) {
		return fmt.Errorf("the sync listener on %s needs mutual TLS (--sync-cert, --sync-key, --sync-client-ca): plaintext is only for loopback addresses", c.Sync)
	}
	return nil
}

// settleTime is how long data planes of an earlier control plane are waited for, before shares of limits are made larger.
const settleTime = 3 * time.Second

// newShares makes the ledger of limits, and the count of control planes that share them out. One without data planes has nothing to share
// out, and isn't counted. A control plane of this process's own data plane has nobody to wait for.
func (p *Plane) newShares() (err error) {
	busy := func() bool { return p.fleet.Connected() > 0 }
	p.replicas, err = replicas.New(replicas.Config{Store: p.cfg.Store, Name: p.cfg.Replica, Busy: busy, Log: p.cfg.Log})
	if err != nil {
		return err
	}
	cfg := share.Config{Replicas: p.replicas.Now, Allows: share.Allows(p.views)}
	if p.cfg.Sync != "" {
		cfg.Settle = settleTime
	}
	p.shares = share.New(cfg)
	return nil
}

// barred are the credentials that data planes don't know and must not pass on.
func (p *Plane) barred() [][32]byte {
	if p.cfg.MasterKey == [32]byte{} {
		return nil
	}
	return [][32]byte{p.cfg.MasterKey}
}

func (p *Plane) newStream() error {
	cfg := stream.Config{Barred: p.barred(), Views: p.views, Fleet: p.fleet, Shares: p.shares, Replica: p.cfg.Replica, Registerer: p.cfg.Registry, Log: p.cfg.Log, Tracer: p.cfg.Tracer}
	if p.cfg.SyncTLS != nil {
		cfg.Identify = stream.FromCertificate
	}
	cfg.Refused, cfg.ShutOut = authority.NewNodes(p.index()).Refused, p.shutList
	var err error
	if p.stream, err = stream.New(cfg); err != nil {
		return err
	}
	opts := stream.ServerOptions()
	if r, ok := p.cfg.Store.(Relay); ok {
		opts = append(opts, grpc.ChainStreamInterceptor(passBarred(r)))
	}
	if p.cfg.SyncTLS != nil {
		opts = append(opts, grpc.Creds(p.stream.Credentials(p.cfg.SyncTLS)), grpc.ChainStreamInterceptor(stream.CertifiedOnly))
	}
	p.grpc = grpc.NewServer(opts...)
	syncv1.RegisterSyncServiceServer(p.grpc, p.stream)
	return nil
}

func (p *Plane) newAPI() error {
	keys := api.NewKeys(p.views.Holder, p.views)
	gate, err := admit.New(admit.Config{Set: stored{p.views}, Limits: p.cfg.Store.Limits(), Compile: p.cfg.Compile})
	if err != nil {
		return err
	}
	cfg := api.Config{Store: p.cfg.Store, Index: p.index(), Fleet: p.fleet, Gate: gate, KEK: p.cfg.KEK, State: p.views, Keys: keys.Find, MasterKey: p.cfg.MasterKey,
		Ready: p.Ready, Version: p.cfg.Version, Replica: p.cfg.Replica, Log: p.cfg.Log, Tracer: p.cfg.Tracer}
	if r, ok := p.cfg.Store.(Relay); ok {
		cfg.Home, cfg.Opened = r.Home, true
	} else {
		cfg.Live, cfg.Waits, cfg.Rotate = p.leader.Live, p.leader.Waits, p.rotator.Now
	}
	if p.api, err = api.New(cfg); err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(p.cfg.AdminTLS != nil)
	protocols.SetUnencryptedHTTP2(p.cfg.AdminTLS == nil)
	p.http = &http.Server{Handler: p.pages(), Protocols: &protocols, TLSConfig: p.cfg.AdminTLS, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(p.cfg.Log.Handler(), slog.LevelDebug)}
	p.http.RegisterOnShutdown(p.api.EndWatches)
	return nil
}

// pages sends /metrics and /debug to AdminPages and everything else to the API; no mux, since that would redirect unclean paths.
func (p *Plane) pages() http.Handler {
	face := p.api.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.cfg.AdminPages != nil && (r.URL.Path == "/metrics" || strings.HasPrefix(r.URL.Path, "/debug/")) {
			p.cfg.AdminPages.ServeHTTP(w, r)
			return
		}
		face.ServeHTTP(w, r)
	})
}

// stored is the config a change would join, as admission asks for it.
type stored struct{ *view.Views }

// Has reports whether an object is stored.
func (s stored) Has(k confset.Key) bool {
	_, ok := s.Get(k.Kind, k.Name)
	return ok
}

// Boot opens the store, makes what a new one needs, and binds the sockets.
func (p *Plane) Boot(ctx context.Context) error {
	if err := p.cfg.Store.Open(ctx); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if err := p.bind(ctx); err != nil {
		return errors.Join(err, p.cfg.Store.Close())
	}
	return nil
}

func (p *Plane) bind(ctx context.Context) error {
	if _, reads := p.cfg.Store.(Relay); !reads {
		if err := secret.EnsureRing(ctx, p.cfg.Store, p.cfg.KEK, sessionRing); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	var err error
	if p.admin, err = lc.Listen(ctx, "tcp", p.cfg.Admin); err != nil {
		return fmt.Errorf("admin API: %w", err)
	}
	if p.cfg.Sync == "" {
		return nil
	}
	lc.KeepAlive = -1 // gRPC pings; with its TCP_USER_TIMEOUT one lost probe of the kernel's would end a quiet connection
	if p.sync, err = lc.Listen(ctx, "tcp", p.cfg.Sync); err != nil {
		p.admin.Close()
		return fmt.Errorf("sync listener: %w", err)
	}
	return nil
}

// AdminAddr and SyncAddr are the bound addresses; only after Boot. SyncAddr is nil without one.
func (p *Plane) AdminAddr() net.Addr { return p.admin.Addr() }

// SyncAddr is where data planes connect.
func (p *Plane) SyncAddr() net.Addr {
	if p.sync == nil {
		return nil
	}
	return p.sync.Addr()
}

// Local dials the sync service inside this process.
func (p *Plane) Local(ctx context.Context) (net.Conn, error) { return p.local.DialContext(ctx) }

// Ready returns nil once the view of the store is complete.
func (p *Plane) Ready() error {
	select {
	case <-p.views.Ready():
		return nil
	default:
		return errors.New("the config isn't loaded from the store yet")
	}
}

// WaitReady returns when Ready does, or with ctx's error.
func (p *Plane) WaitReady(ctx context.Context) error {
	select {
	case <-p.views.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run serves until ctx ends and returns when everything has ended. Boot comes first.
func (p *Plane) Run(ctx context.Context) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	leading, rest := context.WithCancel(base)
	defer rest()
	failed := make(chan error, 8)
	var rooms sync.WaitGroup
	room := func(run func() error) {
		rooms.Go(func() {
			if err := run(); err != nil {
				failed <- err
			}
		})
	}
	room(func() error { return p.views.Run(base) })
	room(func() error { return p.api.Run(base) })
	room(func() error { return p.replicas.Run(base) })
	room(func() error { return p.rotate(base) })
	room(func() error { return p.lead(leading) })
	room(func() error { return p.shutOut(base) })
	room(func() error { return p.stream.Watch(base) })
	room(func() error { return p.shareOut(base) })
	room(func() error { return p.serveSync(base, p.local) })
	if p.sync != nil {
		room(func() error { return p.serveSync(base, p.sync) })
	}
	room(p.serveAdmin)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	rest() // before data planes are sent away: nobody is to miss them
	p.drain(ctx)
	stop()
	rooms.Wait()
	return errors.Join(err, p.cfg.Store.Close())
}

// shareOut hands out shares of limits, once it is known how many control planes do.
func (p *Plane) shareOut(ctx context.Context) error {
	p.replicas.Wait(ctx) //nolint:errcheck // only when ctx has ended, which ends Run as well
	return p.shares.Run(ctx)
}

// serveSync takes streams of data planes, once it is known which part of all shares is this control plane's to give.
func (p *Plane) serveSync(ctx context.Context, l net.Listener) error {
	if p.replicas.Wait(ctx) != nil {
		return l.Close()
	}
	p.shares.Round() // takes in the number before the first stream
	return p.grpc.Serve(l)
}

func (p *Plane) serveAdmin() error {
	var err error
	if p.cfg.AdminTLS != nil {
		err = p.http.ServeTLS(p.admin, "", "")
	} else {
		err = p.http.Serve(p.admin)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// drain sends data planes elsewhere and lets calls finish.
func (p *Plane) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := p.stream.Drain(ctx); err != nil {
		p.cfg.Log.Warn("streams to data planes were cut", "error", err)
	}
	p.grpc.Stop()
	if err := p.http.Shutdown(ctx); err != nil {
		p.http.Close() //nolint:errcheck // nothing is left to do about it
	}
}
