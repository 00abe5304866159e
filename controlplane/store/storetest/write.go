package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

func newStoreIsEmpty(t *testing.T, s store.Store) {
	snap := load(t, s)
	if len(snap.Heads) != 0 || snap.Change != nil || snap.Epoch == "" || snap.Epoch != s.Epoch() {
		t.Fatalf("snapshot %+v, epoch %q", snap, s.Epoch())
	}
	_, err := s.Get(t.Context(), confset.Key{Kind: "server", Name: "a"})
	mustBe(t, "get", err, store.ErrNotFound)
	_, err = s.Body(t.Context(), confset.HashBody(nil))
	mustBe(t, "body", err, store.ErrNotFound)
	_, err = s.Change(t.Context(), ID())
	mustBe(t, "change", err, store.ErrNotFound)
	_, err = s.Request(t.Context(), "r")
	mustBe(t, "request", err, store.ErrNotFound)
	if list, err := s.Changes(t.Context(), "", 10); err != nil || len(list) != 0 {
		t.Fatalf("changes: %v %v", list, err)
	}
}

func createUpdateDelete(t *testing.T, s store.Store) {
	h := Head("server", "a", "one")
	h.Owner, h.Set = "fleet.yaml", "base"
	h = put(t, s, h)
	same(t, "created", brief(get(t, s, h.Object.Key)), brief(h))

	h.Object = confset.NewObject(h.Object.Key, h.Object.UID, []byte("two"))
	h.Generation, h.Owner, h.Set = 2, "", "other"
	updated := put(t, s, h)
	if updated.Revision <= h.Revision {
		t.Fatalf("revision went from %d to %d", h.Revision, updated.Revision)
	}
	same(t, "updated", brief(get(t, s, h.Object.Key)), brief(updated))

	rev := commit(t, s, Delete(Put(), updated))
	_, err := s.Get(t.Context(), h.Object.Key)
	mustBe(t, "get deleted", err, store.ErrNotFound)
	if snap := load(t, s); len(snap.Heads) != 0 || snap.Revision < rev {
		t.Fatalf("after delete at %d: %+v", rev, snap)
	}
	again := Head("server", "a", "three")
	put(t, s, again)
}

func lostRace(t *testing.T, s store.Store) {
	h := put(t, s, Head("server", "a", "one"))
	key := h.Object.Key
	stale := h
	stale.Revision = h.Revision - 1
	for _, tc := range []struct {
		name  string
		write store.Write
		want  store.ConflictError
	}{
		{"create what exists", Put(Head("server", "a", "x")), store.ConflictError{Key: key, Expected: 0, Current: h.Revision}},
		{"update a stale one", Put(stale), store.ConflictError{Key: key, Expected: stale.Revision, Current: h.Revision}},
		{"delete a stale one", Delete(Put(), stale), store.ConflictError{Key: key, Expected: stale.Revision, Current: h.Revision}},
		{"update what is absent", Put(at(Head("server", "b", "x"), 7)), store.ConflictError{Key: confset.Key{Kind: "server", Name: "b"}, Expected: 7}},
	} {
		_, err := s.Commit(t.Context(), tc.write)
		var got *store.ConflictError
		if !errors.As(err, &got) || *got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, err, &tc.want)
		}
	}
	same(t, "head", brief(get(t, s, key)), brief(h))
	if list, _ := s.Changes(t.Context(), "", 10); len(list) != 1 {
		t.Errorf("%d changes after lost races, want 1", len(list))
	}
}

func at(h store.Head, revision int64) store.Head {
	h.Revision = revision
	return h
}

