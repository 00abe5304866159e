package etcdstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
)

// Between any two pages of a load somebody writes on both sides of the border: the load shows none of it.
func TestPagesAreOfOneRevision(t *testing.T) {
	s, r := onRoad(t)
	s.backend.pageHeads = 3
	heads := make([]store.Head, 10)
	for i := range heads {
		heads[i] = storetest.Head("server", fmt.Sprintf("s%d", i), "old")
	}
	rev := mustCommit(t, s, storetest.Put(heads...))
	pages := 0
	r.read = func(key string) {
		if !strings.HasPrefix(key, specs) {
			return
		}
		if pages++; pages == 1 {
			return
		}
		w := server(fmt.Sprintf("s%d-new", pages))
		changed := storetest.Head("server", fmt.Sprintf("s%d", 9), fmt.Sprint("new ", pages))
		changed.Revision = rev
		w.Puts, w.Expect = append(w.Puts, changed), append(w.Expect, store.Precondition{Key: changed.Object.Key, Revision: rev})
		rev = mustCommit(t, s, w)
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Heads) != len(heads) || pages != 4 {
		t.Fatalf("%d heads in %d pages, %v", len(snap.Heads), pages, err)
	}
	for _, h := range snap.Heads {
		if string(h.Object.Body) != "old" || h.Revision > snap.Revision {
			t.Errorf("%s at %d has the body %q, the snapshot is of %d", h.Object.Key, h.Revision, h.Object.Body, snap.Revision)
		}
	}
	if snap.Change.Revision != snap.Heads[0].Revision {
		t.Errorf("newest change is of %d", snap.Change.Revision)
	}
}

// Compaction overtakes a load: it starts again.
func TestLoadOvertakenByCompaction(t *testing.T) {
	s, r := onRoad(t)
	s.backend.pageHeads = 1
	mustCommit(t, s, server("a"))
	mustCommit(t, s, server("b"))
	pages := 0
	r.read = func(key string) {
		if !strings.HasPrefix(key, specs) {
			return
		}
		if pages++; pages != 2 {
			return
		}
		rev := mustCommit(t, s, server("c"))
		if _, err := s.client.Load().Compact(t.Context(), rev); err != nil {
			t.Error(err)
		}
	}
	if snap, err := s.Load(t.Context()); err != nil || len(snap.Heads) != 3 {
		t.Fatalf("load: %+v %v", snap, err)
	}
}
