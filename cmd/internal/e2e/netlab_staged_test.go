//go:build e2e && linux

package e2e

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// A staged change over three regions that are 80 ms apart, as callers, operators and Jaeger see it.

const (
	// stagedBake is how long each step serves at least.
	stagedBake = 2 * time.Second
	// stagedRTT is from home to a region and back, and stagedAck how long the data planes of a step have to answer.
	stagedRTT, stagedAck = 80, 2 * time.Second // milliseconds, and a limit
)

// TestStagedChangeGoesRegionByRegionInOneTrace takes a change over three regions whose data planes follow home or a relay of their own.
func TestStagedChangeGoesRegionByRegionInOneTrace(t *testing.T) {
	for name, relayed := range map[string]bool{"direct": false, "relays": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			s := startRegional(t, relayed)
			turns, began := s.watchEditions(t), mark()
			change := s.stage(t, "new")
			for i, region := range stagedRegions {
				s.until(t, change, "converged on "+region, func(r *adminv1.Rollout) bool { return r.GetSteps()[i].GetConvergeTime() != nil })
				table := s.status(t, change)
				if i == 1 {
					t.Logf("hopgate rollout status\n%s", table)
				}
				want := fmt.Sprintf("rolling at step %d of 4 (%s), for ", i+1, region)
				if !strings.Contains(table, want) || !strings.Contains(table, region+" to have served for "+s.bake.String()) {
					t.Errorf("hopgate rollout status doesn't say %q and what it waits for:\n%s", want, table)
				}
			}
			s.inState(t, change, "done")
			s.inOrder(t, turns())
			t.Logf("hopgate rollout status\n%s", s.status(t, change))
			r := &adminv1.Rollout{}
			ok(t, protojson.Unmarshal([]byte(s.status(t, change, "-o", "json")), r))
			s.timed(t, r, began)
			s.traced(t, r)
		})
	}
}

// inOrder checks what callers saw: each data plane turned once, those of a region when those of the one before had served for the bake time.
func (s *regional) inOrder(t *testing.T, turns map[string][]turn) {
	t.Helper()
	var before time.Time
	for _, region := range stagedRegions {
		var last time.Time
		for _, p := range s.proxies[region] {
			got := turns[p.Name]
			if editions(got) != "old new" {
				t.Fatalf("%s served %s, want old and then new", p.Name, editions(got))
			}
			if after := got[1].at.Sub(before); !before.IsZero() && after < s.bake {
				t.Errorf("%s served the new edition %s after the region before, want %s at least", p.Name, after, s.bake)
			}
			if got[1].since.After(last) {
				last = got[1].since
			}
		}
		before = last
	}
}

// timed checks the times that operators are told.
func (s *regional) timed(t *testing.T, r *adminv1.Rollout, began instant) {
	t.Helper()
	members := int32(2)
	if len(s.relays) > 0 {
		members = 1 // a relay stands for its region
	}
	for i, region := range stagedRegions {
		step := r.GetSteps()[i]
		if len(step.GetRegions()) != 1 || step.GetName() != region || step.GetNodes() != members*int32(i+1) {
			t.Errorf("step %d: %v", i+1, step)
			continue
		}
		x := step.GetRegions()[0]
		if x.GetRegion() != region || x.GetNodes() != members || x.GetAdmitted() != members || x.GetApplied() != members || x.GetRejected() != 0 {
			t.Errorf("step %d: %v, want %d data planes", i+1, x, members)
		}
		if first, last := x.GetFirstAckMs(), x.GetLastAckMs(); first < stagedRTT || last < first {
			t.Errorf("%s answered after %d ms to %d ms; the round trip takes %d ms", region, first, last, stagedRTT)
		}
		began.within(t, region+" answered", time.Duration(x.GetLastAckMs())*time.Millisecond, stagedAck)
	}
}

// traced checks that the whole change is one trace, region by region.
func (s *regional) traced(t *testing.T, r *adminv1.Rollout) {
	t.Helper()
	id := r.GetTraceparent()[3:35]
	var spans []span
	defer func() { t.Logf("trace %s\n%s", id, drawTimed(spans, "", 0, 0)) }()
	want := tree{service: controlPlane, name: "Apply", kind: "server", below: []tree{
		{service: controlPlane, name: "admit"}, {service: controlPlane, name: "store.commit"}, {service: controlPlane, name: "rollout done"}}}
	for _, region := range stagedRegions {
		want.below = append(want.below, tree{service: controlPlane, name: "rollout admits " + region}, s.pushed(region))
	}
	eventually(t, shown, "the tree is in trace "+id, func() error {
		traces, err := s.traces.get("/api/traces/" + id)
		if err != nil || len(traces) != 1 {
			return fmt.Errorf("%d traces: %w", len(traces), err)
		}
		spans = traces[0].Spans
		return want.match(spans, "")
	})
	ordered(t, spans)
}

