package catalogue

import "time"

// land puts what a walk brought into memory, if it may stay.
func (c *Catalogue) land(f *flight, tells bool) {
	now := c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
	defer c.leaveLocked(f.key.Server, f.stamp.server)
	if f.err != nil || f.alone || f.list.TTL <= 0 || f.list.Private && f.key.Scope == "" {
		return
	}
	until := f.began + f.list.TTL
	st := f.stamp
	switch {
	case !tells:
		st.watch = nil
	case st.watch == nil:
		c.askedLocked(f.key, now, until)
		return
	default:
		touch(&st.watch.used, now)
	}
	e := &entry{key: f.key, list: f.list, stamp: st, until: until, cost: f.cost}
	if e.used.Store(int64(now)); !e.dead(now) {
		c.keepLocked(e, now)
	}
}

// askedLocked remembers that a key was asked for whose list can't be kept without a watch. Where too much is remembered, something of it goes:
// who asks for ever new keys doesn't keep others from their watch.
func (c *Catalogue) askedLocked(key Key, now, until time.Duration) {
	if w := c.watches[key.watch()]; w != nil {
		touch(&w.used, now)
		return
	}
	for other := range c.asked {
		if len(c.asked) < mostAsked {
			break
		}
		delete(c.asked, other)
	}
	c.asked[key] = min(until, now+askedFor)
}
