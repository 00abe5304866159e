package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func discard(store.Event) error { return nil }

func TestCompactionEndsOldWatches(t *testing.T) {
	s, _ := onRoad(t)
	first := mustCommit(t, s, server("a"))
	mustCommit(t, s, server("b"))
	last := mustCommit(t, s, server("c"))
	if _, err := s.client.Load().Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if err := s.Watch(t.Context(), first, discard); !errors.Is(err, store.ErrCompacted) {
		t.Fatalf("watch from %d: %v", first, err)
	}
	if snap, err := s.Load(t.Context()); err != nil || len(snap.Heads) != 3 || snap.Change == nil {
		t.Fatalf("load: %+v %v", snap, err)
	}
	if list, err := s.Changes(t.Context(), "", 10); err != nil || len(list) != 3 {
		t.Fatalf("%d changes after compaction, %v", len(list), err)
	}
}

// Others write beside us and etcd forgets: a watch that knew nothing had happened goes on.
func TestIdlePrefixBesideABusyOne(t *testing.T) {
	s, _ := onRoad(t)
	s.backend.progress = 10 * time.Millisecond
	client := s.client.Load()
	rev := mustCommit(t, s, server("a"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, rev, discard) }()
	var busy int64
	for i := range 20 {
		r, err := client.Put(t.Context(), "/somebody/else", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		busy = r.Header.Revision
	}
	for end := time.Now().Add(20 * time.Second); s.resume(rev) < busy; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the watch knows up to %d, others wrote %d", s.resume(rev), busy)
		}
	}
	cancel()
	<-done
	if _, err := client.Compact(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	next := mustCommit(t, s, server("b"))
	stop := errors.New("seen")
	if err := s.Watch(t.Context(), rev, func(e store.Event) error {
		if e.Revision != next {
			t.Errorf("event at %d, want %d", e.Revision, next)
		}
		return stop
	}); !errors.Is(err, stop) {
		t.Fatalf("resumed watch: %v", err)
	}
}

func TestNewEpochEndsWatchesAndWrites(t *testing.T) {
	s, _ := onRoad(t)
	rev := mustCommit(t, s, server("a"))
	done := make(chan error, 1)
	go func() { done <- s.Watch(context.Background(), rev, discard) }()
	if _, err := s.client.Load().Put(t.Context(), epochKey, "restored"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, store.ErrEpoch) {
		t.Fatalf("watch: %v", err)
	}
	if err := s.Watch(t.Context(), rev, discard); !errors.Is(err, store.ErrEpoch) {
		t.Fatalf("watch again: %v", err)
	}
	if _, err := s.Commit(t.Context(), server("b")); !errors.Is(err, store.ErrEpoch) {
		t.Fatalf("commit: %v", err)
	}
	if snap, err := s.Load(t.Context()); err != nil || snap.Epoch != "restored" || s.Epoch() != "restored" {
		t.Fatalf("load: %+v %v", snap, err)
	}
	mustCommit(t, s, server("b"))
}

// What somebody wrote by hand, or what is damaged, is named; it never reads as "absent".
func TestUnreadableContentIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ key, value, want string }{
		"head":         {specs + "server/bad", "{", "server/bad"},
		"newer schema": {specs + "server/bad", `{"schema":2}`, "newer version"},
		"no hash":      {specs + "server/bad", `{"schema":1}`, "isn't a SHA-256"},
		"no body":      {specs + "server/bad", `{"schema":1,"hash":"` + strings.Repeat("0", 64) + `"}`, "missing"},
		"key":          {specs + "server", "{}", "spec/<kind>/<name>"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := onRoad(t)
			rev := mustCommit(t, s, server("a"))
			if _, err := s.client.Load().Put(t.Context(), tc.key, tc.value); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load(t.Context())
			for what, err := range map[string]error{"load": err, "watch": s.Watch(t.Context(), rev, discard)} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s: %v, want %q", what, err, tc.want)
				}
			}
		})
	}
}

