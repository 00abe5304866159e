package storetest

import (
	"errors"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
)

func ownFence(notes []store.Note) store.Fence {
	for _, n := range notes {
		if n.Own {
			return n.Fence
		}
	}
	return store.Fence{}
}

func fenced(fence store.Fence, heads ...store.Head) store.Write {
	w := Put(heads...)
	w.Fence = fence
	return w
}

func fenceStands(t *testing.T, s store.Store) {
	g := meet(t, s, "one", "x")
	fence := ownFence(g.until("one=x*"))
	a := Head("server", "a", "a")
	early := fenced(fence, a)
	a.Revision = commit(t, s, early)
	g.say("y")
	g.until("one=y*")
	a.Revision = commit(t, s, fenced(fence, a)) // whatever the note says

	other := fenced(fence, Head("server", "b", "b"))
	other.Epoch = ID()
	_, err := s.Commit(t.Context(), other)
	mustBe(t, "fenced write of another epoch", err, store.ErrEpoch)
	for _, wrong := range []store.Fence{{Key: fence.Key, Created: fence.Created + 1}, {Key: fence.Key + "x", Created: fence.Created}} {
		_, err = s.Commit(t.Context(), fenced(wrong, Head("server", "b", "b")))
		mustBe(t, "wrong fence", err, store.ErrFenced)
	}
	var conflict *store.ConflictError
	if _, err = s.Commit(t.Context(), fenced(fence, Head("server", "a", "a"))); !errors.As(err, &conflict) {
		t.Errorf("lost race behind a fence that stands: %v", err)
	}
	g.leave()
	if r, err := s.Commit(t.Context(), early); err != nil || r.Revision == 0 {
		t.Errorf("a write that was stored while its fence stood: %v", err)
	}
}

func fenceFalls(t *testing.T, s store.Store) {
	kept := put(t, s, Head("server", "kept", "x"))
	before := load(t, s)
	tap := watch(t, s, before.Revision)
	g := meet(t, s, "one", "x")
	fence := ownFence(g.until("one=x*"))
	g.leave()
	g = meet(t, s, "one", "x")
	next := ownFence(g.until("one=x*"))

	w := Delete(fenced(fence, Head("server", "new", "y")), kept)
	w.RequestID = "r"
	_, err := s.Commit(t.Context(), w)
	mustBe(t, "write of an earlier leader", err, store.ErrFenced)
	after := load(t, s)
	same(t, "heads", briefs(after.Heads), briefs(before.Heads))
	_, err = s.Change(t.Context(), w.Record.ID)
	mustBe(t, "its record", err, store.ErrNotFound)
	_, err = s.Request(t.Context(), "r")
	mustBe(t, "its request id", err, store.ErrNotFound)

	w.Record.ID, w.Fence = ID(), next
	want := commit(t, s, w)
	if e := tap.next(); e.Revision != want {
		t.Errorf("event at %d, want %d: the refused write was seen", e.Revision, want)
	}
}

func killedGoes(t *testing.T, open func(t *testing.T) store.Store) {
	killed, s := open(t), open(t)
	one := meet(t, killed, "one", "x")
	fence := ownFence(one.until("one=x*"))
	two := meet(t, s, "two", "x")
	own := ownFence(two.until("one=x", "two=x*"))
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	one.ends(store.ErrUnavailable)
	two.until("two=x*")
	_, err := s.Commit(t.Context(), fenced(fence, Head("server", "a", "a")))
	mustBe(t, "write of the killed one", err, store.ErrFenced)
	commit(t, s, fenced(own, Head("server", "a", "a")))
}

func otherLeader(t *testing.T, open func(t *testing.T) store.Store) {
	s, other := open(t), open(t)
	one := meet(t, s, "one", "x")
	fence := ownFence(one.until("one=x*"))
	two := meet(t, other, "two", "x")
	notes := two.until("one=x", "two=x*")
	if notes[0].Fence != fence {
		t.Errorf("the leader's fence is %+v for it and %+v for others", fence, notes[0].Fence)
	}
	commit(t, other, fenced(fence, Head("server", "a", "a"))) // it stands, whoever writes
	one.leave()
	two.until("two=x*")
	for _, handle := range []store.Store{s, other} {
		_, err := handle.Commit(t.Context(), fenced(fence, Head("server", "b", "b")))
		mustBe(t, "write with a fence that fell", err, store.ErrFenced)
	}
}
