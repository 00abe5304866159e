package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// How a data plane behaves in time: the same as package follow.
const (
	spread   = 5 * time.Second
	paceFrom = 500 * time.Millisecond
	paceTo   = 15 * time.Second
)

// held is a config that a data plane has.
type held struct {
	set      *confset.Set
	epoch    string
	revision int64
}

// plane is one data plane: all of the protocol, nothing behind it.
type plane struct {
	name  string
	crowd *crowd
	dial  func(context.Context) (net.Conn, error)
	creds credentials.TransportCredentials

	share  int32 // default share; -1: none was named
	synced bool

	mu     sync.Mutex
	held   held                          // written by the session's goroutine; guarded by mu
	stream syncv1.SyncService_SyncClient // sends are guarded by mu
}

func newPlane(c *crowd, name string, cfg *tls.Config, dial func(context.Context) (net.Conn, error), h held) *plane {
	return &plane{name: name, crowd: c, dial: dial, creds: credentials.NewTLS(cfg), held: h, share: -1}
}

// run follows until ctx ends.
func (p *plane) run(ctx context.Context) {
	var last time.Duration
	for {
		welcomed, err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		p.crowd.lost.Add(1)
		if p.synced {
			p.synced = false
			p.crowd.synced.Add(-1)
		}
		wait := rand.N(spread)
		if !welcomed {
			wait = paceFrom + rand.N(min(paceTo, 3*max(last, paceFrom))-paceFrom)
			last = wait
		}
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				wait = max(wait, info.GetRetryDelay().AsDuration())
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// session holds one stream to its end.
func (p *plane) session(ctx context.Context) (welcomed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := append(follow.DialOptions(), grpc.WithTransportCredentials(p.creds), grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dial(ctx) }))
	conn, err := grpc.NewClient("passthrough:///"+syncAddr, opts...)
	if err != nil {
		return false, err
	}
	defer conn.Close() //nolint:errcheck // it is over
	late := time.AfterFunc(10*time.Second, cancel)
	defer late.Stop()
	if p.stream, err = syncv1.NewSyncServiceClient(conn).Sync(ctx); err != nil {
		return false, err
	}
	if err := p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: p.hello()}}); err != nil {
		return false, err
	}
	var parts []*syncv1.Update
	for {
		m, err := p.stream.Recv()
		if err != nil {
			return welcomed, err
		}
		switch m := m.GetMessage().(type) {
		case *syncv1.SyncResponse_Welcome:
			welcomed = late.Stop()
			if err = p.welcome(m.Welcome); err == nil {
				defer p.report(ctx).Stop()
			}
		case *syncv1.SyncResponse_Update:
			p.crowd.count(m.Update)
			if parts = append(parts, m.Update); !m.Update.GetMore() {
				err = p.update(parts)
				parts = nil
			}
		case *syncv1.SyncResponse_Shares:
			if d := m.Shares.GetDefaultPpm(); d > 0 {
				p.share = d
			}
			err = p.demand()
		case *syncv1.SyncResponse_Move:
			return true, errors.New("asked to move")
		}
		if err != nil {
			return welcomed, err
		}
	}
}

func (p *plane) send(m *syncv1.SyncRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream.Send(m)
}

func (p *plane) hello() *syncv1.Hello {
	h := &syncv1.Hello{Node: p.name, Region: region, Version: "fanout", BootId: p.name, FeatureLevel: follow.FeatureLevel, Epoch: p.held.epoch, Revision: p.held.revision}
	if p.held.epoch != "" {
		h.Digest = p.digest()
	}
	return h
}

func (p *plane) digest() []byte {
	d := p.held.set.Digest()
	return d[:]
}

// report sends health now, and then again and again until ctx ends, when a second begins like the real ones.
func (p *plane) report(ctx context.Context) *time.Timer {
	var t *time.Timer
	var set atomic.Bool
	t = time.AfterFunc(p.pause(), func() {
		if ctx.Err() == nil && set.Load() && p.health() == nil {
			t.Reset(p.pause())
		}
	})
	set.Store(true)
	p.health() //nolint:errcheck // the receiving side knows why
	return t
}

// pause is how long it is until the next report.
func (p *plane) pause() time.Duration {
	return time.Until(time.Now().Add(p.crowd.health).Truncate(time.Second))
}

func (p *plane) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &syncv1.Health{Revision: p.held.revision, Digest: p.digest()}
	return p.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: h}})
}

func (p *plane) demand() error {
	d := &syncv1.Demand{Limits: []*syncv1.LimitDemand{{SharePpm: p.share}}}
	return p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Demand{Demand: d}})
}

// welcome takes the revision when the config is the desired one.
func (p *plane) welcome(w *syncv1.Welcome) error {
	if err := p.demand(); err != nil {
		return err
	}
	if string(w.GetDigest()) != string(p.digest()) || p.held.epoch != w.GetEpoch() {
		return nil
	}
	p.hold(held{set: p.held.set, epoch: p.held.epoch, revision: max(p.held.revision, w.GetRevision())})
	p.inSync()
	return p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Digest: p.digest(), Revision: p.held.revision}}})
}

func (p *plane) hold(h held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = h
}

func (p *plane) inSync() {
	if !p.synced {
		p.synced = true
		p.crowd.synced.Add(1)
	}
}

// update applies an update and answers.
func (p *plane) update(parts []*syncv1.Update) error {
	last := parts[len(parts)-1]
	var d confset.Delta
	for _, part := range parts {
		if err := read(&d, part); err != nil {
			return err
		}
	}
	from := p.held.set
	if last.GetFull() {
		from = confset.Empty()
	}
	next := from.Apply(d)
	if digest := next.Digest(); string(digest[:]) != string(last.GetDigest()) {
		p.crowd.mismatched.Add(1)
		return fmt.Errorf("update %d leads to another digest than it says", last.GetNonce())
	}
	// What was worked out is checked; ten thousand copies of it needn't be kept.
	p.hold(p.crowd.intern(held{set: next, epoch: last.GetEpoch(), revision: last.GetRevision()}))
	ack := &syncv1.Ack{Nonce: last.GetNonce(), Digest: last.GetDigest(), Revision: last.GetRevision()}
	if err := p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: ack}}); err != nil {
		return err
	}
	p.inSync()
	p.crowd.answered(last.GetRevision())
	return nil
}

// read adds what a part holds, and checks the bodies.
func read(d *confset.Delta, part *syncv1.Update) error {
	for _, r := range part.GetRemovals() {
		d.Removals = append(d.Removals, confset.Key{Kind: r.GetKind(), Name: r.GetName()})
	}
	for _, r := range part.GetUpserts() {
		o := confset.Object{Key: confset.Key{Kind: r.GetKind(), Name: r.GetName()}, UID: r.GetUid(), Body: r.GetBody()}
		if copy(o.Hash[:], r.GetHash()) != len(o.Hash) || !o.Intact() {
			return fmt.Errorf("the body of %s isn't what its hash says", o.Key)
		}
		d.Upserts = append(d.Upserts, o)
	}
	return nil
}
