package rollout_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func key(name string) confset.Key { return confset.Key{Kind: "server", Name: name} }

// stage changes "changed", creates "created" and deletes "deleted" as one staged change, after they were made, and returns its id.
func stage(t *testing.T, s store.Store, words string) string {
	t.Helper()
	return staged(t, s, words).Body.GetChange()
}

// staged is stage that returns the rollout as it was stored, whatever became of it since.
func staged(t *testing.T, s store.Store, words string) *rollout.State {
	t.Helper()
	var objects []*adminv1.StagedObject
	w := store.Write{Record: store.ChangeRecord{ID: storetest.ID(), Time: time.Now(), Author: "ann"}}
	for _, name := range []string{"changed", "created", "deleted"} {
		o := &adminv1.StagedObject{Kind: "server", Name: name, Uid: name + w.Record.ID}
		h := store.Head{Object: confset.NewObject(key(name), o.GetUid(), []byte("after "+name)), Generation: 1, Created: time.Now(), Updated: time.Now()}
		was, err := s.Get(t.Context(), key(name))
		if err == nil {
			o.Uid, o.Before, o.Generation, o.CreateTime = was.Object.UID, was.Object.Hash[:], was.Generation, timestamppb.New(was.Created)
			o.Set, o.Owner = was.Set, was.Owner
			h.Object = confset.NewObject(key(name), was.Object.UID, h.Object.Body)
			h.Generation, h.Created, h.Set = was.Generation+1, was.Created, "other"
		}
		c := store.Changed{Kind: "server", Name: name, UID: o.GetUid()}
		if err == nil {
			c.Before, c.SetBefore = was.Object.Hash.String(), was.Set
		}
		w.Expect = append(w.Expect, store.Precondition{Key: key(name), Revision: was.Revision})
		if name == "deleted" {
			w.Deletes = append(w.Deletes, key(name))
		} else {
			o.After, c.After, c.SetAfter = h.Object.Hash[:], h.Object.Hash.String(), h.Set
			w.Puts = append(w.Puts, h)
		}
		w.Record.Objects = append(w.Record.Objects, c)
		objects = append(objects, o)
	}
	p, vs := rollout.Plan(plan(words))
	if len(vs) > 0 {
		t.Fatal(vs)
	}
	h, err := rollout.Head(rollout.New(w.Record.ID, "ann", "why", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", p, objects, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	w.Puts, w.Expect = append(w.Puts, h), append(w.Expect, store.Precondition{Key: h.Object.Key})
	w.Record.Objects = append(w.Record.Objects, store.Changed{Kind: rollout.Kind, Name: w.Record.ID, UID: h.Object.UID, After: h.Object.Hash.String()})
	done, err := s.Commit(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return must(rollout.Parse(h.Object.Body, done.Revision))
}

// before makes what stage changes and deletes.
func before(t *testing.T, s store.Store) map[confset.Key]store.Head {
	t.Helper()
	w := store.Write{Record: store.ChangeRecord{ID: storetest.ID(), Time: time.Now(), Author: "ann"}}
	for _, name := range []string{"changed", "deleted", "untouched"} {
		h := store.Head{Object: confset.NewObject(key(name), "uid-"+name, []byte("before "+name)),
			Generation: 3, Created: start.UTC(), Updated: start, Set: "mine", Owner: name + ".yaml"}
		w.Puts, w.Expect = append(w.Puts, h), append(w.Expect, store.Precondition{Key: h.Object.Key})
		w.Record.Objects = append(w.Record.Objects, store.Changed{Kind: "server", Name: name, UID: h.Object.UID, After: h.Object.Hash.String(), SetAfter: "mine"})
	}
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return heads(t, s)
}

func heads(t *testing.T, s store.Store) map[confset.Key]store.Head {
	t.Helper()
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[confset.Key]store.Head{}
	for _, h := range snap.Heads {
		if h.Object.Key.Kind != rollout.Kind {
			out[h.Object.Key] = h
		}
	}
	return out
}

func current(t *testing.T, s store.Store, id string) *rollout.State {
	t.Helper()
	h, err := s.Get(t.Context(), rollout.Key(id))
	if err != nil {
		t.Fatal(err)
	}
	return must(rollout.Parse(h.Object.Body, h.Revision))
}

func undo(t *testing.T, s store.Store, st *rollout.State) store.Write {
	t.Helper()
	w, err := rollout.Undo(t.Context(), s, st, rollout.Reverted, "data plane x crashed", "x", store.Fence{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w
}

// same says how objects aren't what they were, byte for byte, with uid, set, owner and creation.
func same(t *testing.T, got, want map[confset.Key]store.Head) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d objects, want %d", len(got), len(want))
	}
	for k, w := range want {
		g := got[k]
		same := bytes.Equal(g.Object.Body, w.Object.Body) && g.Object.UID == w.Object.UID && g.Set == w.Set && g.Owner == w.Owner
		if !same || !g.Created.Equal(w.Created) || g.Generation < w.Generation {
			t.Errorf("%s: %+v, want %+v", k, g, w)
		}
	}
}

func TestUndoLeavesEverythingAsBefore(t *testing.T) {
	s := memstore.New()
	want := before(t, s)
	id := stage(t, s, "canary")
	w := undo(t, s, current(t, s, id))
	got := heads(t, s)
	same(t, got, want)
	if got[key("changed")].Generation != 5 || got[key("deleted")].Generation != 4 || got[key("untouched")].Generation != 3 {
		t.Errorf("generations: %+v", got)
	}
	end := current(t, s, id).Body
	if end.GetState() != rollout.Reverted || end.GetNode() != "x" || end.GetReason() != "data plane x crashed" || end.GetRevertedBy() != w.Record.ID {
		t.Errorf("rollout: %v", end)
	}
	rec, err := s.Change(t.Context(), w.Record.ID)
	if err != nil || rec.Reverts != id || rec.Author != "rollout" || rec.Traceparent != end.GetTraceparent() || len(rec.Objects) != 4 ||
		rec.Message != "rollout "+id+": reverted: data plane x crashed" {
		t.Errorf("record: %+v %v", rec, err)
	}
	replay(t, s)
}

// replay checks that the history leads to the heads.
func replay(t *testing.T, s store.Store) {
	t.Helper()
	recs, err := s.Changes(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(recs, func(a, b *store.ChangeRecord) int { return int(a.Revision - b.Revision) })
	hashes, last := map[confset.Key]string{}, ""
	for _, rec := range recs {
		if rec.ID <= last {
			t.Errorf("change %s comes after %s", rec.ID, last)
		}
		last = rec.ID
		for _, c := range rec.Objects {
			k := confset.Key{Kind: c.Kind, Name: c.Name}
			if hashes[k] != c.Before {
				t.Errorf("change %s found %s at %q, history has %q", rec.ID, k, c.Before, hashes[k])
			}
			if hashes[k] = c.After; c.After == "" {
				delete(hashes, k)
			}
		}
	}
	snap, _ := s.Load(t.Context())
	for _, h := range snap.Heads {
		if hashes[h.Object.Key] != hex.EncodeToString(h.Object.Hash[:]) {
			t.Errorf("history leads to %s of %s, the head is %s", hashes[h.Object.Key], h.Object.Key, h.Object.Hash)
		}
		delete(hashes, h.Object.Key)
	}
	if len(hashes) > 0 {
		t.Errorf("history has what isn't there: %v", hashes)
	}
}

func TestUndoLeavesWhatSomebodyElseForced(t *testing.T) {
	s := memstore.New()
	want := before(t, s)
	id := stage(t, s, "canary")
	forced := heads(t, s)[key("changed")]
	w := store.Write{Record: store.ChangeRecord{ID: storetest.ID(), Time: time.Now()}}
	w.Expect = []store.Precondition{{Key: key("changed"), Revision: forced.Revision}}
	forced.Object = confset.NewObject(forced.Object.Key, forced.Object.UID, []byte("forced"))
	w.Puts = []store.Head{forced}
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	undo(t, s, current(t, s, id))
	got := heads(t, s)
	if string(got[key("changed")].Object.Body) != "forced" {
		t.Errorf("forced change was lost: %s", got[key("changed")].Object.Body)
	}
	if want := `data plane x crashed; left as they are, since they were changed again: server "changed"`; current(t, s, id).Body.GetReason() != want {
		t.Errorf("reason %q, want %q", current(t, s, id).Body.GetReason(), want)
	}
	want[key("changed")] = got[key("changed")]
	same(t, got, want)
}

func TestUndoOfWhatMovedOnIsAConflict(t *testing.T) {
	s := memstore.New()
	before(t, s)
	st := current(t, s, stage(t, s, "canary"))
	undo(t, s, st)
	var conflict *store.ConflictError
	if _, err := rollout.Undo(t.Context(), s, st, rollout.Reverted, "", "", store.Fence{}, time.Now()); !errors.As(err, &conflict) {
		t.Fatalf("second undo: %v", err)
	}
}

// forgetful has lost its bodies.
type forgetful struct{ *memstore.Store }

func (forgetful) Body(context.Context, confset.Hash) ([]byte, error) { return nil, store.ErrNotFound }

func TestUndoNeedsTheBodies(t *testing.T) {
	s := memstore.New()
	before(t, s)
	st := current(t, s, stage(t, s, "canary"))
	_, err := rollout.Undo(t.Context(), forgetful{s}, st, rollout.Reverted, "", "", store.Fence{}, time.Now())
	if !errors.Is(err, rollout.ErrLost) || !strings.Contains(err.Error(), "server/") {
		t.Fatal(err)
	}
}
