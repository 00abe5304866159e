package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cow is a map for keys that are read always and added seldom: a read takes no lock once a key has settled. New keys gather beside the
// settled ones under the lock, and are settled, by handing that map over to the readers, when enough reads have missed them; so adding n
// keys costs in proportion to n.
type cow[K comparable, V any] struct {
	settled atomic.Pointer[map[K]V] // never changed once stored

	mu     sync.Mutex
	all    map[K]V // guarded by mu; settled ones and new ones; nil when there are no new ones
	misses int     // guarded by mu; reads that had to look into all
}

// get returns the value of k.
func (c *cow[K, V]) get(k K) (v V, ok bool) {
	if m := c.settled.Load(); m != nil {
		if v, ok = (*m)[k]; ok {
			return v, true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.getLocked(k)
}

func (c *cow[K, V]) getLocked(k K) (v V, ok bool) {
	if c.all == nil {
		if m := c.settled.Load(); m != nil { // it may have been settled while we waited
			v, ok = (*m)[k]
		}
		return v, ok
	}
	if v, ok = c.all[k]; ok {
		c.settleLocked()
	}
	return v, ok
}

// settleLocked hands the new keys to the readers once that has paid for the copy the next new key will need.
func (c *cow[K, V]) settleLocked() {
	c.misses++
	if c.misses*16 < len(c.all) {
		return
	}
	m := c.all
	c.settled.Store(&m)
	c.all, c.misses = nil, 0
}

// add returns the value of k, made by fresh if there is none yet.
func (c *cow[K, V]) add(k K, fresh func() V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.getLocked(k); ok {
		return v
	}
	if c.all == nil {
		c.all = map[K]V{}
		if m := c.settled.Load(); m != nil {
			maps.Copy(c.all, *m)
		}
	}
	v := fresh()
	c.all[k] = v
	return v
}

// each calls f for all keys there are now.
func (c *cow[K, V]) each(f func(K, V)) {
	c.mu.Lock()
	m := maps.Clone(c.all)
	c.mu.Unlock()
	if m == nil && c.settled.Load() != nil {
		m = *c.settled.Load()
	}
	for k, v := range m {
		f(k, v)
	}
}
