package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// author of the changes that a rollout makes itself.
const author = "rollout"

// readers is how many heads and bodies are read from the store at a time.
const readers = 16

// ErrLost says that a body of before isn't stored any more.
var ErrLost = errors.New("what it was before isn't stored any more")

// undoing collects the write that undoes a staged change.
type undoing struct {
	w    store.Write
	left []string // objects that somebody else changed since
}

// Undo returns the one write that takes a staged change back: every object has the body, uid, set and owner of before, created ones are deleted, deleted
// ones are there again, and the rollout is in its final state, Reverted or Aborted. What isn't any more as the change left it, since somebody
// forced another change, stays as it is and is named in the reason.
//
// Errors: *store.ConflictError when the rollout isn't as s has it any more, one wrapping ErrLost, and those of the store.
func Undo(ctx context.Context, st store.Store, s *State, final, reason, node string, fence store.Fence, now time.Time) (store.Write, error) {
	epoch := st.Epoch()
	own, err := stored(ctx, st, s)
	if err != nil {
		return store.Write{}, err
	}
	objects := s.Body.GetObjects()
	turns := make([]turn, len(objects))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, o := range objects {
		g.Go(func() (err error) {
			turns[i], err = readTurn(gctx, st, o)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return store.Write{}, fmt.Errorf("undo change %s: %w", s.Body.GetChange(), err)
	}
	u := &undoing{w: store.Write{Record: s.record(now, own.Change), Epoch: epoch, Fence: fence}}
	u.w.Record.Reverts = s.Body.GetChange()
	for i := range turns {
		u.add(&turns[i], now)
	}
	return u.close(s, own, &Trip{Final: final, Reason: reason, Node: node}, now)
}

// stored reads the head of a rollout, which must be as s has it.
func stored(ctx context.Context, st store.Store, s *State) (store.Head, error) {
	key := Key(s.Body.GetChange())
	h, err := st.Get(ctx, key)
	if err != nil {
		return h, fmt.Errorf("read %s: %w", key, err)
	}
	if h.Revision != s.Revision {
		return h, &store.ConflictError{Key: key, Expected: s.Revision, Current: h.Revision}
	}
	return h, nil
}

// record of a change that a rollout makes: in the trace of the staged one, with an id above all that touched the rollout.
func (s *State) record(now time.Time, newest string) store.ChangeRecord {
	return store.ChangeRecord{ID: store.NextID(now, max(newest, s.Body.GetChange())), Time: now, Author: author, Traceparent: s.Body.GetTraceparent()}
}

// turn is one object that goes back to what it was.
type turn struct {
	key     confset.Key
	was     *adminv1.StagedObject
	body    []byte      // of before; nil: it didn't exist
	current *store.Head // nil: it doesn't exist
}

func readTurn(ctx context.Context, st store.Store, o *adminv1.StagedObject) (turn, error) {
	t := turn{key: confset.Key{Kind: o.GetKind(), Name: o.GetName()}, was: o}
	h, err := st.Get(ctx, t.key)
	switch {
	case err == nil:
		t.current = &h
	case !errors.Is(err, store.ErrNotFound):
		return t, fmt.Errorf("read %s: %w", t.key, err)
	}
	if len(o.GetBefore()) == 0 || !t.asLeft() {
		return t, nil
	}
	hash, ok := hashOf(o.GetBefore())
	if !ok {
		return t, fmt.Errorf("%s: %w: its hash is damaged", t.key, ErrLost)
	}
	t.body, err = st.Body(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return t, fmt.Errorf("%s: %w", t.key, ErrLost)
	}
	if err != nil {
		return t, fmt.Errorf("read %s as it was: %w", t.key, err)
	}
	if t.body == nil {
		t.body = []byte{}
	}
	return t, nil
}

func hashOf(b []byte) (h confset.Hash, ok bool) {
	return h, copy(h[:], b) == len(h) && len(b) == len(h)
}

// asLeft says whether the object is as the staged change left it.
func (t *turn) asLeft() bool {
	after, ok := hashOf(t.was.GetAfter())
	if t.current == nil || !ok {
		return t.current == nil && !ok
	}
	return t.current.Object.Hash == after && t.current.Object.UID == t.was.GetUid()
}

// asBefore says whether the object already is as it was before.
func (t *turn) asBefore() bool {
	before, ok := hashOf(t.was.GetBefore())
	if t.current == nil || !ok {
		return t.current == nil && !ok
	}
	return t.current.Object.Hash == before && t.current.Object.UID == t.was.GetUid() &&
		t.current.Set == t.was.GetSet() && t.current.Owner == t.was.GetOwner()
}

func (u *undoing) add(t *turn, now time.Time) {
	switch {
	case t.asBefore():
	case !t.asLeft():
		u.left = append(u.left, t.key.Kind+" "+quoted(t.key.Name))
	case t.body == nil:
		u.remove(t)
	default:
		u.put(t, now)
	}
}

func (u *undoing) remove(t *turn) {
	h := t.current
	u.w.Deletes = append(u.w.Deletes, t.key)
	u.w.Expect = append(u.w.Expect, store.Precondition{Key: t.key, Revision: h.Revision})
	u.w.Record.Objects = append(u.w.Record.Objects, store.Changed{
		Kind: t.key.Kind, Name: t.key.Name, UID: h.Object.UID, Before: h.Object.Hash.String(), SetBefore: h.Set,
	})
}

func (u *undoing) put(t *turn, now time.Time) {
	c := store.Changed{Kind: t.key.Kind, Name: t.key.Name, UID: t.was.GetUid(), SetAfter: t.was.GetSet()}
	pre := store.Precondition{Key: t.key}
	h := store.Head{Created: t.was.GetCreateTime().AsTime(), Generation: t.was.GetGeneration()}
	if t.current != nil {
		h, pre.Revision = *t.current, t.current.Revision
		c.Before, c.SetBefore = h.Object.Hash.String(), h.Set
	}
	was := h.Object.Hash
	h.Object = confset.NewObject(t.key, t.was.GetUid(), t.body)
	if h.Object.Hash != was {
		h.Generation++
	}
	h.Set, h.Owner = t.was.GetSet(), t.was.GetOwner()
	h.Updated, h.Revision, c.After = now, 0, h.Object.Hash.String()
	u.w.Puts = append(u.w.Puts, h)
	u.w.Expect = append(u.w.Expect, pre)
	u.w.Record.Objects = append(u.w.Record.Objects, c)
}

// close adds the rollout in its final state.
func (u *undoing) close(s *State, own store.Head, trip *Trip, now time.Time) (store.Write, error) {
	m := clone(s.Body)
	m.State, m.Reason, m.Node = trip.Final, trip.Reason+u.exceptions(), trip.Node
	m.RevertedBy, m.UpdateTime = u.w.Record.ID, timestamppb.New(now)
	h, c, err := next(own, m, now)
	if err != nil {
		return store.Write{}, err
	}
	u.w.Expect = append(u.w.Expect, store.Precondition{Key: h.Object.Key, Revision: own.Revision})
	u.w.Puts = append(u.w.Puts, h)
	u.w.Record.Objects = append(u.w.Record.Objects, c)
	u.w.Record.Message = s.say("%s: %s", m.GetState(), m.GetReason())
	return u.w, nil
}

// exceptions names what is left as somebody else made it, at most ten.
func (u *undoing) exceptions() string {
	const most = 10
	n := len(u.left)
	if n == 0 {
		return ""
	}
	text := "; left as they are, since they were changed again: " + strings.Join(u.left[:min(n, most)], ", ")
	if n > most {
		text += fmt.Sprintf(" and %d more", n-most)
	}
	return text
}
