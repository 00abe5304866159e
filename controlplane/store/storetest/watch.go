package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

func watchEvents(t *testing.T, s store.Store) {
	w := watch(t, s, load(t, s).Revision)
	create := Put(Head("server", "b", "b"), Head("server", "a", "a"), Head("apikey", "k", "k"))
	rev := commit(t, s, create)
	event := w.next()
	if event.Revision != rev || event.Change == nil || event.Change.ID != create.Record.ID || len(event.Removals) != 0 {
		t.Fatalf("event %+v, want change %s at %d", event, create.Record.ID, rev)
	}
	same(t, "heads of the event", briefs(event.Upserts), briefs(load(t, s).Heads))

	a := event.Upserts[1]
	mixed := Delete(Put(at(Head("server", "a", "a2"), a.Revision)), event.Upserts[2], event.Upserts[0])
	rev = commit(t, s, mixed)
	event = w.next()
	same(t, "heads of the mixed event", briefs(event.Upserts), brief(get(t, s, a.Object.Key)))
	same(t, "removals", fmt.Sprint(event.Removals), "[apikey/k server/b]")
	if event.Revision != rev || event.Change.ID != mixed.Record.ID {
		t.Fatalf("event at %d for %s", event.Revision, event.Change.ID)
	}
}

// grow commits n changes and returns their revisions.
func grow(t *testing.T, s store.Store, n int) []int64 {
	t.Helper()
	revs := make([]int64, n)
	for i := range revs {
		revs[i] = put(t, s, Head("server", "s-"+strings.ToLower(ID()), fmt.Sprint(i))).Revision
	}
	return revs
}

func expectRevisions(t *testing.T, w *tap, want []int64) {
	t.Helper()
	for _, rev := range want {
		if e := w.next(); e.Revision != rev || len(e.Upserts) != 1 || !e.Upserts[0].Object.Intact() || e.Upserts[0].Revision != rev {
			t.Fatalf("event %+v, want the one at %d", e, rev)
		}
	}
}

func watchResumes(t *testing.T, s store.Store) {
	start := load(t, s).Revision
	revs := grow(t, s, 30)
	for _, from := range []int{0, 1, 15, 29} {
		first := start
		if from > 0 {
			first = revs[from-1]
		}
		w := watch(t, s, first)
		expectRevisions(t, w, revs[from:])
		more := grow(t, s, 1)
		expectRevisions(t, w, more)
		revs = append(revs, more...)
		w.cancel()
		mustBe(t, "watch", w.end(), context.Canceled)
	}
	w := watch(t, s, revs[len(revs)-1])
	expectRevisions(t, w, grow(t, s, 3))
}

func watchesIndependent(t *testing.T, s store.Store) {
	start := load(t, s).Revision
	taps := make([]*tap, 5)
	for i := range taps {
		taps[i] = watch(t, s, start)
	}
	blocked := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	defer close(blocked)
	group.Go(func() {
		_ = s.Watch(ctx, start, func(store.Event) error { <-blocked; return nil })
	})
	revs := grow(t, s, 10)
	taps[4].cancel()
	for _, w := range taps[:4] {
		expectRevisions(t, w, revs)
	}
}

// watchAfterLoad loads and watches while others write: the two together are the final state.
func watchAfterLoad(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	defer group.Wait()
	for i := range 4 {
		group.Go(func() {
			var rev int64
			for j := range 20 {
				r, err := s.Commit(context.WithoutCancel(t.Context()), Put(at(Head("server", fmt.Sprint("w", i), fmt.Sprint(j)), rev)))
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
				rev = r.Revision
			}
		})
	}
	snap := load(t, s)
	state := map[confset.Key]store.Head{}
	for _, h := range snap.Heads {
		state[h.Object.Key] = h
	}
	w := watch(t, s, snap.Revision)
	group.Wait()
	final := grow(t, s, 1)[0]
	for last := snap.Revision; last < final; {
		e := w.next()
		if e.Revision <= last {
			t.Fatalf("event at %d after %d", e.Revision, last)
		}
		last = e.Revision
		for _, h := range e.Upserts {
			state[h.Object.Key] = h
		}
	}
	for _, h := range load(t, s).Heads {
		same(t, "followed state", brief(state[h.Object.Key]), brief(h))
	}
}

func watchEnds(t *testing.T, s store.Store) {
	start := load(t, s).Revision
	w := watch(t, s, start)
	w.cancel()
	mustBe(t, "canceled watch", w.end(), context.Canceled)

	full := errors.New("full")
	done := make(chan error, 1)
	go func() { done <- s.Watch(context.Background(), start, func(store.Event) error { return full }) }()
	grow(t, s, 2)
	mustBe(t, "refusing watch", <-done, full)

	w = watch(t, s, start)
	w.next()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "watch of a closed store", w.end(), store.ErrUnavailable)
}

func watchFuture(t *testing.T, s store.Store) {
	w := watch(t, s, load(t, s).Revision+1000)
	mustBe(t, "watch from a revision that isn't there yet", w.end(), store.ErrEpoch)
}

func canceledContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Load(ctx)
	mustBe(t, "load", err, context.Canceled)
	_, err = s.Get(ctx, confset.Key{Kind: "server", Name: "a"})
	mustBe(t, "get", err, context.Canceled)
	_, err = s.Commit(ctx, Put(Head("server", "a", "a")))
	mustBe(t, "commit", err, context.Canceled)
	mustBe(t, "watch", s.Watch(ctx, 1, func(store.Event) error { return nil }), context.Canceled)
}

func closedStore(t *testing.T, s store.Store) {
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Load(t.Context())
	mustBe(t, "load", err, store.ErrUnavailable)
	_, err = s.Commit(t.Context(), Put(Head("server", "a", "a")))
	mustBe(t, "commit", err, store.ErrUnavailable)
	mustBe(t, "watch", s.Watch(t.Context(), 1, func(store.Event) error { return nil }), store.ErrUnavailable)
}
