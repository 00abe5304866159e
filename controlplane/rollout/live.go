package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// mostRegions bounds the regions that a step is stored with.
const mostRegions = 100

// Merge is how the regions stand to a rollout as control planes tell, by name. Reports about other changes don't count.
func (s *State) Merge(reports []Report) []*adminv1.RolloutRegion {
	return s.merge(reports, s.admittedAt, func(RegionReport) bool { return true })
}

// Waits says what keeps an open rollout that isn't paused from going on, for operators: data planes by name, a control plane that hasn't
// reported, or the rollout under way. Empty: only the time that a step has to serve, or nothing. others are the open rollouts, with or without s.
func (s *State) Waits(others []*State, reports []Report, now time.Time) string {
	switch s.Body.GetState() {
	case Rolling:
		return s.unsettled(reports, now)
	case Queued:
		if o := pick(others); o != nil && o.Body.GetChange() != s.Body.GetChange() {
			return fmt.Sprintf("the staged change %s comes first and is %s", o.Body.GetChange(), o.Body.GetState())
		}
	}
	return ""
}

// admittedAt is when a region was; zero for a canary, and when it wasn't.
func (s *State) admittedAt(r RegionReport) (at time.Time) {
	if s.Body.GetPlan().GetStrategy() != Regions {
		return at
	}
	if n := s.StepOf(Place{Region: r.Region}); n > 0 && n <= int(s.Body.GetStep()) {
		at = s.Body.GetSteps()[n-1].GetAdmitTime().AsTime()
	}
	return at
}

// standing is how the regions with members in a step stand; for a canary those are all that have the change.
func (s *State) standing(reports []Report, n int) []*adminv1.RolloutRegion {
	regions := s.Body.GetPlan().GetStrategy() == Regions
	admitTime := s.Body.GetSteps()[n-1].GetAdmitTime().AsTime()
	out := s.merge(reports, func(RegionReport) time.Time { return admitTime }, func(r RegionReport) bool {
		return r.Admitted > 0 && (!regions || s.StepOf(Place{Region: r.Region}) == n)
	})
	return out[:min(len(out), mostRegions)]
}

// merge adds up what control planes tell of each region. Times count from the given one, or if that is zero from when each step was admitted.
func (s *State) merge(reports []Report, from func(RegionReport) time.Time, which func(RegionReport) bool) []*adminv1.RolloutRegion {
	by := map[string]*adminv1.RolloutRegion{}
	for _, report := range reports {
		if report.Change != s.Body.GetChange() {
			continue
		}
		for _, r := range report.Regions {
			if !which(r) {
				continue
			}
			m := by[r.Region]
			if m == nil {
				m = &adminv1.RolloutRegion{Region: r.Region}
				by[r.Region] = m
			}
			m.Nodes, m.Admitted = m.GetNodes()+int32(r.Nodes), m.GetAdmitted()+int32(r.Admitted)       //nolint:gosec // data planes of a fleet
			m.Applied, m.Rejected = m.GetApplied()+int32(r.Applied), m.GetRejected()+int32(r.Rejected) //nolint:gosec // data planes of a fleet
			m.FirstAckMs = earlier(m.GetFirstAckMs(), s.since(r.First, from(r)))
			m.LastAckMs = max(m.GetLastAckMs(), s.since(r.Last, from(r)))
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b *adminv1.RolloutRegion) int { return cmp.Compare(a.GetRegion(), b.GetRegion()) })
}

// since is how many milliseconds after admission something happened, from 1 since clocks differ; 0 when it didn't, or before.
func (s *State) since(t, admitTime time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	if admitTime.IsZero() {
		for _, step := range s.Body.GetSteps() {
			if at := step.GetAdmitTime(); at != nil && (admitTime.IsZero() || !at.AsTime().After(t)) {
				admitTime = at.AsTime()
			}
		}
		if admitTime.IsZero() {
			return 0
		}
	}
	if s.Body.GetStep() > 1 && s.Body.GetPlan().GetStrategy() == Canary && t.Before(admitTime) {
		return 0 // by an earlier step
	}
	return max(1, t.Sub(admitTime).Milliseconds())
}

// earlier is the smaller of two times that aren't 0.
func earlier(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// acks are the first and last times of all regions.
func acks(regions []*adminv1.RolloutRegion) (first, last int64) {
	for _, r := range regions {
		first, last = earlier(first, r.GetFirstAckMs()), max(last, r.GetLastAckMs())
	}
	return first, last
}

// admitted is how many data planes have the change.
func admitted(reports []Report) int32 {
	n := 0
	for _, r := range reports {
		for _, region := range r.Regions {
			n += region.Admitted
		}
	}
	return int32(n) //nolint:gosec // data planes of a fleet
}

// Waits says what keeps a rollout from going on, as State.Waits does, as all control planes tell.
func (l *Leader) Waits(s *State) string {
	var open []*State
	for _, o := range l.c.Rollouts() {
		if o.Open() {
			open = append(open, o)
		}
	}
	return s.Waits(open, l.Reports(), l.c.Now())
}
