package rollout

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/redact"
	"github.com/hopgate/hopgate/proto/rules"
)

// Bounds of a plan.
const (
	mostSteps   = 64
	mostCount   = 100 // data planes that a canary may begin with
	mostBake    = 24 * time.Hour
	defaultBake = "30s"
	defaultMore = "5%"
	everybody   = "100%"
)

// defaultSteps of a canary.
var defaultSteps = []string{"1", "5%", "25%", everybody}

const (
	fieldStrategy = "rollout.strategy"
	fieldSteps    = "rollout.steps"
	fieldBake     = "rollout.bake"
	fieldMargin   = "rollout.error_margin"
)

// Plan fills what a plan leaves out and says what is wrong with it; field paths begin with rollout. p stays as it is, and may be nil: then the
// change is immediate. Without violations the plan of a canary or of regions has all steps, the last of which admits everybody.
func Plan(p *adminv1.RolloutPlan) (*adminv1.RolloutPlan, rules.Violations) {
	out := &adminv1.RolloutPlan{
		Strategy: p.GetStrategy(), Steps: slices.Clone(p.GetSteps()), Bake: cmp.Or(p.GetBake(), defaultBake), ErrorMargin: cmp.Or(p.GetErrorMargin(), defaultMore),
	}
	var vs rules.Violations
	switch out.GetStrategy() {
	case "", Immediate:
		if len(p.GetSteps()) > 0 {
			vs = append(vs, rules.Violation{Field: fieldSteps, Problem: "an immediate change has no steps", Fix: "leave them out, or set strategy to canary or regions"})
		}
		out = &adminv1.RolloutPlan{Strategy: Immediate}
	case Canary:
		out.Steps, vs = canarySteps(out.GetSteps())
	case Regions:
		out.Steps, vs = regionSteps(out.GetSteps())
	default:
		vs = append(vs, unknownStrategy(out.GetStrategy()))
	}
	vs = append(vs, checkBake(p.GetBake())...)
	return out, append(vs, checkMargin(p.GetErrorMargin())...)
}

func unknownStrategy(word string) rules.Violation {
	fix := "write immediate, canary or regions"
	if near := rules.Nearest(word, []string{Immediate, Canary, Regions}); near != "" {
		fix = "did you mean " + near + "?"
	}
	return rules.Violation{Field: fieldStrategy, Problem: quoted(word) + " is not known", Fix: fix}
}

