package view

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// news is what an event or a load changes for the fleet, read before the lock is taken.
type news struct {
	objs   []confset.Object
	gone   []confset.Key // of kinds that are pushed
	absent []confset.Key // objects of rollouts that moved, without a head
	staged *staging
}

// newsOf returns what changed heads and keys, and rollouts that moved, change for the fleet.
func (v *Views) newsOf(changed []store.Head, gone []confset.Key, staged *staging, next *Snapshot) news {
	n := news{gone: without(gone, func(k confset.Key) bool { return rules.Kept(k.Kind) }), staged: staged}
	changed = without(changed, func(h store.Head) bool { return rules.Kept(h.Object.Key.Kind) })
	if moved := concerned(v.staging.Load(), staged); len(moved) > 0 {
		named := map[confset.Key]struct{}{}
		for _, h := range changed {
			named[h.Object.Key] = struct{}{}
		}
		for _, key := range n.gone {
			named[key] = struct{}{}
		}
		for _, key := range moved {
			if _, ok := named[key]; ok {
				continue
			}
			if h, ok := next.Get(key.Kind, key.Name); ok {
				changed = append(changed, h)
			} else {
				n.absent = append(n.absent, key)
			}
		}
	}
	n.objs = v.open(changed)
	return n
}

// without returns a list without some of its elements; it stays as it is.
func without[E any](list []E, out func(E) bool) []E {
	if !slices.ContainsFunc(list, out) {
		return slices.Clip(list)
	}
	return slices.DeleteFunc(slices.Clone(list), out)
}

// fold takes in one event of the watch.
func (v *Views) fold(ctx context.Context, e store.Event) error {
	old := v.index.Load()
	if e.Revision <= old.Revision {
		return nil
	}
	staged, err := v.restage(ctx, e, old)
	if err != nil {
		return err
	}
	next := old.with(e)
	n := v.newsOf(e.Upserts, e.Removals, staged, next)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lostAt = time.Time{}
	removals := v.guard(n.gone, said(e.Change), old.pushed())
	v.remember(e.Change, e.Revision)
	touched := v.take(n, removals)
	v.trail = v.trail.touch(e.Revision, n.objs, touched)
	v.web.move(old, e.Upserts, e.Removals)
	v.moveTo(next)
	v.tell(e.Change, e.Revision, false)
	return nil
}

// replace takes in the whole store: only true differences to what was known are staged.
func (v *Views) replace(ctx context.Context, snap *store.Snapshot) error {
	next, old := newSnapshot(snap.Epoch, snap.Revision, snap.Heads), v.index.Load()
	staged, err := v.stagingOf(ctx, next, old)
	if err != nil {
		return err
	}
	changed, gone := v.changedHeads(snap.Heads, old), v.goneSince(old, next)
	n := v.newsOf(changed, gone, staged, next)
	named := v.saidSince(ctx, n.gone, old)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loads++
	v.lostAt = time.Time{}
	removals := v.guard(n.gone, named, old.pushed())
	last := v.newest()
	if old != nil && old.Epoch != snap.Epoch {
		v.history = nil
		v.cfg.Log.Warn("the store has another epoch: it was made anew or restored", slog.String("epoch", snap.Epoch), slog.String("before", old.Epoch))
	}
	if snap.Change != nil {
		v.remember(snap.Change, snap.Revision)
	}
	touched := v.take(n, removals)
	if old == nil || old.Epoch != snap.Epoch {
		v.trail = trail{epoch: snap.Epoch, from: loadedAt(snap)}
	} else {
		v.trail = v.trail.touch(snap.Revision, n.objs, touched)
	}
	v.web.move(old, changed, gone)
	v.moveTo(next)
	if old != nil && len(changed)+len(gone) > 0 {
		v.retell(snap, last)
	}
	return nil
}

// take lets the publisher have what is new. It returns the keys that are touched besides the objects; mu is held.
func (v *Views) take(n news, removals []confset.Key) (touched []confset.Key) {
	was := v.staging.Swap(n.staged)
	v.sights.hold(was, n.staged)
	for _, key := range n.absent {
		if _, ok := v.held[key]; !ok {
			removals = append(removals, key)
		}
	}
	settled := v.settle(was, n.staged)
	turned := v.stage(slices.Concat(n.objs, settled.Upserts), slices.Concat(removals, settled.Removals))
	touched = slices.Concat(removals, turned, settled.Removals)
	for _, o := range settled.Upserts {
		v.held[o.Key] = struct{}{}
		touched = append(touched, o.Key)
	}
	return touched
}

