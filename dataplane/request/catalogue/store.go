package catalogue

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

const (
	// shards is how many parts the map of lists has: a new list copies one of them.
	shards = 512
	// entryCost and itemCost are what a list and an item of it take beside the bytes of the items.
	entryCost = 1024
	itemCost  = 96
	// touchEvery is how exactly is known when a list was used last: so the processors don't fight for the line it stands in.
	touchEvery = time.Second
)

// changes counts how often each list of a server, or of one view of it, was told to have changed.
type changes struct {
	n     [kinds]atomic.Uint64
	users int // lists and walks that look at it; guarded by Catalogue.mu
}

func (ch *changes) tell(kind Kind) {
	if kind < kinds {
		ch.n[kind].Add(1)
		return
	}
	for i := range ch.n {
		ch.n[i].Add(1)
	}
}

// stamp says up to when a list is fresh: until one of the counts it looks at has moved on.
type stamp struct {
	server *changes
	told   uint64
	watch  *watch // nil: the server doesn't tell changes of it
	heard  uint64
}

func (s *stamp) fresh(kind Kind) bool {
	return s.server.n[kind].Load() == s.told && (s.watch == nil || s.watch.n[kind].Load() == s.heard)
}

// entry is a list in memory.
type entry struct {
	key   Key
	list  *List
	stamp stamp
	until time.Duration // since Catalogue.start
	cost  int64
	used  atomic.Int64 // nanoseconds since Catalogue.start
}

func (e *entry) lastUsed() time.Duration { return time.Duration(e.used.Load()) }

func (e *entry) dead(now time.Duration) bool { return now >= e.until || !e.stamp.fresh(e.key.Kind) }

func (e *entry) touch(now time.Duration) {
	touch(&e.used, now)
	if e.stamp.watch != nil {
		touch(&e.stamp.watch.used, now)
	}
}

func touch(used *atomic.Int64, now time.Duration) {
	if now-time.Duration(used.Load()) >= touchEvery {
		used.Store(int64(now))
	}
}

// store is a map that is read without a lock. Whoever writes holds Catalogue.mu.
type store struct {
	seed  maphash.Seed
	parts *[shards]atomic.Pointer[map[Key]*entry]
	most  int64
	bytes int64 // guarded by Catalogue.mu
}

func (s *store) init(most int64) {
	s.seed, s.most, s.parts = maphash.MakeSeed(), most, new([shards]atomic.Pointer[map[Key]*entry])
}

// part finds the part of a key by the hash of the server, which is as good as random, and what else tells keys apart.
func (s *store) part(k *Key) *atomic.Pointer[map[Key]*entry] {
	h := binary.LittleEndian.Uint64(k.Server[:8]) + k.Capabilities*0x9e3779b97f4a7c15 + uint64(k.Kind)<<1 + uint64(k.Era)
	if k.Scope != "" {
		h ^= maphash.String(s.seed, k.Scope)
	}
	return &s.parts[h%shards]
}

func (s *store) get(k *Key) *entry {
	if p := s.part(k).Load(); p != nil {
		return (*p)[*k]
	}
	return nil
}

// keepLocked puts a list into memory in place of an older one, and makes room for it.
func (c *Catalogue) keepLocked(e *entry, now time.Duration) {
	if e.cost > c.lists.most {
		return
	}
	part := c.lists.part(&e.key)
	next := map[Key]*entry{}
	if p := part.Load(); p != nil {
		next = make(map[Key]*entry, len(*p)+1)
		maps.Copy(next, *p)
	}
	if old := next[e.key]; old != nil {
		c.forgetLocked(old)
	}
	next[e.key] = e
	part.Store(&next)
	c.lists.bytes += e.cost
	e.stamp.server.users++
	if c.lists.bytes > c.lists.most {
		c.evictLocked(now)
	}
}

// forgetLocked takes a list, which leaves its part, out of the books.
func (c *Catalogue) forgetLocked(e *entry) {
	c.lists.bytes -= e.cost
	c.leaveLocked(e.key.Server, e.stamp.server)
}

// stampLocked begins to look at the counts of changes.
func (c *Catalogue) stampLocked(key Key, w *watch) stamp {
	ch := c.changes[key.Server]
	if ch == nil {
		ch = &changes{}
		c.changes[key.Server] = ch
	}
	ch.users++
	s := stamp{server: ch, told: ch.n[key.Kind].Load()}
	if w != nil {
		heard := w.n[key.Kind].Load() // before stands: when the stream ends it stops standing first, and counts then
		if w.stands.Load() {
			s.watch, s.heard = w, heard
		}
	}
	return s
}

// leaveLocked says that a list or walk doesn't look at the counts any more; without one that does they are dropped.
func (c *Catalogue) leaveLocked(server confset.Hash, ch *changes) {
	if ch.users--; ch.users == 0 {
		delete(c.changes, server)
	}
}

// dropLocked drops the lists for which gone is true.
func (c *Catalogue) dropLocked(gone func(*entry) bool) {
	for i := range c.lists.parts {
		part := &c.lists.parts[i]
		p := part.Load()
		if p == nil {
			continue
		}
		var out []*entry
		for _, e := range *p {
			if gone(e) {
				out = append(out, e)
				c.forgetLocked(e)
			}
		}
		switch len(out) {
		case 0:
		case len(*p):
			part.Store(nil)
		default:
			kept := maps.Clone(*p)
			for _, e := range out {
				delete(kept, e.key)
			}
			part.Store(&kept)
		}
	}
}

// evictLocked drops lists that aren't served any more, and then those that weren't used for longest, until an eighth of the room is free: so
// that the cost of looking at all of them is shared by many that come.
func (c *Catalogue) evictLocked(now time.Duration) {
	c.dropLocked(func(e *entry) bool { return e.dead(now) })
	goal := c.lists.most - c.lists.most/8
	if c.lists.bytes <= goal {
		return
	}
	victims, left := map[*entry]struct{}{}, c.lists.bytes
	for _, e := range c.lists.byUse() {
		if left <= goal {
			break
		}
		victims[e] = struct{}{}
		left -= e.cost
	}
	c.dropLocked(func(e *entry) bool { _, gone := victims[e]; return gone })
}

// byUse returns all lists, the one that wasn't used for longest first.
func (s *store) byUse() []*entry {
	type aged struct {
		*entry
		used time.Duration // the other one moves on while we sort
	}
	var all []aged
	for i := range s.parts {
		if p := s.parts[i].Load(); p != nil {
			for _, e := range *p {
				all = append(all, aged{e, e.lastUsed()})
			}
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.until, b.until)) })
	out := make([]*entry, len(all))
	for i := range all {
		out[i] = all[i].entry
	}
	return out
}