// quoted returns what somebody wrote, cut to a length that fits a sentence; credentials in it are masked.
func quoted(s string) string {
	const most = 40
	s = redact.Text(s)
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

func stepField(i int) string { return fmt.Sprintf("%s[%d]", fieldSteps, i) }

func tooMany(steps []string) rules.Violations {
	return rules.Violations{{Field: fieldSteps, Problem: fmt.Sprintf("there are %d steps", len(steps)), Fix: fmt.Sprintf("write at most %d", mostSteps)}}
}

func canarySteps(steps []string) ([]string, rules.Violations) {
	if len(steps) == 0 {
		return slices.Clone(defaultSteps), nil
	}
	if len(steps) > mostSteps {
		return steps, tooMany(steps)
	}
	var vs rules.Violations
	last := 0.0
	for i, step := range steps {
		share, isShare := percent(step)
		if problem, fix := canaryStep(step, i, share, isShare, last); problem != "" {
			vs = append(vs, rules.Violation{Field: stepField(i), Problem: problem, Fix: fix})
		}
		if isShare {
			last = share
		}
	}
	if len(vs) == 0 && last < 1 {
		steps = append(steps, everybody)
	}
	if len(vs) == 0 && len(steps) > mostSteps {
		return steps, tooMany(steps)
	}
	return steps, vs
}

// canaryStep says what is wrong with one step, of which last was the share before.
func canaryStep(step string, i int, share float64, isShare bool, last float64) (problem, fix string) {
	n, isCount := count(step)
	switch {
	case isShare && (share <= 0 || share > 1):
		return quoted(step) + " is out of bounds", "write a share above 0% and up to 100%"
	case isShare && share <= last:
		return quoted(step) + " isn't more than the step before", "write the shares from the least to the most"
	case isShare:
		return "", ""
	case !isCount:
		return quoted(step) + " is not a step", "write a share like 25%, or for the first step a number of data planes"
	case i > 0:
		return quoted(step) + " is a number of data planes, which only the first step may be", "write a share like 25%"
	case n < 1 || n > mostCount:
		return quoted(step) + " is out of bounds", fmt.Sprintf("write a number from 1 to %d, or a share like 5%%", mostCount)
	}
	return "", ""
}

var (
	shareForm = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,4})?%$`)
	countForm = regexp.MustCompile(`^[0-9]{1,9}$`)
)

// percent reads 25% as 0.25.
func percent(s string) (share float64, ok bool) {
	if !shareForm.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return f / 100, err == nil
}

func count(s string) (n int, ok bool) {
	if !countForm.MatchString(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func regionSteps(steps []string) ([]string, rules.Violations) {
	if len(steps) == 0 || len(steps) == 1 && steps[0] == Rest {
		return steps, rules.Violations{{Field: fieldSteps, Problem: "names no region", Fix: "write the regions in the order in which they get the change"}}
	}
	if len(steps) > mostSteps {
		return steps, tooMany(steps)
	}
	var vs rules.Violations
	for i, name := range steps {
		if problem, fix := regionStep(steps, i, name); problem != "" {
			vs = append(vs, rules.Violation{Field: stepField(i), Problem: problem, Fix: fix})
		}
	}
	if len(vs) == 0 && steps[len(steps)-1] != Rest {
		steps = append(steps, Rest)
	}
	if len(vs) == 0 && len(steps) > mostSteps {
		return steps, tooMany(steps)
	}
	return steps, vs
}

func regionStep(steps []string, i int, name string) (problem, fix string) {
	switch wrong := rules.Region(name); {
	case len(wrong) > 0:
		return wrong[0].Problem, wrong[0].Fix
	case slices.Index(steps, name) < i:
		return quoted(name) + " is named twice", "name each region once"
	case name == Rest && i < len(steps)-1:
		return "rest stands for all regions that aren't named, and comes last", "move it to the end, or leave it out"
	}
	return "", ""
}

func checkBake(s string) rules.Violations {
	d, err := rules.Duration(s)
	switch {
	case err != nil:
		return rules.Violations{{Field: fieldBake, Problem: quoted(s) + " " + err.Error(), Fix: "write a number with its unit, for example 30s or 10m"}}
	case d < 0 || d > mostBake:
		return rules.Violations{{Field: fieldBake, Problem: quoted(s) + " is out of bounds", Fix: "write a time from 0s to 24h"}}
	}
	return nil
}

func checkMargin(s string) rules.Violations {
	share, ok := percent(s)
	switch {
	case s == "":
	case !ok:
		return rules.Violations{{Field: fieldMargin, Problem: quoted(s) + " is not a share", Fix: "write it like 5%"}}
	case share > 1:
		return rules.Violations{{Field: fieldMargin, Problem: quoted(s) + " is out of bounds", Fix: "write a share from 0% to 100%, which turns the gate off"}}
	}
	return nil
}

// bake is how long each step has to serve; a plan without it was never checked, and gets the default.
func (s *State) bake() time.Duration {
	d, err := rules.Duration(cmp.Or(s.Body.GetPlan().GetBake(), defaultBake))
	if err != nil {
		return mostBake
	}
	return d
}

// margin is by how much the share of failed calls may be higher with the change than without; 1 or more: by any.
func (s *State) margin() float64 {
	share, ok := percent(cmp.Or(s.Body.GetPlan().GetErrorMargin(), defaultMore))
	if !ok {
		return math.Inf(1)
	}
	return share
}
