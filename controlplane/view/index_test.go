package view_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestReadsSeeTheWriteTheyWaitFor(t *testing.T) {
	c := cptest.New(t, cptest.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := range 50 {
		name := fmt.Sprintf("s%d", i)
		rev := c.Put(server(name, "http://127.0.0.1:1/mcp"))
		if err := c.Views().WaitRevision(ctx, rev); err != nil {
			t.Fatal(err)
		}
		h, ok := c.Views().Get("server", name)
		if !ok || h.Revision != rev {
			t.Fatalf("server %s after waiting for revision %d: found %v at revision %d", name, rev, ok, h.Revision)
		}
	}
	if err := c.Views().WaitRevision(expired(t), 1<<40); err == nil {
		t.Error("waiting for a revision that never comes ended without an error")
	}
}

func TestListsAreInNameOrderAndPagesFitTogether(t *testing.T) {
	c := cptest.New(t, cptest.Config{})
	rapid.Check(t, func(rt *rapid.T) {
		var puts []string
		want := map[string]bool{}
		for h := range c.Views().Snapshot().All {
			if h.Object.Key.Kind == "server" {
				want[h.Object.Key.Name] = true
			}
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 1, 700, rapid.ID[string]).Draw(rt, "names") {
			if !want[name] || rapid.Bool().Draw(rt, "again") {
				puts = append(puts, name)
			}
		}
		var gone []confset.Key
		for name := range want {
			if !slices.Contains(puts, name) {
				gone = append(gone, confset.Key{Kind: "server", Name: name})
				delete(want, name)
			}
		}
		ch := cptest.Change{Deletes: gone}
		for _, name := range puts {
			ch.Puts = append(ch.Puts, server(name, "http://127.0.0.1:1/mcp"))
			want[name] = true
		}
		if len(ch.Puts)+len(ch.Deletes) == 0 || len(ch.Puts)+len(ch.Deletes) > 1000 {
			return
		}
		rev := c.Commit(ch).Revision
		if err := c.Views().WaitRevision(context.Background(), rev); err != nil {
			rt.Fatal(err)
		}
		checkPages(rt, c, want)
	})
}

func checkPages(rt *rapid.T, c *cptest.Control, want map[string]bool) {
	snap := c.Views().Snapshot()
	var got []string
	for after := ""; ; {
		page := snap.List("server", after, 7)
		for _, h := range page {
			got = append(got, h.Object.Key.Name)
			if one, ok := snap.Get("server", h.Object.Key.Name); !ok || one.Object.Key != h.Object.Key {
				rt.Fatalf("%s is listed but not found", h.Object.Key)
			}
		}
		if len(page) < 7 {
			break
		}
		after = got[len(got)-1]
	}
	if !slices.IsSorted(got) || len(got) != len(want) || snap.Len() != len(want) {
		rt.Fatalf("%d names listed (sorted: %v), Len %d, want %d", len(got), slices.IsSorted(got), snap.Len(), len(want))
	}
	for _, name := range got {
		if !want[name] {
			rt.Fatalf("%s is listed but was deleted", name)
		}
	}
}

func server(name, url string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
