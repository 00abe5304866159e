package rollout_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/controlplane/rollout"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

var start = time.Unix(1_700_000_000, 0)

const change = "01HF000000000000000000000A"

// state makes a rollout, changed by edits.
func state(words string, edits ...func(*adminv1.Rollout)) *rollout.State {
	p, vs := rollout.Plan(plan(words))
	if len(vs) > 0 {
		panic(vs)
	}
	m := rollout.New(change, "ann", "why", "", p, nil, start)
	for _, e := range edits {
		e(m)
	}
	return rollout.Of(m, 1)
}

func is(word string) func(*adminv1.Rollout) { return func(m *adminv1.Rollout) { m.State = word } }

func named(id string) func(*adminv1.Rollout) { return func(m *adminv1.Rollout) { m.Change = id } }

// march takes a rollout on until it waits for reports, and returns the messages.
func march(s *rollout.State, reports func(*rollout.State, time.Time) []rollout.Report, now *time.Time) (*rollout.State, []string) {
	var said []string
	for range 200 {
		d := rollout.Next(s, nil, reports(s, *now), *now)
		switch {
		case d.Undo != nil:
			return s, append(said, "undo: "+d.Undo.Reason)
		case d.Body != nil:
			said = append(said, strings.TrimPrefix(d.Message, "rollout "+change+": "))
			s = rollout.Of(d.Body, s.Revision+1)
		case d.Again.IsZero() || !s.Active():
			return s, said
		}
		*now = now.Add(time.Second)
	}
	return s, append(said, "endless")
}

func TestStepsGoInOrder(t *testing.T) {
	for _, tc := range []struct {
		plan  string
		fleet []*dataplane
		want  string
	}{
		{"regions eu us", fleetOf(9, 2, "eu", "us", "asia"), "begins, 3 steps; eu admitted, step 1 of 3; eu converged on 3 data planes, step 1 of 3; " +
			"us admitted, step 2 of 3; us converged on 3 data planes, step 2 of 3; rest admitted, step 3 of 3; rest converged on 3 data planes, step 3 of 3; done"},
		{"regions nowhere eu", fleetOf(2, 2, "eu"), "begins, 3 steps; eu admitted, step 2 of 3; eu converged on 2 data planes, step 2 of 3; done"},
		{"regions eu", nil, "begins, 2 steps; done"},
		{"canary", nil, "begins, 4 steps; done"},
		{"canary", fleetOf(1, 1, "eu"), "begins, 4 steps; 1 admitted, step 1 of 4; 1 converged on 1 data planes, step 1 of 4; done"},
		{"canary 2 50%", fleetOf(4, 2, "eu"), "begins, 3 steps; 2 admitted, step 1 of 3; 2 converged on 2 data planes, step 1 of 3; " +
			"100% admitted, step 3 of 3; 100% converged on 4 data planes, step 3 of 3; done"},
	} {
		now := start
		s, said := march(state(tc.plan), func(s *rollout.State, now time.Time) []rollout.Report {
			return []rollout.Report{report(s, tc.fleet, 0, now, time.Second), report(s, tc.fleet, 1, now, time.Second)}
		}, &now)
		if got := strings.Join(said, "; "); got != tc.want || s.Body.GetState() != rollout.Done {
			t.Errorf("%s of %d: %s\n%s, want\n%s", tc.plan, len(tc.fleet), s.Body.GetState(), got, tc.want)
		}
		for i, step := range s.Body.GetSteps() {
			if step.GetAdmitTime() == nil || step.GetConvergeTime() == nil {
				t.Errorf("%s: step %d has no times: %v", tc.plan, i+1, step)
			}
		}
	}
}

func TestStepKnowsItsAcknowledgements(t *testing.T) {
	fleet, now := fleetOf(6, 2, "eu", "us"), start
	s, _ := march(state("regions eu"), func(s *rollout.State, now time.Time) []rollout.Report {
		return []rollout.Report{report(s, fleet, 0, now, 1500*time.Millisecond), report(s, fleet, 1, now, 2500*time.Millisecond)}
	}, &now)
	for i, region := range []string{"eu", "us"} {
		step := s.Body.GetSteps()[i]
		if len(step.GetRegions()) != 1 || step.GetRegions()[0].GetRegion() != region || step.GetRegions()[0].GetApplied() != 3 ||
			step.GetNodes() != int32(3*i+3) || step.GetFirstAckMs() < 1500 || step.GetLastAckMs() < step.GetFirstAckMs() {
			t.Errorf("step %d: %v", i+1, step)
		}
		if bake := step.GetConvergeTime().AsTime().Add(30 * time.Second); i == 0 && s.Body.GetSteps()[1].GetAdmitTime().AsTime().Before(bake) {
			t.Errorf("step 2 was admitted before step 1 had baked")
		}
	}
}

