package stream

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/keepalive"
)

// Flow-control windows and limits of the sync service.
const (
	window      = 1 << 20
	mostReceive = 1 << 20
	mostStreams = 16 // of one connection; a data plane has one
	// connectTime is how long a connection may take to be set up: the wait for its handshake, and that.
	connectTime = 20 * time.Second
)

// probe is after which silence of a connection gRPC asks whether anybody is there. It is long, since a timer for each of ten thousand connections is
// what an idle fleet costs: Watch ends the streams of data planes that say nothing. With a probe gRPC sets TCP_USER_TIMEOUT to its timeout, too,
// so what isn't acknowledged within that time ends a connection.
const probe = 30 * time.Minute

// ServerOptions returns how a gRPC server with this service must be made: with the codec that lets streams share what is encoded, fixed
// windows (dynamic ones cost half of the CPU of a push), small buffers per connection, connections whose peer acknowledges nothing ended, and those that
// end after 30 minutes, ten percent more or less, so that data planes spread over replicas again. No interceptor: a span or log line per
// stream would last for hours.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.ReadBufferSize(0),        // TLS has a buffer of its own
		grpc.WriteBufferSize(4 << 10), // all streams hold one at once while a change leaves
		grpc.MaxRecvMsgSize(mostReceive),
		grpc.MaxConcurrentStreams(mostStreams),
		grpc.ConnectionTimeout(connectTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: probe, Timeout: 10 * time.Second,
			MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}
