//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// onEtcd starts control planes that share a three-node etcd.
func onEtcd(t *testing.T, n int) ([]*control, []*member) {
	t.Helper()
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	ok(t, os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600))
	out := []*control{}
	for i := range n {
		out = append(out, startControl(t, fmt.Sprintf("control-%d", i+1), nil, "--etcd", clients(members), "--kek-file", kek))
	}
	return out, members
}

// takenBackWithin is what may pass from a crash until the change is reverted everywhere.
const takenBackWithin = 10 * time.Second

func TestChangeThatCrashesOneBuildIsTakenBack(t *testing.T) {
	t.Parallel() // most of it is waiting
	controls, _ := onEtcd(t, 2)
	s := startStaging(t, controls, 6)
	t.Run("of a fleet that just started", s.deadly)
	s.provenGood(t, time.Now())
	t.Run("of a fleet that has served for a while", s.deadly)
}

// deadly stages a change that ends every data plane that puts it in force.
func (s *staging) deadly(t *testing.T) {
	before := s.synced(t)
	ended := s.ended()
	flows := map[string]*traffic{}
	for _, p := range s.planes {
		flows[p.Name] = startTraffic(t, p, "demo", s.key)
	}
	began := mark()
	id := s.stage(t, labelled("deadly", s.demo, "defect", "dies"), "--steps", "1,50%,100%", "--bake", "3s")
	r := s.becomes(t, shown, id, "reverted", 1)
	seen := time.Now()
	now := s.synced(t)
	inSync := time.Now()
	same(t, "after the revert", before, now)

	lost := s.crashed(t, ended)
	ends, status := lost.endings()
	ends, status = ends[ended[lost.Name]:], status[ended[lost.Name]:]
	crash := ends[0]
	t.Logf("%s ended %d times, with status %s; reverted %s after that, as was told after %s, every data plane in sync with what was before after %s",
		lost.Name, len(ends), status[0], r.GetUpdateTime().AsTime().Sub(crash).Round(time.Millisecond), seen.Sub(crash).Round(time.Millisecond),
		inSync.Sub(crash).Round(time.Millisecond))
	began.within(t, "the change was taken back everywhere after the crash", inSync.Sub(crash), takenBackWithin)
	s.toldEverywhere(t, r, lost)
	if got := s.having("deadly"); len(got) > 0 {
		t.Errorf("%d data planes still serve the change", len(got))
	}
	for name, f := range flows {
		eventually(t, shown, name+" has had some calls", func() error {
			if n := f.done.Load(); n < 200 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		if f.end(); name != lost.Name {
			f.spotless(t, name)
		}
	}
	if got, err := lost.readiness(); err != nil || got.Suspect {
		t.Errorf("%s after the revert: %v %+v", lost.Name, err, got)
	}
	if err := echo(lost.url("demo"), s.key, "back"); err != nil {
		t.Errorf("%s, which crashed: %v", lost.Name, err)
	}
}

// ended is how often each data plane has by now.
func (s *staging) ended() map[string]int {
	out := map[string]int{}
	for _, p := range s.planes {
		at, _ := p.endings()
		out[p.Name] = len(at)
	}
	return out
}

// crashed returns the one data plane that has ended since; the test is over when there are more.
func (s *staging) crashed(t *testing.T, since map[string]int) (lost *proxy) {
	t.Helper()
	n := 0
	for _, p := range s.planes {
		if ends, _ := p.endings(); len(ends) > since[p.Name] {
			lost = p
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d data planes crashed, want 1", n)
	}
	return lost
}

// toldEverywhere checks that each control plane, REST, the CLI and the log name the data plane and the reason.
func (s *staging) toldEverywhere(t *testing.T, r *adminv1.Rollout, lost *proxy) {
	t.Helper()
	t.Logf("reason: %s", r.GetReason())
	for _, c := range s.controls {
		told := &adminv1.Rollout{}
		res := c.command(t, "", nil, "rollout", "status", "-o", "json")
		if err := protojson.Unmarshal([]byte(res.Out), told); err != nil {
			t.Errorf("rollout status -o json: %v: %v", err, res)
		}
		rest, err := c.rollout(r.GetChange())
		ok(t, err)
		for what, x := range map[string]*adminv1.Rollout{"hopgate rollout status": told, "GET /v1/rollouts": rest} {
			if x.GetChange() != r.GetChange() || x.GetNode() != lost.Name || !strings.Contains(x.GetReason(), lost.Name) || x.GetRevertedBy() == "" {
				t.Errorf("%s of %s: change %s, node %q, reason %q, reverted by %q", what, c.Name, x.GetChange(), x.GetNode(), x.GetReason(), x.GetRevertedBy())
			}
		}
		history := c.command(t, "", nil, "history")
		if !strings.Contains(history.Out, r.GetReason()) && !strings.Contains(history.Out, lost.Name) {
			t.Errorf("hopgate history of %s doesn't name %s: %v", c.Name, lost.Name, history)
		}
	}
}
