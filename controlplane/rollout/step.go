package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// ConvergeLimit is how long the data planes of a step have to serve the change before the rollout is paused.
const ConvergeLimit = 5 * time.Minute

// Decision is what a rollout does next. At most one of Body and Undo is set.
type Decision struct {
	// Body to store in place of the one that was looked at; nil: none.
	Body *adminv1.Rollout
	// Message for the change record of Body.
	Message string
	// Undo, unless nil, takes the change back.
	Undo *Trip
	// Again is when to look again even if nothing was reported by then; zero: when something is.
	Again time.Time
}

// Trip is why a change is undone.
type Trip struct {
	Final  string // state that the rollout ends in: Reverted or Aborted
	Reason string // a sentence
	Node   string // data plane that tripped the gate; may be empty
}

// Next decides what a rollout does next. others are the open rollouts, with or without s; reports are the newest of all control planes, and
// one that hasn't said anything has one that is about no change. It is a pure function.
func Next(s *State, others []*State, reports []Report, now time.Time) Decision {
	switch s.Body.GetState() {
	case Queued:
		return s.begin(others, now)
	case Aborting:
		return Decision{Undo: &Trip{Final: Aborted, Reason: cmp.Or(s.Body.GetReason(), "aborted by an operator")}}
	case Rolling, Paused:
	default:
		return Decision{}
	}
	trip, again := s.gates(reports, now)
	if trip != nil {
		return Decision{Undo: trip}
	}
	if s.Body.GetState() == Paused {
		return Decision{Again: again}
	}
	d := s.advance(reports, now)
	if !again.IsZero() && (d.Again.IsZero() || again.Before(d.Again)) {
		d.Again = again
	}
	return d
}

// begin makes the oldest of the queue the active one when there is none. Nobody is admitted yet: for that, every control plane has to tell what
// it knows first.
func (s *State) begin(others []*State, now time.Time) Decision {
	for _, o := range others {
		if o.Body.GetChange() == s.Body.GetChange() || !o.Open() {
			continue
		}
		if o.Active() || o.Body.GetChange() < s.Body.GetChange() {
			return Decision{}
		}
	}
	m := s.In(Rolling, "", now)
	m.Step = 0
	return Decision{Body: m, Message: s.say("begins, %d steps", len(s.steps))}
}

func (s *State) say(format string, args ...any) string {
	return "rollout " + s.Body.GetChange() + ": " + fmt.Sprintf(format, args...)
}

// advance is for a rollout that is rolling and trips no gate.
func (s *State) advance(reports []Report, now time.Time) Decision {
	if why := s.unsettled(reports, now); why != "" {
		due := s.due()
		if now.Before(due) {
			return Decision{Again: due}
		}
		return Decision{Body: s.In(Paused, why, now), Message: s.say("paused: %s", why)}
	}
	d := Decision{Body: clone(s.Body)}
	d.Body.UpdateTime = timestamppb.New(now)
	if baked, bakes := s.settle(&d, reports, now); bakes && now.Before(baked) {
		if d.Message == "" {
			return Decision{Again: baked}
		}
		d.Again = baked
		return d
	}
	s.admit(&d, reports, now)
	return d
}

// settle notes that the step under way has converged, and returns until when it bakes; before the first there is none.
func (s *State) settle(d *Decision, reports []Report, now time.Time) (baked time.Time, bakes bool) {
	n := int(s.Body.GetStep())
	if n == 0 || n > len(s.steps) {
		return now, false
	}
	step := d.Body.GetSteps()[n-1]
	if step.GetConvergeTime() != nil {
		return step.GetConvergeTime().AsTime().Add(s.bake()), true
	}
	step.ConvergeTime, step.Nodes = timestamppb.New(now), admitted(reports)
	step.Regions = s.standing(reports, n)
	step.FirstAckMs, step.LastAckMs = acks(step.GetRegions())
	members := int32(0)
	for _, r := range step.GetRegions() {
		members += r.GetAdmitted()
	}
	d.Message = s.say("%s converged on %d data planes, step %d of %d", step.GetName(), members, n, len(s.steps))
	return now.Add(s.bake()), true
}

// admit goes to the next step that admits somebody; what is between is passed. After the last the rollout is done.
func (s *State) admit(d *Decision, reports []Report, now time.Time) {
	m := d.Body
	for n := int(s.Body.GetStep()) + 1; n <= len(s.steps); n++ {
		step := m.GetSteps()[n-1]
		m.Step, step.AdmitTime = int32(n), timestamppb.New(now) //nolint:gosec // at most 64
		m.Threshold = max(m.GetThreshold(), s.threshold(n, reports))
		if s.newcomers(n, reports) > 0 {
			d.Message = s.say("%s admitted, step %d of %d", step.GetName(), n, len(s.steps))
			return
		}
		step.ConvergeTime, step.Nodes = step.GetAdmitTime(), admitted(reports)
	}
	m.State = Done
	d.Message = s.say("done")
}

// threshold is the highest hash that a step of a canary admits; 0 for other strategies.
func (s *State) threshold(n int, reports []Report) uint64 {
	if s.Body.GetPlan().GetStrategy() != Canary {
		return 0
	}
	if most, ok := count(s.steps[n-1]); ok {
		if hashes := lowest(reports); len(hashes) > 0 {
			return hashes[min(max(most, 1), len(hashes))-1]
		}
		return 0
	}
	return s.Reach(n)
}

// newcomers is how many data planes a step would admit that aren't yet; a positive number when that isn't known.
func (s *State) newcomers(n int, reports []Report) int {
	regions := s.Body.GetPlan().GetStrategy() == Regions
	if _, ok := count(s.steps[n-1]); ok && !regions {
		return len(lowest(reports))
	}
	sum := 0
	for _, r := range reports {
		for _, region := range r.Regions {
			switch {
			case regions && s.StepOf(Place{Region: region.Region}) != n:
			case regions || n == len(s.steps):
				sum += max(0, region.Nodes-region.Admitted)
			case len(region.Below) < n:
				sum += max(0, region.Nodes-region.Admitted)
			default:
				sum += max(0, region.Below[n-1]-region.Admitted)
			}
		}
	}
	return sum
}

// lowest are the hashes that a canary may begin with, each once, ascending.
func lowest(reports []Report) []uint64 {
	var all []uint64
	for _, r := range reports {
		all = append(all, r.Hashes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
