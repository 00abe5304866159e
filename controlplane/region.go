package controlplane

import (
	"time"

	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/controlplane/store"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
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
	// Home is the control plane it follows, and for how long that has been out of reach; 0: it isn't.
	Home() (upstream string, stale time.Duration)
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
