package view

import (
	"maps"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// Snapshot is every stored head at one revision. It is immutable; a changed one shares what didn't change.
type Snapshot struct {
	Epoch    string
	Revision int64

	kinds map[string]shelf
	len   int
}

// newSnapshot takes heads in any order.
func newSnapshot(epoch string, revision int64, heads []store.Head) *Snapshot {
	s := &Snapshot{Epoch: epoch, Revision: revision, kinds: map[string]shelf{}, len: len(heads)}
	byKind := map[string][]*store.Head{}
	for i := range heads {
		kind := heads[i].Object.Key.Kind
		byKind[kind] = append(byKind[kind], &heads[i])
	}
	for kind, refs := range byKind {
		slices.SortFunc(refs, func(a, b *store.Head) int { return strings.Compare(nameOf(a), nameOf(b)) })
		s.kinds[kind] = slices.Collect(slices.Chunk(refs, runMost/2))
	}
	return s
}

// with returns the snapshot after an event.
func (s *Snapshot) with(e store.Event) *Snapshot {
	next := &Snapshot{Epoch: s.Epoch, Revision: e.Revision, kinds: maps.Clone(s.kinds), len: s.len}
	for i := range e.Upserts {
		h := &e.Upserts[i]
		kind := h.Object.Key.Kind
		var added bool
		if next.kinds[kind], added = next.kinds[kind].put(h); added {
			next.len++
		}
	}
	for _, key := range e.Removals {
		var gone bool
		if next.kinds[key.Kind], gone = next.kinds[key.Kind].remove(key.Name); gone {
			next.len--
		}
	}
	return next
}

// Len returns the number of objects.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return s.len
}

// pushed returns the number of objects of kinds that are sent to data planes.
func (s *Snapshot) pushed() int {
	n := s.Len()
	if s == nil {
		return n
	}
	for kind, sh := range s.kinds {
		if rules.Kept(kind) {
			for _, run := range sh {
				n -= len(run)
			}
		}
	}
	return n
}

// Get returns one head.
func (s *Snapshot) Get(kind, name string) (store.Head, bool) {
	if s == nil {
		return store.Head{}, false
	}
	return s.kinds[kind].get(name)
}

// List returns at most n heads of a kind with names after the given one, in name order. An empty name starts at the first.
func (s *Snapshot) List(kind, after string, n int) []store.Head {
	if s == nil {
		return nil
	}
	var out []store.Head
	s.kinds[kind].after(after, func(h *store.Head) bool {
		if len(out) < n {
			out = append(out, *h)
		}
		return len(out) < n
	})
	return out
}

// All calls yield for every head of every kind until it returns false.
func (s *Snapshot) All(yield func(store.Head) bool) {
	if s == nil {
		return
	}
	for _, sh := range s.kinds {
		for _, run := range sh {
			for _, h := range run {
				if !yield(*h) {
					return
				}
			}
		}
	}
}

func (s *Snapshot) has(key confset.Key) bool {
	_, ok := s.Get(key.Kind, key.Name)
	return ok
}

// runMost is how many heads a run of a shelf may have: an edit copies one run and the list of runs.
const runMost = 256

// shelf is the heads of one kind by name: runs that are never empty, each sorted, the whole sorted. It is immutable.
type shelf [][]*store.Head

func nameOf(h *store.Head) string { return h.Object.Key.Name }

// find returns where a name is, or where it would be put.
func (s shelf) find(name string) (run, at int, ok bool) {
	run, ok = slices.BinarySearchFunc(s, name, func(r []*store.Head, name string) int { return strings.Compare(nameOf(r[0]), name) })
	if ok {
		return run, 0, true
	}
	if run = max(run-1, 0); run == len(s) {
		return 0, 0, false
	}
	at, ok = slices.BinarySearchFunc(s[run], name, func(h *store.Head, name string) int { return strings.Compare(nameOf(h), name) })
	return run, at, ok
}

func (s shelf) get(name string) (store.Head, bool) {
	run, at, ok := s.find(name)
	if !ok {
		return store.Head{}, false
	}
	return *s[run][at], true
}

// after calls yield for the heads after a name until it returns false.
func (s shelf) after(name string, yield func(*store.Head) bool) {
	run, at, ok := s.find(name)
	if ok {
		at++
	}
	for ; run < len(s); run, at = run+1, 0 {
		for _, h := range s[run][at:] {
			if !yield(h) {
				return
			}
		}
	}
}

func (s shelf) put(h *store.Head) (next shelf, added bool) {
	run, at, ok := s.find(nameOf(h))
	if len(s) == 0 {
		return shelf{{h}}, true
	}
	if ok {
		edited := slices.Clone(s[run])
		edited[at] = h
		return s.replaced(run, edited), false
	}
	edited := make([]*store.Head, 0, len(s[run])+1)
	edited = append(append(append(edited, s[run][:at]...), h), s[run][at:]...)
	if len(edited) <= runMost {
		return s.replaced(run, edited), true
	}
	half := len(edited) / 2
	return s.replaced(run, edited[:half:half], edited[half:]), true
}

func (s shelf) remove(name string) (next shelf, gone bool) {
	run, at, ok := s.find(name)
	if !ok {
		return s, false
	}
	if len(s[run]) == 1 {
		return s.replaced(run), true
	}
	edited := make([]*store.Head, 0, len(s[run])-1)
	return s.replaced(run, append(append(edited, s[run][:at]...), s[run][at+1:]...)), true
}

// replaced returns the shelf with one run replaced by others.
func (s shelf) replaced(run int, by ...[]*store.Head) shelf {
	next := make(shelf, 0, len(s)-1+len(by))
	return append(append(append(next, s[:run]...), by...), s[run+1:]...)
}
