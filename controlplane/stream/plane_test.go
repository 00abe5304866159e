package stream_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// plane is a data plane's end of a stream, driven step by step.
type plane struct {
	t       testing.TB
	stream  syncv1.SyncService_SyncClient
	welcome *syncv1.Welcome
	cancel  context.CancelFunc

	set      *confset.Set
	epoch    string
	revision int64
}

func hello(node string) *syncv1.Hello {
	return &syncv1.Hello{Node: node, Region: "eu", Version: "v0", BootId: "b", FeatureLevel: 1}
}

// dial opens a stream without saying anything.
func dial(t testing.TB, c *cptest.Control, opts ...grpc.DialOption) *plane {
	t.Helper()
	conn, err := c.ConnWith(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, conn)
}

func open(t testing.TB, conn *grpc.ClientConn) *plane {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	st, err := syncv1.NewSyncServiceClient(conn).Sync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &plane{t: t, stream: st, set: confset.Empty(), cancel: cancel}
}

// join opens a stream, says hello and takes the welcome.
func join(t testing.TB, c *cptest.Control, h *syncv1.Hello, opts ...grpc.DialOption) *plane {
	t.Helper()
	p := dial(t, c, opts...)
	p.hello(h)
	return p
}

func (p *plane) hello(h *syncv1.Hello) {
	p.t.Helper()
	p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: h}})
	m, err := p.stream.Recv()
	if err != nil {
		p.t.Fatalf("welcome: %v", err)
	}
	if p.welcome = m.GetWelcome(); p.welcome == nil {
		p.t.Fatalf("the first message is %v, want a welcome", m)
	}
}

// again is a hello with what the plane holds.
func (p *plane) again(node string) *syncv1.Hello {
	h, d := hello(node), p.set.Digest()
	h.Epoch, h.Digest, h.Revision = p.epoch, d[:], p.revision
	return h
}

func (p *plane) send(m *syncv1.SyncRequest) {
	p.t.Helper()
	if err := p.stream.Send(m); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// next takes the next message.
func (p *plane) next() *syncv1.SyncResponse {
	p.t.Helper()
	m, err := p.stream.Recv()
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return m
}

// end takes messages until the stream ends and returns the reason.
func (p *plane) end() error {
	for {
		if _, err := p.stream.Recv(); err != nil {
			return err
		}
	}
}

// update takes one update with all its parts and applies it; the last part is returned.
func (p *plane) update() (last *syncv1.Update, upserts, removals int) {
	p.t.Helper()
	for {
		u := p.next().GetUpdate()
		if u == nil {
			p.t.Fatal("another message, want an update")
		}
		if u.GetFull() && last == nil {
			p.set = confset.Empty()
		}
		var d confset.Delta
		for _, r := range u.GetUpserts() {
			o := confset.Object{Key: confset.Key{Kind: r.GetKind(), Name: r.GetName()}, UID: r.GetUid(), Hash: confset.Hash(r.GetHash()), Body: r.GetBody()}
			if !o.Intact() {
				p.t.Errorf("%s: the body isn't what its hash says", o.Key)
			}
			d.Upserts = append(d.Upserts, o)
		}
		for _, n := range u.GetRemovals() {
			d.Removals = append(d.Removals, confset.Key{Kind: n.GetKind(), Name: n.GetName()})
		}
		p.set = p.set.Apply(d)
		upserts, removals, last = upserts+len(d.Upserts), removals+len(d.Removals), u
		if !u.GetMore() {
			p.epoch, p.revision = u.GetEpoch(), u.GetRevision()
			if got := p.set.Digest(); string(got[:]) != string(u.GetDigest()) {
				p.t.Errorf("the update leads to %s, it says %x", got, u.GetDigest())
			}
			return last, upserts, removals
		}
	}
}

// ack answers an update with the digest the plane holds.
func (p *plane) ack(u *syncv1.Update, outcomes ...*syncv1.Outcome) {
	p.t.Helper()
	d := p.set.Digest()
	p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Nonce: u.GetNonce(), Digest: d[:], Revision: p.revision, Outcomes: outcomes}}})
}

// take takes one update and acks it.
func (p *plane) take() *syncv1.Update {
	p.t.Helper()
	u, _, _ := p.update()
	p.ack(u)
	return u
}

// refuse answers an update with a digest of its own.
func (p *plane) refuse(u *syncv1.Update, digest confset.Digest, reason string) {
	p.t.Helper()
	p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Nonce: u.GetNonce(), Digest: digest[:], Refused: true, Reason: reason}}})
}

func server(name string) *configv1.Server { return serverAt(name, "http://127.0.0.1:1/mcp") }

func serverAt(name, url string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}
}