// settle makes the rings agree on objects whose removal is held when no rollout holds them any more: as they were before; mu is held.
func (v *Views) settle(was, now *staging) (d confset.Delta) {
	for _, key := range sortedKeys(v.held) {
		img, ok := was.masks[ringOld][key]
		if _, still := now.masks[ringOld][key]; ok && !still {
			img.add(key, &d)
		}
	}
	return d
}

// loadedAt returns the revision since which nothing has changed in a snapshot: that of its newest change, or its own.
func loadedAt(snap *store.Snapshot) int64 {
	if snap.Change != nil && snap.Change.Revision > 0 {
		return min(snap.Change.Revision, snap.Revision)
	}
	return snap.Revision
}

// open turns heads into objects; those that can't be opened are left out.
func (v *Views) open(heads []store.Head) []confset.Object {
	objs := make([]confset.Object, 0, len(heads))
	for _, h := range heads {
		o, err := v.cfg.Open(h)
		if err != nil {
			v.mu.Lock()
			v.unopened++
			v.mu.Unlock()
			v.cfg.Log.Error("an object can't be opened; the fleet keeps what it has of it", slog.String("object", h.Object.Key.String()), slog.Any("error", err))
			continue
		}
		objs = append(objs, o)
	}
	return objs
}

// changedHeads returns the heads that differ from the old snapshot.
func (v *Views) changedHeads(heads []store.Head, old *Snapshot) []store.Head {
	if old == nil {
		return heads
	}
	var out []store.Head
	for _, h := range heads {
		was, ok := old.Get(h.Object.Key.Kind, h.Object.Key.Name)
		if !ok || was.Object.Hash != h.Object.Hash || was.Object.UID != h.Object.UID {
			out = append(out, h)
		}
	}
	return out
}

// goneSince returns the keys that were known and aren't there any more, in canonical order.
func (v *Views) goneSince(old, next *Snapshot) []confset.Key {
	var gone []confset.Key
	for h := range old.All {
		if !next.has(h.Object.Key) {
			gone = append(gone, h.Object.Key)
		}
	}
	slices.SortFunc(gone, confset.Key.Compare)
	return gone
}

// stage lets the publisher have objects and removals, and with them what it returns: the secrets that come into or out of sight somewhere, and
// the objects that overlays change now and didn't before, or the other way; mu is held.
func (v *Views) stage(objs []confset.Object, removals []confset.Key) (turned []confset.Key) {
	for i := range objs {
		v.pending[objs[i].Key] = &objs[i]
		delete(v.held, objs[i].Key)
	}
	for _, key := range removals {
		v.pending[key] = nil
	}
	turned = v.sights.stage(objs, removals)
	for _, key := range turned {
		if key.Kind != kindSecret {
			v.restate(key)
		} else if o, ok := v.sights.secrets[key.Name]; ok {
			v.pending[key] = &o
		} else if _, ok := v.staging.Load().masks[ringOld][key]; ok {
			v.pending[key] = nil // for one ring it is what stands in for it
		}
	}
	if slices.ContainsFunc(turned, func(key confset.Key) bool { return key.Kind != kindSecret }) {
		laid := v.sights.overlays.laid()
		v.laid.Store(&laid)
	}
	if v.since.IsZero() {
		v.since = time.Now()
	}
	return turned
}

// restate publishes an object once more, because another feature level is needed for it; mu is held.
func (v *Views) restate(key confset.Key) {
	if _, ok := v.pending[key]; ok {
		return
	}
	if view := v.lanes.Load().other[levels].views[ringNew]; view != nil {
		if o, ok := view.Set.Get(key); ok {
			v.pending[key] = &o
		}
	}
}

// moveTo makes a snapshot the current one; mu is held.
func (v *Views) moveTo(s *Snapshot) {
	v.index.Store(s)
	close(v.moved)
	v.moved = make(chan struct{})
	v.wake()
}

// remember notes a change, unless it is the newest already; mu is held.
func (v *Views) remember(c *store.ChangeRecord, revision int64) {
	if c == nil || len(v.history) > 0 && v.history[len(v.history)-1].ID == c.ID {
		return
	}
	next := append(slices.Clone(v.history), Change{ID: c.ID, Traceparent: c.Traceparent, Revision: revision})
	v.history = next[max(0, len(next)-historyMost):]
}
