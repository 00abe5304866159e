//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func TestGatesTakeAChangeBack(t *testing.T) {
	t.Parallel()
	s := startStaging(t, []*control{startControl(t, "control", nil)}, 4)
	t.Run("a data plane refuses a part of it", s.refused)
	t.Run("calls fail", s.failing)
	t.Run("calls failed before as well", s.failedBefore)
	t.Run("an operator steers it", s.steered)
	t.Run("what it holds is nobody else's", s.holds)
}

func (s *staging) refused(t *testing.T) {
	before := s.synced(t)
	id := s.stage(t, labelled("odd", s.demo, "defect", "compile"), "--steps", "1,100%", "--bake", "3s")
	r := s.becomes(t, shown, id, "reverted", 1)
	same(t, "after the revert", before, s.synced(t))
	t.Logf("reverted %s after it was admitted: %s", taken(r), r.GetReason())
	if r.GetNode() == "" || !strings.Contains(r.GetReason(), "server/odd") || r.GetStep() != 1 {
		t.Errorf("node %q, step %d, reason %q", r.GetNode(), r.GetStep(), r.GetReason())
	}
	if got := s.having("odd"); len(got) > 0 {
		t.Errorf("%d data planes serve it", len(got))
	}
}

// taken is the time from the admission of the last step to the end.
func taken(r *adminv1.Rollout) time.Duration {
	return r.GetUpdateTime().AsTime().Sub(r.GetSteps()[r.GetStep()-1].GetAdmitTime().AsTime()).Round(time.Millisecond)
}

func (s *staging) failing(t *testing.T) {
	before := s.synced(t)
	flows := map[string]*traffic{}
	for _, p := range s.planes {
		flows[p.Name] = startTraffic(t, p, "demo", s.key)
	}
	id := s.stage(t, server("demo", "http://127.0.0.1:9/mcp"), "--steps", "1,100%", "--bake", "20s") // nobody listens there
	r := s.becomes(t, shown, id, "reverted", 1)
	same(t, "after the revert", before, s.synced(t))
	t.Logf("reverted %s after it was admitted: %s", taken(r), r.GetReason())
	if !strings.Contains(r.GetReason(), "calls failed") || r.GetStep() != 1 {
		t.Errorf("step %d, reason %q", r.GetStep(), r.GetReason())
	}
	hit := 0
	for name, f := range flows {
		f.end()
		t.Logf("%s: %d calls, %d failed", name, f.done.Load(), f.failed.Load())
		if f.failed.Load() > 0 {
			hit++
		}
	}
	if hit != 1 {
		t.Errorf("calls failed on %d data planes, want 1", hit)
	}
	for _, p := range s.planes {
		if err := echo(p.url("demo"), s.key, "again"); err != nil {
			t.Errorf("%s after the revert: %v", p.Name, err)
		}
	}
}

// failedBefore stages a change to a server that nobody can reach, which is no worse for it.
func (s *staging) failedBefore(t *testing.T) {
	const nobody = "http://127.0.0.1:9/mcp"
	s.controls[0].apply(t, server("dead", nobody))
	for _, p := range s.planes {
		flow := startTraffic(t, p, "dead", s.key)
		defer flow.end()
	}
	id := s.stage(t, labelled("dead", nobody, "release", "two"), "--steps", "1,100%", "--bake", "4s")
	r := s.becomes(t, shown, id, "done", 2)
	t.Logf("a change to a server that fails everywhere: %s %s", r.GetState(), r.GetReason())
}

func (s *staging) steered(t *testing.T) {
	c, before := s.controls[0], s.synced(t)
	id := s.stage(t, server("extra", s.demo), "--steps", "1,100%", "--bake", s.interruptible(t).String())
	s.becomes(t, shown, id, "rolling", 1)
	s.steer(t, "pause", "-m", "looks odd")
	r := s.becomes(t, shown, id, "paused", 1)
	if !strings.Contains(r.GetReason(), "looks odd") {
		t.Errorf("why it is paused: %q", r.GetReason())
	}
	s.stays(t, id, 3*time.Second)
	if got := s.having("extra"); len(got) != 1 {
		t.Errorf("%d data planes serve it, want 1", len(got))
	}
	s.steer(t, "resume")
	s.becomes(t, shown, id, "rolling", 2)
	s.steer(t, "abort", "-m", "not today")
	r = s.becomes(t, shown, id, "aborted", 2)
	same(t, "after the abort", before, s.synced(t))
	history := c.command(t, "", nil, "history")
	t.Logf("history:\n%s", history.Out)
	if !strings.Contains(history.Out, "not today") || !strings.Contains(r.GetReason(), "not today") || !strings.Contains(history.Out, r.GetRevertedBy()) {
		t.Errorf("the log doesn't tell of the abort by %s", r.GetRevertedBy())
	}
	var undone logged
	ok(t, c.get("/v1/changes/"+r.GetRevertedBy(), &undone))
	gone := false
	for _, o := range undone.Objects {
		gone = gone || o.Name == "extra" && o.Action == "deleted"
	}
	if !gone {
		t.Errorf("the change that undid it: %+v", undone)
	}
}

