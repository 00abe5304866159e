package controlplane_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

const masterKey = "a master key of a test, long enough"

// startEtcd runs an etcd that takes large transactions and returns what stops it and its client address.
func startEtcd(t *testing.T) (stop func(), addr string) {
	t.Helper()
	anywhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "test", t.TempDir()
	cfg.ListenPeerUrls, cfg.ListenMetricsUrls = nil, nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = anywhere, anywhere, anywhere
	cfg.InitialCluster = "test=http://127.0.0.1:0"
	cfg.TickMs, cfg.ElectionMs, cfg.MaxTxnOps = 10, 100, 2048
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(e.Close)
	t.Cleanup(stop)
	<-e.Server.ReadyNotify()
	return stop, e.Clients[0].Addr().String()
}

func cluster(t *testing.T, addr string) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.Cluster(etcdstore.ClusterConfig{Endpoints: []string{addr}, MaxTxnOps: 2048, CommitWithin: patience})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// running is a control plane and how it ends.
type running struct {
	*controlplane.Plane
	booted, ready time.Duration // from the start of Boot to its end, and to a complete view
	stop          func() error
	metrics       *prometheus.Registry
}

// gauge is the value of a metric without labels; -1: there is none.
func (r *running) gauge(t *testing.T, name string) float64 {
	t.Helper()
	all, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == name {
			return m.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// run starts a control plane on the etcd at addr; kek is the file of the key-encryption key.
func run(t *testing.T, addr, kek string) *running {
	t.Helper()
	key, err := secret.LoadKEK(kek, true)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	p, err := controlplane.New(controlplane.Config{Store: cluster(t, addr), KEK: key, Admin: "127.0.0.1:0", Sync: "127.0.0.1:0", MasterKey: sha256.Sum256([]byte(masterKey)),
		Version: "test", Replica: "r", Log: slog.New(slog.DiscardHandler), Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	booted := time.Since(began)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	r := &running{Plane: p, booted: booted, stop: func() error { cancel(); return <-done }, metrics: registry}
	t.Cleanup(cancel)
	within, end := context.WithTimeout(t.Context(), patience)
	defer end()
	if err := p.WaitReady(within); err != nil {
		t.Fatal(err)
	}
	r.ready = time.Since(began)
	return r
}

// fill stores servers and keys, 500 in a change.
func fill(t *testing.T, s *etcdstore.Store, servers, keys int) {
	t.Helper()
	var all []proto.Message
	for i := range servers {
		all = append(all, server(fmt.Sprintf("server_%04d", i)))
	}
	for i := range keys {
		sum := sha256.Sum256(fmt.Append(nil, i))
		all = append(all, &configv1.ApiKey{Name: fmt.Sprintf("key_%05d", i), Spec: &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{"*"}}})
	}
	for len(all) > 0 {
		n := min(len(all), 500)
		put(t, s, all[:n]...)
		all = all[n:]
	}
}

func server(name string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "https://" + name + ".example.com/mcp"}}}}
}

// put stores new objects in one change.
func put(t *testing.T, s *etcdstore.Store, objs ...proto.Message) {
	t.Helper()
	write := storetest.Put()
	for _, m := range objs {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		one := storetest.Put(storetest.Head(strings.ToLower(string(m.ProtoReflect().Descriptor().Name())), m.(interface{ GetName() string }).GetName(), string(body)))
		write.Puts, write.Expect = append(write.Puts, one.Puts...), append(write.Expect, one.Expect...)
		write.Record.Objects = append(write.Record.Objects, one.Record.Objects...)
	}
	if _, err := s.Commit(t.Context(), write); err != nil {
		t.Fatal(err)
	}
}

// follower is a stream to a control plane and what its data plane holds.
type follower struct {
	t      *testing.T
	stream syncv1.SyncService_SyncClient
	leave  func()
	held   *syncv1.Hello
}

// follow connects to a control plane with what a data plane holds.
func follow(t *testing.T, r *running, held *syncv1.Hello) *follower {
	t.Helper()
	conn, err := grpc.NewClient(r.SyncAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	f := &follower{t: t, leave: func() { cancel(); _ = conn.Close() }, held: proto.CloneOf(held)}
	if f.stream, err = syncv1.NewSyncServiceClient(conn).Sync(ctx); err != nil {
		t.Fatal(err)
	}
	f.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: held}})
	if f.next().GetWelcome() == nil {
		t.Fatal("the stream doesn't begin with a welcome")
	}
	return f
}

