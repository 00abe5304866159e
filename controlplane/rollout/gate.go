package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/redact"
)

const (
	// VanishedAfter is how long a data plane that had the change may be away without having said that it goes.
	VanishedAfter = 5 * time.Second
	// LeastCalls on data planes with the change that the share of failed ones is looked at from.
	LeastCalls = 20
	// ToldWithin is how long after a step was admitted the others may not have told of failed calls yet, as all do who have some.
	ToldWithin = 3 * time.Second
)

// gates looks for something that went wrong on a data plane with the change: a refusal, a crash, one that vanished, calls that fail. Without
// a trip it returns when one that is away counts as vanished; zero: nobody is.
func (s *State) gates(reports []Report, now time.Time) (trip *Trip, again time.Time) {
	mine := make([]Report, 0, len(reports))
	for _, r := range reports {
		if r.Change == s.Body.GetChange() {
			mine = append(mine, r)
		}
	}
	for _, r := range mine {
		for _, f := range r.Crashed { // before what it refuses since then
			return reverted(f, "crashed"), again
		}
	}
	for _, r := range mine {
		for _, f := range r.Refused {
			return reverted(f, "refused it"), again
		}
	}
	if trip, again = vanished(mine, now); trip != nil {
		return trip, again
	}
	return s.failing(mine, now), again
}

// reverted is the trip of one data plane.
func reverted(f Finding, what string) *Trip {
	reason := "data plane " + f.Node + " " + what
	if f.Text != "" {
		reason += ": " + bounded(f.Text)
	}
	return &Trip{Final: Reverted, Reason: reason, Node: f.Node}
}

// bounded is what a data plane said, at a length that fits a sentence.
func bounded(text string) string {
	const most = 300
	text = redact.Text(strings.ToValidUTF8(text, "�"))
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}

func vanished(reports []Report, now time.Time) (trip *Trip, again time.Time) {
	for _, r := range reports {
		for _, f := range r.Missing {
			back, same := found(f, reports)
			gone := f.At.Add(VanishedAfter)
			switch {
			case back && same:
			case back:
				return reverted(Finding{Node: f.Node}, "came back as another process: it crashed"), again
			case now.After(gone):
				return reverted(Finding{Node: f.Node}, "went away without saying so"), again
			case again.IsZero() || gone.Before(again):
				again = gone.Add(time.Millisecond)
			}
		}
	}
	return nil, again
}

// found looks for a data plane that one control plane misses on the others, and says whether it is the same process. One that doesn't tell
// is taken for the same.
func found(missing Finding, reports []Report) (back, same bool) {
	for _, r := range reports {
		for _, f := range r.Here {
			if f.Node == missing.Node {
				if f.Boot != "" && missing.Boot != "" && f.Boot != missing.Boot {
					return true, false
				}
				back = true
			}
		}
	}
	return back, back
}

// failing compares the share of failed calls with the change with that of the rest. When everybody has it there is no rest: then the last step
// isn't compared with anything, since what always failed would look new.
// Nor is anybody compared with others who haven't had the time to tell that theirs fail as well.
func (s *State) failing(reports []Report, now time.Time) *Trip {
	var with, without Calls
	for _, r := range reports {
		if r.Step == int(s.Body.GetStep()) {
			with.Calls, with.Failed = with.Calls+r.With.Calls, with.Failed+r.With.Failed
			without.Calls, without.Failed = without.Calls+r.Without.Calls, without.Failed+r.Without.Failed
		}
	}
	last := int(s.Body.GetStep()) >= len(s.steps)
	margin := s.margin()
	if margin >= 1 || with.Calls < LeastCalls || last && without.Calls < LeastCalls {
		return nil
	}
	if with.share()-without.share() <= margin || without.Calls < LeastCalls && now.Before(s.admitTime().Add(ToldWithin)) {
		return nil
	}
	return &Trip{Final: Reverted, Reason: fmt.Sprintf("%d of %d calls failed on data planes with the change, %d of %d on the others: more than %s above",
		with.Failed, with.Calls, without.Failed, without.Calls, strconv.FormatFloat(margin*100, 'f', -1, 64)+"%")}
}

// admitTime is when the step under way was admitted; 1970 before the first.
func (s *State) admitTime() time.Time {
	n := int(s.Body.GetStep())
	if n < 1 || n > len(s.steps) {
		return time.Unix(0, 0)
	}
	return s.Body.GetSteps()[n-1].GetAdmitTime().AsTime()
}

// share of calls that failed; 0 without calls.
func (c Calls) share() float64 {
	if c.Calls == 0 {
		return 0
	}
	return float64(c.Failed) / float64(c.Calls)
}