// pushed is how a region's part of the change looks in the trace: from home, and where there is a relay from there on.
func (s *regional) pushed(region string) tree {
	push := func(from string, below ...tree) tree {
		return tree{service: controlPlane, name: "push " + region, kind: "producer", below: below,
			tags: map[string]string{"hopgate.region": region, "hopgate.replica": from}}
	}
	ack := func(node string) tree { return tree{service: controlPlane, name: "ack " + node} }
	var nodes []tree
	for _, p := range s.proxies[region] {
		nodes = append(nodes, ack(p.Name), tree{service: dataPlane, name: "apply", tags: map[string]string{"hopgate.node": p.Name}})
	}
	if relay := s.relays[region]; relay != nil {
		return push("home", ack(relay.Name), push(relay.Name, nodes...))
	}
	return push("home", nodes...)
}

// ordered checks that nothing in the trace is alone, and nothing failed, and that the spans of a region come after those of the one before.
func ordered(t *testing.T, spans []span) {
	t.Helper()
	roots, last := 0, 0
	for _, s := range slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.StartTime, b.StartTime) }) {
		if childOf(spans, s, "") {
			roots++
		}
		if s.tag("error") == "true" {
			t.Errorf("%s failed: %s", s.OperationName, s.tag("otel.status_description"))
		}
		if m := regexp.MustCompile(`^(?:push|ack|rollout admits) (?:relay-)?(eu|us|ap)\b`).FindStringSubmatch(s.OperationName); m != nil {
			at := slices.Index(stagedRegions, m[1])
			if at < last {
				t.Errorf("%s comes after spans of %s", s.OperationName, stagedRegions[last])
			}
			last = at
		}
	}
	if roots != 1 {
		t.Errorf("%d spans have no parent, want Apply alone", roots)
	}
}

// TestStagedChangeWaitsForTheDataPlanesBehindARelay stops one of them in its step: the relay has the change, and its region doesn't yet.
func TestStagedChangeWaitsForTheDataPlanesBehindARelay(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startRegional(t, true)
	change := s.stage(t, "new")
	s.until(t, change, "converged on eu", func(r *adminv1.Rollout) bool { return r.GetSteps()[0].GetConvergeTime() != nil })
	stopped := s.proxies["us"][1]
	stopped.signal(syscall.SIGSTOP)
	t.Cleanup(func() { stopped.signal(syscall.SIGCONT) })
	eventually(t, shown, "us-1 serves the new edition", func() error { return s.serves(s.proxies["us"][0], "new") })
	for began := time.Now(); time.Since(began) < 3*time.Second; <-time.After(100 * time.Millisecond) {
		if r := s.rollout(t, change); r.GetState() != "rolling" || r.GetStep() != 2 || r.GetSteps()[1].GetConvergeTime() != nil {
			t.Fatalf("it didn't wait: %v", r)
		}
	}
	eventually(t, shown, "operators are told who is waited for", func() error {
		table := s.status(t, change)
		if n := s.home.nodes(t)["relay-us"]; n.GetRelayed() != 2 || n.GetRelayedBehind() != 1 ||
			!strings.Contains(table, "1 data plane doesn't serve the change yet: relay-us (1 behind it)") {
			return fmt.Errorf("home hears of %d data planes behind the relay, %d of which are behind\n%s", n.GetRelayed(), n.GetRelayedBehind(), table)
		}
		return nil
	})
	goes := time.Now()
	stopped.signal(syscall.SIGCONT)
	s.until(t, change, "converged on us", func(r *adminv1.Rollout) bool { return r.GetSteps()[1].GetConvergeTime() != nil })
	t.Logf("us-2 goes on: the step is over %s later", time.Since(goes).Round(time.Millisecond))
	s.inState(t, change, "done")
	for _, p := range s.all() {
		ok(t, s.serves(p, "new"))
	}
}

