package follow_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// relay serves gRPC and hands each stream to the test as a peer.
type relay struct {
	syncv1.UnimplementedSyncServiceServer
	peers chan *peer
}

func (r *relay) Sync(stream syncv1.SyncService_SyncServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	p := &peer{ctx: ctx, cancel: cancel, up: make(chan *syncv1.SyncRequest, 100), down: make(chan *syncv1.SyncResponse, 100)}
	r.peers <- p
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				cancel(err)
				return
			}
			p.up <- m
		}
	}()
	for {
		select {
		case m := <-p.down:
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// overTheWire starts a follower of a control plane behind real gRPC in memory.
func overTheWire(tb testing.TB) (c *control, dial func(string) (follow.Conn, error)) {
	tb.Helper()
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer()
	c = newControl()
	syncv1.RegisterSyncServiceServer(srv, &relay{peers: c.peers})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	tb.Cleanup(func() {
		srv.Stop()
		<-done
	})
	return c, func(string) (follow.Conn, error) {
		return grpc.NewClient("passthrough:control", append(follow.DialOptions(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))...)
	}
}

func TestFollowingOverRealGRPC(t *testing.T) {
	c, dial := overTheWire(t)
	n := start(t, c, t.TempDir(), func(cfg *follow.Config) { cfg.Dial = dial })
	first, second := set(t, "a", "b", "c"), set(t, "b", "c", "d")
	p, _ := c.accept(t, first, 1)
	p.push(nil, first, 1)
	p.ack(t)
	p.push(first, second, 2)
	if a := p.ack(t); a.GetRefused() {
		t.Errorf("answer %v", a)
	}
	serves(t, n, 2, "b", "c", "d")
	p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Move{Move: &syncv1.Move{Reason: "drain"}}})
	c.accept(t, second, 2)
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// One change of one object, from the control plane's send to the data plane's answer, with 102,000 objects held: fsync included.
func BenchmarkOneChange(b *testing.B) {
	for _, keys := range []int{10, 100_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) { benchmarkChange(b, keys) })
	}
}

// A start without a control plane, with 102,000 objects on disk.
func BenchmarkBoot(b *testing.B) {
	dir := b.TempDir()
	c := newControl()
	n := start(b, c, dir)
	now, err := confset.New(many(b, 100_000))
	if err != nil {
		b.Fatal(err)
	}
	p, _ := c.accept(b, now, 1)
	p.wide = true
	p.push(nil, now, 1)
	p.ack(b)
	if err := n.stop(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := start(b, c, dir)
		if n.boot.Objects != now.Len() || n.boot.Suspect != nil {
			b.Fatalf("%+v", n.boot)
		}
		b.ReportMetric(float64(n.boot.Took.Milliseconds()), "boot-ms")
		b.StopTimer()
		if err := n.stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// many makes n API keys and 2,000 servers.
func many(tb testing.TB, n int) (objs []confset.Object) {
	for i := range n {
		objs = append(objs, key(tb, fmt.Sprintf("key_%06d", i)))
	}
	for i := range 2000 {
		objs = append(objs, server(tb, fmt.Sprintf("server_%04d", i), "https://mcp.example.com/mcp"))
	}
	return objs
}

func benchmarkChange(b *testing.B, keys int) {
	c, dial := overTheWire(b)
	n := start(b, c, b.TempDir(), func(cfg *follow.Config) { cfg.Dial, cfg.Log = dial, nil })
	defer n.stop()
	now, err := confset.New(many(b, keys))
	if err != nil {
		b.Fatal(err)
	}
	p, _ := c.accept(b, now, 1)
	p.wide = true
	p.push(nil, now, 1)
	p.ack(b)
	rev := int64(1)
	var took []time.Duration
	for b.Loop() {
		rev++
		next := with(now, server(b, "s", fmt.Sprintf("http://127.0.0.1:3001/%d", rev)))
		began := time.Now()
		p.push(now, next, rev)
		p.ack(b)
		took = append(took, time.Since(began))
		now = next
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