func (f *follower) send(m *syncv1.SyncRequest) {
	f.t.Helper()
	if err := f.stream.Send(m); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) next() *syncv1.SyncResponse {
	f.t.Helper()
	m, err := f.stream.Recv()
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// take takes the next update, answers it, and returns how many objects it brought.
func (f *follower) take() (upserts int, full bool) {
	f.t.Helper()
	for {
		u := f.next().GetUpdate()
		if u == nil {
			f.t.Fatal("not an update")
		}
		upserts += len(u.GetUpserts())
		if u.GetMore() {
			continue
		}
		f.held.Epoch, f.held.Digest, f.held.Revision = u.GetEpoch(), u.GetDigest(), u.GetRevision()
		f.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Nonce: u.GetNonce(), Digest: u.GetDigest(), Revision: u.GetRevision()}}})
		return upserts, u.GetFull()
	}
}

// takeOne takes an update that must be a delta of one object: so nothing was sent before it that was held already.
func (f *follower) takeOne() {
	f.t.Helper()
	before := f.held.GetRevision()
	if n, full := f.take(); n != 1 || full {
		f.t.Fatalf("%d objects were sent, whole set: %v; want the one that changed", n, full)
	}
	if f.held.GetRevision() <= before {
		f.t.Errorf("revision %d after %d", f.held.GetRevision(), before)
	}
}

func TestAfterARestartADataPlaneIsSentOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	s := cluster(t, addr)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	fill(t, s, 2000, 5000)
	first := run(t, addr, kek)
	f := follow(t, first, &syncv1.Hello{Node: "dp-1", Region: "eu", FeatureLevel: 1})
	if n, full := f.take(); n != 7001 || !full {
		t.Fatalf("%d objects, whole set: %v; want all 7,001", n, full)
	}
	f.leave()
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := run(t, addr, kek)
	t.Logf("booted after %s, ready after %s; the one before: %s, %s", second.booted, second.ready, first.booted, first.ready)
	f = follow(t, second, f.held)
	put(t, s, server("new"))
	f.takeOne()
	f.leave()
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestADataPlaneMovesBetweenControlPlanesWithoutAResync(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	s := cluster(t, addr)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	fill(t, s, 20, 20)
	planes := []*running{run(t, addr, kek), run(t, addr, kek)}
	f := follow(t, planes[0], &syncv1.Hello{Node: "dp-1", Region: "eu", FeatureLevel: 1})
	f.take()
	for i := range 6 {
		f.leave()
		if i%2 == 1 { // a change that comes while it is on its way
			put(t, s, server(fmt.Sprint("late", i)))
		}
		f = follow(t, planes[(i+1)%2], f.held)
		if i%2 == 0 {
			put(t, s, server(fmt.Sprint("next", i)))
		}
		f.takeOne()
	}
	f.leave()
	for _, p := range planes {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestStoppingEndsAlsoWhenTheStoreIsOutOfReach(t *testing.T) {
	t.Parallel()
	kill, addr := startEtcd(t)
	p := run(t, addr, filepath.Join(t.TempDir(), "kek"))
	f := follow(t, p, &syncv1.Hello{Node: "dp-1", Region: "eu", FeatureLevel: 1})
	f.take()
	kill()
	asked := make(chan error, 1)
	go func() { asked <- ask(p.AdminAddr().String()) }()
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop() }()
	if f.next().GetMove() == nil {
		t.Error("the data plane isn't asked to move")
	}
	f.leave()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't stop")
	}
	t.Logf("stopped after %s", time.Since(began))
	if err := <-asked; err != nil {
		t.Log("the write under way:", err)
	}
}

// ask makes a write over REST, which can't succeed, and waits for the answer.
func ask(addr string) error {
	req, err := http.NewRequest(http.MethodPut, "http://"+addr+"/v1/servers/a", strings.NewReader(`{"spec":{"endpoints":[{"url":"https://a.example.com/mcp"}]}}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
