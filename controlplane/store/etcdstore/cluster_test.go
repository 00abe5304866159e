package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/redact"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startEtcd runs an etcd with its default limits that listens on loopback, and returns it with its client address.
func startEtcd(t testing.TB, dir string, with ...func(*embed.Config)) (e *embed.Etcd, addr string) {
	t.Helper()
	anywhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "test", dir
	cfg.ListenPeerUrls, cfg.ListenMetricsUrls = nil, nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = anywhere, anywhere, anywhere
	cfg.InitialCluster = "test=http://127.0.0.1:0"
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	for _, change := range with {
		change(cfg)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return e, e.Clients[0].Addr().String()
}

func clustered(t testing.TB, addr string, with ...func(*ClusterConfig)) *Store {
	t.Helper()
	cfg := ClusterConfig{Endpoints: []string{addr}}
	for _, change := range with {
		change(&cfg)
	}
	s, err := Cluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestClusterContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		_, addr := startEtcd(t, t.TempDir())
		return clustered(t, addr, func(cfg *ClusterConfig) { cfg.CommitWithin = 20 * time.Second }) // the machine may be busy
	})
}

func TestClusterConfigNamesWhatIsWrong(t *testing.T) {
	for want, cfg := range map[string]ClusterConfig{
		"endpoints is empty":               {},
		"endpoints[1] \"\" has no address": {Endpoints: []string{"a:1", ""}},
		"scheme \"ftp\"":                   {Endpoints: []string{"ftp://a:1"}},
		"has a user or password in it":     {Endpoints: []string{"http://root:hunter2@a:1"}},
		"no TLS settings":                  {Endpoints: []string{"https://a:1"}},
		"user and password go together":    {Endpoints: []string{"a:1"}, User: "root"},
		"max-txn-ops is 3":                 {Endpoints: []string{"a:1"}, MaxTxnOps: 3},
	} {
		if _, err := Cluster(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := Cluster(ClusterConfig{Endpoints: []string{"http://root:hunter2@a:1"}}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	_, err := Cluster(ClusterConfig{Endpoints: []string{"a:1"}, Password: redact.NewSecret("hunter2")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestClusterLimits(t *testing.T) {
	for ops, objects := range map[int]int{0: 120, 128: 120, 500: 492, 5000: 1000} {
		s, err := Cluster(ClusterConfig{Endpoints: []string{"a:1"}, MaxTxnOps: ops})
		if err != nil || s.Limits().Objects != objects || s.Limits().Flag != "--max-txn-ops" {
			t.Errorf("max-txn-ops %d: %+v %v, want %d objects", ops, s.Limits(), err, objects)
		}
	}
}

func TestMoreOpsThanTheClusterTakesIsExplained(t *testing.T) {
	_, addr := startEtcd(t, t.TempDir())
	s, err := Cluster(ClusterConfig{Endpoints: []string{addr}, MaxTxnOps: 500, CommitWithin: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	heads := make([]store.Head, 200)
	for i := range heads {
		heads[i] = storetest.Head("server", storetest.ID(), "x")
	}
	if _, err := s.Commit(t.Context(), storetest.Put(heads...)); err == nil || !strings.Contains(err.Error(), "lower --max-txn-ops") {
		t.Fatalf("got %v", err)
	}
}

func TestUnreachableClusterCanBeOpenedLater(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	p.hold()
	s, err := Cluster(ClusterConfig{Endpoints: []string{p.addr()}, DialTimeout: 500 * time.Millisecond, ReadWithin: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("open: %v", err)
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("load: %v", err)
	}
	p.resume()
	for end := time.Now().Add(20 * time.Second); ; {
		err := s.Open(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("open after the partition: %v", err)
		}
	}
}

// A partition: writes are refused in time, the watch doesn't hang, and both go on by themselves.
func TestPartition(t *testing.T) {
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	s := clustered(t, p.addr())
	s.backend.progress, s.backend.silence = 50*time.Millisecond, 400*time.Millisecond
	rev := mustCommit(t, s, server("before"))
	silent, running := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		silent <- s.Watch(context.Background(), rev-1, func(store.Event) error { running <- struct{}{}; return nil })
	}()
	<-running

	p.hold()
	start := time.Now()
	w := server("during")
	_, err := s.Commit(t.Context(), w)
	if took := time.Since(start); !errors.Is(err, store.ErrUnavailable) || took > 5*time.Second {
		t.Fatalf("commit after %v: %v", took, err)
	}
	if err := <-silent; !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("watch: %v", err)
	}
	p.resume()
	p.cut()
	s.backend.commitWithin = 20 * time.Second // the machine may be busy
	// Whatever became of it: the same write again is the same change, and the log knows it once.
	r, err := s.Commit(t.Context(), w)
	var given *store.AmbiguousError
	for end := time.Now().Add(10 * time.Second); errors.As(err, &given) || errors.Is(err, store.ErrUnavailable); {
		if time.Now().After(end) {
			t.Fatalf("commit after the partition: %v", err)
		}
		r, err = s.Commit(t.Context(), w)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := errors.New("seen")
	err = s.Watch(ctx, rev, func(e store.Event) error {
		if e.Revision != r.Revision || e.Change.ID != w.Record.ID {
			t.Errorf("event at %d, want %d", e.Revision, r.Revision)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func mustCommit(t testing.TB, s *Store, w store.Write) int64 {
	t.Helper()
	r, err := s.Commit(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return r.Revision
}

// A short outage is no event at all: the watch goes on where it was.
func TestWatchSurvivesCutConnections(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	s, writer := clustered(t, p.addr()), clustered(t, addr)
	rev := mustCommit(t, writer, server("first"))
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan store.Event, 100), make(chan error, 1)
	go func() { done <- s.Watch(ctx, rev, func(e store.Event) error { events <- e; return nil }) }()
	for i := range 5 {
		p.cut()
		want := mustCommit(t, writer, server("s"+string(rune('a'+i))))
		select {
		case e := <-events:
			if e.Revision != want {
				t.Fatalf("event at %d, want %d", e.Revision, want)
			}
		case err := <-done:
			t.Fatalf("watch ended: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("no event came")
		}
	}
	cancel()
	<-done
}

// Another cluster behind the same address, restored by hand from an older snapshot: same epoch, lower revision.
func TestRestoreByHandShows(t *testing.T) {
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	s, replica := clustered(t, p.addr()), clustered(t, p.addr())
	var rev int64
	for i := range 5 {
		rev = mustCommit(t, s, server("s"+string(rune('a'+i))))
	}
	if _, err := replica.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.backend.progress = 50 * time.Millisecond
	running := make(chan error, 1)
	go func() { running <- s.Watch(context.Background(), rev, func(store.Event) error { return nil }) }()

	_, older := startEtcd(t, t.TempDir())
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{older}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	epoch := s.Epoch()
	if _, err := raw.Put(t.Context(), epochKey, epoch); err != nil {
		t.Fatal(err)
	}
	p.aim(older)
	if err := <-running; !errors.Is(err, store.ErrEpoch) {
		t.Fatalf("running watch: %v", err)
	}
	if err := replica.Watch(t.Context(), rev, func(store.Event) error { return nil }); !errors.Is(err, store.ErrEpoch) {
		t.Fatalf("new watch: %v", err)
	}
	for i, one := range []*Store{s, replica} {
		snap, err := one.Load(t.Context())
		if err != nil || snap.Epoch == epoch || len(snap.Heads) != i || snap.Epoch != one.Epoch() {
			t.Fatalf("load: %+v %v", snap, err)
		}
		mustCommit(t, one, server(storetest.ID()))
	}
	if s.Epoch() != replica.Epoch() {
		t.Fatalf("replicas disagree: %s and %s", s.Epoch(), replica.Epoch())
	}
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir(), func(cfg *embed.Config) { cfg.BcryptCost = 4 })
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, err1 := raw.UserAdd(t.Context(), "root", "right one")
	_, err2 := raw.RoleAdd(t.Context(), "root")
	_, err3 := raw.UserGrantRole(t.Context(), "root", "root")
	_, err4 := raw.AuthEnable(t.Context())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for password, good := range map[string]bool{"right one": true, "wrong one": false} {
		s, err := Cluster(ClusterConfig{Endpoints: []string{addr}, User: "root", Password: redact.NewSecret(password)})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Open(t.Context())
		if good {
			mustCommit(t, s, server("a"))
		} else if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "authentication failed") {
			t.Errorf("open with the %s: %v", password, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir(), func(cfg *embed.Config) {
		cfg.ClientAutoTLS = true
		cfg.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
		cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	})
	s, err := Cluster(ClusterConfig{Endpoints: []string{"https://" + addr}, TLS: &tls.Config{InsecureSkipVerify: true}}) // made for this test
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, server("a"))

	s, err = Cluster(ClusterConfig{Endpoints: []string{"https://" + addr}, TLS: &tls.Config{}, DialTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "unknown authority") {
		t.Fatalf("open with an unknown authority: %v", err)
	}
}
