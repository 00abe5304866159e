package fleet_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// stage is a world with a staged change of the server a: before, and after for those that are admitted.
type stage struct {
	*world
	body          *adminv1.Rollout
	state         *rollout.State
	before, after *view.View
	boots         int
}

func newStage(t testing.TB, plan *adminv1.RolloutPlan) *stage {
	t.Helper()
	s := &stage{world: newWorld(t, fleet.Config{}), body: &adminv1.Rollout{Change: "c1", Plan: plan, State: rollout.Rolling,
		Objects: []*adminv1.StagedObject{{Kind: "server", Name: "a"}}}}
	for _, name := range plan.GetSteps() {
		s.body.Steps = append(s.body.Steps, &adminv1.RolloutStep{Name: name})
	}
	s.before = s.to(4, map[string]string{"a": "1", "b": "1"})
	s.ring = func(at view.Scope) *view.View {
		if s.state != nil && s.state.Admits(rollout.Place{Node: at.Node, Region: at.Region, Relay: at.Relay}) {
			return s.after
		}
		return s.before
	}
	s.turn(5, 0)
	return s
}

func byRegions(steps ...string) *adminv1.RolloutPlan {
	return &adminv1.RolloutPlan{Strategy: rollout.Regions, Steps: steps}
}

// turn writes the rollout at a revision with a step admitted now.
func (s *stage) turn(revision int64, step int32) {
	s.body.Step = step
	if step > 0 {
		s.body.Steps[step-1].AdmitTime = timestamppb.Now()
	}
	s.state = rollout.Of(s.body, revision)
	s.after, s.before = s.to(revision, map[string]string{"a": "2", "b": "1"}), s.to(revision, map[string]string{"a": "1", "b": "1"})
}

func (s *stage) come(node, region, boot string) *fleet.Member {
	return s.Join(fleet.Joined{Node: node, Scope: view.Scope{Region: region, FeatureLevel: 9}, Boot: boot})
}

// at is come for one that serves what was before.
func (s *stage) at(node, region string) *fleet.Member {
	s.boots++
	m := s.come(node, region, fmt.Sprint("boot ", s.boots))
	m.Holds(s.before)
	m.Health(&syncv1.Health{})
	return m
}

func (s *stage) report(missed ...rollout.Finding) rollout.Report {
	return s.Report(s.state, missed, time.Now())
}

func names(list []rollout.Finding) (out []string) {
	for _, f := range list {
		out = append(out, f.Node)
	}
	return out
}

func (s *stage) want(what string, got []rollout.Finding, want ...string) {
	s.t.Helper()
	if !slices.Equal(names(got), want) {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestAReportSaysHowEachRegionTookTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, byRegions("us", rollout.Rest))
		eu, us1, us2 := s.at("eu1", "eu"), s.at("us1", "us"), s.at("us2", "us")
		if r := s.report(); len(r.Regions) != 2 || r.Regions[1].Nodes != 2 || r.Regions[1].Admitted != 0 ||
			r.Change != "c1" || r.Step != 0 || r.State != rollout.Rolling {
			t.Errorf("before the first step: %+v", r)
		}
		s.turn(6, 1)
		admitted := time.Now()
		s.want("waiting", s.report().Waiting, "us1", "us2")
		eu.Holds(s.before)
		time.Sleep(200 * time.Millisecond)
		us1.Applied(s.after, &syncv1.Ack{}, false)
		if us := s.report().Regions[1]; us.Nodes != 2 || us.Admitted != 2 || us.Applied != 1 {
			t.Errorf("one answered: %+v", us)
		}
		time.Sleep(300 * time.Millisecond)
		us2.Applied(s.after, &syncv1.Ack{}, false)
		time.Sleep(time.Second)
		us1.Applied(s.to(9, map[string]string{"a": "2", "b": "9"}), &syncv1.Ack{}, false)
		r := s.report()
		us := r.Regions[1]
		if us.Applied != 2 || us.First.Sub(admitted) != 200*time.Millisecond || us.Last.Sub(admitted) != 500*time.Millisecond {
			t.Errorf("both answered, one went on: %+v", us)
		}
		if eu := r.Regions[0]; eu.Nodes != 1 || eu.Admitted != 0 || eu.Applied != 0 {
			t.Errorf("the region without the change: %+v", eu)
		}
		us2.Holds(s.before)
		if r = s.report(); r.Regions[1].Applied != 1 {
			t.Errorf("one is where it was before: %+v", r.Regions[1])
		}
	})
}