func TestOnlyTheOldestOfTheQueueBegins(t *testing.T) {
	mine, later := state("canary"), state("canary", named(change+"1"))
	active, ended := state("canary", named("09"), is(rollout.Paused)), state("canary", named("00"), is(rollout.Done))
	for _, tc := range []struct {
		s      *rollout.State
		others []*rollout.State
		begins bool
	}{
		{mine, nil, true},
		{mine, []*rollout.State{mine, later, ended}, true},
		{later, []*rollout.State{mine, later}, false},
		{mine, []*rollout.State{mine, active}, false},
		{ended, nil, false},
	} {
		if d := rollout.Next(tc.s, tc.others, nil, start); (d.Body != nil) != tc.begins || d.Undo != nil {
			t.Errorf("%s among %d: %+v", tc.s.Body.GetChange(), len(tc.others), d)
		}
	}
}

func TestOneThatIsAbortedInTheQueueNeverWasActive(t *testing.T) {
	mine, waiting := state("canary", is(rollout.Aborting)), state("canary", named(change+"1"))
	if mine.Active() || !mine.Open() {
		t.Errorf("active %v, open %v", mine.Active(), mine.Open())
	}
	if !rolling(is(rollout.Aborting)).Active() {
		t.Error("one that has admitted some isn't active while it is aborted")
	}
	if d := rollout.Next(waiting, []*rollout.State{mine, waiting}, nil, start); d.Body != nil {
		t.Errorf("one begins before what is aborted is taken back: %+v", d)
	}
}

// rolling is a rollout over two regions at its first step.
func rolling(edits ...func(*adminv1.Rollout)) *rollout.State {
	return state("regions eu us", append([]func(*adminv1.Rollout){func(m *adminv1.Rollout) {
		m.State, m.Step = rollout.Rolling, 1
		m.Steps[0].AdmitTime = m.GetCreateTime()
	}}, edits...)...)
}

func about(edits ...func(*rollout.Report)) rollout.Report {
	r := rollout.Report{Replica: "cp", Change: change, Step: 1, State: rollout.Rolling, Regions: []rollout.RegionReport{
		{Region: "eu", Nodes: 2, Admitted: 2, Applied: 2, First: start.Add(time.Second), Last: start.Add(2 * time.Second)}, {Region: "us", Nodes: 2},
	}}
	for _, e := range edits {
		e(&r)
	}
	return r
}

func TestWaitsForWhatItDoesNotKnow(t *testing.T) {
	away := rollout.Finding{Node: "x", Boot: "1", At: start.Add(time.Hour)}
	for name, tc := range map[string]struct {
		reports []rollout.Report
		why     string
	}{
		"no report":    {nil, "no control plane has reported"},
		"another step": {[]rollout.Report{about(), about(func(r *rollout.Report) { r.Step, r.Replica = 0, "b" })}, "control plane b hasn't reported about this step"},
		"nothing said": {[]rollout.Report{about(), {Replica: "c"}}, "control plane c hasn't reported about this step"},
		"unsure":       {[]rollout.Report{about(func(r *rollout.Report) { r.Unsure = true })}, "control plane cp waits for its data planes to come back"},
		"other state":  {[]rollout.Report{about(func(r *rollout.Report) { r.State = rollout.Paused })}, "control plane cp hasn't reported about this step"},
		"not applied": {[]rollout.Report{about(func(r *rollout.Report) {
			r.Regions[0].Applied = 0
			r.Waiting = []rollout.Finding{{Node: "d"}, {Node: "a"}, {Node: "b"}, {Node: "c"}}
		})}, "4 data planes don't serve the change yet: a, b, c and 1 more"},
		"one is away": {[]rollout.Report{about(func(r *rollout.Report) { r.Missing = []rollout.Finding{away} })}, "data plane x is away"},
	} {
		if d := rollout.Next(rolling(), nil, tc.reports, start.Add(time.Minute)); d.Body != nil || d.Undo != nil || d.Again.IsZero() {
			t.Errorf("%s: %+v", name, d)
		}
		d := rollout.Next(rolling(), nil, tc.reports, start.Add(rollout.ConvergeLimit))
		if d.Body.GetState() != rollout.Paused || d.Body.GetReason() != tc.why {
			t.Errorf("%s: after the limit: %v, want %q", name, d.Body, tc.why)
			continue
		}
		resumed := rollout.Of(rollout.Of(d.Body, 2).In(rollout.Rolling, "", start.Add(time.Hour)), 3)
		if d := rollout.Next(resumed, nil, tc.reports, start.Add(time.Hour+time.Second)); d.Body != nil {
			t.Errorf("%s: resumed and paused again at once", name)
		}
	}
}

