package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// readers is how many heads of one change are read from the store at a time.
const readers = 16

// plan is an intent worked out against what is stored: what would be written, and what must still be true for it.
type plan struct {
	edits  []edit       // those of the intent, then what it prunes
	heads  []store.Head // after it, one per edit; zero where the object is gone
	newest int64        // revision of the newest change there was; what admission looks at must have it
	change admit.Change // edits that change something
	write  store.Write
	turns  []turn        // one per object of the record that admission looks at
	before []*store.Head // of these; nil where there was none
	// rollout that goes into the same write; nil: none does.
	rollout *adminv1.Rollout
}

// idle says that everything is already as wanted.
func (p *plan) idle() bool { return len(p.write.Record.Objects) == 0 }

// plan reads every object from the store, not from the index: what it decides on must be what is stored, also for those edits that turn
// out to change nothing and so leave no condition in the transaction.
func (s *service) plan(ctx context.Context, in intent) (*plan, error) {
	if bad := append(unstorable(in.edits), repeated(in.edits)...); len(bad) > 0 {
		return nil, bad
	}
	p := &plan{edits: in.edits, change: admit.Change{Owner: in.owner, Set: in.set}}
	p.write.Epoch = s.cfg.Store.Epoch()
	if in.prune {
		rest, err := s.rest(ctx, in)
		if err != nil {
			return nil, err
		}
		p.edits = slices.Concat(in.edits, rest)
	}
	p.heads = make([]store.Head, len(p.edits))
	current, err := s.read(ctx, p.edits)
	if err != nil {
		return nil, err
	}
	if in.guard != nil {
		if err := in.guard(ctx, current); err != nil {
			return nil, err
		}
	}
	if p.write.Record, p.newest, err = s.record(ctx, in); err != nil {
		return nil, err
	}
	p.write.RequestID = in.request.id
	for i, e := range p.edits {
		if p.heads[i], err = s.work(ctx, p, in, e, current[i]); err != nil {
			return nil, err
		}
	}
	if err := s.unheld(ctx, p); err != nil {
		return nil, err
	}
	if in.rollout != nil && !p.idle() {
		return p, s.stage(p, in)
	}
	return p, nil
}

// work adds one edit to the plan and returns the object's head after it.
func (s *service) work(ctx context.Context, p *plan, in intent, e edit, current *store.Head) (none store.Head, err error) {
	switch {
	case e.lenient && e.deletes() && current == nil, e.pruned && current.Set != in.set:
		return none, nil // gone, or in another set by now
	}
	if err := s.expected(ctx, e, current); err != nil {
		return none, err
	}
	if e.deletes() {
		p.remove(e, *current)
		return none, nil
	}
	return s.settle(p, in, e, current)
}

// unstorable finds names that no store holds; what else is wrong with a name is for the rules to say.
func unstorable(edits []edit) (bad admit.Violations) {
	for _, e := range edits {
		if store.CheckKey(e.key) != nil {
			bad = append(bad, admit.Violation{Key: e.key, Path: e.path, Field: "name", Problem: "can't be stored", Fix: "use letters, digits, _ and -, 253 at most"})
		}
	}
	return bad
}

// repeated finds objects that are named more than once. Admission can't: it doesn't see edits that change nothing.
func repeated(edits []edit) (bad admit.Violations) {
	first := make(map[confset.Key]string, len(edits))
	for _, e := range edits {
		if earlier, ok := first[e.key]; ok {
			bad = append(bad, admit.Violation{Key: e.key, Path: e.path, Problem: "is already in this change at " + earlier, Fix: "name each object once"})
			continue
		}
		first[e.key] = e.path
	}
	return bad
}

// read returns the stored head of every edit; nil where there is none.
func (s *service) read(ctx context.Context, edits []edit) ([]*store.Head, error) {
	heads := make([]*store.Head, len(edits))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, e := range edits {
		g.Go(func() error {
			h, err := s.cfg.Store.Get(ctx, e.key)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", e.key, err)
			}
			heads[i] = &h
			return nil
		})
	}
	return heads, g.Wait()
}

// expected checks that an object exists and is what its etag stands for.
func (s *service) expected(ctx context.Context, e edit, current *store.Head) error {
	switch {
	case current == nil && (e.deletes() || e.exists && e.etag == nil):
		return missing(e.key, s.near(e.key))
	case current == nil && e.etag != nil:
		return stale(e.key, nil, nil)
	case e.etag != nil && !e.etag.of(current):
		return stale(e.key, current, s.since(ctx, e.etag.hash, current))
	}
	return nil
}

// since names the fields in which an object differs from an earlier body of it; nothing if that body is unknown.
func (s *service) since(ctx context.Context, was confset.Hash, current *store.Head) []string {
	body, err := s.cfg.Store.Body(ctx, was)
	if err != nil {
		return nil
	}
	a, err := decode(confset.Object{Key: current.Object.Key, Body: body})
	if err != nil {
		return nil
	}
	b, err := decode(current.Object)
	if err != nil {
		return nil
	}
	return append(diffPaths(a, b), hiddenChanges(confset.Object{Key: current.Object.Key, Body: body}, current.Object)...)
}