func TestNobodyIsTakenToServeTheChangeWhileTheViewsAreBehindIt(t *testing.T) {
	s := newStage(t, byRegions("us", "eu"))
	us, eu := s.at("us1", "us"), s.at("eu1", "eu")
	s.turn(6, 1)
	us.Applied(s.after, &syncv1.Ack{}, false)
	s.report()
	s.body.Step = 2
	s.state = rollout.Of(s.body, 7)
	eu.Holds(s.before)
	s.ring = func(view.Scope) *view.View { return s.before }
	if r := s.report(); r.Regions[0].Applied != 0 || r.Regions[1].Applied != 1 {
		t.Errorf("%+v, want the one that served it before the next step alone", r.Regions)
	}
}

func TestDataPlanesThatVanishWithinAMinuteOfTheirStepAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, byRegions("us", "eu"))
		for _, node := range []string{"early", "quiet", "drained", "late"} {
			m := s.at(node, "us")
			go func() {
				switch node {
				case "quiet":
					time.Sleep(10 * time.Second)
				case "drained":
					time.Sleep(10 * time.Second)
					m.Health(&syncv1.Health{Draining: true})
				case "late":
					time.Sleep(70 * time.Second)
				}
				m.Leave()
			}()
		}
		other := s.at("other", "eu")
		time.Sleep(2 * time.Second)
		s.turn(6, 1)
		time.Sleep(58 * time.Second)
		other.Leave()
		r := s.report()
		s.want("missing", r.Missing, "quiet")
		if r.Missing[0].Boot != "boot 2" || time.Since(r.Missing[0].At) != 50*time.Second {
			t.Errorf("%+v", r.Missing)
		}
		time.Sleep(12 * time.Second)
		s.want("missing after the late one went", s.report().Missing, "quiet")
		s.come("quiet", "us", "boot 2")
		s.want("missing after it came back", s.report().Missing)
		s.want("crashed after it came back", s.report().Crashed)
	})
}

func TestAnotherProcessOrASuspectAfterTheStepIsACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, byRegions("us", "eu"))
		again, drained, suspect, other := s.at("again", "us"), s.at("drained", "us"), s.at("suspect", "us"), s.at("other", "eu")
		s.come("before", "us", "x")
		s.come("before", "us", "y")
		time.Sleep(time.Second)
		s.turn(6, 1)
		s.want("at first", s.report().Crashed)
		time.Sleep(5 * time.Second)
		again.Leave()
		s.come("again", "us", "another")
		drained.Health(&syncv1.Health{Draining: true})
		drained.Leave()
		s.come("drained", "us", "another")
		suspect.Leave()
		s.Join(fleet.Joined{Node: "suspect", Scope: view.Scope{Region: "us"}, Boot: "boot 3", Suspect: true})
		other.Leave()
		s.come("other", "eu", "another")
		r := s.report()
		s.want("crashed", r.Crashed, "again", "suspect")
		if r.Crashed[0].Boot != "another" || r.Crashed[0].Text == "" {
			t.Errorf("%+v", r.Crashed)
		}
		time.Sleep(2 * time.Minute)
		s.come("drained", "us", "a third")
		s.want("later", s.report().Crashed, "again", "suspect")
	})
}

