package api_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// heads are the stored objects by key.
func heads(t *rapid.T, s *memstore.Store) map[confset.Key]store.Head {
	snap, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := map[confset.Key]store.Head{}
	for _, h := range snap.Heads {
		out[h.Object.Key] = h
	}
	return out
}

// contents are objects as operators wrote them: with their set, and values of secrets open, since one that was made anew is sealed anew.
func contents(t *rapid.T, kek *secret.KEK, of map[confset.Key]store.Head) map[confset.Key]string {
	out := map[confset.Key]string{}
	for key, h := range of {
		o, err := secret.OpenHead(kek)(h)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = h.Set + "\x00" + string(o.Body)
	}
	return out
}

// replayed is what the change log says is stored: hash, uid and set by key.
func replayed(t *rapid.T, s *memstore.Store) map[confset.Key]string {
	log, err := s.Changes(context.Background(), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(log)
	out := map[confset.Key]string{}
	for _, rec := range log {
		for _, c := range rec.Objects {
			key := confset.Key{Kind: c.Kind, Name: c.Name}
			before, set, _ := strings.Cut(out[key], " ")
			if before != c.Before || strings.TrimSpace(set) != strings.TrimSpace(beforeOf(c)) {
				t.Fatalf("%s in %s: the log says %q before it, and it says %q %q", key, rec.ID, out[key], c.Before, c.SetBefore)
			}
			if delete(out, key); c.After != "" {
				out[key] = c.After + " " + c.UID + " " + c.SetAfter
			}
		}
	}
	return out
}

// beforeOf is what replayed keeps of an object besides its hash.
func beforeOf(c store.Changed) string {
	if c.Before == "" {
		return ""
	}
	return c.UID + " " + c.SetBefore
}

// draft draws a change of servers, teams and secrets, some of them as a set.
func draft(t *rapid.T, s *memstore.Store) *adminv1.CreateChangeRequest {
	r := &adminv1.CreateChangeRequest{Set: rapid.SampledFrom([]string{"", "", "base", "other"}).Draw(t, "set")}
	r.Prune = r.Set != "" && rapid.Bool().Draw(t, "prune")
	stored := heads(t, s)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(t, "names") {
		kind := rapid.SampledFrom([]string{"server", "team", "secret"}).Draw(t, "kind")
		key := confset.Key{Kind: kind, Name: name}
		if _, ok := stored[key]; ok && rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
			r.Deletions = append(r.Deletions, &adminv1.ObjectName{Kind: kind, Name: name})
			continue
		}
		n := rapid.IntRange(1, 4).Draw(t, "n")
		switch kind {
		case "server":
			m := demoServer(name)
			m.Spec.Endpoints[0].Url = fmt.Sprintf("http://127.0.0.1:%d/mcp", n)
			r.Objects = append(r.Objects, &adminv1.Object{Object: &adminv1.Object_Server{Server: m}})
		case "team":
			r.Objects = append(r.Objects, &adminv1.Object{Object: &adminv1.Object_Team{Team: &configv1.Team{Name: name, Spec: &configv1.TeamSpec{Servers: []string{fmt.Sprintf("s%d", n)}}}}})
		case "secret":
			r.Objects = append(r.Objects, &adminv1.Object{Object: &adminv1.Object_Secret{Secret: &configv1.Secret{Name: name, Spec: &configv1.SecretSpec{Value: fmt.Sprintf("value-%d", n)}}}})
		}
	}
	return r
}

func TestTheLastChangeCanAlwaysBeTakenBackAndTheLogIsTheConfig(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kek, s := testKEK(t), memstore.New()
		c, ctx := start(t, s, withKEK(kek)).dial()
		last, before := "", heads(rt, s)
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			now := heads(rt, s)
			change, err := c.CreateChange(ctx, draft(rt, s))
			if err == nil && change.GetId() != "" { // a set may own what another change wants
				last, before = change.GetId(), now
			}
		}
		if last == "" {
			return
		}
		after := heads(rt, s)
		undone, err := c.RevertChange(ctx, &adminv1.RevertChangeRequest{Id: last})
		if err != nil {
			rt.Fatal(err)
		}
		back := heads(rt, s)
		if got, want := contents(rt, kek, back), contents(rt, kek, before); !maps.Equal(got, want) {
			rt.Fatalf("reverted:\n got %q\nwant %q", got, want)
		}
		for key, h := range back {
			was, ok := before[key]
			if ok && was.Object.UID == h.Object.UID && was.Object.Hash != h.Object.Hash {
				rt.Fatalf("%s isn't stored byte for byte as it was", key)
			}
		}
		state := map[confset.Key]string{}
		for key, h := range back {
			state[key] = h.Object.Hash.String() + " " + h.Object.UID + " " + h.Set
		}
		if got := replayed(rt, s); !maps.Equal(got, state) {
			rt.Fatalf("the log gives %v, stored is %v", got, state)
		}
		if diff, err := c.DiffChanges(ctx, &adminv1.DiffChangesRequest{From: undone.GetId()}); err != nil || len(diff.GetObjects()) != 0 {
			rt.Fatalf("nothing happened since, and the diff is %v, %v", diff, err)
		}
		if _, err := c.RevertChange(ctx, &adminv1.RevertChangeRequest{Id: undone.GetId()}); err != nil {
			rt.Fatal(err)
		}
		if got, want := contents(rt, kek, heads(rt, s)), contents(rt, kek, after); !maps.Equal(got, want) {
			rt.Fatalf("reverted twice:\n got %q\nwant %q", got, want)
		}
	})
}

// A body that the log names is always there: otherwise a revert would come too late.
func TestEveryBodyOfTheHistoryIsKept(t *testing.T) {
	s := memstore.New()
	p := start(t, s)
	for port := range 3 {
		p.change(`{"objects":[` + serverAt("a", port+1) + `]}`)
	}
	log, err := s.Changes(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range log {
		var hash confset.Hash
		if _, err := hex.Decode(hash[:], []byte(rec.Objects[0].After)); err != nil {
			t.Fatal(err)
		}
		body, err := s.Body(t.Context(), hash)
		if err != nil || proto.Unmarshal(body, &configv1.Server{}) != nil {
			t.Errorf("change %s: %v", rec.ID, err)
		}
	}
}
