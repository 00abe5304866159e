package rollout_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/rollout"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func TestPlanFillsWhatIsLeftOut(t *testing.T) {
	for _, tc := range []struct {
		in, want string
	}{
		{"", "immediate"},
		{"immediate", "immediate"},
		{"canary", "canary 1 5% 25% 100%"},
		{"canary 3 50%", "canary 3 50% 100%"},
		{"canary 0.5%", "canary 0.5% 100%"},
		{"canary 100%", "canary 100%"},
		{"regions eu", "regions eu rest"},
		{"regions eu us rest", "regions eu us rest"},
	} {
		got, vs := rollout.Plan(plan(tc.in))
		if text := strings.Join(append([]string{got.GetStrategy()}, got.GetSteps()...), " "); len(vs) > 0 || text != tc.want {
			t.Errorf("%q: %q %v, want %q", tc.in, text, vs, tc.want)
		}
		if staged := tc.want != "immediate"; staged != (got.GetBake() == "30s" && got.GetErrorMargin() == "5%") {
			t.Errorf("%q: bake %q, margin %q", tc.in, got.GetBake(), got.GetErrorMargin())
		}
	}
}

// plan makes one of its strategy and steps.
func plan(words string) *adminv1.RolloutPlan {
	if words == "" {
		return nil
	}
	f := strings.Fields(words)
	return &adminv1.RolloutPlan{Strategy: f[0], Steps: f[1:]}
}

func TestPlanNamesFieldProblemAndFix(t *testing.T) {
	long := "canary 1"
	for i := range 64 {
		long += fmt.Sprintf(" %d%%", i+1)
	}
	for _, tc := range []struct {
		in   *adminv1.RolloutPlan
		want string
	}{
		{plan("canari"), `rollout.strategy: "canari" is not known; did you mean canary?`},
		{plan("slowly"), `rollout.strategy: "slowly" is not known; write immediate, canary or regions`},
		{plan("immediate 5%"), `rollout.steps: an immediate change has no steps; leave them out, or set strategy to canary or regions`},
		{plan("canary 5% 1"), `rollout.steps[1]: "1" is a number of data planes, which only the first step may be; write a share like 25%`},
		{plan("canary 50% 5%"), `rollout.steps[1]: "5%" isn't more than the step before; write the shares from the least to the most`},
		{plan("canary 0"), `rollout.steps[0]: "0" is out of bounds; write a number from 1 to 100, or a share like 5%`},
		{plan("canary 101%"), `rollout.steps[0]: "101%" is out of bounds; write a share above 0% and up to 100%`},
		{plan("canary half"), `rollout.steps[0]: "half" is not a step; write a share like 25%, or for the first step a number of data planes`},
		{plan(long), `rollout.steps: there are 65 steps; write at most 64`},
		{plan("regions"), `rollout.steps: names no region; write the regions in the order in which they get the change`},
		{plan("regions rest"), `rollout.steps: names no region; write the regions in the order in which they get the change`},
		{plan("regions eu EU"), `rollout.steps[1]: "EU" is not a region name; write 1 to 32 lower-case letters, digits, hyphens or underscores, a letter first`},
		{plan("regions eu us eu"), `rollout.steps[2]: "eu" is named twice; name each region once`},
		{plan("regions rest eu"), `rollout.steps[0]: rest stands for all regions that aren't named, and comes last; move it to the end, or leave it out`},
		{&adminv1.RolloutPlan{Strategy: "canary", Bake: "soon"}, `rollout.bake: "soon" is not a duration; write a number with its unit, for example 30s or 10m`},
		{&adminv1.RolloutPlan{Strategy: "canary", Bake: "25h"}, `rollout.bake: "25h" is out of bounds; write a time from 0s to 24h`},
		{&adminv1.RolloutPlan{Strategy: "canary", Bake: "-1s"}, `rollout.bake: "-1s" is out of bounds; write a time from 0s to 24h`},
		{&adminv1.RolloutPlan{Strategy: "canary", ErrorMargin: "5"}, `rollout.error_margin: "5" is not a share; write it like 5%`},
		{&adminv1.RolloutPlan{Strategy: "canary", ErrorMargin: "101%"},
			`rollout.error_margin: "101%" is out of bounds; write a share from 0% to 100%, which turns the gate off`},
	} {
		if _, vs := rollout.Plan(tc.in); vs.Error() != tc.want {
			t.Errorf("%v:\n%s, want\n%s", tc.in, vs.Error(), tc.want)
		}
	}
}

func TestStoredBodyHasNothingLive(t *testing.T) {
	p, _ := rollout.Plan(plan("canary"))
	m := rollout.New("01J", "ann", "why", "00-1-2-01", p, nil, time.Unix(1, 0))
	want, err := rollout.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	m.Regions, m.Etag = []*adminv1.RolloutRegion{{Region: "eu"}}, "x"
	got, err := rollout.Encode(m)
	if err != nil || !bytes.Equal(got, want) || m.GetEtag() != "x" {
		t.Fatalf("%x, want %x, %v", got, want, err)
	}
	s, err := rollout.Parse(got, 7)
	if err != nil || s.Revision != 7 || s.Body.GetState() != rollout.Queued || !slices.Equal(s.Body.GetPlan().GetSteps(), p.GetSteps()) ||
		len(s.Body.GetSteps()) != 4 {
		t.Fatalf("%v %v", s, err)
	}
	h, err := rollout.Head(s.Body)
	if err != nil || !proto.Equal(must(rollout.Parse(h.Object.Body, 0)).Body, s.Body) || h.Generation != 1 || h.Object.UID == "" {
		t.Fatalf("%+v %v", h, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