func TestOperatorsAreToldWhatItWaitsFor(t *testing.T) {
	behind := []rollout.Report{about(func(r *rollout.Report) {
		r.Regions[0].Applied, r.Waiting = 1, []rollout.Finding{{Node: "eu-1"}}
	})}
	next := rollout.Of(&adminv1.Rollout{Change: "99", State: rollout.Queued}, 2)
	for name, tc := range map[string]struct {
		s       *rollout.State
		others  []*rollout.State
		reports []rollout.Report
		want    string
	}{
		"a data plane": {rolling(), nil, behind, "1 data plane doesn't serve the change yet: eu-1"},
		"its relay": {rolling(), nil, []rollout.Report{about(func(r *rollout.Report) {
			r.Regions[0].Applied, r.Waiting = 1, []rollout.Finding{{Node: "relay-eu", Behind: 2}}
		})}, "1 data plane doesn't serve the change yet: relay-eu (2 behind it)"},
		"its time":       {rolling(), nil, []rollout.Report{about()}, ""},
		"another":        {next, []*rollout.State{next, rolling()}, nil, "the staged change " + change + " comes first and is rolling"},
		"nothing":        {next, []*rollout.State{next}, nil, ""},
		"it isn't going": {rollout.Of(rolling().In(rollout.Paused, "", start), 3), nil, behind, ""},
	} {
		if got := tc.s.Waits(tc.others, tc.reports, start); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestGates(t *testing.T) {
	now := start.Add(20 * time.Second)
	f := rollout.Finding{Node: "eu-1", Boot: "1", At: now.Add(-6 * time.Second), Text: "server github: no"}
	calls := func(with, withFailed, without, withoutFailed int64) func(*rollout.Report) {
		return func(r *rollout.Report) {
			r.With, r.Without = rollout.Calls{Calls: with, Failed: withFailed}, rollout.Calls{Calls: without, Failed: withoutFailed}
		}
	}
	refused := func(r *rollout.Report) { r.Refused = []rollout.Finding{f} }
	crashed := func(r *rollout.Report) { r.Crashed = []rollout.Finding{f} }
	missing := func(r *rollout.Report) { r.Missing = []rollout.Finding{f} }
	here := func(boot string) func(*rollout.Report) {
		return func(r *rollout.Report) { r.Here = []rollout.Finding{{Node: "eu-1", Boot: boot}} }
	}
	for name, tc := range map[string]struct {
		edit []func(*rollout.Report) // each of another control plane
		want string
	}{
		"quiet":               {[]func(*rollout.Report){calls(0, 0, 0, 0)}, ""},
		"refused":             {[]func(*rollout.Report){refused}, "data plane eu-1 refused it: server github: no"},
		"refused at old step": {[]func(*rollout.Report){func(r *rollout.Report) { refused(r); r.Step = 0 }}, "data plane eu-1 refused it: server github: no"},
		"crashed":             {[]func(*rollout.Report){crashed}, "data plane eu-1 crashed: server github: no"},
		"another change":      {[]func(*rollout.Report){func(r *rollout.Report) { r.Change, r.Crashed = "other", []rollout.Finding{f} }}, ""},
		"vanished":            {[]func(*rollout.Report){missing}, "data plane eu-1 went away without saying so"},
		"a moment ago":        {[]func(*rollout.Report){func(r *rollout.Report) { missing(r); r.Missing[0].At = now.Add(-4 * time.Second) }}, ""},
		"moved":               {[]func(*rollout.Report){missing, here("1")}, ""},
		"moved, tells no id":  {[]func(*rollout.Report){missing, here("")}, ""},
		"came back another":   {[]func(*rollout.Report){missing, here("2")}, "data plane eu-1 came back as another process: it crashed"},
		"too few calls":       {[]func(*rollout.Report){calls(19, 19, 100, 0)}, ""},
		"enough together": {[]func(*rollout.Report){calls(10, 5, 50, 0), calls(10, 5, 50, 1)},
			"10 of 20 calls failed on data planes with the change, 1 of 100 on the others: more than 5% above"},
		"as bad as the rest": {[]func(*rollout.Report){calls(100, 30, 100, 26)}, ""},
		"within the margin":  {[]func(*rollout.Report){calls(100, 5, 100, 0)}, ""},
	} {
		var reports []rollout.Report
		for _, e := range tc.edit {
			reports = append(reports, about(e))
		}
		for _, word := range []string{rollout.Rolling, rollout.Paused} {
			d := rollout.Next(rolling(is(word)), nil, reports, now)
			got := ""
			if d.Undo != nil {
				got = d.Undo.Reason
				if d.Undo.Final != rollout.Reverted || d.Body != nil || strings.HasPrefix(got, "data plane") != (d.Undo.Node == "eu-1") {
					t.Errorf("%s: %+v", name, d.Undo)
				}
			}
			if got != tc.want {
				t.Errorf("%s, %s: %q, want %q", name, word, got, tc.want)
			}
		}
	}
}

func TestErrorGateHasExceptions(t *testing.T) {
	bad := []rollout.Report{about(func(r *rollout.Report) { r.With = rollout.Calls{Calls: 100, Failed: 100} })}
	told := start.Add(rollout.ToldWithin)
	if d := rollout.Next(rolling(), nil, bad, told.Add(-time.Second)); d.Undo != nil {
		t.Error("the others haven't had the time to tell that theirs fail as well, and it trips")
	}
	if d := rollout.Next(rolling(), nil, bad, told); d.Undo == nil {
		t.Error("all calls failed but it passed")
	}
	if d := rollout.Next(rolling(func(m *adminv1.Rollout) { m.Plan.ErrorMargin = "100%" }), nil, bad, told); d.Undo != nil {
		t.Error("the gate is off and trips")
	}
	bad[0].Step = 3
	if d := rollout.Next(rolling(func(m *adminv1.Rollout) { m.Step = 3 }), nil, bad, start); d.Undo != nil {
		t.Error("everybody has the change, and it was compared with nobody")
	}
}

func TestPausedStaysAndAbortingGoes(t *testing.T) {
	if d := rollout.Next(rolling(is(rollout.Paused)), nil, []rollout.Report{about()}, start.Add(time.Hour)); d.Body != nil || d.Undo != nil {
		t.Errorf("paused: %+v", d)
	}
	d := rollout.Next(rolling(is(rollout.Aborting), func(m *adminv1.Rollout) { m.Reason = "ann: no" }), nil, nil, start)
	if d.Undo == nil || d.Undo.Final != rollout.Aborted || d.Undo.Reason != "ann: no" {
		t.Errorf("aborting: %+v", d)
	}
}

func TestCanaryBeginsWithTheLowest(t *testing.T) {
	fleet := fleetOf(300, 2, "eu", "us")
	fleet[7].relay = true
	s := state("canary 5 25%", is(rollout.Rolling))
	d := rollout.Next(s, nil, []rollout.Report{report(s, fleet, 0, start, 0), report(s, fleet, 1, start, 0)}, start)
	n := 0
	for _, dp := range fleet {
		if rollout.Of(d.Body, 2).Admits(dp.place()) {
			n++
		}
	}
	if n != 5 || d.Body.GetStep() != 1 || rollout.Of(d.Body, 2).Admits(fleet[7].place()) {
		t.Fatalf("%d admitted, step %d", n, d.Body.GetStep())
	}
}

// TestNobodyMoreWhileSomebodyWaits: whatever is reported, Next never lets a data plane in while one that was let in doesn't serve the change, and
// never takes back what it admitted other than by an undo.
func TestNobodyMoreWhileSomebodyWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{"canary", "canary 3 10% 50%", "regions eu us", "regions us", "canary 20% 40%"}).Draw(t, "plan")
		fleet := fleetOf(rapid.IntRange(0, 40).Draw(t, "fleet"), 3, "eu", "us", "asia")
		s, now := state(words), start
		random := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		for range 150 {
			reports := make([]rollout.Report, 0, 3)
			for home := range 3 {
				lag := time.Duration(random.IntN(60)) * time.Second
				reports = append(reports, disturbed(random, report(s, fleet, home, now, lag)))
			}
			d := rollout.Next(s, nil, reports, now)
			if d.Undo != nil {
				if !tripped(reports) {
					t.Fatalf("undone without cause: %+v", d.Undo)
				}
				return
			}
			if d.Body != nil {
				if err := lawful(s, rollout.Of(d.Body, 0), fleet, now); err != "" {
					t.Fatal(err)
				}
				s = rollout.Of(d.Body, s.Revision+1)
			}
			if s.Body.GetState() == rollout.Paused && random.IntN(3) == 0 {
				s = rollout.Of(s.In(rollout.Rolling, "", now), s.Revision+1)
			}
			now = now.Add(time.Duration(random.IntN(40)) * time.Second)
		}
	})
}

