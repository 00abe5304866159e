package share

import (
	"cmp"
	"slices"
	"time"
)

// sweepEvery is how often limits without demand are looked for.
const sweepEvery = 5 * time.Second

// Round looks at every limit of which something changed, and wakes the data planes that are to be told something.
func (l *Ledger) Round() {
	l.mu.Lock()
	now := l.cfg.Now()
	l.expire(now)
	l.count(now)
	l.sweep(now)
	frozen := l.frozen(now)
	even := l.dirty[&l.standard]
	for x := range l.dirty {
		if x != &l.standard {
			l.share(x, frozen)
		}
	}
	if even {
		l.spread(frozen) // after the limits: whoever follows the default was told what else it has of them
	}
	clear(l.dirty)
	if frozen {
		l.allDirty()
	}
	wakes := l.wakes()
	l.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// wakes are those of data planes to be told something, in the order of their names.
func (l *Ledger) wakes() (out []func()) {
	var told []*node
	for _, n := range l.nodes {
		if n.there() && (len(n.news) > 0 || n.even > 0) {
			told = append(told, n)
		}
	}
	slices.SortFunc(told, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	for _, n := range told {
		out = append(out, n.wake)
	}
	return out
}

// expire forgets data planes that were gone for long.
func (l *Ledger) expire(now time.Time) {
	for name, n := range l.nodes {
		if n.gone.IsZero() || n.stated && now.Sub(n.gone) < l.cfg.Hold {
			continue
		}
		delete(l.nodes, name)
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

// sweep finds limits that nobody asks for any more.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for _, x := range l.limits {
		l.look(x)
		wanted := false
		for _, p := range x.parts {
			wanted = wanted || p.rate > 0 || p.flying > 0
		}
		switch {
		case wanted:
			x.quiet, x.leaving = time.Time{}, false
		case x.quiet.IsZero():
			x.quiet = now
		case now.Sub(x.quiet) >= l.cfg.Linger:
			x.leaving = true
			l.dirty[x] = true
		}
	}
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
	for _, c := range claims {
		if c.part.sent != c.old || !c.part.named && !l.fresh(c.node) {
			c.node.tell(x.id, c.part.sent)
			c.part.named = true
		}
	}
}

// fresh reports whether a data plane never had a default share: as long as there is nothing to give, it keeps what it uses by itself.
func (l *Ledger) fresh(n *node) bool { return l.standard.parts[n].outstanding() == 0 }

// spread splits the default share anew. Who gets one for the first time is told first what it has of the limits that were split already.
func (l *Ledger) spread(frozen bool) {
	l.share(&l.standard, frozen)
	for n := range l.standard.parts {
		if n.even == 0 || !n.there() {
			continue
		}
		for _, x := range l.limits {
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
func (l *Ledger) claims(x *limit) (claims []*claim, away int64) {
	for n, p := range x.parts {
		if n.there() {
			claims = append(claims, &claim{node: n, part: p, old: p.sent})
		} else {
			away += p.outstanding()
		}
	}
	slices.SortFunc(claims, func(a, b *claim) int { return cmp.Compare(a.node.name, b.node.name) })
	return claims, away
}

// aim sets what everyone is to have.
func (l *Ledger) aim(x *limit, claims []*claim, away int64) {
	if x.leaving {
		for _, c := range claims {
			c.target = min(c.part.sent, l.standard.parts[c.node].sent)
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
func raise(claims []*claim, free int64) {
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
func (l *Ledger) release(x *limit, claims []*claim) bool {
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
