//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	// crowdShort and crowdLong are how many data planes come back at once, without and with a SOAK of some minutes.
	crowdShort, crowdLong = 500, 10_000
	// stuckMost data planes stop reading beside readers that go on.
	stuckMost, readers = 100, 20
	// undisturbed is how much longer an update may take to the readers than before, besides twice as long.
	undisturbed = 500 * time.Millisecond
)

// follower is the protocol of a data plane with nothing behind it.
type follower struct {
	name     string
	set      *confset.Set
	epoch    string
	revision atomic.Int64
	updates  atomic.Int64
	insync   atomic.Bool
}

// crowd are many data planes of one control plane.
type crowd struct {
	to      *control
	members []*follower
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

func startCrowd(t *testing.T, c *control, name string, n int) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &crowd{to: c, stop: cancel}
	for i := range n {
		m := &follower{name: fmt.Sprintf("%s-%04d", name, i), set: confset.Empty()}
		out.members = append(out.members, m)
		out.wg.Go(func() { m.follow(ctx, c.Sync) })
	}
	t.Cleanup(out.end)
	return out
}

func (c *crowd) end() {
	c.stop()
	c.wg.Wait()
}

// follow connects again and again until ctx ends.
func (m *follower) follow(ctx context.Context, address string) {
	for ctx.Err() == nil {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err == nil {
			m.session(ctx, conn)
			conn.Close() //nolint:errcheck // as a data plane that leaves
		}
		m.insync.Store(false)
		select {
		case <-ctx.Done():
		case <-time.After(500*time.Millisecond + rand.N(time.Second)):
		}
	}
}

func (m *follower) hello(ctx context.Context, conn *grpc.ClientConn) (syncv1.SyncService_SyncClient, error) {
	st, err := syncv1.NewSyncServiceClient(conn).Sync(ctx)
	if err != nil {
		return nil, err
	}
	d := m.set.Digest()
	return st, st.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: &syncv1.Hello{Node: m.name, Region: "default", BootId: m.name,
		FeatureLevel: follow.FeatureLevel, Epoch: m.epoch, Digest: d[:], Revision: m.revision.Load()}}})
}

// session takes updates and answers them until the stream ends.
func (m *follower) session(ctx context.Context, conn *grpc.ClientConn) {
	st, err := m.hello(ctx, conn)
	if err != nil {
		return
	}
	for {
		r, err := st.Recv()
		if err != nil {
			return
		}
		d := m.set.Digest()
		switch {
		case r.GetWelcome() != nil:
			m.insync.Store(bytes.Equal(r.GetWelcome().GetDigest(), d[:]))
		case r.GetUpdate() != nil:
			if !m.take(st, r.GetUpdate()) {
				return
			}
		}
	}
}

func (m *follower) take(st syncv1.SyncService_SyncClient, u *syncv1.Update) bool {
	var d confset.Delta
	for _, r := range u.GetUpserts() {
		key := confset.Key{Kind: r.GetKind(), Name: r.GetName()}
		d.Upserts = append(d.Upserts, confset.Object{Key: key, UID: r.GetUid(), Hash: confset.Hash(r.GetHash()), Body: r.GetBody()})
	}
	for _, n := range u.GetRemovals() {
		d.Removals = append(d.Removals, confset.Key{Kind: n.GetKind(), Name: n.GetName()})
	}
	m.set = m.set.Apply(d)
	if u.GetMore() {
		return true
	}
	now := m.set.Digest()
	ack := &syncv1.Ack{Nonce: u.GetNonce(), Digest: now[:], Revision: u.GetRevision()}
	if err := st.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: ack}}); err != nil {
		return false
	}
	m.epoch = u.GetEpoch()
	m.revision.Store(u.GetRevision())
	m.updates.Add(1)
	m.insync.Store(bytes.Equal(now[:], u.GetDigest()))
	return true
}

// at waits until all have a revision and are in sync, and returns how long that took.
func (c *crowd) at(t *testing.T, revision int64, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, limit, fmt.Sprintf("%d data planes at revision %d", len(c.members), revision), func() error {
		missing := 0
		for _, m := range c.members {
			if m.revision.Load() < revision || !m.insync.Load() {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d are not", missing)
		}
		return nil
	})
	return time.Since(began)
}

