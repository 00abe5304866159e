//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// While a rollout is open every process may be restarted: what stands in the store says who has what.
func TestRestartsMidRolloutChangeNothing(t *testing.T) {
	t.Parallel()
	c := startControl(t, "control", nil)
	s := startStaging(t, []*control{c}, 3)
	id := s.stage(t, server("extra", s.demo), "--steps", "1,100%", "--bake", "5m") // it is aborted before
	s.becomes(t, shown, id, "rolling", 1)
	s.synced(t)
	has := s.having("extra")
	if len(has) != 1 {
		t.Fatalf("%d data planes serve it, want 1", len(has))
	}
	with, without := has[0], s.planes[0]
	if without == with {
		without = s.planes[1]
	}
	digests := s.synced(t)

	for _, p := range []*proxy{with, without} {
		began := time.Now()
		p.restart(t)
		s.synced(t)
		t.Logf("%s restarted and in sync after %s", p.Name, time.Since(began).Round(time.Millisecond))
		same(t, "after a restart", digests, s.synced(t))
	}
	s.stays(t, id, 7*time.Second) // longer than it takes until somebody who is away counts as lost
	if r, err := c.rollout(id); err != nil || r.GetState() != "rolling" || r.GetStep() != 1 {
		t.Fatalf("after clean restarts: %v %s at step %d: %s", err, r.GetState(), r.GetStep(), r.GetReason())
	}
	s.controlRestarts(t, c, digests)
	s.steer(t, "abort")
	s.becomes(t, shown, id, "aborted", 1)
	s.synced(t)
}

// controlRestarts checks that a control plane that is killed and comes back sends nobody anything.
func (s *staging) controlRestarts(t *testing.T, c *control, digests map[string]string) {
	t.Helper()
	taken := func() (n []int) {
		for _, p := range s.planes {
			n = append(n, len(updates(p)))
		}
		return n
	}
	before := taken()
	began := time.Now()
	c.kill()
	c.again(t)
	same(t, "after the control plane's restart", digests, s.synced(t))
	if now := taken(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("data planes took %v updates before the control plane's restart, %v after", before, now)
	}
	resyncs := metric(t, c.Admin, "hopgate_resyncs_total")
	if resyncs != 0 {
		t.Errorf("the control plane sent %v whole sets", resyncs)
	}
	for _, p := range s.planes {
		if n := metric(t, p.Admin, "hopgate_config_resyncs_total"); n != 0 {
			t.Errorf("%s asked for %v whole sets", p.Name, n)
		}
	}
	t.Logf("the control plane was restarted, every data plane in sync after %s, 0 updates, 0 resyncs", time.Since(began).Round(time.Millisecond))
}