// disturbed makes a report late, unsure or one of trouble.
func disturbed(random *rand.Rand, r rollout.Report) rollout.Report {
	switch random.IntN(40) {
	case 0, 1, 2:
		r.Step--
	case 3:
		r = rollout.Report{Replica: r.Replica}
	case 4:
		r.Unsure = true
	case 5:
		r.Refused = []rollout.Finding{{Node: "n"}}
	}
	return r
}

func tripped(reports []rollout.Report) bool {
	for _, r := range reports {
		if len(r.Refused) > 0 {
			return true
		}
	}
	return false
}

// lawful says what is wrong with going from one state to the next.
func lawful(was, is *rollout.State, fleet []*dataplane, now time.Time) string {
	waiting, more := "", false
	for _, d := range fleet {
		before, after := was.Admits(d.place()), is.Admits(d.place()) || is.Body.GetState() == rollout.Done
		if before && !d.applied(was.Body.GetChange(), now) {
			waiting = d.name
		}
		if before && !after {
			return d.name + " lost the change"
		}
		more = more || after && !before
	}
	if more && waiting != "" {
		return fmt.Sprintf("step %d was admitted while %s waits", is.Body.GetStep(), waiting)
	}
	return ""
}

func TestNextWritesToNothing(t *testing.T) {
	s := rolling()
	was := proto.Clone(s.Body)
	rollout.Next(s, nil, []rollout.Report{about()}, start.Add(time.Minute))
	if !proto.Equal(was, s.Body) {
		t.Fatal("the state was written to")
	}
}