func (c *crowd) updates() (n int64) {
	for _, m := range c.members {
		n += m.updates.Load()
	}
	return n
}

// TestCrowdThatComesBackAtOnceIsInSyncWithinAMinute kills the control plane of many data planes and brings it back. Nothing is sent again, and the
// one of them that carries traffic fails no call.
func TestCrowdThatComesBackAtOnceIsInSyncWithinAMinute(t *testing.T) {
	c := startControl(t, "control", nil)
	for i := range 20 {
		c.put(t, fmt.Sprintf("s%02d", i), i)
	}
	p := startProxy(t, "busy", nil, []*control{c})
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")
	firstAnswer(t, p, key)
	last := c.put(t, "s00", 100)
	n := crowdShort
	if soakFor(t, time.Second, time.Hour) >= 5*time.Minute {
		n = crowdLong
	}
	all := startCrowd(t, c, "dp", n)
	joined := all.at(t, last, time.Minute)
	sent := all.updates()
	flow := startTraffic(t, p, "demo", key)

	c.kill()
	eventually(t, shown, "they notice", func() error {
		if slices.ContainsFunc(all.members, func(m *follower) bool { return m.insync.Load() }) {
			return fmt.Errorf("some are still there")
		}
		return nil
	})
	c.again(t)
	back := mark()
	took := all.at(t, last, 2*time.Minute)
	again := all.updates() - sent
	pushed := all.at(t, c.put(t, "s00", 101), time.Minute)
	flow.spotless(t, "beside a crowd that comes back")
	t.Logf("%d data planes: joined with the whole config in %s; after a restart all in sync in %s, %d updates sent again; the next change at all after %s",
		n, joined.Round(time.Millisecond), took.Round(time.Millisecond), again, pushed.Round(time.Millisecond))
	back.within(t, "all in sync after the control plane's restart", took, backWithin)
	if again != 0 {
		t.Errorf("%d updates were sent again", again)
	}
}

// TestDataPlanesThatStopReadingHoldUpNobody has many data planes whose streams nobody reads, and measures how soon the others answer.
func TestDataPlanesThatStopReadingHoldUpNobody(t *testing.T) {
	c := startControl(t, "control", nil)
	good := startCrowd(t, c, "good", readers)
	good.at(t, c.put(t, "s", 0), time.Minute)
	before := pushes(t, c, good, 3*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refresh := func() {
		for i := range stuckMost {
			m := &follower{name: fmt.Sprintf("stuck-%03d", i), set: confset.Empty()}
			conn, err := grpc.NewClient("passthrough:///"+c.Sync, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
			ok(t, err)
			t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the test is over
			_, err = m.hello(ctx, conn)
			ok(t, err)
		}
	}
	during := []time.Duration{}
	for end := time.Now().Add(soakFor(t, 12*time.Second, time.Minute)); time.Now().Before(end); {
		refresh()
		during = append(during, pushes(t, c, good, 6*time.Second)...)
	}
	slices.Sort(before)
	slices.Sort(during)
	a, b, worst := before[len(before)/2], during[len(during)/2], during[len(during)-1]
	t.Logf("%d changes of 100 objects to %d readers: median %s alone, %s beside %d that don't read, worst %s; streams closed: %v", len(during), readers,
		a.Round(time.Millisecond), b.Round(time.Millisecond), stuckMost, worst.Round(time.Millisecond), strings.Count(c.output(), "stuck-"))
	if b > 2*a+undisturbed {
		t.Errorf("readers are held up: median %s, it was %s", b, a)
	}
}

// pushes makes large changes one after the other and returns how long each took to all readers.
func pushes(t *testing.T, c *control, to *crowd, limit time.Duration) (took []time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		req := &adminv1.CreateChangeRequest{}
		for i := range 100 {
			s := &configv1.Server{Name: fmt.Sprintf("large_%02d", i), Spec: &configv1.ServerSpec{
				Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:9/" + strings.Repeat("x", 1000) + fmt.Sprint(rand.Int64())}}}}
			req.Objects = append(req.Objects, &adminv1.Object{Object: &adminv1.Object_Server{Server: s}})
		}
		change, err := c.client(t).CreateChange(t.Context(), req)
		ok(t, err)
		took = append(took, to.at(t, change.GetRevision(), 30*time.Second))
	}
	return took
}
