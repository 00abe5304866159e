package follow

import (
	"crypto/rand"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// PingEvery is after which silence of the control plane a connection is probed, so that a path that has silently died is noticed within 70 s; one
// on which something is to be sent within 10 s of that. Each probe of an idle fleet costs the control plane as much as a message. The server's
// keepalive.EnforcementPolicy must allow it: MinTime at most 15 s.
const PingEvery = time.Minute

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
