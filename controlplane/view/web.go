package view

import (
	"maps"
	"slices"
	"sync"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// web is what binds stored objects to each other: who refers to whom, and who claims what. It stands at the newest snapshot. A changed object
// costs what it refers to, before and now. Its methods may be called at the same time.
type web struct {
	mu     sync.RWMutex
	refs   map[confset.Key]map[confset.Key]struct{} // referrers by what they refer to; guarded by mu
	claims map[links.Claim]string                   // name of the object; guarded by mu
}

func newWeb() *web {
	return &web{refs: map[confset.Key]map[confset.Key]struct{}{}, claims: map[links.Claim]string{}}
}

// bound is an object with its links.
type bound struct {
	key confset.Key
	links.Links
}

// move takes in what changed since a snapshot.
func (w *web) move(old *Snapshot, upserts []store.Head, removals []confset.Key) {
	var gone, come []bound
	leave := func(key confset.Key) {
		if h, ok := old.Get(key.Kind, key.Name); ok {
			gone = append(gone, bound{key, links.Read(h.Object)})
		}
	}
	for _, key := range removals {
		leave(key)
	}
	for i := range upserts {
		leave(upserts[i].Object.Key)
		come = append(come, bound{upserts[i].Object.Key, links.Read(upserts[i].Object)})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range gone { // all before any come: two objects may have swapped what they claim
		w.untie(b)
	}
	for _, b := range come {
		w.tie(b)
	}
}

func (w *web) tie(b bound) {
	for _, r := range b.Refs {
		if w.refs[r.To] == nil {
			w.refs[r.To] = map[confset.Key]struct{}{}
		}
		w.refs[r.To][b.key] = struct{}{}
	}
	for _, h := range b.Claims {
		w.claims[h.Claim] = b.key.Name
	}
}

func (w *web) untie(b bound) {
	for _, r := range b.Refs {
		if delete(w.refs[r.To], b.key); len(w.refs[r.To]) == 0 {
			delete(w.refs, r.To)
		}
	}
	for _, h := range b.Claims {
		if w.claims[h.Claim] == b.key.Name {
			delete(w.claims, h.Claim)
		}
	}
}

// Referrers returns the stored objects that refer to one, or to an access group, in any order; the caller may keep them.
func (v *Views) Referrers(to confset.Key) []confset.Key {
	v.web.mu.RLock()
	defer v.web.mu.RUnlock()
	return slices.Collect(maps.Keys(v.web.refs[to]))
}

// Holder returns the name of the stored object that claims something for itself.
func (v *Views) Holder(claim links.Claim) (name string, ok bool) {
	v.web.mu.RLock()
	defer v.web.mu.RUnlock()
	name, ok = v.web.claims[claim]
	return name, ok
}
