package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// inner is the gRPC service twice, behind the same interceptors: outer answers gRPC clients through the HTTP server, local answers the
// REST face over a listener in memory. They are two because a server that has calls from an HTTP server can't be stopped gracefully.
type inner struct {
	outer, local *grpc.Server
	listener     *bufconn.Listener
	conn         *grpc.ClientConn
}

// grace is how long running calls may take to finish once Run is to end.
const grace = 5 * time.Second

// pipeBytes is the buffer of one in-memory connection.
const pipeBytes = 1 << 20

func newInner(svc adminv1.AdminServiceServer, g *guard) (*inner, error) {
	in := &inner{listener: bufconn.Listen(pipeBytes)}
	for _, s := range []**grpc.Server{&in.outer, &in.local} {
		// The margin lets a JSON body at its limit through whose message carries path and query parameters besides.
		*s = grpc.NewServer(grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream), grpc.MaxRecvMsgSize(BodyLimit+64<<10))
		adminv1.RegisterAdminServiceServer(*s, svc)
	}
	conn, err := grpc.NewClient("passthrough:///admin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return in.listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // never leaves the process
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, fmt.Errorf("api: in-memory connection: %w", err)
	}
	in.conn = conn
	return in, nil
}

func (in *inner) run(ctx context.Context) error {
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = in.local.Serve(in.listener) })
	<-ctx.Done()
	// A call that outlives the grace, such as one on a store that doesn't answer, is cut.
	cut := time.AfterFunc(grace, in.local.Stop)
	in.local.GracefulStop()
	cut.Stop()
	in.outer.Stop()
	wg.Wait()
	if cerr := in.conn.Close(); err == nil || errors.Is(err, grpc.ErrServerStopped) {
		err = cerr
	}
	return err
}
