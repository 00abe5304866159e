package quota_test

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// latency is how long a message between the planes takes.
const latency = 20 * time.Millisecond

// world is a fleet in virtual time: nothing in it waits.
type world struct {
	t      *testing.T
	now    time.Time
	start  time.Time
	known  bool // the control plane can look limits up
	ledger *share.Ledger
	nodes  []*node
	mail   []letter
	limit  *table.Limit
	passed []time.Duration // when calls were let pass
}

type letter struct {
	at      time.Time
	deliver func()
}

// node is a data plane and its callers.
type node struct {
	name   string
	limits *policy.Limits
	member *share.Member // nil: cut off
	rate   float64       // calls a second that come
	owed   float64
}

func newWorld(t *testing.T, limit *table.Limit, known bool) *world {
	w := &world{t: t, now: time.Unix(1_000_000, 0), limit: limit, known: known}
	w.start = w.now
	w.control(0)
	return w
}

// control starts a control plane that knows nothing.
func (w *world) control(settle time.Duration) {
	w.ledger = share.New(share.Config{Now: func() time.Time { return w.now }, Settle: settle, Allows: func(string) (float64, int) {
		if !w.known {
			return 0, 0
		}
		return w.limit.Rate, w.limit.Concurrency
	}})
}

func (w *world) age() time.Duration { return w.now.Sub(w.start) }

func (w *world) later(f func()) { w.mail = append(w.mail, letter{w.now.Add(latency), f}) }

// add starts a data plane, connected.
func (w *world) add(name string, rate float64) *node {
	n := &node{name: name, rate: rate, limits: policy.NewLimits(policy.LimitsConfig{Now: func() time.Time { return w.now }})}
	w.nodes = append(w.nodes, n)
	w.connect(n)
	return n
}

func (w *world) connect(n *node) {
	var m *share.Member
	m = w.ledger.Join(n.name, func() {
		for _, s := range m.Take() {
			w.later(func() {
				if n.member == m {
					n.limits.SetShares(s)
					w.tell(n, false)
				}
			})
		}
	})
	n.member = m
	w.tell(n, true)
}

// cut breaks a stream.
func (w *world) cut(n *node) {
	n.member.Leave()
	n.member = nil
}

func (w *world) tell(n *node, all bool) {
	m := n.member
	for _, d := range n.limits.Demand(all) {
		w.later(func() { m.Demand(d) })
	}
}

// run lets time pass, a millisecond at a time.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Millisecond)
		w.step()
	}
}

func (w *world) step() {
	for len(w.mail) > 0 && !w.mail[0].at.After(w.now) {
		next := w.mail[0]
		w.mail = w.mail[1:]
		next.deliver()
	}
	ms := w.age().Milliseconds()
	if w.ledger != nil && ms%250 == 0 {
		w.ledger.Round()
	}
	for i, n := range w.nodes {
		if n.member != nil && ms%500 == int64(i*137%500) {
			w.tell(n, false)
		}
		for n.owed += n.rate / 1000; n.owed >= 1; n.owed-- {
			if p, err := n.limits.Acquire([]*table.Limit{w.limit}); err == nil {
				w.passed = append(w.passed, w.age())
				p.Release()
			}
		}
	}
}

// between counts what passed.
func (w *world) between(from, to time.Duration) int {
	at := func(d time.Duration) int {
		i, _ := slices.BinarySearch(w.passed, d)
		return i
	}
	return at(to) - at(from)
}

// windows checks every window of a second, a tenth apart.
func (w *world) windows(from, to time.Duration, least, most int) {
	w.t.Helper()
	for at := from; at+time.Second <= to; at += 100 * time.Millisecond {
		if n := w.between(at, at+time.Second); n < least || n > most {
			w.t.Errorf("%d calls passed from %s on in a second, want %d to %d", n, at, least, most)
		}
	}
}

// inForce is the share that data planes which a control plane has named one use together.
func (w *world) inForce() (sum int32) {
	for _, n := range w.nodes {
		named, of := int32(-1), int32(-1)
		for _, d := range n.limits.Demand(true) {
			if m := n.member; m != nil {
				w.later(func() { m.Demand(d) }) // what was told once isn't told again
			}
			for _, e := range d.GetLimits() {
				switch e.GetLimit() {
				case "":
					named = e.GetSharePpm()
				case w.limit.ID:
					of = e.GetSharePpm()
				}
			}
		}
		if of < 0 {
			of = named
		}
		if named >= 0 {
			sum += of
		}
	}
	return sum
}
