//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// goesOnWithin is what may pass from the death of the leading control plane until another has taken the rollout on: five seconds and what etcd
// takes for the lease, then ten in which data planes may be on their way to another control plane.
const goesOnWithin = 20 * time.Second

func TestLeaderDiesMidRollout(t *testing.T) {
	t.Parallel()
	controls, members := onEtcd(t, 3)
	s := startStaging(t, controls, 4)
	watches := []func() []int64{}
	for _, p := range s.planes {
		watches = append(watches, watchRevisions(t, p))
	}
	id := s.stage(t, server("extra", s.demo), "--steps", "1,60%,100%", "--bake", "2s")

	for step := int32(1); step <= 3; step++ {
		if s.admits(t, id, step) > step {
			t.Logf("step %d has no data plane that the ones before don't have", step)
			continue
		}
		first := s.leading(t, members)
		killed := mark()
		first.kill()
		s.goesOn(t, id, step)
		took := time.Since(killed.at)
		t.Logf("the leader, %s, died at step %d: another went on after %s", first.Name, step, took.Round(time.Millisecond))
		killed.within(t, "another control plane took the rollout on", took, goesOnWithin)
		first.again(t)
	}
	r := s.becomes(t, shown, id, "done", 3)
	for _, step := range r.GetSteps() {
		t.Logf("step %s: %d data planes, first ack %d ms, last ack %d ms", step.GetName(), step.GetNodes(), step.GetFirstAckMs(), step.GetLastAckMs())
	}
	s.synced(t)
	if got := s.having("extra"); len(got) != len(s.planes) {
		t.Errorf("%d of %d data planes serve the change", len(got), len(s.planes))
	}
	for i, p := range s.planes {
		if ends, _ := p.endings(); len(ends) > 0 {
			t.Errorf("%s ended", p.Name)
		}
		if seen := watches[i](); !slices.IsSorted(seen) {
			t.Errorf("%s went back to an older revision: %v", p.Name, slices.Compact(seen))
		}
	}
}

// admits waits until a step is under way, or behind, and returns the one that is.
func (s *staging) admits(t *testing.T, id string, step int32) (at int32) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("step %d is admitted", step), func() error {
		r, err := s.any().rollout(id)
		if at = r.GetStep(); err == nil && at < step {
			err = fmt.Errorf("%s at step %d: %s", r.GetState(), at, r.GetReason())
		}
		return err
	})
	return at
}

// goesOn waits until a rollout is behind a step, or done.
func (s *staging) goesOn(t *testing.T, id string, step int32) {
	t.Helper()
	eventually(t, 2*goesOnWithin, fmt.Sprintf("the rollout is behind step %d", step), func() error {
		r, err := s.any().rollout(id)
		switch {
		case err != nil:
			return err
		case r.GetState() == "done" || r.GetState() == "rolling" && r.GetStep() > step:
			return nil
		}
		return fmt.Errorf("%s at step %d: %s", r.GetState(), r.GetStep(), r.GetReason())
	})
}

// leading is the control plane whose note in etcd is the oldest.
func (s *staging) leading(t *testing.T, members []*member) *control {
	t.Helper()
	res := run(t, time.Minute, program{Name: "etcdctl", Args: []string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", clients(members),
		"get", "--prefix", "/hopgate/v1/default/meeting/", "--keys-only", "--sort-by", "CREATE", "--order", "ASCEND", "--limit", "1"}}, "")
	for _, c := range s.controls {
		if strings.Contains(res.Out, "/"+c.Name+"/") && c.alive() {
			return c
		}
	}
	t.Fatal(errors.New(res.String()))
	return nil
}
