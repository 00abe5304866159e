package follow

import (
	"crypto/rand"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// PingEvery is after which silence of the control plane it is asked whether it is still at work. A path that has silently died is noticed earlier
// on Linux: health is sent every two minutes, and what isn't acknowledged within 10 s ends the connection (TCP_USER_TIMEOUT, which gRPC sets beside its
// pings). So nobody need answer an idle fleet that often: an answer costs the control plane as much as the report. The server's
// keepalive.EnforcementPolicy must allow it: MinTime at most 15 s.
const PingEvery = 5 * time.Minute

// DialOptions are what a connection of a follower needs beside credentials: static HTTP/2 windows (bandwidth probing costs half of the
// server's CPU per push), probing of idle connections, room for the largest object, and no pacing of its own beside ours.
func DialOptions() []grpc.DialOption {
	const window, most = 1 << 20, 16 << 20
	return []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: PingEvery, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Second, Multiplier: 1, MaxDelay: time.Second}, MinConnectTimeout: greetWithin}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most), grpc.MaxCallSendMsgSize(most)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	}
}

func randomID() string { return rand.Text() }
