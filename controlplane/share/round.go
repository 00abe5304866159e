package share

import (
	"slices"
	"time"
)

// Round looks at every limit of which something changed, and wakes the data planes that are to be told something. Limits are looked at one by
// one, so that no stream waits for longer than one of them takes.
func (l *Ledger) Round() {
	dirty, even := l.begin()
	if len(dirty) == 0 && !even {
		return // nobody is told anything but by what follows
	}
	for _, x := range dirty {
		l.locked(func(now time.Time) {
			if l.limits[x.id] == x { // it may have gone meanwhile
				l.share(x, l.frozen(now))
			}
		})
	}
	if even {
		l.locked(func(now time.Time) { l.spread(l.frozen(now)) }) // after the limits: whoever follows the default was told what else it has of them
	}
	var wakes []func()
	l.locked(func(time.Time) { wakes = l.wakes() })
	for _, wake := range wakes {
		wake()
	}
}

// locked calls f with the ledger locked and the time.
func (l *Ledger) locked(f func(now time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.cfg.Now())
}

// begin returns the limits to look at, and whether the default share is one of them.
func (l *Ledger) begin() (limits []*limit, even bool) {
	l.locked(func(now time.Time) {
		l.expire(now)
		l.count(now)
		l.sweep(now)
		if l.cold && !l.frozen(now) {
			l.cold = false
			l.allDirty()
		}
		for x := range l.dirty {
			if x == &l.standard {
				even = true
			} else {
				limits = append(limits, x)
			}
		}
		clear(l.dirty)
	})
	return limits, even
}

// wakes are those of data planes to be told something, in the order of their names.
func (l *Ledger) wakes() (out []func()) {
	for _, n := range l.order {
		if n.there() && (len(n.news) > 0 || n.even > 0) {
			out = append(out, n.wake)
		}
	}
	return out
}

// expire forgets data planes that were gone for long. It looks at all that are gone, so not in every round.
func (l *Ledger) expire(now time.Time) {
	if now.Sub(l.expired) < expireEvery {
		return
	}
	l.expired = now
	for n := range l.left {
		if n.stated && now.Sub(n.gone) < l.cfg.Hold {
			continue
		}
		delete(l.left, n)
		delete(l.nodes, n.name)
		at, _ := l.place(n.name)
		l.order = slices.Delete(l.order, at, at+1)
		delete(l.standard.parts, n)
		for _, x := range l.limits {
			delete(x.parts, n)
		}
		l.allDirty()
	}
}

// count follows the number of replicas: more of them at once, fewer only after Hold, since the data planes of one that is gone go on with
// what they have.
func (l *Ledger) count(now time.Time) {
	r := max(1, l.cfg.Replicas())
	switch {
	case r >= l.replicas:
		l.fewer = time.Time{}
	case l.fewer.IsZero():
		l.fewer = now
	}
	if r > l.replicas || r < l.replicas && now.Sub(l.fewer) >= l.cfg.Hold {
		l.replicas, l.fewer = r, time.Time{}
		l.allDirty()
	}
}

// frozen reports whether nothing may be made larger: data planes of an earlier control plane are still to come.
func (l *Ledger) frozen(now time.Time) bool {
	age := now.Sub(l.start)
	if l.expected == 0 {
		return age < l.cfg.Settle
	}
	if l.cfg.Settle <= 0 || age >= l.cfg.Hold {
		return false
	}
	return len(l.standard.parts) < l.expected
}

// claim is one data plane's part in a round.
type claim struct {
	node   *node
	part   *part
	target int64
	old    int64 // what it was told before
}

// share splits one limit anew: what is to become smaller does so at once, what is to become larger gets of what is free.
func (l *Ledger) share(x *limit, frozen bool) {
	l.cold = l.cold || frozen
	claims, away := l.claims(x)
	if x.leaving && away == 0 && l.release(x, claims) {
		return
	}
	l.aim(x, claims, away)
	exact := x.leaving
	for _, c := range claims {
		exact = exact || c.part.sent == 0 && c.target > 0
	}
	for _, c := range claims {
		if c.target < c.part.sent && (exact || worth(c.part.sent, c.target)) {
			c.part.sent = c.target
		}
	}
	if !frozen && !x.leaving {
		raise(claims, max(0, l.budget()-x.outstanding()))
	}
	x.settled = true
	for _, c := range claims {
		if c.part.sent != c.old || !c.part.named && !l.fresh(c.node) {
			c.node.tell(x.id, c.part.sent)
			c.part.named = true
		}
		x.settled = x.settled && c.part.named
	}
}

// fresh reports whether a data plane never had a default share: as long as there is nothing to give, it keeps what it uses by itself.
func (l *Ledger) fresh(n *node) bool { return l.standard.parts[n].outstanding() == 0 }

// spread splits the default share anew. Who gets one for the first time is told first what it has of the limits that were split already.
func (l *Ledger) spread(frozen bool) {
	l.share(&l.standard, frozen)
	var open []*limit
	for _, x := range l.limits {
		if !x.settled {
			open = append(open, x)
		}
	}
	for n := range l.standard.parts {
		if n.even == 0 || !n.there() {
			continue
		}
		for _, x := range open {
			if p := x.parts[n]; !p.named {
				n.tell(x.id, p.sent)
				p.named = true
			}
		}
	}
}

// budget is what this replica may hand out of each limit.
func (l *Ledger) budget() int64 { return whole / int64(l.replicas) }

// claims are the parts of data planes that are there, in the order of their names, and the sum of those of the others.
func (l *Ledger) claims(x *limit) (claims []claim, away int64) {
	claims = make([]claim, 0, len(x.parts))
	for _, n := range l.order {
		p := x.parts[n]
		switch {
		case p == nil:
		case n.there():
			claims = append(claims, claim{node: n, part: p, old: p.sent})
		default:
			away += p.outstanding()
		}
	}
	return claims, away
}

// aim sets what everyone is to have.
func (l *Ledger) aim(x *limit, claims []claim, away int64) {
	if x.leaving {
		for i, c := range claims {
			claims[i].target = min(c.part.sent, l.standard.parts[c.node].sent)
		}
		return
	}
	parts := make([]*part, len(claims))
	for i, c := range claims {
		parts[i] = c.part
	}
	for i, t := range allocate(x, parts, l.budget()-away) {
		claims[i].target = t
	}
}

// raise gives of what is free, to each the same portion of what it lacks. Within what it still uses, no more has to be free.
func raise(claims []claim, free int64) {
	var lack int64
	for _, c := range claims {
		lack += max(0, c.target-c.part.outstanding())
	}
	for _, c := range claims {
		to := c.target
		if lack > free {
			has := c.part.outstanding()
			to = min(to, has+int64(float64(max(0, to-has))*float64(free)/float64(lack)))
		}
		if to > c.part.sent && worth(c.part.sent, to) {
			c.part.sent = to
		}
	}
}

// release lets a limit go back to the default shares, when all have so little that this can't be too much.
func (l *Ledger) release(x *limit, claims []claim) bool {
	var sum int64
	for _, c := range claims {
		sum += max(c.part.outstanding(), l.standard.parts[c.node].outstanding())
	}
	if sum > l.budget() {
		return false
	}
	for _, c := range claims {
		c.node.tell(x.id, -1)
	}
	delete(l.limits, x.id)
	return true
}