// interruptible is how long a step has to serve for an operator to step in meanwhile, as fast as commands run on this machine now.
func (s *staging) interruptible(t *testing.T) time.Duration { return s.any().unhurried(t, time.Second) }

// unhurried is as long as ten commands take here and now, in whole seconds, and at least some time.
func (c *control) unhurried(t *testing.T, least time.Duration) time.Duration {
	t.Helper()
	took := c.command(t, "", nil, "status").Took
	return max(least, (10*took).Truncate(time.Second)+time.Second)
}

func (s *staging) steer(t *testing.T, args ...string) {
	t.Helper()
	if res := s.any().command(t, "", nil, append([]string{"rollout"}, args...)...); res.Code != 0 {
		t.Fatalf("rollout %v: %v", args, res)
	}
}

// stays fails when a rollout gets on within a time.
func (s *staging) stays(t *testing.T, id string, during time.Duration) {
	t.Helper()
	was, err := s.any().rollout(id)
	ok(t, err)
	end := time.NewTimer(during)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-tick.C:
		}
		now, err := s.any().rollout(id)
		if err != nil || now.GetEtag() != was.GetEtag() {
			t.Fatalf("it was to stay %s at step %d, and is %s at step %d: %s %v", was.GetState(), was.GetStep(), now.GetState(), now.GetStep(), now.GetReason(), err)
		}
	}
}

func (s *staging) holds(t *testing.T) {
	c := s.controls[0]
	first := s.stage(t, labelled("demo", s.demo, "release", "two"), "--steps", "1,100%", "--bake", s.interruptible(t).String())
	s.becomes(t, shown, first, "rolling", 1)
	s.steer(t, "pause")
	s.refusesWrites(t, first)

	second := s.stage(t, server("next", s.demo), "--steps", "100%", "--bake", "0s")
	s.becomes(t, shown, second, "queued", 0)
	c.apply(t, server("unrelated", s.demo))
	if got := s.having("unrelated"); len(got) != len(s.planes) {
		t.Errorf("an unrelated write reached %d of %d data planes", len(got), len(s.planes))
	}
	if got := s.having("next"); len(got) > 0 {
		t.Errorf("a change that waits is served by %d data planes", len(got))
	}
	s.stays(t, second, time.Second)
	s.steer(t, "resume", first)
	a, b := s.becomes(t, shown, first, "done", 2), s.becomes(t, shown, second, "done", 1)
	if began := b.GetSteps()[0].GetAdmitTime().AsTime(); began.Before(a.GetUpdateTime().AsTime()) {
		t.Errorf("the second change began at %s, before the first was done at %s", began, a.GetUpdateTime().AsTime())
	}
	s.synced(t)
	if got := s.having("next"); len(got) != len(s.planes) {
		t.Errorf("the second change reached %d of %d data planes", len(got), len(s.planes))
	}
}

// refusesWrites checks that a write of what a rollout holds gets the same sentence from REST, gRPC and the CLI.
func (s *staging) refusesWrites(t *testing.T, change string) {
	t.Helper()
	c := s.controls[0]
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"endpoints": []any{map[string]any{"url": s.demo}}}})
	ok(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+c.Admin+"/v1/servers/demo", bytes.NewReader(body))
	ok(t, err)
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := quick.Do(req)
	ok(t, err)
	defer res.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(res.Body)
	ok(t, err)
	var no problem
	ok(t, json.Unmarshal(answer, &no))
	if res.StatusCode != http.StatusBadRequest || no.reason() != "STAGED" || !strings.Contains(no.Message, change) {
		t.Errorf("REST: %s %s", res.Status, answer)
	}
	_, err = c.client(t).PutServer(t.Context(), &adminv1.PutServerRequest{Name: "demo", Server: reaching("demo", s.demo)})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != no.Message {
		t.Errorf("gRPC: %v, REST: %s", err, no.Message)
	}
	cli := c.command(t, server("demo", s.demo), nil, "apply", "-f", "-")
	if cli.Code == 0 || !strings.Contains(cli.Err, no.Message) {
		t.Errorf("CLI: %v, REST: %s", cli, no.Message)
	}
	t.Logf("a write of what is staged: %s: %s", res.Status, no.Message)
}
