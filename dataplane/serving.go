package dataplane

import (
	"context"
	"errors"

	"github.com/hopgate/hopgate/dataplane/face"
	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

// newFaces makes the way of every request: the faces, the handler behind them, and what that calls servers with.
func (p *Plane) newFaces() (*face.Faces, error) {
	c := p.cfg
	p.hop = hop.New(p.client, c.Version)
	p.lore = catalogue.New(catalogue.Config{Log: c.Log, Drifted: p.drifted, Pin: p.pinOf})
	var err error
	if p.peers, err = peer.New(peer.Config{Advertise: c.Advertise, TLS: c.PeerTLS, Table: p.holder, Log: c.Log}); err != nil {
		return nil, err
	}
	p.hop.Advertise(p.peers.Self)
	if err := c.Registry.Register(p.hop.Collector(c.Region)); err != nil {
		return nil, err
	}
	p.gate = auth.Gate{Tokens: p.tokens, Barred: p.isBarred}
	if c.Anonymous {
		p.gate.Anonymous = &table.Principal{ID: "anonymous", Name: "anonymous", Grants: []*table.Grant{table.Everything}, TrustTrace: true, Debug: true}
	}
	if p.handler, err = request.New(request.Config{Table: p.holder, Hop: p.hop, Lore: p.lore, Telemetry: p.telemetry, Gate: p.gate, Region: c.Region,
		Agent: "hopgate/" + c.Version, Log: c.Log, Ready: p.readyBody, Credentials: p.resolver, Limits: p.limits, Forward: p.peers.Forward,
		Listener: origin.Listener{Loopback: netrange.Loopback(c.Listen), Secure: c.TLS != nil, Public: c.PublicOrigins,
			RedirectOrigins: c.RedirectOrigins, NativeURIs: c.NativeURIs, Anonymous: c.Anonymous}}); err != nil {
		return nil, err
	}
	return face.New(p.handler, p.peers)
}

// drifted tells operators that a pinned tool isn't what they looked at any more, or is again.
func (p *Plane) drifted(server, tool string, now bool) {
	p.telemetry.Drift(server, tool, now)
	if now {
		p.cfg.Log.Warn("a pinned tool has changed", "server", server, "tool", tool,
			"hint", "look at it with `hopgate tools "+server+" --pins`, then renew the pin or talk to whoever runs the server")
		return
	}
	p.cfg.Log.Info("a pinned tool is again what was pinned", "server", server, "tool", tool)
}

// pinOf is what the config in force pins a server's tool to.
func (p *Plane) pinOf(server, tool string) string {
	s, ok := p.holder.Load().Server(server)
	if !ok {
		return ""
	}
	v, _ := s.Shape.Show(tool)
	return v.Pin
}

// servers are those of the config in force.
func (p *Plane) servers() []*table.Server {
	var out []*table.Server
	for s := range p.holder.Load().Servers() {
		out = append(out, s)
	}
	return out
}

// errReplaced is a server of an earlier config. Its address may be another one than that for which the secrets in force are.
var errReplaced = errors.New("dataplane: the server's config has been replaced")

// attach finds the credential with which a server is asked whether it lives: its own, and nobody's where calls carry the caller's.
func (p *Plane) attach(ctx context.Context, s *table.Server) ([]credential.Field, error) {
	t := p.holder.Load()
	now, there := t.Server(s.Name)
	switch {
	case !there || now != s:
		return nil, errReplaced
	case s.Plain:
		return nil, nil
	case s.Auth.Type == "passthrough", s.Auth.Flow == "token_exchange":
		return nil, errors.ErrUnsupported
	}
	bound, err := p.resolver.Resolve(ctx, &credential.Ask{Table: t, Server: s, Principal: &table.Principal{ID: "health", Name: "health"},
		Holds: func(v string) bool { return p.gate.Holds(t, v) }})
	return bound.Fields, err
}

// upstreams are what the control plane is told about servers that had traffic, or of which something else holds than what it was told.
func (p *Plane) upstreams() []*syncv1.UpstreamHealth {
	const mostOpen, mostDrifted = 32, 100
	t := p.holder.Load()
	return p.amiss.fill(p.telemetry.UpstreamHealth(), func(server string) (open, drifted []string) {
		if s, ok := t.Server(server); ok {
			open, drifted = p.hop.OpenInstances(s), p.telemetry.Drifted(server)
		}
		return open[:min(len(open), mostOpen)], drifted[:min(len(drifted), mostDrifted)]
	})
}
