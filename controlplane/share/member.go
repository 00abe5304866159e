package share

import (
	"math"
	"slices"
	"strings"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Member is one stream of a data plane. After another stream of the same data plane joined, or after Leave, its calls do nothing.
type Member struct {
	ledger *Ledger
	node   *node
	term   uint64
}

// Join notes that a data plane opened a stream. It takes part once it has said what it holds. wake is called when Take has something; it
// must not block or call back.
func (l *Ledger) Join(name string, wake func()) *Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	if n == nil {
		n = &node{name: name}
		l.nodes[name] = n
		at, _ := l.place(name)
		l.order = slices.Insert(l.order, at, n)
	}
	n.term++
	delete(l.left, n)
	n.wake, n.stating, n.gone = wake, true, time.Time{}
	n.news, n.even = nil, 0
	return &Member{ledger: l, node: n, term: n.term}
}

// place is where a data plane stands, or would stand, in the order of names.
func (l *Ledger) place(name string) (at int, ok bool) {
	return slices.BinarySearchFunc(l.order, name, func(n *node, name string) int { return strings.Compare(n.name, name) })
}

// with calls f with the ledger locked, unless the member is superseded.
func (m *Member) with(f func(l *Ledger, n *node)) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	if m.node.term == m.term && m.node.gone.IsZero() {
		f(m.ledger, m.node)
	}
}

// Leave notes that the stream ended. What the data plane has is kept for it for a while.
func (m *Member) Leave() {
	m.with(func(l *Ledger, n *node) {
		n.gone, n.news, n.even = l.cfg.Now(), nil, 0
		l.left[n] = struct{}{}
		for _, x := range l.limits {
			if p := x.parts[n]; p != nil {
				p.rate, p.flying = 0, 0
			}
		}
		l.allDirty()
	})
}

// Take returns what the data plane is to be told, in this order.
func (m *Member) Take() (out []*syncv1.Shares) {
	m.with(func(_ *Ledger, n *node) { out = n.messages() })
	return out
}

// Demand takes in what the data plane reports. An entry without a name is the default share it uses (-1: none was ever named); the first of
// a stream ends what it says of everything it holds.
func (m *Member) Demand(d *syncv1.Demand) {
	m.with(func(l *Ledger, n *node) {
		for _, e := range d.GetLimits() {
			switch {
			case e.GetLimit() == "":
				l.standing(n, int64(e.GetSharePpm()))
			case n.stating:
				l.state(n, e)
			default:
				l.report(n, e)
			}
		}
	})
}

// standing takes in a default share in force.
func (l *Ledger) standing(n *node, share int64) {
	if !n.stating {
		if p := l.standard.parts[n]; p != nil && share >= 0 {
			p.echoed = min(share, whole)
			l.dirty[&l.standard] = true
		}
		return
	}
	n.stating, n.stated = false, true
	held := min(max(share, 0), whole)
	l.standard.parts[n] = &part{sent: held, echoed: held, rate: 1, named: share < 0}
	if held > 0 {
		l.expected = max(l.expected, int(math.Round(whole/float64(held)/float64(l.replicas))))
	}
	for _, x := range l.limits {
		p := x.parts[n]
		if p == nil || p.term != n.term { // it didn't name it
			x.parts[n] = &part{sent: held, echoed: held}
		}
		x.settled = false
	}
	l.allDirty()
	l.hurry()
}

// state takes in what a data plane that has just come holds of a limit. Whatever it was told on an earlier stream it either has or never got.
func (l *Ledger) state(n *node, e *syncv1.LimitDemand) {
	x := l.limit(e.GetLimit())
	if x == nil {
		return
	}
	p := &part{sent: held(e), echoed: held(e), term: n.term}
	p.want(e)
	x.parts[n], x.settled = p, false
	x.stir(p)
}

// stir notes that somebody asks for a limit.
func (x *limit) stir(p *part) {
	if !x.crowded && (p.rate > 0 || p.flying > 0) {
		x.quiet, x.leaving = time.Time{}, false
	}
}

// report takes in demand and a share in force.
func (l *Ledger) report(n *node, e *syncv1.LimitDemand) {
	x := l.limits[e.GetLimit()]
	if x == nil {
		if e.GetRateMilli() <= 0 && e.GetInFlight() <= 0 {
			return // an echo that comes late
		}
		if x = l.limit(e.GetLimit()); x == nil {
			return
		}
	}
	if p := x.parts[n]; p != nil {
		p.echoed = held(e)
		p.want(e)
		x.stir(p)
		l.dirty[x] = true
	}
}

func held(e *syncv1.LimitDemand) int64 { return min(max(int64(e.GetSharePpm()), 0), whole) }

func (p *part) want(e *syncv1.LimitDemand) {
	p.rate, p.flying = max(e.GetRateMilli(), 0), max(int64(e.GetInFlight()), 0)
}

// longest is the longest name of a limit that is remembered: none in config comes near it.
const longest = 400

// limit returns the limit of that name. A new one is as everyone has it by default; nil when too much would have to be remembered.
func (l *Ledger) limit(id string) *limit {
	if x := l.limits[id]; x != nil {
		return x
	}
	if len(id) > longest || len(l.limits) >= l.room(id) {
		return nil
	}
	x := &limit{id: id, parts: map[*node]*part{}}
	for n, p := range l.standard.parts {
		x.parts[n] = &part{sent: p.sent, echoed: p.echoed}
	}
	l.look(x)
	l.limits[id] = x
	l.dirty[x] = true
	return x
}

// look finds out what a limit allows.
func (l *Ledger) look(x *limit) {
	rate, flying := l.cfg.Allows(x.id)
	x.rate, x.flying = rate*1000, float64(flying)
}

func (l *Ledger) allDirty() {
	l.dirty[&l.standard] = true
	for _, x := range l.limits {
		l.dirty[x] = true
	}
}
