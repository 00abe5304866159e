package fleet

import (
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	// watched is how long a data plane is watched for a crash after its step was admitted.
	watched = time.Minute
	// settles is how long a relay's count of those behind it may lag after it came to another set.
	settles = 500 * time.Millisecond
)

// rolling is the rollout that somebody asks about.
type rolling struct {
	change  string
	state   *rollout.State
	turn    int                 // counts the states with other members
	servers map[string]struct{} // whose calls count; nil: all
	began   time.Time           // when it was first asked about
	since   map[int]time.Time   // when a step was first heard of to be admitted
}

// part is a node's part in a rollout.
type part struct {
	of   *rolling
	turn int // of rolling that it was looked at for

	hash     uint64    // its place in a canary
	step     int       // that admitted it; 0: none has
	revision int64     // of the rollout by which it was admitted
	serving  bool      // it was seen to serve the change
	served   time.Time // when it first did; zero: it never has

	callsStep int // the step under way that calls are counted for
	calls     rollout.Calls
}

// roll makes a state the one that is asked about; mu is held.
func (l *Ledger) roll(s *rollout.State, now time.Time) *rolling {
	r := l.rolling
	if r == nil || r.change != s.Body.GetChange() || r.state.Revision > s.Revision { // one that was restored begins anew
		r = &rolling{change: s.Body.GetChange(), began: now, since: map[int]time.Time{}}
		for _, key := range s.Keys() {
			if key.Kind == "server" {
				if r.servers == nil {
					r.servers = map[string]struct{}{}
				}
				r.servers[key.Name] = struct{}{}
			}
		}
		l.rolling = r
	}
	if was := r.state; was == nil || was.Revision != s.Revision || was.Body.GetStep() != s.Body.GetStep() || was.Body.GetThreshold() != s.Body.GetThreshold() {
		r.turn++
	}
	r.state = s
	step := int(s.Body.GetStep())
	if _, ok := r.since[step]; !ok {
		r.since[step] = now
	}
	return r
}

// calm forgets the rollout that was asked about.
func (l *Ledger) calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rolling == nil {
		return
	}
	l.rolling = nil
	for _, n := range l.nodes {
		n.part = nil
	}
}

// admitted returns when a step was: by the clock of who leads, or by ours when that doesn't agree with when we saw it happen.
func (r *rolling) admitted(step int) time.Time {
	heard, ok := r.since[step]
	if !ok { // it was before we came
		heard = r.began
	}
	steps := r.state.Body.GetSteps()
	if step < 1 || step > len(steps) || !steps[step-1].GetAdmitTime().IsValid() {
		return heard
	}
	told := steps[step-1].GetAdmitTime().AsTime()
	switch {
	case told.After(heard):
		return heard
	case heard.After(r.began) && heard.Sub(told) > rollout.ClocksAgree: // else it may well have been before we came
		return heard.Add(-rollout.ClocksAgree)
	}
	return told
}

// partIn returns a node's part in a rollout; mu is held.
func (n *node) partIn(r *rolling) *part {
	if n.part == nil || n.part.of != r {
		n.part = &part{of: r}
		if r.canary() {
			n.part.hash = rollout.Hash(n.name, r.change)
		}
	}
	p := n.part
	if p.turn == r.turn {
		return p
	}
	p.turn = r.turn
	if p.step == 0 {
		if step := r.state.StepOf(n.place()); step > 0 && step <= int(r.state.Body.GetStep()) {
			p.step, p.revision = step, r.state.Revision
		}
	}
	return p
}

func (r *rolling) canary() bool { return r.state.Body.GetPlan().GetStrategy() == rollout.Canary }

func (n *node) place() rollout.Place {
	return rollout.Place{Node: n.name, Region: n.scope.Region, Relay: n.relay}
}

// within says whether something happened while the node was watched.
func (p *part) within(t time.Time) bool {
	at := p.of.admitted(p.step)
	return !t.IsZero() && !t.Before(at) && t.Sub(at) <= watched
}

// noteCalls adds a report of calls for the rollout that is asked about. The first report of a stream also has what went before it, and doesn't
// count; mu is held.
func (l *Ledger) noteCalls(n *node, calls []*syncv1.ServerCalls) {
	if l.rolling == nil || len(calls) == 0 || n.relay || n.heard.IsZero() {
		return
	}
	p := n.partIn(l.rolling)
	if step := int(l.rolling.state.Body.GetStep()); p.callsStep != step {
		p.callsStep, p.calls = step, rollout.Calls{}
	}
	for _, c := range calls[:min(len(calls), mostUpstreams)] {
		if _, ok := l.rolling.servers[c.GetServer()]; ok || l.rolling.servers == nil {
			p.calls.Calls += max(c.GetCalls(), 0)
			p.calls.Failed += min(max(c.GetFailed(), 0), max(c.GetCalls(), 0))
		}
	}
}
