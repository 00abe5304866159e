package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/relay"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// place is where a relay keeps its things.
type place struct {
	kek  *secret.KEK
	file string
}

func newPlace(t testing.TB) place {
	t.Helper()
	dir := t.TempDir()
	kek, err := secret.LoadKEK(filepath.Join(dir, "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	return place{kek, filepath.Join(dir, "relay")}
}

func open(t testing.TB, home *cptest.Control, p place, log *slog.Logger) *relay.Store {
	t.Helper()
	dial := func(string) (relay.Conn, error) {
		return grpc.NewClient("passthrough:///home", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return home.Dial(ctx) }))
	}
	s, err := relay.New(relay.Config{Upstreams: []string{"home:4002"}, Dial: dial, Node: "relay-eu", Region: "eu", File: p.file, KEK: p.kek, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func server(name string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "https://" + name + ".example.com/mcp"}}}}
}

func fill(home *cptest.Control, n int) {
	for i := range n {
		home.Put(server(fmt.Sprintf("server_%02d", i)))
	}
}

// until polls with a deadline.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// viewing runs views on a relay.
func viewing(t *testing.T, s *relay.Store) *view.Views {
	t.Helper()
	v, err := view.New(view.Config{Store: s.Source(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

var eu = view.Scope{Region: "eu", FeatureLevel: 9}

// head is the newest revision of home's store.
func head(home *cptest.Control) int64 {
	snap, err := home.Store.(*memstore.Store).Replica().Load(context.Background())
	if err != nil {
		return -1
	}
	return snap.Revision
}

// same says whether the relay's view is home's.
func same(home *cptest.Control, v *view.Views) bool {
	a, b := home.Views().Current(eu), v.Current(eu)
	return b != nil && a.Revision == head(home) && a.Epoch == b.Epoch && a.Revision == b.Revision && a.Digest() == b.Digest()
}

func TestTheRegionGetsWhatHomeHas(t *testing.T) {
	home := cptest.New(t, cptest.Config{})
	fill(home, 12)
	v := viewing(t, open(t, home, newPlace(t), nil))
	until(t, "the first set", func() bool { return same(home, v) })
	home.Put(server("new"))
	until(t, "a change", func() bool { return same(home, v) })
	var keys []confset.Key
	for i := range 12 {
		keys = append(keys, cptest.Key(server(fmt.Sprintf("server_%02d", i))))
	}
	home.Delete(keys...)
	until(t, "many removals that a change names", func() bool { return same(home, v) })
	if n := len(v.Status().Held); n != 0 {
		t.Errorf("%d removals are held in the region", n)
	}
	rev := head(home)
	until(t, "home knows what the relay serves", func() bool {
		for _, n := range home.Fleet().Nodes() {
			if n.GetRevision() == rev {
				return true
			}
		}
		return false
	})
}

func TestARelayStartsFromItsCopyWhileHomeIsAway(t *testing.T) {
	home, p := cptest.New(t, cptest.Config{}), newPlace(t)
	fill(home, 3)
	first := open(t, home, p, nil)
	v := viewing(t, first)
	until(t, "the first set", func() bool { return same(home, v) })
	want := v.Current(eu)
	home.Stop()
	_ = first.Close()
	began := time.Now()
	second := open(t, home, p, nil)
	w := viewing(t, second)
	<-w.Ready()
	t.Logf("ready after %s", time.Since(began))
	if got := w.Current(eu); got.Digest() != want.Digest() || got.Epoch != want.Epoch || got.Revision != want.Revision {
		t.Errorf("%v at %d, want that of the copy", got.Digest(), got.Revision)
	}
	if since, connected := second.Stale(); connected || since.IsZero() {
		t.Error("it doesn't say that home is away")
	}
	if info, err := os.Stat(p.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	home.Restart()
	home.Put(server("after"))
	until(t, "home's change after it came back", func() bool { return same(home, w) })
}

func TestADamagedCopyIsNeverServed(t *testing.T) {
	home, p := cptest.New(t, cptest.Config{}), newPlace(t)
	fill(home, 2)
	s := open(t, home, p, nil)
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	home.Stop()
	whole, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, blob []byte) {
		t.Helper()
		if err := os.WriteFile(p.file, blob, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, home, p, nil)
		defer s.Close()
		if _, err := s.Get(t.Context(), cptest.Key(server("server_00"))); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("%s: served: %v", what, err)
		}
		if _, err := os.Stat(p.file + ".unusable"); err != nil {
			t.Fatalf("%s: it isn't set aside: %v", what, err)
		}
	}
	for n := range whole {
		try(fmt.Sprintf("cut at %d", n), whole[:n])
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1 << (n % 8)
		try(fmt.Sprintf("bit flipped at %d", n), flipped)
	}
	p.kek = newPlace(t).kek
	var log bytes.Buffer
	if err := os.WriteFile(p.file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	other := open(t, home, p, slog.New(slog.NewTextHandler(&log, nil)))
	_ = other.Close()
	if !bytes.Contains(log.Bytes(), []byte("another key-encryption key")) {
		t.Errorf("the log doesn't name the key: %s", log.Bytes())
	}
}

func TestAnEmptiedHomeIsHeld(t *testing.T) {
	m := memstore.New()
	home, p := cptest.New(t, cptest.Config{Store: m}), newPlace(t)
	fill(home, 15)
	s := open(t, home, p, nil)
	v := viewing(t, s)
	until(t, "the first set", func() bool { return same(home, v) })
	want := v.Current(eu)
	home.Stop()
	m.Wipe()
	home.Restart()
	until(t, "the set is held", func() bool { return s.Held() != "" })
	if got := v.Current(eu); got.Digest() != want.Digest() || got.Epoch != want.Epoch {
		t.Error("the region lost its config")
	}
}

func TestRemovalsThatHomeConfirmedAreNotHeldAgain(t *testing.T) {
	m := memstore.New()
	home := cptest.New(t, cptest.Config{Store: m})
	fill(home, 15)
	home.Put(&configv1.Settings{Name: "default"})
	v := viewing(t, open(t, home, newPlace(t), nil))
	until(t, "the first set", func() bool { return same(home, v) })
	m.Wipe()
	until(t, "home holds", func() bool { return len(home.Views().Status().Held) > 0 && same(home, v) })
	home.Views().Confirm()
	until(t, "the removals", func() bool { return len(home.Views().Status().Held) == 0 && same(home, v) })
}

func TestHomeHearsHowTheRegionStandsAndThatARelayStops(t *testing.T) {
	home := cptest.New(t, cptest.Config{})
	fill(home, 1)
	s := open(t, home, newPlace(t), nil)
	s.Report(func() (int, int) { return 7, 2 })
	told := func(ok func(*adminv1.Node) bool) func() bool {
		return func() bool {
			nodes := home.Fleet().Nodes()
			return len(nodes) == 1 && ok(nodes[0])
		}
	}
	began := time.Now()
	until(t, "the counts", told(func(n *adminv1.Node) bool { return n.GetRelayed() == 7 && n.GetRelayedBehind() == 2 }))
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("news of the region took %s", d)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the farewell", told(func(n *adminv1.Node) bool { return !n.GetConnected() && n.GetDraining() }))
}