// A data plane that goes to another replica, and is started anew there, comes back as another process. It may have said that it stops.
func TestWhoStoppedElsewhereDidNotCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, byRegions("us", "eu"))
		long, seen, crashed := s.at("long", "us"), s.at("seen", "us"), s.at("crashed", "us")
		long.Leave()
		time.Sleep(10 * time.Minute)
		s.report()
		time.Sleep(time.Second)
		s.turn(6, 1)
		s.report()
		time.Sleep(time.Second)
		seen.Leave()
		crashed.Leave()
		s.want("missing", s.report().Missing, "crashed", "seen")
		s.Moved([]rollout.Finding{{Node: "seen", Boot: "boot 2"}, {Node: "crashed", Boot: "another"}, {Node: "unknown"}})
		s.want("missing once one was found", s.report().Missing, "crashed")
		for _, node := range []string{"long", "seen", "crashed"} {
			s.come(node, "us", "another")
		}
		s.want("crashed", s.report().Crashed, "crashed")
	})
}

// The clock of who leads may be minutes off: whoever sees a step admitted watches its data planes from then on.
func TestAStepIsWatchedByTheClockOfWhoSeesIt(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, byRegions("us", "eu"))
			quiet, again := s.at("quiet", "us"), s.at("again", "us")
			s.report()
			time.Sleep(time.Second)
			s.turn(6, 1)
			s.body.Steps[0].AdmitTime = timestamppb.New(time.Now().Add(skew))
			s.report()
			time.Sleep(10 * time.Second)
			quiet.Leave()
			again.Leave()
			s.come("again", "us", "another")
			r := s.report()
			s.want("missing", r.Missing, "quiet")
			s.want("crashed", r.Crashed, "again")
			time.Sleep(2 * time.Minute)
			s.at("late", "us").Leave()
			s.want("missing later", s.report().Missing, "quiet")
		})
	}
}

// A restored store has the rollout as it was at an earlier revision, of another count.
func TestARestoredRolloutIsLookedAtAnew(t *testing.T) {
	s := newStage(t, byRegions("us", "eu"))
	us, eu := s.at("us1", "us"), s.at("eu1", "eu")
	s.turn(60, 2)
	us.Applied(s.after, &syncv1.Ack{}, false)
	eu.Applied(s.after, &syncv1.Ack{}, false)
	if r := s.report(); r.Regions[0].Admitted != 1 || r.Regions[1].Applied != 1 {
		t.Fatalf("%+v", r.Regions)
	}
	s.turn(7, 1)
	us.Refused(s.after, "another matter", false)
	r := s.report()
	if r.Regions[0].Admitted != 0 {
		t.Errorf("one that isn't to have it any more is counted: %+v", r.Regions[0])
	}
	s.want("refused", r.Refused, "us1")
}

func TestRefusalsOfTheChangeAreToldAndOthersAreNot(t *testing.T) {
	s := newStage(t, byRegions("us", "eu"))
	first, second, third, other := s.at("first", "us"), s.at("second", "us"), s.at("third", "us"), s.at("other", "eu")
	for _, m := range []*fleet.Member{first, other} {
		m.Applied(s.before, rejects("a", "was broken before"), true)
	}
	s.turn(6, 1)
	s.want("before they have it", s.report().Refused)
	first.Applied(s.after, rejects("a", "is broken"), false)
	second.Applied(s.after, rejects("b", "is another matter"), false)
	third.Refused(s.after, "too much is gone", false)
	r := s.report()
	s.want("refused", r.Refused, "first", "third")
	if us := r.Regions[1]; us.Rejected != 2 || us.Applied != 1 || r.Refused[0].Text != "server/a: spec.tls is broken" || r.Refused[1].Text != "too much is gone" {
		t.Errorf("%+v %+v", us, r.Refused)
	}
}

