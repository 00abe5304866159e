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
)

// quiet is after which silence a data plane is probed: a little more than the minute after which it reports health anyway, so that an idle one
// costs that report and its own probe alone.
const quiet = 75 * time.Second

// ServerOptions returns how a gRPC server with this service must be made: with the codec that lets streams share what is encoded, fixed
// windows (dynamic ones cost half of the CPU of a push), small buffers per connection, dead peers noticed within 85 s, and connections that
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
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: quiet, Timeout: 10 * time.Second,
			MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}
