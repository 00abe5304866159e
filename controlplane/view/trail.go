package view

import (
	"slices"
	"sort"

	"github.com/hopgate/hopgate/proto/confset"
)

// trailMost bounds the objects that a trail names.
const trailMost = 8192

// trail says which objects were touched at which revision, oldest first: what a data plane needs that holds the set of a revision. Unlike
// the sets that were published, which depend on what this replica merged, revisions mean the same to every replica. It is a value: touch
// returns another one.
type trail struct {
	epoch string
	from  int64 // everything after this revision is in it
	steps []touched
}

type touched struct {
	revision int64
	key      confset.Key
}

// touch adds what one revision changed, objects and further keys, and drops the oldest revisions when there are too many objects.
func (t trail) touch(revision int64, objs []confset.Object, keys ...[]confset.Key) trail {
	for i := range objs {
		t.steps = append(t.steps, touched{revision, objs[i].Key})
	}
	for _, key := range slices.Concat(keys...) {
		t.steps = append(t.steps, touched{revision, key})
	}
	if drop := len(t.steps) - trailMost; drop > 0 {
		t.from = t.steps[drop-1].revision
		t.steps = t.steps[t.after(t.from):]
	}
	return t
}

// after returns where the steps after a revision begin.
func (t trail) after(revision int64) int {
	return sort.Search(len(t.steps), func(i int) bool { return t.steps[i].revision > revision })
}

// DeltaAfter returns the update from the set that stood at a revision of an epoch, or nil when this replica doesn't remember as far, or when
// nothing has changed since. It is made once for all that need the same.
func (v *View) DeltaAfter(epoch string, revision int64) *Update {
	if epoch != v.Epoch || epoch != v.trail.epoch || revision < v.trail.from || revision > v.Revision {
		return nil
	}
	at := v.trail.after(revision)
	if at == len(v.trail.steps) {
		return nil // nothing was touched: who needs an update all the same doesn't hold what stood there
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if u := v.after[at]; u != nil {
		return u
	}
	u := newUpdate(v.parts(v.now(v.trail.steps[at:]), false), false)
	if v.after == nil {
		v.after = map[int]*Update{}
	}
	v.after[at] = u
	return u
}

// now returns what became of the objects in some steps, in canonical order.
func (v *View) now(steps []touched) confset.Delta {
	objs := map[confset.Key]confset.Object{}
	for _, s := range steps {
		if o, ok := v.Set.Get(s.key); ok {
			objs[s.key] = o
		} else {
			objs[s.key] = confset.Object{}
		}
	}
	var d confset.Delta
	for _, key := range sortedKeys(objs) {
		if o := objs[key]; o.Key == key {
			d.Upserts = append(d.Upserts, o)
		} else {
			d.Removals = append(d.Removals, key)
		}
	}
	return d
}