func TestCallsAreComparedBetweenThoseWithAndWithoutTheChange(t *testing.T) {
	s := newStage(t, byRegions("us", "eu"))
	us, eu := s.at("us1", "us"), s.at("eu1", "eu")
	calls := func(m *fleet.Member, server string, calls, failed int64) {
		m.Health(&syncv1.Health{Calls: []*syncv1.ServerCalls{{Server: server, Calls: calls, Failed: failed}}})
	}
	want := func(what string, with, without rollout.Calls) {
		t.Helper()
		if r := s.report(); r.With != with || r.Without != without {
			t.Errorf("%s: with %+v, without %+v; want %+v and %+v", what, r.With, r.Without, with, without)
		}
	}
	calls(eu, "a", 99, 99)
	s.turn(6, 1)
	want("nobody has called", rollout.Calls{}, rollout.Calls{})
	calls(us, "a", 7, 7)
	calls(eu, "a", 10, 1)
	want("the change isn't there yet", rollout.Calls{}, rollout.Calls{Calls: 10, Failed: 1})
	us.Applied(s.after, &syncv1.Ack{}, false)
	want("it came", rollout.Calls{}, rollout.Calls{Calls: 10, Failed: 1})
	calls(us, "a", 20, 5)
	calls(us, "b", 50, 50)
	want("it was called", rollout.Calls{Calls: 20, Failed: 5}, rollout.Calls{Calls: 10, Failed: 1})
	us.Leave()
	us = s.come("us1", "us", "boot 1")
	us.Holds(s.after)
	calls(us, "a", 1000, 1000)
	calls(us, "a", 1, 0)
	want("what it brings along from another stream", rollout.Calls{Calls: 21, Failed: 5}, rollout.Calls{Calls: 10, Failed: 1})
	s.turn(7, 2)
	eu.Applied(s.after, &syncv1.Ack{}, false)
	want("the next step", rollout.Calls{}, rollout.Calls{})
	s.Report(nil, nil, time.Now())
	calls(eu, "a", 5, 5)
	want("after nobody asked", rollout.Calls{}, rollout.Calls{})
}

func TestACanaryKnowsItsLowestDataPlanes(t *testing.T) {
	s := newStage(t, &adminv1.RolloutPlan{Strategy: rollout.Canary, Steps: []string{"1", "25%", "100%"}})
	var hashes []uint64
	for i := range 200 {
		name := fmt.Sprint("n", i)
		s.at(name, "us")
		hashes = append(hashes, rollout.Hash(name, "c1"))
	}
	s.Join(fleet.Joined{Node: "relay", Scope: view.Scope{Region: "us"}, Relay: true})
	slices.Sort(hashes)
	r := s.report()
	quarter, _ := slices.BinarySearch(hashes, math.MaxUint64/4+1)
	if !slices.Equal(r.Hashes, hashes[:100]) || !slices.Equal(r.Regions[0].Below, []int{0, quarter, 200}) {
		t.Errorf("%d hashes, below %v, want 100 and [0 %d 200]", len(r.Hashes), r.Regions[0].Below, quarter)
	}
	s.body.Threshold = hashes[0]
	s.turn(6, 1)
	if r = s.report(); r.Regions[0].Admitted != 1 || r.Regions[0].Below[0] != 1 || len(r.Waiting) != 1 {
		t.Errorf("%+v %+v", r.Regions, r.Waiting)
	}
}

func TestARelayServesTheChangeWhenThoseBehindItDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, byRegions("us", "eu"))
		m := s.Join(fleet.Joined{Node: "relay", Scope: view.Scope{Region: "us"}, Relay: true})
		s.turn(6, 1)
		m.Applied(s.after, &syncv1.Ack{}, false)
		applied := func() int { return s.report().Regions[0].Applied }
		m.Health(&syncv1.Health{Relayed: 9})
		if applied() != 0 {
			t.Error("counted before those behind it were looked at")
		}
		time.Sleep(time.Second)
		m.Health(&syncv1.Health{Relayed: 9, RelayedBehind: 1})
		if applied() != 0 {
			t.Error("counted while one is behind")
		}
		m.Health(&syncv1.Health{Relayed: 9})
		if applied() != 1 {
			t.Error("not counted although none is behind")
		}
		time.Sleep(time.Second)
		m.Applied(s.after, &syncv1.Ack{}, false)
		if applied() != 1 {
			t.Error("not counted any more since it came to the set that it had")
		}
	})
}