// settle works out the head of an object that stays or comes, and adds it to the plan if that changes something.
func (s *service) settle(p *plan, in intent, e edit, current *store.Head) (store.Head, error) {
	h, err := s.head(e.key, current, p.write.Record.Time)
	if err != nil {
		return store.Head{}, err
	}
	forms, err := s.forms(e, current, h.Object.UID)
	if err != nil {
		return store.Head{}, err
	}
	h = turned(h, forms.stored)
	switch {
	case e.former != nil:
		h.Set = e.former.set
	case in.set != "":
		h.Set = in.set
	}
	if current != nil && h.Object.Hash == current.Object.Hash && (in.owner == "" || in.owner == current.Owner) && h.Set == current.Set {
		return *current, nil
	}
	h.Owner, h.Change = in.owner, p.write.Record.ID
	p.put(e, h, forms, current)
	return h, nil
}

// forms works out the forms of an object that stays or comes.
func (s *service) forms(e edit, current *store.Head, uid string) (b bodies, err error) {
	if e.former != nil {
		return s.formerForm(e, current, uid)
	}
	var was proto.Message
	if current != nil {
		if was, err = decode(current.Object); err != nil {
			return b, err
		}
	}
	want, err := e.want(was)
	if err != nil {
		return b, err
	}
	if b, err = s.form(e, want, current, uid); err != nil {
		return b, fmt.Errorf("encode %s: %w", e.key, err)
	}
	return b, nil
}

// head is the next state of an object, still with the body of before: a new object has a new uid.
func (s *service) head(key confset.Key, current *store.Head, now time.Time) (store.Head, error) {
	if current == nil {
		uid, err := s.ids.uid(now)
		return store.Head{Object: confset.Object{Key: key, UID: uid}, Created: now, Updated: now}, err
	}
	h := *current
	h.Updated, h.Revision = now, 0
	return h, nil
}

// turned is a head with its next body: a changed one is a new generation.
func turned(h store.Head, body []byte) store.Head {
	was := h.Object.Hash
	h.Object = confset.NewObject(h.Object.Key, h.Object.UID, body)
	if h.Object.Hash != was {
		h.Generation++
	}
	return h
}

func (p *plan) put(e edit, h store.Head, f bodies, current *store.Head) {
	c := store.Changed{Kind: e.key.Kind, Name: e.key.Name, UID: h.Object.UID, After: h.Object.Hash.String(), SetAfter: h.Set}
	pre, t := store.Precondition{Key: e.key}, turn{key: e.key, after: stateOf(h)}
	if current != nil {
		c.Before, c.SetBefore, pre.Revision = current.Object.Hash.String(), current.Set, current.Revision
		t.before = stateOf(*current)
	}
	p.turns, p.before = append(p.turns, t), append(p.before, current)
	p.change.Puts = append(p.change.Puts, admit.Put{Object: h.Object, Message: f.message, Pushed: f.pushed, Found: f.found, Current: current, Path: e.path})
	p.write.Puts = append(p.write.Puts, h)
	p.write.Expect = append(p.write.Expect, pre)
	p.write.Record.Objects = append(p.write.Record.Objects, c)
}

func (p *plan) remove(e edit, current store.Head) {
	p.turns, p.before = append(p.turns, turn{key: e.key, before: stateOf(current)}), append(p.before, &current)
	p.change.Deletes = append(p.change.Deletes, admit.Delete{Current: current, Path: e.path})
	p.write.Deletes = append(p.write.Deletes, e.key)
	p.write.Expect = append(p.write.Expect, store.Precondition{Key: e.key, Revision: current.Revision})
	p.write.Record.Objects = append(p.write.Record.Objects, store.Changed{
		Kind: e.key.Kind, Name: e.key.Name, UID: current.Object.UID, Before: current.Object.Hash.String(), SetBefore: current.Set, Pruned: e.pruned,
	})
}

// done is the outcome once the plan was committed.
func (p *plan) done(revision int64) *outcome {
	for i := range p.heads {
		if p.heads[i].Change == p.write.Record.ID {
			p.heads[i].Revision = revision
		}
	}
	rec := p.write.Record
	rec.Revision = revision
	return &outcome{heads: p.heads, record: &rec}
}

// asIf is the outcome when nothing was stored: ids that only a commit would have made are left out.
func (p *plan) asIf(revision int64) *outcome {
	for i := range p.heads {
		h := &p.heads[i]
		if h.Change != p.write.Record.ID {
			continue
		}
		h.Change = ""
		if h.Created.Equal(p.write.Record.Time) {
			h.Object.UID = "" // it would be a new one
		}
	}
	rec := p.write.Record
	rec.ID, rec.Parent = "", ""
	rec.Objects = slices.DeleteFunc(slices.Clone(rec.Objects), func(c store.Changed) bool { return rules.Kept(c.Kind) })
	if p.rollout != nil {
		p.rollout.Change = ""
	}
	if p.idle() {
		rec.Revision = revision
	}
	return &outcome{heads: p.heads, record: &rec, turns: p.turns, rollout: p.rollout}
}
