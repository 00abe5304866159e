package follow_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// control is a control plane that does what the test says, over streams without a network, so that it works in a synctest bubble.
type control struct {
	peers chan *peer
	dials chan string // addresses dialled, for tests that look; dropped when full
	down  error       // every dial fails with it, unless nil
}

func newControl() *control {
	return &control{peers: make(chan *peer, 10), dials: make(chan string, 1000)}
}

// dial is a follow.Config.Dial.
func (c *control) dial(address string) (follow.Conn, error) {
	select {
	case c.dials <- address:
	default:
	}
	if c.down != nil {
		return nil, c.down
	}
	return &wire{c: c}, nil
}

// wire is a connection; it carries one stream.
type wire struct {
	follow.Conn
	c *control
}

func (w *wire) Close() error { return nil }

func (w *wire) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &peer{ctx: ctx, cancel: cancel, up: make(chan *syncv1.SyncRequest, 100), down: make(chan *syncv1.SyncResponse, 1000)}
	w.c.peers <- p
	return p, nil
}

// peer is one stream, seen from the control plane; the follower sees it as a grpc.ClientStream.
type peer struct {
	grpc.ClientStream
	ctx    context.Context
	cancel context.CancelCauseFunc
	up     chan *syncv1.SyncRequest
	down   chan *syncv1.SyncResponse
	nonce  uint64
	deaf   bool // it doesn't hear a farewell
	wide   bool // parts have up to 1,000 objects
}

func (p *peer) SendMsg(m any) error {
	select {
	case <-p.ctx.Done():
		return io.EOF
	case p.up <- proto.CloneOf(m.(*syncv1.SyncRequest)):
		return nil
	}
}

func (p *peer) RecvMsg(m any) error {
	select {
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case r := <-p.down:
		proto.Merge(m.(proto.Message), r)
		return nil
	}
}

// CloseSend ends the stream: the control plane has nothing more to say then.
func (p *peer) CloseSend() error {
	if !p.deaf {
		p.cancel(io.EOF)
	}
	return nil
}

// end breaks the stream.
func (p *peer) end() { p.cancel(errors.New("connection reset")) }

func (p *peer) say(m *syncv1.SyncResponse) { p.down <- m }

// patience is how long a test waits for what must come; in a bubble it costs nothing.
const patience = 20 * time.Minute

// next returns the next message that isn't a health report.
func (p *peer) next(t testing.TB) *syncv1.SyncRequest {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-p.up:
			if m.GetHealth() == nil {
				return m
			}
		case <-deadline:
			t.Fatal("the follower says nothing")
		}
	}
}

func (p *peer) health(t testing.TB) *syncv1.Health {
	t.Helper()
	select {
	case m := <-p.up:
		if m.GetHealth() == nil {
			t.Fatalf("got %v, not a health report", m)
		}
		return m.GetHealth()
	case <-time.After(patience):
		t.Fatal("no health report")
	}
	return nil
}

func (p *peer) ack(t testing.TB) *syncv1.Ack {
	t.Helper()
	m := p.next(t)
	if m.GetAck() == nil || m.GetAck().GetNonce() != p.nonce {
		t.Fatalf("got %v, not the answer to update %d", m, p.nonce)
	}
	return m.GetAck()
}

const epoch = "01EPOCH"

// accept takes the next stream, reads its hello and welcomes it with what is desired.
func (c *control) accept(t testing.TB, desired *confset.Set, rev int64) (*peer, *syncv1.Hello) {
	t.Helper()
	select {
	case p := <-c.peers:
		h := p.next(t).GetHello()
		if h == nil {
			t.Fatal("the stream doesn't begin with a hello")
		}
		d := desired.Digest()
		p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Welcome{Welcome: &syncv1.Welcome{Epoch: epoch, Digest: d[:], Revision: rev, Replica: "c1"}}})
		return p, h
	case <-time.After(patience):
		t.Fatal("no stream")
	}
	return nil, nil
}

// push sends what leads from one set to another; from nil it is the whole set. The parts have at most two objects, or 1,000 when wide.
func (p *peer) push(from, to *confset.Set, rev int64, change ...func(*syncv1.Update)) {
	p.nonce++
	full := from == nil
	if full {
		from = confset.Empty()
	}
	d := confset.Diff(from, to)
	last := &syncv1.Update{Nonce: p.nonce, Full: full, Revision: rev, Epoch: epoch}
	digest := to.Digest()
	last.Digest = digest[:]
	for _, k := range d.Removals {
		last.Removals = append(last.Removals, &syncv1.ResourceName{Kind: k.Kind, Name: k.Name})
	}
	most := 2
	if p.wide {
		most = 1000
	}
	for len(d.Upserts) > most {
		p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Update{Update: &syncv1.Update{Nonce: p.nonce, More: true, Full: full, Upserts: resources(d.Upserts[:most])}}})
		d.Upserts = d.Upserts[most:]
	}
	last.Upserts = resources(d.Upserts)
	for _, c := range change {
		c(last)
	}
	p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Update{Update: last}})
}

func resources(objs []confset.Object) (out []*syncv1.Resource) {
	for _, o := range objs {
		out = append(out, &syncv1.Resource{Kind: o.Key.Kind, Name: o.Key.Name, Uid: o.UID, Hash: o.Hash[:], Body: o.Body})
	}
	return out
}

// node is one follower with its table.
type node struct {
	*follow.Follower
	table *table.Holder
	boot  follow.BootReport
	stop  func() error // as SIGTERM does
	crash func()       // as SIGKILL does
}

// start boots and runs a follower on dir.
func start(t testing.TB, c *control, dir string, change ...func(*follow.Config)) *node {
	t.Helper()
	n := &node{table: &table.Holder{}}
	n.table.Store(table.New(table.Config{Region: "eu"}))
	cfg := follow.Config{Node: "dp-1", Region: "eu", Group: "g", Version: "v1", Addresses: []string{"one"}, Dial: c.dial, Table: n.table, Dir: dir,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, ch := range change {
		ch(&cfg)
	}
	f, err := follow.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Follower = f
	if n.boot, err = f.Boot(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stopped := false
	n.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	n.crash = func() {
		f.Close()
		n.stop()
	}
	t.Cleanup(func() { n.stop() })
	return n
}

// set makes a set of servers.
func set(t testing.TB, names ...string) *confset.Set {
	t.Helper()
	s := confset.Empty()
	for _, n := range names {
		s = with(s, server(t, n, "http://127.0.0.1:3001/mcp"))
	}
	return s
}

func with(s *confset.Set, objs ...confset.Object) *confset.Set {
	return s.Apply(confset.Delta{Upserts: objs})
}

func server(t testing.TB, name, url string) confset.Object {
	return object(t, "server", name, &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}})
}

func key(t testing.TB, name string) confset.Object {
	sum := sha256.Sum256([]byte(name))
	return object(t, "apikey", name, &configv1.ApiKey{Name: name, Spec: &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:])}})
}

func object(t testing.TB, kind, name string, m proto.Message) confset.Object {
	t.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, body)
}

// serves checks what the table has.
func serves(t testing.TB, n *node, rev int64, servers ...string) {
	t.Helper()
	var have []string
	for s := range n.table.Load().Servers() {
		have = append(have, s.Name)
	}
	if fmt.Sprint(have) != fmt.Sprint(servers) || n.table.Load().Version().Revision != rev {
		t.Errorf("serves %v at revision %d, want %v at %d", have, n.table.Load().Version().Revision, servers, rev)
	}
}
