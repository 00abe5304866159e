// Package dataplane puts the rooms of a data plane together: a stateless proxy that follows a control plane and serves MCP.
//
// It promises that it serves the last good config without a control plane, and that it stops in order: first the callers are drained, then
// the config stream ends cleanly, last the telemetry of all of it is written. It refuses to start without a state directory of its own.
package dataplane

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Config of a Plane.
type Config struct {
	// Node is its name, unique in the fleet; Region and Group say where it stands.
	Node, Region, Group string
	// Version of the program.
	Version string
	// Listen is the address for clients.
	Listen string
	// TLS for clients; nil is plain HTTP/1.1 and h2c.
	TLS *tls.Config
	// Advertise is where the other data planes reach this one's listener, and no other's, like http://10.0.0.5:4000; empty: they don't. Sessions
	// that live in one process, as those of HTTP+SSE, are then served only where they began. PeerTLS is for https; nil: the system's authorities.
	Advertise string
	PeerTLS   *tls.Config
	// PublicOrigins under which clients know it, RedirectOrigins and NativeURIs where OAuth clients may be sent back to, as long as no
	// Ingress says so; may be empty.
	PublicOrigins, RedirectOrigins, NativeURIs []string
	// Control are the addresses of control planes, Dial how to reach one.
	Control []string
	Dial    func(address string) (follow.Conn, error)
	// StateDir keeps the last good config.
	StateDir string
	// Static principals of this process, such as the master key of `up`.
	Static []*table.Principal
	// Anonymous admits callers without a key; only on a loopback listener.
	Anonymous bool
	// DrainDelay and DrainTimeout are those of listen.Config.
	DrainDelay, DrainTimeout time.Duration
	// Access gets the access lines; AccessFormat is human, json or off.
	Access       io.Writer
	AccessFormat string
	// GoodAfter is how long a new config must have served before it counts as good; 0 means 30 s.
	GoodAfter time.Duration
	Log       *slog.Logger
	Registry  *prometheus.Registry
	Tracer    trace.TracerProvider
}

// Plane is one data plane. Boot it, then Run it.
type Plane struct {
	cfg       Config
	holder    *table.Holder
	telemetry *telemetry.Telemetry
	client    *transport.Client
	egress    *egress.Client
	tokens    *jwt.Tokens
	resolver  *credential.Resolver
	limits    *policy.Limits
	gate      auth.Gate
	hop       *hop.Hop
	lore      *catalogue.Catalogue
	peers     *peer.Peers
	amiss     amiss
	follower  *follow.Follower
	barred    atomic.Pointer[map[[32]byte]struct{}]
	handler   *request.Handler
	listener  *listen.Listener
}

// New checks cfg and builds the plane; it opens nothing.
func New(cfg Config) (*Plane, error) {
	if cfg.Anonymous && !netrange.Loopback(cfg.Listen) {
		return nil, errors.New("dataplane: callers without a key are only taken on a loopback address, not on " + cfg.Listen)
	}
	p := &Plane{cfg: cfg, holder: new(table.Holder)}
	p.holder.Store(table.New(table.Config{Region: cfg.Region, Group: cfg.Group, Static: cfg.Static}))
	var err error
	if p.telemetry, err = telemetry.New(telemetry.Config{Access: cfg.Access, Format: cfg.AccessFormat, Log: cfg.Log, Registry: cfg.Registry, Tracer: cfg.Tracer,
		Region: cfg.Region, Node: cfg.Node, Version: cfg.Version, SampleRatio: func() float64 { return p.holder.Load().Settings().SampleRatio }}); err != nil {
		return nil, err
	}
	if p.client, err = transport.New(transport.Config{}); err != nil {
		return nil, err
	}
	if err = p.newTrust(); err != nil {
		return nil, err
	}
	if p.follower, err = p.newFollower(); err != nil {
		return nil, err
	}
	faces, err := p.newFaces()
	if err != nil {
		return nil, err
	}
	p.listener, err = listen.New(listen.Config{Addr: cfg.Listen, TLS: cfg.TLS, Handler: faces, DrainDelay: cfg.DrainDelay, DrainTimeout: cfg.DrainTimeout, Log: cfg.Log})
	return p, err
}

// newTrust makes what finds out who callers are and what servers want of us.
func (p *Plane) newTrust() (err error) {
	if p.egress, err = egress.New(egress.Config{}); err != nil {
		return err
	}
	if p.tokens, err = jwt.New(jwt.Config{Egress: p.egress, Issuers: p.issuers, Log: p.cfg.Log}); err != nil {
		return err
	}
	p.resolver, err = credential.New(credential.Config{Egress: p.egress, Log: p.cfg.Log})
	p.limits = policy.NewLimits(policy.LimitsConfig{})
	return err
}

// bar notes the credentials that the control plane doesn't want passed on.
func (p *Plane) bar(sums [][]byte) {
	barred := make(map[[32]byte]struct{}, len(sums))
	for _, s := range sums {
		if len(s) == sha256.Size {
			barred[[32]byte(s)] = struct{}{}
		}
	}
	p.barred.Store(&barred)
}

