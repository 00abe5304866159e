package view

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// fold takes in one event of the watch.
func (v *Views) fold(e store.Event) error {
	objs := v.open(e.Upserts)
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.index.Load()
	if e.Revision <= old.Revision {
		return nil
	}
	v.lostAt = time.Time{}
	removals := v.guard(e.Removals, said(e.Change), old.Len())
	v.remember(e.Change, e.Revision)
	turned := v.stage(objs, removals)
	v.trail = v.trail.touch(e.Revision, objs, removals, turned)
	v.web.move(old, e.Upserts, e.Removals)
	v.moveTo(old.with(e))
	v.tell(e.Change, e.Revision, false)
	return nil
}

// replace takes in the whole store: only true differences to what was known are staged.
func (v *Views) replace(ctx context.Context, snap *store.Snapshot) {
	next, old := newSnapshot(snap.Epoch, snap.Revision, snap.Heads), v.index.Load()
	changed := v.changedHeads(snap.Heads, old)
	objs := v.open(changed)
	gone := v.goneSince(old, next)
	named := v.saidSince(ctx, gone, old)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loads++
	v.lostAt = time.Time{}
	removals := v.guard(gone, named, old.Len())
	last := v.newest()
	if old != nil && old.Epoch != snap.Epoch {
		v.history = nil
		v.cfg.Log.Warn("the store has another epoch: it was made anew or restored", slog.String("epoch", snap.Epoch), slog.String("before", old.Epoch))
	}
	if snap.Change != nil {
		v.remember(snap.Change, snap.Revision)
	}
	turned := v.stage(objs, removals)
	if old == nil || old.Epoch != snap.Epoch {
		v.trail = trail{epoch: snap.Epoch, from: loadedAt(snap)}
	} else {
		v.trail = v.trail.touch(snap.Revision, objs, removals, turned)
	}
	v.web.move(old, changed, gone)
	v.moveTo(next)
	if old != nil && len(changed)+len(gone) > 0 {
		v.retell(snap, last)
	}
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

// stage lets the publisher have objects and removals, and with them the secrets that come into or out of sight somewhere, which it returns;
// mu is held.
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
		if o, ok := v.sights.secrets[key.Name]; ok {
			v.pending[key] = &o
		}
	}
	if v.since.IsZero() {
		v.since = time.Now()
	}
	return turned
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
