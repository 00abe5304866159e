package rollout

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// ClocksAgree is by how much clocks of control planes may differ before a time that another one wrote isn't taken as it stands.
const ClocksAgree = 2 * time.Second

// sights is when, by our own clock, we saw the times appear that a rollout waits from. Another control plane may have written them, whose clock is
// minutes off: what we saw ourselves counts. What stood there when we began is taken as it stands, but never to be in the future.
type sights struct {
	change string
	at     [3]sight // of the update; of the admission and convergence of the step under way
}

// sight is one time as it is stored, and when we saw it first.
type sight struct{ stored, seen time.Time }

// times of a rollout that something waits from; zero: it isn't there yet.
func (s *State) times() (out [3]*timestamppb.Timestamp) {
	out[0] = s.Body.GetUpdateTime()
	if n := int(s.Body.GetStep()); n > 0 && n <= len(s.Body.GetSteps()) {
		step := s.Body.GetSteps()[n-1]
		out[1], out[2] = step.GetAdmitTime(), step.GetConvergeTime()
	}
	return out
}

// look takes in the rollout that is rolling or paused, as it is now known.
func (x *sights) look(open []*State, now time.Time) {
	s := pick(open)
	if s == nil || !s.Active() {
		return
	}
	first := x.change != s.Body.GetChange()
	if first {
		*x = sights{change: s.Body.GetChange()}
	}
	for i, t := range s.times() {
		stored := time.Time{}
		if t.IsValid() {
			stored = t.AsTime()
		}
		switch {
		case x.at[i].stored.Equal(stored):
		case first && stored.Before(now):
			x.at[i] = sight{stored, stored}
		default:
			x.at[i] = sight{stored, now}
		}
	}
}

// local returns a rollout with the times at which we saw it, where clocks don't agree.
func (x *sights) local(s *State) *State {
	if x.change != s.Body.GetChange() {
		return s
	}
	apart, times := [3]bool{}, s.times()
	for i, at := range x.at {
		apart[i] = times[i].IsValid() && at.stored.Equal(times[i].AsTime()) && at.seen.Sub(at.stored).Abs() > ClocksAgree
	}
	if apart == [3]bool{} {
		return s
	}
	m := clone(s.Body)
	out := Of(m, s.Revision)
	for i, t := range out.times() {
		if apart[i] {
			seen := timestamppb.New(x.at[i].seen)
			t.Seconds, t.Nanos = seen.GetSeconds(), seen.GetNanos()
		}
	}
	return out
}

// absence is one time that a data plane is missed.
type absence struct {
	node, boot string
	at         int64 // by the clock of who misses it
}

// restamp says of who is missing since when we have heard of it, whatever the clock of who misses it says: so long others may find it.
func (n *note) restamp(now time.Time) {
	since := make(map[absence]time.Time, len(n.report.Missing))
	list := make([]Finding, len(n.report.Missing))
	for i, f := range n.report.Missing {
		a := absence{f.Node, f.Boot, f.At.UnixMilli()}
		at, ok := n.since[a]
		if !ok {
			at = now
		}
		since[a], f.At = at, at
		list[i] = f
	}
	n.since, n.report.Missing = since, list
}
