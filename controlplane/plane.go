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