func (p *Plane) isBarred(sum [32]byte) bool {
	barred := p.barred.Load()
	if barred == nil {
		return false
	}
	_, is := (*barred)[sum]
	return is
}

func (p *Plane) issuers() jwt.Issuers { return p.holder.Load() }

func (p *Plane) newFollower() (*follow.Follower, error) {
	c := p.cfg
	f, err := follow.New(follow.Config{Node: c.Node, Region: c.Region, Group: c.Group, Version: c.Version, Addresses: c.Control, Dial: c.Dial,
		Table: p.holder, Dir: c.StateDir, GoodAfter: c.GoodAfter, Log: c.Log, Tracer: c.Tracer, Barred: p.bar,
		Health: p.health, Failing: p.telemetry.Failing, Demand: p.limits.Demand, Shares: p.limits.SetShares})
	if err != nil {
		return nil, err
	}
	return f, c.Registry.Register(f)
}

// Boot puts the last good config in force and binds the socket.
func (p *Plane) Boot(ctx context.Context) error {
	if _, err := p.follower.Boot(); err != nil { // it logs what it starts with
		return err
	}
	if err := p.listener.Open(ctx); err != nil {
		return errors.Join(err, p.follower.Close())
	}
	return nil
}

// Addr is the bound address; only after Boot.
func (p *Plane) Addr() net.Addr { return p.listener.Addr() }

// Run serves until ctx ends, drains, and returns when everything has ended. Boot comes first.
func (p *Plane) Run(ctx context.Context) error {
	rest, stop := context.WithCancel(context.WithoutCancel(ctx))
	telling, hush := context.WithCancel(context.WithoutCancel(ctx))
	var followers, tellers sync.WaitGroup
	var followErr error
	followers.Go(func() { followErr = p.follower.Run(rest) })
	followers.Go(func() { p.client.Run(rest) })   //nolint:errcheck // ends with its context only
	followers.Go(func() { p.tokens.Run(rest) })   //nolint:errcheck // ends with its context only
	followers.Go(func() { p.resolver.Run(rest) }) //nolint:errcheck // ends with its context only
	followers.Go(func() { p.recheck(rest) })
	followers.Go(func() { p.lore.Run(rest) })
	followers.Go(func() { p.hop.RunHealth(rest, p.servers, p.attach) }) //nolint:errcheck // ends with its context only
	tellers.Go(func() { p.telemetry.Run(telling) })                     //nolint:errcheck // ends with its context only
	err := p.listener.Run(ctx)
	stop()
	followers.Wait()
	p.client.Close()
	p.egress.Close()
	p.hop.Close()
	p.peers.Close()
	hush()
	tellers.Wait()
	return errors.Join(err, followErr)
}

// recheckEvery bounds how long a stream may go on under a config that wouldn't let it be opened.
const recheckEvery = 200 * time.Millisecond

// recheck judges open streams again after each change of the config.
func (p *Plane) recheck(ctx context.Context) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for judged := p.holder.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := p.holder.Load(); now != judged {
			p.handler.Recheck()
			judged = now
		}
	}
}

// Telemetry gives the admin listener its pages.
func (p *Plane) Telemetry() *telemetry.Telemetry { return p.telemetry }

// Status says how the plane stands to its control plane.
func (p *Plane) Status() follow.Status { return p.follower.Status() }

// health is what the control plane is told every 10 s.
func (p *Plane) health() *syncv1.Health {
	return &syncv1.Health{Draining: p.handler.Draining(), InFlight: int32(p.telemetry.Active()), //nolint:gosec // bounded by the connection limit
		Upstreams: p.upstreams(), Calls: p.telemetry.ServerCalls()}
}

// Readiness is the body of /readyz.
type Readiness struct {
	Status     string `json:"status"`
	Revision   int64  `json:"revision"`
	AgeSeconds int64  `json:"age_seconds"` // since a control plane confirmed it; -1: never in this process
	Stale      bool   `json:"stale"`
	Suspect    bool   `json:"suspect,omitempty"`
}

// Ready reports whether requests can be served: a config is loaded and no drain is under way.
func (p *Plane) Ready() (Readiness, bool) {
	s := p.follower.Status()
	age := s.Age(time.Now())
	r := Readiness{Status: "ready", Revision: s.Version.Revision, AgeSeconds: int64(age / time.Second), Stale: !s.Connected, Suspect: s.Suspect}
	if age < 0 {
		r.AgeSeconds = -1
	}
	switch {
	case !s.Loaded:
		r.Status = "no config"
	case p.handler.Draining():
		r.Status = "draining"
	default:
		return r, true
	}
	return r, false
}

func (p *Plane) readyBody() ([]byte, bool) {
	r, ok := p.Ready()
	b, err := json.Marshal(r)
	return b, ok && err == nil
}
