package controlplane

import (
	"context"
	"sync"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/view"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// NewWith is New with an authority on the same store: it makes the certificate of the sync listener, and those of data planes that join there.
// SyncTLS is the authority's. A Relay has none.
func NewWith(cfg Config, a *authority.Authority) (*Plane, error) {
	cfg.Store, cfg.SyncTLS = &founded{cfg.Store, a}, a.TLS()
	p, err := New(cfg)
	if err != nil {
		return nil, err
	}
	a.Follow(p.views)
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
	refused := authority.NewNodes(p.views).Refused
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
	}
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

func (n *nodesHeard) take() (nodes []string, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	nodes, all = n.nodes, n.all
	n.nodes, n.all = nil, false
	return nodes, all
}
