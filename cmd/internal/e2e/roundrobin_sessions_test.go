//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// rrStep is a step of the session that rr_session.mjs goes through.
type rrStep struct {
	Step     string
	From, To int64 // milliseconds since 1970
	Error    string
	Told     json.RawMessage
	Errors   []string
}

// changesBy are calls that make a server tell of a changed list, how that is told, and whether it is by a server other than the one with the resources.
var changesBy = []any{
	[]any{"gzip-file-as-resource", map[string]any{"name": "a.txt.gz", "data": "data:text/plain;base64,aGVsbG8=", "outputType": "resourceLink"},
		"notifications/resources/list_changed", false},
	[]any{stateful + "-test_trigger_tool_change", map[string]any{}, "notifications/tools/list_changed", true},
}

func TestRoundRobinSessions(t *testing.T) {
	t.Parallel() // much of it is waiting
	g := startRoundRobin(t)
	for _, c := range []struct {
		name, path string
		changes    []any
	}{{"one", "/" + npmServer + "/mcp", changesBy[:1]}, {"all", "/mcp", changesBy}} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			steps := g.session(t, c.path, c.changes)
			for _, s := range steps {
				if s.Error != "" {
					t.Errorf("%s: %s (the client's errors: %q)", s.Step, s.Error, s.Errors)
				}
			}
			g.spread(t, c.path, steps)
			g.cancelled(t, began)
		})
	}
}

func (g *roundRobin) session(t *testing.T, path string, changes []any) []rrStep {
	t.Helper()
	b, err := json.Marshal(map[string]any{"url": "http://" + g.addr + path, "changes": changes,
		"headers": map[string]string{"x-litellm-api-key": "Bearer " + g.key, "x-e2e-client": t.Name()}})
	if err != nil {
		t.Fatal(err)
	}
	res := run(t, 2*time.Minute, program{Name: "session", Args: []string{node(t), script(t, "rr_session.mjs"), string(b)}}, "")
	var steps []rrStep
	for line := range strings.Lines(res.Out) {
		var s rrStep
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v: %v", err, res)
		}
		steps = append(steps, s)
	}
	if len(steps) < 15 || res.Code != 0 {
		t.Errorf("the session broke off: %v", res)
	}
	return steps
}

// spread checks by the access lines that in each step requests of the session came to all data planes, and that the client's answers (whose lines
// come just before that of the call that asked) came to others than the calls. A request belongs to the step in which it began; the end of a
// stream, which is told a little after its last event, to the one before the next. Lines are written when a data plane comes to it.
func (g *roundRobin) spread(t *testing.T, path string, steps []rrStep) {
	t.Helper()
	var told []string
	eventually(t, shown, "the access lines show that every step was spread", func() (err error) {
		told, err = g.uneven(t, path, steps)
		return err
	})
	t.Log(strings.Join(told, "\n"))
}

// uneven reads the access lines: what there is to tell of each step, and what isn't as spread says.
func (g *roundRobin) uneven(t *testing.T, path string, steps []rrStep) (told []string, amiss error) {
	t.Helper()
	lines := g.accesses(t)
	session := ""
	for _, a := range lines {
		if a.Path == path && a.Method == "initialize" && a.Session != "" {
			session = a.Session
		}
	}
	all := map[string]int{}
	for i, s := range steps {
		end := int64(math.MaxInt64)
		if i+1 < len(steps) {
			end = steps[i+1].From
		}
		took, answered := map[string][]string{}, ""
		for _, a := range lines {
			if at := a.began().UnixMilli(); a.Path == path && a.Session == session && at >= s.From && at < end {
				took[a.replica] = append(took[a.replica], strings.TrimSpace(a.HTTPMethod+" "+a.Method))
				all[a.replica]++
				if a.Tool != "" && a.replica == answered {
					amiss = errors.Join(amiss, fmt.Errorf("%s: %s and the answer to what it asked passed through the same data plane", s.Step, a.Tool))
				}
				if answered = ""; a.HTTPMethod == "POST" && a.Method == "" {
					answered = a.replica
				}
			}
		}
		told = append(told, fmt.Sprintf("%-13s %5d ms %s %.120s", s.Step, s.To-s.From, counts(took), s.Told))
		if len(took) != len(g.replicas) {
			amiss = errors.Join(amiss, fmt.Errorf("%s: its requests didn't come to all data planes: %v", s.Step, took))
		}
	}
	return append(told, fmt.Sprintf("access lines of session %s: %v", session, all)), amiss
}

func counts(took map[string][]string) string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(took)) {
		out = append(out, fmt.Sprint(len(took[name])))
	}
	return strings.Join(out, "/")
}

// cancelled checks that the server was told of each cancelled call by the id that it knows, in the session of the call.
func (g *roundRobin) cancelled(t *testing.T, since time.Time) {
	t.Helper()
	const cancels = 3
	told := 0
	eventually(t, shown, "the server is told of cancelled calls", func() error {
		calls := map[string]bool{}
		told = 0
		for _, s := range g.witnesses[npmServer].sights() {
			switch {
			case s.At.Before(since):
			case s.Method == "tools/call":
				calls[s.Session+" "+string(s.ID)] = s.Tool == "trigger-long-running-operation"
			case s.Method == "notifications/cancelled":
				if told++; !calls[s.Session+" "+string(s.Cancelled)] {
					t.Fatalf("the server was told of a cancelled request %s that it doesn't have in session %s", s.Cancelled, s.Session)
				}
			}
		}
		if told < cancels {
			return fmt.Errorf("%d of %d", told, cancels)
		}
		return nil
	})
	if told != cancels {
		t.Errorf("%d calls were cancelled, and the server was told of %d", cancels, told)
	}
}
