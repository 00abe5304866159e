package controlplane

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/view"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// NewWith is New with an authority on the same store: it makes the certificate of the sync listener, and those of data planes that join there.
// SyncTLS is the authority's. That of a Relay signs with what home gave it (authority.Authority.Use).
func NewWith(cfg Config, a *authority.Authority) (*Plane, error) {
	cfg.SyncTLS = a.TLS()
	if _, reads := cfg.Store.(Relay); !reads {
		cfg.Store = &founded{cfg.Store, a}
	}
	p, err := New(cfg)
	if err != nil {
		return nil, err
	}
	a.Follow(p.index())
	syncv1.RegisterEnrollServiceServer(p.grpc, a)
	return p, nil
}

// founded is a store whose authority is there once it is open.
type founded struct {
	Store
	authority *authority.Authority
}

// Open opens the store, then the authority.
func (f *founded) Open(ctx context.Context) error {
	if err := f.Store.Open(ctx); err != nil {
		return err
	}
	return f.authority.Open(ctx)
}

// shutOut ends the streams of data planes that are revoked while they are connected, until ctx ends.
func (p *Plane) shutOut(ctx context.Context) error {
	var heard nodesHeard
	heard.turned = make(chan struct{}, 1)
	defer p.views.Listen(heard.hear)()
	if r, ok := p.cfg.Store.(Relay); ok {
		r.OnShutOut(heard.anybody)
		heard.anybody() // what came before
	}
	refused := authority.NewNodes(p.index()).Refused
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-heard.turned:
		}
		nodes, all := heard.take()
		if all {
			nodes = nil
		}
		p.stream.Reject(refused, nodes...)
		p.stream.TellShutOut()
	}
}

// shutList is what relays hear: the registrations that shut somebody out.
func (p *Plane) shutList() (out []*syncv1.RevokedNode) {
	if r, ok := p.cfg.Store.(Relay); ok {
		return r.ShutOut()
	}
	const page = 1000
	for after := ""; ; {
		heads := p.views.List(authority.KindNode, after, page)
		for _, h := range heads {
			after = h.Object.Key.Name
			if n := shut(h); n != nil {
				out = append(out, n)
			}
		}
		if len(heads) < page {
			return out
		}
	}
}

// shut is what a registration says against certificates; nil: nothing. One that can't be read shuts out.
func shut(h store.Head) *syncv1.RevokedNode {
	n := &configv1.Node{}
	if err := proto.Unmarshal(h.Object.Body, n); err != nil {
		return &syncv1.RevokedNode{Node: h.Object.Key.Name, Revoked: true}
	}
	if !n.GetRevoked() && n.GetNotBefore() == nil {
		return nil
	}
	return &syncv1.RevokedNode{Node: h.Object.Key.Name, Revoked: n.GetRevoked(), NotBefore: n.GetNotBefore()}
}

// nodesMost bounds the names that are noted; of more, all streams are looked at.
const nodesMost = 1000

// nodesHeard notes whose registration has changed.
type nodesHeard struct {
	turned chan struct{} // one slot

	mu    sync.Mutex
	nodes []string // guarded by mu
	all   bool     // guarded by mu
}

func (n *nodesHeard) hear(t view.Told) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := len(n.nodes)
	if t.Change != nil {
		for _, o := range t.Change.Objects {
			if o.Kind == authority.KindNode {
				n.nodes = append(n.nodes, o.Name)
			}
		}
	}
	if n.all = n.all || t.Gap || len(n.nodes) > nodesMost; n.all {
		n.nodes = nil
	}
	if !n.all && len(n.nodes) == before {
		return
	}
	select {
	case n.turned <- struct{}{}:
	default:
	}
}

// anybody notes that it may be any.
func (n *nodesHeard) anybody() { n.hear(view.Told{Gap: true}) }

func (n *nodesHeard) take() (nodes []string, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	nodes, all = n.nodes, n.all
	n.nodes, n.all = nil, false
	return nodes, all
}
