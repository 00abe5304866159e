package balance

import (
	"context"
	"errors"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Verdict is what an exchange showed about its instance.
type Verdict uint8

// The verdicts.
const (
	Nothing Verdict = iota // the caller left, or the failure is about something else
	Alive                  // the head of an answer came, whatever its status
	Failed                 // no connection
	Silent                 // a connection without an answer
)

// probeGrace is how long beyond its time limit a probe is waited for before a call finds out.
const probeGrace = 2 * time.Second

// Lease is the right to make one exchange with one instance. Judge or Settle it exactly once, then Release it exactly once.
type Lease struct {
	server   *Server
	instance *Instance
	// Target is where to call.
	Target *table.Target
	trial  bool
	why    *fault.Error // of Blame
}

// Limited reports whether calls of the server need a place.
func (v *Server) Limited() bool { return v.Config.Resilience.MaxInFlight > 0 }

// Several reports whether there is a choice of instances.
func (v *Server) Several() bool { return len(v.members) > 1 }

// Enter takes a place among the server's calls at once; Exit gives it back. A call for which there is no instance anyway doesn't wait: only is
// as for Pick. principal is whose call it is: none has more than half of the queue, but one place always; empty: nobody's, which isn't counted. The
// error is a *fault.Error, of phase limit when there is no place (of hop client when the principal's share is used up), or the end of ctx.
func (v *Server) Enter(ctx context.Context, only uint32, principal string) error {
	if f := v.down(only); f != nil {
		return f
	}
	err := v.site.queue.enter(ctx, &v.Config.Resilience, principal)
	var full errFull
	if errors.As(err, &full) {
		if full.share > 0 {
			return v.greedy(full.share)
		}
		return v.crowded(full.waited)
	}
	return err
}

// Exit gives a place back.
func (v *Server) Exit() { v.site.queue.exit() }

// Pick chooses an instance: the one with that Target.ID, or, for 0, the less busy of two that are well. avoid is one that failed just now and
// is taken last; nil: none. The error is a *fault.Error: upstream/session/not_found when the wanted one is gone, upstream/connect/circuit_open
// when there is none that is well.
func (v *Server) Pick(only uint32, avoid *table.Target) (Lease, error) {
	if len(v.members) == 1 {
		m := &v.members[0]
		if only != 0 && m.target.ID != only {
			return Lease{}, v.lost()
		}
		return v.take(m)
	}
	if only != 0 {
		for i := range v.members {
			if v.members[i].target.ID == only {
				return v.take(&v.members[i])
			}
		}
		return Lease{}, v.lost()
	}
	return v.choose(avoid)
}

// take leases one instance, or says that its breaker is open.
func (v *Server) take(m *member) (Lease, error) {
	l := Lease{server: v, instance: m.Instance, Target: m.target}
	if v.open(m) {
		ok, wait := m.breaker.try(v.balance.now(), v.grace())
		if !ok && v.open(m) {
			return Lease{}, v.circuitOpen(v.bound(), m.breaker.opening(), wait, m.breaker.why.Load())
		}
		l.trial = ok
	}
	m.inFlight.Add(1)
	return l, nil
}

// down is the fault of a call when each instance that would do is open and its time isn't over.
func (v *Server) down(only uint32) *fault.Error {
	var since time.Time
	var soonest time.Duration
	var why *fault.Error
	for i := range v.members {
		m := &v.members[i]
		if only != 0 && m.target.ID != only {
			continue
		}
		if !v.open(m) {
			return nil
		}
		wait := time.Unix(0, m.breaker.until.Load()).Sub(v.balance.now())
		if wait <= 0 {
			return nil
		}
		if since.IsZero() || wait < soonest {
			since, soonest, why = m.breaker.opening(), wait, m.breaker.why.Load()
		}
	}
	if since.IsZero() {
		return nil
	}
	return v.circuitOpen(v.all(), since, soonest, why)
}

// open reports whether an instance gets no calls.
func (v *Server) open(m *member) bool {
	return !m.breaker.closed() && v.Config.Resilience.BreakerFailures > 0
}

// grace is how long calls wait for a probe of an instance whose time is over.
func (v *Server) grace() time.Duration {
	if !v.balance.probed.Load() {
		return 0
	}
	return v.Config.Resilience.HealthTimeout + probeGrace
}

// choose leases one of several instances. One whose breaker's time is over has the first right to a call, or it would never get one.
func (v *Server) choose(avoid *table.Target) (Lease, error) {
	well := 0
	var spare *member
	var soonest time.Duration
	var since time.Time
	var why *fault.Error
	for i := range v.members {
		m := &v.members[i]
		switch {
		case m.target == avoid && !v.open(m):
			spare = m
		case !v.open(m):
			well++
		default:
			ok, wait := m.breaker.try(v.balance.now(), v.grace())
			if ok {
				m.inFlight.Add(1)
				return Lease{server: v, instance: m.Instance, Target: m.target, trial: true}, nil
			}
			if since.IsZero() || wait < soonest {
				since, soonest, why = m.breaker.opening(), wait, m.breaker.why.Load()
			}
		}
	}
	switch m := v.lessBusy(well, avoid); {
	case m != nil:
		return v.take(m)
	case spare != nil:
		return v.take(spare)
	}
	return Lease{}, v.circuitOpen(v.all(), since, soonest, why)
}

// lessBusy takes two of the instances that are well by chance, and of these the one with fewer calls; nil when there is none.
func (v *Server) lessBusy(well int, avoid *table.Target) *member {
	if well == 0 {
		return nil
	}
	a := v.nth(int(v.balance.random()*float64(well)), avoid)
	if well == 1 || a == nil {
		return a
	}
	b := v.nth(int(v.balance.random()*float64(well)), avoid)
	if b != nil && b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// nth is the nth instance that is well, or the last one if they have become fewer.
func (v *Server) nth(n int, avoid *table.Target) (last *member) {
	for i := range v.members {
		m := &v.members[i]
		if m.target == avoid || v.open(m) {
			continue
		}
		if last = m; n == 0 {
			return m
		}
		n--
	}
	return last
}