func TestThoseThatAnotherReplicaMissesAreFound(t *testing.T) {
	s := newStage(t, byRegions("us"))
	s.at("here", "us")
	s.at("gone", "us").Leave()
	r := s.report(rollout.Finding{Node: "gone"}, rollout.Finding{Node: "here", Boot: "old"}, rollout.Finding{Node: "unknown"})
	s.want("here", r.Here, "here")
	if r.Here[0].Boot != "boot 1" {
		t.Errorf("%+v", r.Here)
	}
}

func TestWhoIsCutOffOnPurposeIsNotMissing(t *testing.T) {
	s := newStage(t, byRegions("us"))
	m, other := s.at("revoked", "us"), s.at("other", "us")
	s.turn(6, 1)
	s.Dismiss("revoked")
	s.Dismiss("unknown")
	m.Leave()
	other.Leave()
	s.want("missing", s.report().Missing, "other")
}

func TestAReportIsBounded(t *testing.T) {
	s := newStage(t, byRegions("us", rollout.Rest))
	for i := range 400 {
		s.at(fmt.Sprintf("n%03d", i), fmt.Sprintf("region-%d", i%150))
	}
	s.at("last", "us")
	s.turn(6, 2)
	r := s.report()
	nodes := 0
	for _, region := range r.Regions {
		nodes += region.Nodes
	}
	if len(r.Regions) > 102 || nodes != 401 || len(r.Waiting) != 10 || r.Waiting[0].Node != "last" {
		t.Errorf("%d regions with %d nodes, waiting %v", len(r.Regions), nodes, names(r.Waiting))
	}
}

func TestStagedDeliveryCountsThoseWithoutTheChangeAsPending(t *testing.T) {
	s := newStage(t, byRegions("us", "eu"))
	keys := []confset.Key{keyA}
	us1, us2, us3, eu := s.at("us1", "us"), s.at("us2", "us"), s.at("us3", "us"), s.at("eu1", "eu")
	s.turn(6, 1)
	want := func(what string, applied, rejected, pending int32) {
		t.Helper()
		if d := s.StagedDelivery(s.state, 5, keys); d.GetNodes() != 4 || d.GetApplied() != applied || d.GetRejected() != rejected || d.GetPending() != pending {
			t.Errorf("%s: %v; want %d applied, %d rejected, %d pending", what, d, applied, rejected, pending)
		}
	}
	for _, m := range []*fleet.Member{us1, us2, us3, eu} {
		m.Holds(s.before)
	}
	want("all are past the revision without the change", 0, 0, 4)
	us1.Applied(s.after, &syncv1.Ack{}, false)
	us2.Applied(s.after, rejects("a", "is broken"), false)
	us3.Refused(s.after, "no", false)
	eu.Applied(s.after, &syncv1.Ack{}, false) // it isn't to have it
	want("the first region answered", 1, 2, 1)
	if d := s.StagedDelivery(s.state, 5, keys); len(d.GetRefusals()) != 2 {
		t.Errorf("refusals %v", d.GetRefusals())
	}
	s.body.State = rollout.Queued
	want("it is queued", 0, 0, 4)
	s.body.State = rollout.Done
	want("it is over", 3, 1, 0)
}

func TestDataPlanesOfALowFeatureLevelCountAsUnsupported(t *testing.T) {
	w := newWorld(t, fleet.Config{Needs: func(confset.Object) int32 { return 2 }})
	v := w.to(5, map[string]string{"b": "1"})
	for i := range 4 {
		m := w.Join(fleet.Joined{Node: fmt.Sprint("n", i), Scope: view.Scope{FeatureLevel: int32(i)}})
		if i == 3 {
			m.Holds(w.to(5, map[string]string{"a": "1", "b": "1"}))
		} else {
			m.Holds(v)
		}
	}
	if st := w.ObjectStatus(server("a", "1")); st.GetUnsupported() != 2 || st.GetPending() != 1 || st.GetApplied() != 1 {
		t.Errorf("%v, want 2 unsupported, 1 pending, 1 applied", st)
	}
	if n := w.Nodes()[2]; n.GetFeatureLevel() != 2 {
		t.Errorf("%v", n)
	}
}