func TestChangedBodyIsNoticed(t *testing.T) {
	t.Parallel()
	s, _ := onRoad(t)
	w := server("a")
	mustCommit(t, s, w)
	if _, err := s.client.Load().Put(t.Context(), objKey(w.Puts[0].Object.Hash), "other"); err != nil {
		t.Fatal(err)
	}
	s.bodies = newCache(cacheBytes)
	if _, err := s.Body(t.Context(), w.Puts[0].Object.Hash); err == nil || !strings.Contains(err.Error(), "other content") {
		t.Fatalf("body: %v", err)
	}
	if _, err := s.Load(t.Context()); err == nil {
		t.Fatal("loaded a changed body")
	}
}

// A long history is paged from its end without reading it all, also when many changes share a moment or clocks run ahead.
func TestLongHistoryIsNarrowed(t *testing.T) {
	t.Parallel()
	s, _ := onRoad(t)
	client, now := s.client.Load(), uint64(time.Now().UnixMilli())
	var times []uint64
	for i := range uint64(300) {
		times = append(times, 1_000_000+i*1000, now-300+i, now+3_600_000)
	}
	for i, ms := range times {
		id := strings.TrimPrefix(changeKeyAt(ms), changes)[:10] + fmt.Sprintf("%016d", i)
		if _, err := client.Put(t.Context(), changes+id, `{"id":"`+id+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	seen, before := 0, ""
	for {
		page, err := s.Changes(t.Context(), before, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			if before != "" && r.ID >= before {
				t.Fatalf("%s after %s", r.ID, before)
			}
			before = r.ID
		}
		seen += len(page)
	}
	if seen != len(times) {
		t.Fatalf("paged %d changes of %d", seen, len(times))
	}
	from, err := s.narrow(t.Context(), client, changes+strings.TrimPrefix(changeKeyAt(now-100), changes), now-100, 5)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(t.Context(), from, clientv3.WithRange(changeKeyAt(now-100)), clientv3.WithCountOnly())
	if err != nil || resp.Count < 5 || resp.Count > 4*5+64 {
		t.Fatalf("narrowed to %d changes, %v", resp.Count, err)
	}
}

// A revision's events arrive as one even when its bodies were stored before it and the cache has forgotten them.
func TestBodiesStoredBeforeTheirChange(t *testing.T) {
	s, _ := onRoad(t)
	rev := s.known().newest
	s.backend.maxOps = 20 // 12 heads and their bodies don't fit
	heads := make([]store.Head, 12)
	for i := range heads {
		heads[i] = storetest.Head("server", fmt.Sprintf("s%02d", i), fmt.Sprint("body ", i))
	}
	mustCommit(t, s, storetest.Put(heads...))
	s.bodies = newCache(10)
	stop := errors.New("seen")
	err := s.Watch(t.Context(), rev, func(e store.Event) error {
		if len(e.Upserts) != len(heads) {
			t.Errorf("%d heads in the first event, want %d", len(e.Upserts), len(heads))
		}
		for i, h := range e.Upserts {
			if h.Object.Hash != heads[i].Object.Hash || !h.Object.Intact() {
				t.Errorf("body of %s", h.Object.Key)
			}
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func TestCacheKeepsToItsBytes(t *testing.T) {
	c := newCache(100)
	var heads []store.Head
	for i := range 10 {
		h := storetest.Head("server", "a", strings.Repeat(string(rune('a'+i)), 30))
		heads = append(heads, h)
		c.put(h.Object.Hash, h.Object.Body)
		c.put(h.Object.Hash, h.Object.Body)
		if _, ok := c.get(heads[0].Object.Hash); !ok {
			t.Fatal("the one in use was dropped")
		}
	}
	if len(c.items) != 3 || c.room != 10 {
		t.Fatalf("%d bodies, room for %d", len(c.items), c.room)
	}
}