func oneWinner(t *testing.T, s store.Store) {
	h := put(t, s, Head("server", "a", "start"))
	var group sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		group.Go(func() {
			mine := h
			mine.Object = confset.NewObject(h.Object.Key, h.Object.UID, fmt.Appendf(nil, "racer %d", i))
			_, err := s.Commit(t.Context(), Put(mine))
			var conflict *store.ConflictError
			switch {
			case err == nil:
				won <- string(mine.Object.Body)
			case !errors.As(err, &conflict):
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	group.Wait()
	close(won)
	winner, more := <-won, len(won)
	if winner == "" || more > 0 {
		t.Fatalf("winner %q and %d more", winner, more)
	}
	same(t, "body", string(get(t, s, h.Object.Key).Object.Body), winner)
}

func allOrNothing(t *testing.T, s store.Store) {
	a, b := put(t, s, Head("server", "a", "a")), put(t, s, Head("server", "b", "b"))
	before := briefs(load(t, s).Heads)
	_, err := s.Commit(t.Context(), Delete(Put(at(Head("server", "a", "a2"), a.Revision), Head("server", "c", "c")), at(b, b.Revision+99)))
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Key != b.Object.Key {
		t.Fatalf("got %v, want a conflict on b", err)
	}
	same(t, "heads after a failed change", briefs(load(t, s).Heads), before)

	rev := commit(t, s, Delete(Put(at(Head("server", "a", "a2"), a.Revision), Head("server", "c", "c")), b))
	snap := load(t, s)
	if len(snap.Heads) != 2 || snap.Heads[0].Revision != rev || snap.Heads[1].Revision != rev {
		t.Fatalf("after the change at %d:\n%s", rev, briefs(snap.Heads))
	}
}

func guard(t *testing.T, s store.Store) {
	team := put(t, s, Head("settings", "default", "x"))
	w := Put(Head("server", "a", "a"))
	w.Expect = append(w.Expect, store.Precondition{Key: team.Object.Key, Revision: team.Revision + 1})
	_, err := s.Commit(t.Context(), w)
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Key != team.Object.Key {
		t.Fatalf("got %v, want a conflict on the guard", err)
	}
	w.Expect[1].Revision = team.Revision
	commit(t, s, w)
	same(t, "guarded object", brief(get(t, s, team.Object.Key)), brief(team))
}

func commitTwice(t *testing.T, s store.Store) {
	w := Put(Head("server", "a", "a"))
	first := commit(t, s, w)
	if second := commit(t, s, w); second != first {
		t.Fatalf("committed again at %d, first at %d", second, first)
	}
	if rev := get(t, s, w.Puts[0].Object.Key).Revision; rev != first {
		t.Fatalf("head at %d, want %d", rev, first)
	}
}

func epochOfWrite(t *testing.T, s store.Store) {
	w := Put(Head("server", "a", "a"))
	w.Epoch = "another"
	_, err := s.Commit(t.Context(), w)
	mustBe(t, "commit in another epoch", err, store.ErrEpoch)
	w.Epoch = s.Epoch()
	commit(t, s, w)
}

func malformedWrites(t *testing.T, s store.Store) {
	for _, tc := range []struct {
		name  string
		spoil func(w *store.Write)
		want  string
	}{
		{"change id", func(w *store.Write) { w.Record.ID = "7" }, "record.id"},
		{"nothing to write", func(w *store.Write) { w.Puts = nil }, "puts and deletes are empty"},
		{"no precondition", func(w *store.Write) { w.Expect = nil }, "no precondition"},
		{"two preconditions", func(w *store.Write) { w.Expect = append(w.Expect, w.Expect[0]) }, "two preconditions"},
		{"written twice", func(w *store.Write) { w.Puts = append(w.Puts, w.Puts[0]) }, "written twice"},
		{"delete of the absent", func(w *store.Write) { w.Deletes, w.Puts = []confset.Key{w.Expect[0].Key}, nil }, "expected to be absent"},
		{"wrong hash", func(w *store.Write) { w.Puts[0].Object.Hash[0]++ }, "hash"},
		{"no uid", func(w *store.Write) { w.Puts[0].Object.UID = "" }, "uid"},
		{"generation", func(w *store.Write) { w.Puts[0].Generation = 0 }, "generation"},
		{"fence without a revision", func(w *store.Write) { w.Fence.Key = "x" }, "fence"},
		{"fence without a key", func(w *store.Write) { w.Fence.Created = 1 }, "fence"},
		{"fence before all", func(w *store.Write) { w.Fence = store.Fence{Key: "x", Created: -1} }, "fence"},
		{"slash in a name", func(w *store.Write) { w.Puts[0].Object.Key.Name, w.Expect[0].Key.Name = "a/b", "a/b" }, "slash"},
		{"empty kind", func(w *store.Write) { w.Puts[0].Object.Key.Kind, w.Expect[0].Key.Kind = "", "" }, "kind"},
	} {
		w := Put(Head("server", "a", "a"))
		tc.spoil(&w)
		if _, err := s.Commit(t.Context(), w); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if snap := load(t, s); len(snap.Heads) != 0 {
		t.Errorf("stored nevertheless: %s", briefs(snap.Heads))
	}
}

func limits(t *testing.T, s store.Store) {
	l := s.Limits()
	heads := make([]store.Head, l.Objects+1)
	for i := range heads {
		heads[i] = Head("server", fmt.Sprintf("s%05d", i), "x")
	}
	tooBig := strings.Repeat("x", l.Bytes+1)
	for what, w := range map[string]store.Write{"objects": Put(heads...), "bytes": Put(Head("server", "a", tooBig))} {
		_, err := s.Commit(t.Context(), w)
		var limit *store.LimitError
		if !errors.As(err, &limit) || limit.Asked != limit.Limit+1 || !strings.Contains(limit.What, what) {
			t.Errorf("one too many %s: %v", what, err)
		}
	}
	h := put(t, s, Head("server", "a", tooBig[1:]))
	same(t, "largest body", string(get(t, s, h.Object.Key).Object.Body), tooBig[1:])
}

func fullChange(t *testing.T, s store.Store) {
	heads := make([]store.Head, s.Limits().Objects)
	for i := range heads {
		heads[i] = Head("apikey", fmt.Sprintf("k%05d", i), noise(16<<10))
	}
	w := watch(t, s, load(t, s).Revision)
	write := fenced(ownFence(meet(t, s, "one", "x").until("one=x*")), heads...)
	write.RequestID = "all"
	rev := commit(t, s, write)
	event := w.next()
	if event.Revision != rev || len(event.Upserts) != len(heads) {
		t.Fatalf("event at %d with %d heads, want all %d at %d", event.Revision, len(event.Upserts), len(heads), rev)
	}
	snap := load(t, s)
	same(t, "loaded", fmt.Sprint(len(snap.Heads)), fmt.Sprint(len(heads)))
	for i := range snap.Heads {
		if !snap.Heads[i].Object.Intact() || snap.Heads[i].Object.Hash != event.Upserts[i].Object.Hash || !event.Upserts[i].Object.Intact() {
			t.Fatalf("body of %s", snap.Heads[i].Object.Key)
		}
	}
	for i := range snap.Heads {
		snap.Heads[i].Object.Body = nil
	}
	commit(t, s, Delete(Put(), snap.Heads...))
	if event := w.next(); len(event.Removals) != len(heads) {
		t.Fatalf("%d removals, want %d", len(event.Removals), len(heads))
	}
}

func mustBe(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}
