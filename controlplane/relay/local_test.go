package relay_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/relay"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// put is a write of objects that stay at the relay.
func put(t *testing.T, s *relay.Store, all map[string]proto.Message) error {
	t.Helper()
	w := store.Write{Record: store.ChangeRecord{ID: ulid.Make().String(), Time: time.Now()}}
	for name, m := range all {
		kind := "jointoken"
		if _, ok := m.(*configv1.Node); ok {
			kind = "node"
		}
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		key := confset.Key{Kind: kind, Name: name}
		before, _ := s.Get(t.Context(), key)
		w.Expect = append(w.Expect, store.Precondition{Key: key, Revision: before.Revision})
		w.Puts = append(w.Puts, store.Head{Object: confset.NewObject(key, "u", body)})
	}
	_, err := s.Commit(t.Context(), w)
	return err
}

func TestARelayKeepsTokensOfItsRegionOverARestart(t *testing.T) {
	home := cptest.New(t, cptest.Config{})
	fill(home, 1)
	p := newPlace(t)
	s := open(t, home, p, nil)
	if err := put(t, s, map[string]proto.Message{"us": &adminv1.JoinToken{Id: "us", Region: "us"}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another region's: %v", err)
	}
	if err := put(t, s, map[string]proto.Message{"r": &adminv1.JoinToken{Id: "r", Region: "eu", Relay: true}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a relay's: %v", err)
	}
	if err := put(t, s, map[string]proto.Message{"n1": &configv1.Node{Name: "n1", Revoked: true}}); status.Code(err) != codes.Unavailable {
		t.Errorf("a revocation: %v", err)
	}
	token := &adminv1.JoinToken{Id: "a", Region: "eu", Uses: 1}
	if err := put(t, s, map[string]proto.Message{"a": token}); err != nil {
		t.Fatal(err)
	}
	stale, _ := s.Get(t.Context(), confset.Key{Kind: "jointoken", Name: "a"})
	token.Used = 1
	if err := put(t, s, map[string]proto.Message{"a": token, "n1": &configv1.Node{Name: "n1", Token: "a"}}); err != nil {
		t.Fatal(err)
	}
	var conflict *store.ConflictError
	if _, err := s.Commit(t.Context(), store.Write{Expect: []store.Precondition{{Key: stale.Object.Key, Revision: stale.Revision}}, Puts: []store.Head{stale}}); !errors.As(err, &conflict) {
		t.Errorf("a lost race: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(p.file + ".joins")
	if info, e := os.Stat(p.file + ".joins"); err != nil || e != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(raw), "jointoken") {
		t.Errorf("the file isn't sealed: %v %v", err, e)
	}
	again := open(t, home, p, nil)
	kept, err := again.Get(t.Context(), stale.Object.Key)
	read := &adminv1.JoinToken{}
	if err != nil || proto.Unmarshal(kept.Object.Body, read) != nil || read.GetUsed() != 1 || len(again.Tokens("", 10)) != 1 {
		t.Errorf("after a restart: %v %v", read, err)
	}
}

func TestAListThatCantBeReadStopsTheRelay(t *testing.T) {
	for _, name := range []string{".shutout", ".joins"} {
		p := newPlace(t)
		if err := os.WriteFile(p.file+name, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := relay.New(relay.Config{Upstreams: []string{"home:4002"}, Dial: func(string) (relay.Conn, error) { return nil, errors.New("no") }, Node: "relay-eu", Region: "eu", File: p.file, KEK: p.kek,
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
