package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// due is when a step that isn't settled by then is paused.
func (s *State) due() time.Time {
	from := s.Body.GetUpdateTime().AsTime()
	if n := int(s.Body.GetStep()); n > 0 && n <= len(s.steps) {
		if t := s.Body.GetSteps()[n-1].GetConvergeTime(); t != nil && t.AsTime().Add(s.bake()).After(from) {
			from = t.AsTime().Add(s.bake())
		}
	}
	return from.Add(ConvergeLimit)
}

// about says whether a report tells of the rollout as it stands.
func (s *State) about(r *Report) bool {
	return !r.Unsure && r.Change == s.Body.GetChange() && r.Step == int(s.Body.GetStep()) && r.State == s.Body.GetState()
}

// unsettled says why nobody more can be admitted; empty: every data plane that was admitted serves the change, as every control plane tells.
func (s *State) unsettled(reports []Report, now time.Time) string {
	if len(reports) == 0 {
		return "no control plane has reported"
	}
	behind, waiting := 0, []string(nil)
	for i := range reports {
		r := &reports[i]
		if r.Unsure {
			return fmt.Sprintf("control plane %s waits for its data planes to come back", r.Replica)
		}
		if !s.about(r) {
			return fmt.Sprintf("control plane %s hasn't reported about this step", r.Replica)
		}
		for _, region := range r.Regions {
			behind += max(0, region.Admitted-region.Applied)
		}
		for _, f := range r.Waiting {
			waiting = append(waiting, f.waited())
		}
	}
	if behind = max(behind, len(waiting)); behind > 0 {
		return notYet(behind, waiting)
	}
	for _, r := range reports {
		for _, f := range r.Missing {
			if back, _ := found(f, reports); !back {
				return "data plane " + f.Node + " is away"
			}
		}
	}
	if s.deserted(reports) {
		return "no data plane of this step is connected"
	}
	return ""
}

// deserted says whether the step under way has no data plane any more before it converged: it was admitted because it had some, and those that
// stopped in peace come back, or an operator knows that they don't. That it went well is not known.
func (s *State) deserted(reports []Report) bool {
	n := int(s.Body.GetStep())
	if n == 0 || n > len(s.steps) || s.Body.GetSteps()[n-1].GetConvergeTime() != nil {
		return false
	}
	return len(s.standing(reports, n)) == 0
}

// waited names a data plane that is waited for.
func (f *Finding) waited() string {
	if f.Behind > 0 {
		return fmt.Sprintf("%s (%d behind it)", f.Node, f.Behind)
	}
	return f.Node
}

// notYet says how many data planes don't serve the change, and names up to three of them.
func notYet(behind int, names []string) string {
	const most = 3
	slices.Sort(names)
	names = slices.Compact(names)
	text := fmt.Sprintf("%d data planes don't serve the change yet", behind)
	if behind == 1 {
		text = "1 data plane doesn't serve the change yet"
	}
	named := names[:min(len(names), most)]
	if len(named) > 0 {
		text += ": " + strings.Join(named, ", ")
	}
	if more := behind - len(named); more > 0 && len(named) > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