func TestStepWhoseDataPlanesStoppedIsNoEvidence(t *testing.T) {
	for _, words := range []string{"canary", "regions eu us"} {
		now, fleet := start, fleetOf(4, 1, "eu", "us")
		look := func(s *rollout.State, fleet []*dataplane) rollout.Decision {
			return rollout.Next(s, nil, []rollout.Report{report(s, fleet, 0, now, 0)}, now)
		}
		s := state(words, is(rollout.Rolling))
		s = rollout.Of(look(s, fleet).Body, 2)
		var rest []*dataplane // those that were admitted stop in peace: nobody misses them
		for _, d := range fleet {
			if !s.Admits(d.place()) {
				rest = append(rest, d)
			}
		}
		if d := look(s, rest); s.Body.GetStep() != 1 || len(rest) == len(fleet) || d.Body != nil || d.Undo != nil {
			t.Errorf("%s: with nobody who has it: %v", words, d)
		}
		now = now.Add(time.Second)
		if d := look(s, fleet); d.Body.GetStep() != 1 || d.Body.GetSteps()[0].GetConvergeTime() == nil {
			t.Errorf("%s: they are back: %v", words, d)
		}
		now = now.Add(rollout.ConvergeLimit)
		if d := look(s, rest); d.Body.GetState() != rollout.Paused || !strings.Contains(d.Body.GetReason(), "no data plane of this step is connected") {
			t.Errorf("%s: they don't come back: %v", words, d)
		}
	}
}