// TestStagedChangeWaitsForARegionThatIsCutOffAndIsTakenBackThere cuts a region off while the change is on its way to it. Nobody else gets the
// change meanwhile, and operators see who is waited for; healed it goes on. The next change is aborted while the region is cut off.
func TestStagedChangeWaitsForARegionThatIsCutOffAndIsTakenBackThere(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startRegional(t, false)
	turns := s.watchEditions(t)
	change := s.cutInItsStep(t, "new", "us")
	began := time.Now()
	var table string
	eventually(t, shown, "operators see who is waited for", func() error {
		if table = s.status(t, change); !strings.Contains(table, "2 data planes don't serve the change yet: us-1, us-2") {
			return fmt.Errorf("they see\n%s", table)
		}
		return nil
	})
	t.Logf("us is cut off in the middle of its step\n%s", table)
	for time.Since(began) < 4*time.Second {
		if r := s.rollout(t, change); r.GetState() != "rolling" || r.GetStep() != 2 {
			t.Fatalf("it didn't wait: %v", r)
		}
		for region, want := range map[string]string{"eu": "new", "us": "old", "ap": "old"} {
			for _, p := range s.proxies[region] {
				ok(t, s.serves(p, want))
			}
		}
		<-time.After(100 * time.Millisecond)
	}
	healed := time.Now()
	s.heal(t, "us")
	r := s.until(t, change, "converged on us", func(r *adminv1.Rollout) bool { return r.GetSteps()[1].GetConvergeTime() != nil })
	t.Logf("healed after %s: us serves it %s later, the last ack came %d ms after it was admitted", healed.Sub(began).Round(time.Millisecond),
		time.Since(healed).Round(time.Millisecond), r.GetSteps()[1].GetLastAckMs())
	s.inState(t, change, "done")
	s.inOrder(t, turns())
	s.abortedWhileCutOff(t)
}

// abortedWhileCutOff aborts a change while one region that was to have it is cut off in its step, and another one before its own.
func (s *regional) abortedWhileCutOff(t *testing.T) {
	t.Helper()
	turns := s.watchEditions(t)
	change := s.cutInItsStep(t, "newer", "us")
	ok(t, s.lab.Isolate("ap"))
	res := s.home.command(t, "", nil, "rollout", "abort", change, "-m", "us is cut off")
	if res.Code != 0 {
		t.Fatalf("abort: %v", res)
	}
	s.inState(t, change, "aborted")
	for _, p := range s.proxies["eu"] {
		eventually(t, shown, p.Name+" serves what was before", func() error { return s.serves(p, "new") })
	}
	t.Logf("aborted while us and ap are cut off\n%s", s.status(t, change))
	undone := s.revision(t, s.rollout(t, change).GetRevertedBy())
	s.heal(t, "us")
	ok(t, s.lab.Rejoin("ap"))
	healed := mark()
	for _, p := range s.proxies["us"] {
		s.home.reaches(t, p.Name, undone)
	}
	s.home.inSync(t, "eu-1", "us-1", "us-2", "ap-1", "ap-2")
	t.Logf("healed: us stands where it was before after %s", time.Since(healed.at).Round(time.Millisecond))
	for settled := time.Now(); time.Since(settled) < 2*time.Second; <-time.After(100 * time.Millisecond) {
		for _, p := range s.all() {
			ok(t, s.serves(p, "new"))
		}
	}
	s.leftBehind(t, turns(), healed)
}

// leftBehind checks what callers of the regions that were cut off saw of the change that was aborted. To us it was on its way: TCP brings it when
// the region is healed, and the next update takes it back. Nothing of it comes to ap.
func (s *regional) leftBehind(t *testing.T, turns map[string][]turn, healed instant) {
	t.Helper()
	for _, p := range s.proxies["ap"] {
		if got := editions(turns[p.Name]); got != "new" {
			t.Errorf("%s served %s, of a change that never was for it", p.Name, got)
		}
	}
	for _, p := range s.proxies["us"] {
		got := turns[p.Name]
		switch editions(got) {
		case "new":
		case "new newer new":
			took := got[2].at.Sub(got[1].at)
			t.Logf("%s served for %s what was on its way to it when it was cut off", p.Name, took.Round(time.Millisecond))
			healed.within(t, p.Name+" serves an aborted change after it is healed", took, time.Second)
		default:
			t.Errorf("%s served %s", p.Name, editions(got))
		}
	}
}

// revision is that of a change.
func (s *regional) revision(t *testing.T, change string) int64 {
	t.Helper()
	c, err := s.home.client(t).GetChange(t.Context(), &adminv1.GetChangeRequest{Id: change})
	ok(t, err)
	return c.GetRevision()
}

// cutInItsStep stages an edition and cuts a region off when it was admitted and the change is on its way there.
func (s *regional) cutInItsStep(t *testing.T, edition, region string) (change string) {
	t.Helper()
	change = s.stage(t, edition)
	at := slices.Index(stagedRegions, region)
	s.until(t, change, "converged before "+region, func(r *adminv1.Rollout) bool { return r.GetSteps()[at-1].GetConvergeTime() != nil })
	slow := regionsApart
	slow.Delay = 2 * time.Second // what is on its way when the link is cut never arrives
	between(t, s.lab, "home", region, slow)
	s.until(t, change, "at "+region, func(r *adminv1.Rollout) bool { return int(r.GetStep()) == at+1 })
	ok(t, s.lab.Isolate(region))
	return change
}

// heal undoes cutInItsStep.
func (s *regional) heal(t *testing.T, region string) {
	t.Helper()
	between(t, s.lab, "home", region, regionsApart)
	ok(t, s.lab.Rejoin(region))
}
