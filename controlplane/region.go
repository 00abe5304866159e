package controlplane

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Relay is a store that only reads what the control plane at home has: its objects are as they are pushed, and nothing is made in it.
type Relay interface {
	Store
	// Source is the same store as the view follows it.
	Source() store.Store
	// Report sets where the numbers of data planes come from that home is told.
	Report(counts func() (connected, behind int))
	// Barred are the SHA-256 of credentials that home told.
	Barred() [][]byte
	// ShutOut is who home says is shut out, by name; OnShutOut sets what is called when that has changed.
	ShutOut() []*syncv1.RevokedNode
	OnShutOut(changed func())
	// Tokens are join tokens that were made at the relay, by name, at most n after a name.
	Tokens(after string, n int) []store.Head
	// Home is the control plane it follows, and for how long that has been out of reach; 0: it isn't.
	Home() (upstream string, stale time.Duration)
}

// index is the stored config with what stays in the control plane: at a relay that is kept beside the config.
func (p *Plane) index() api.Index {
	if r, ok := p.cfg.Store.(Relay); ok {
		return &regional{p.views, r}
	}
	return p.views
}

// regional is the index of a relay.
type regional struct {
	*view.Views
	relay Relay
}

// Get returns one head. A registration that can't be read is there, and shuts out.
func (r *regional) Get(kind, name string) (store.Head, bool) {
	if !rules.Kept(kind) {
		return r.Views.Get(kind, name)
	}
	h, err := r.relay.Get(context.Background(), confset.Key{Kind: kind, Name: name}) // from memory
	return h, !errors.Is(err, store.ErrNotFound)
}

// List returns heads of a kind.
func (r *regional) List(kind, after string, n int) []store.Head {
	if kind == authority.KindToken {
		return r.relay.Tokens(after, n)
	}
	return r.Views.List(kind, after, n)
}

// passBarred adds what home bars to each Welcome.
func passBarred(r Relay) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		return handle(srv, &welcoming{stream, r})
	}
}

type welcoming struct {
	grpc.ServerStream
	relay Relay
}

func (w *welcoming) SendMsg(m any) error {
	if r, ok := m.(*syncv1.SyncResponse); ok && r.GetWelcome() != nil {
		r.GetWelcome().BarredSha256 = append(r.GetWelcome().GetBarredSha256(), w.relay.Barred()...)
	}
	return w.ServerStream.SendMsg(m)
}
