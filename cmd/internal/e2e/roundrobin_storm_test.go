//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	exposed "github.com/hopgate/hopgate/proto/names"
)

// rrOp is one kind of call; $TOKEN in arguments and what is expected is the call's own.
type rrOp struct {
	Op        string         `json:"op"`
	Name      string         `json:"name,omitempty"`
	Arguments map[string]any `json:"arguments,omitempty"`
	Expect    string         `json:"expect"`
}

type rrSession struct {
	Client string `json:"client"`
	URL    string `json:"url"`
	Ops    []rrOp `json:"ops"`
	Count  int    `json:"count"`
}

// rrCall is a call as its client tells it, times in milliseconds since 1970.
type rrCall struct {
	Client, Token, Op, Error string
	From, To                 int64
}

// opsOf are calls to a server, by the names it has on its own endpoint or on that of all.
func opsOf(server string, aggregate bool) []rrOp {
	name, uri := func(n string) string { return n }, func(u string) string { return u }
	if aggregate {
		name, uri = func(n string) string { return server + "-" + n }, func(u string) string { return exposed.WrapURI(server, u) }
	}
	if server == npmServer {
		return []rrOp{{"tool", name("echo"), map[string]any{"message": "$TOKEN"}, "Echo: $TOKEN"}, {"tools", "", nil, name("get-sum")},
			{"tool", name("trigger-elicitation-request"), nil, "Name: Ada"}, {"prompt", name("args-prompt"), map[string]any{"city": "$TOKEN"}, "$TOKEN"},
			{"tool", name("trigger-long-running-operation"), map[string]any{"duration": 0.3, "steps": 3}, "Steps: 3"},
			{"resources", "", nil, uri("demo://resource/static/document/features.md")},
			{"tool", name("trigger-sampling-request"), map[string]any{"prompt": "$TOKEN", "maxTokens": 10}, "sampled by the client"},
			{"resource", uri("demo://resource/static/document/features.md"), nil, "features.md"}, {"prompts", "", nil, name("args-prompt")}}
	}
	ops := []rrOp{{"tool", name("test_simple_text"), nil, "This is a simple text response"}, {"tools", "", nil, name("test_simple_text")},
		{"prompt", name("test_prompt_with_arguments"), map[string]any{"arg1": "$TOKEN", "arg2": "b"}, "$TOKEN"}, {"resources", "", nil, uri("test://static-text")},
		{"tool", name("test_tool_with_progress"), nil, "content"}, {"resource", uri("test://static-text"), nil, "static text"},
		{"prompts", "", nil, name("test_prompt_with_arguments")}}
	switch {
	case server == stateful:
		return append(ops, rrOp{"tool", name("test_elicitation"), map[string]any{"message": "$TOKEN"}, "accept"},
			rrOp{"tool", name("test_sampling"), map[string]any{"prompt": "$TOKEN"}, "sampled by the client"})
	case aggregate: // without sessions it has nobody to ask there
		return ops
	}
	return append(ops, rrOp{"tool", name("test_input_required_result_elicitation"), nil, "Hello, Ada"})
}

// sessions are those of one kind of client: on the endpoints of single servers, and on that of all.
func (g *roundRobin) sessions(kind string, count int, single ...string) []rrSession {
	all := []rrOp{}
	for _, s := range []string{npmServer, stateful, stateless} {
		all = append(all, opsOf(s, true)...)
	}
	out := []rrSession{{Client: kind + "-all", URL: "http://" + g.addr + "/mcp", Ops: all}}
	for _, s := range single {
		out = append(out, rrSession{Client: kind + "-" + s, URL: "http://" + g.addr + "/" + s + "/mcp", Ops: opsOf(s, false)})
	}
	for i := range out {
		out[i].Count = count / len(out)
	}
	return out
}

// storm is everything that calls.
type storm struct {
	g        *roundRobin
	lasts    time.Duration
	programs []*running
	sessions int // of all programs
	mu       sync.Mutex
	calls    []rrCall // of programs that were run for one call
	loops    sync.WaitGroup
}

func (s *storm) begin(t *testing.T, name string, args []string, library int, sessions []rrSession) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"library": library, "lasts": s.lasts.Milliseconds(), "limit": callLimit.Milliseconds(), "sessions": sessions,
		"headers": map[string]string{"x-litellm-api-key": "Bearer " + s.g.key}})
	if err != nil {
		t.Fatal(err)
	}
	s.programs = append(s.programs, start(t, program{Name: name, Args: append(args, string(b))}))
	s.sessions += len(sessions)
}

// raging waits until every session is open and has made a call: one that can't even begin proves nothing.
func (s *storm) raging(t *testing.T) {
	t.Helper()
	eventually(t, shown, "every session makes calls", func() error {
		calling := map[string]bool{}
		for _, p := range s.programs {
			if !p.alive() {
				t.Fatalf("%s ended before it was told to: %v\n%s", p.Name, p.state, tail(p.output(), 30))
			}
			for _, c := range jsonLines[rrCall](t, p.log, `"token"`) {
				calling[c.Client] = true
			}
		}
		if len(calling) < s.sessions {
			return fmt.Errorf("%d of %d do", len(calling), s.sessions)
		}
		return nil
	})
}

// mcporter calls again and again, each time as a process of its own: initialize, tools/list, the call.
func (s *storm) mcporter(t *testing.T, path, tool string) {
	t.Helper()
	client := "mcporter-" + tool
	config := filepath.Join(t.TempDir(), "mcporter.json")
	b, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"rr": map[string]any{"baseUrl": "http://" + s.g.addr + path,
		"headers": map[string]string{"x-litellm-api-key": "Bearer " + s.g.key, "x-e2e-client": client}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(s.lasts)
	s.loops.Go(func() {
		for i := 0; time.Now().Before(end); i++ {
			c := rrCall{Client: client, Token: fmt.Sprintf("%s-%d", client, i), Op: "tool " + tool, From: time.Now().UnixMilli()}
			cmd := program{Args: []string{node(t), npm(t, "mcporter", "dist", "cli.js"), "--config", config, "call", "rr." + tool,
				"message=" + c.Token}}.command(t.Context(), t)
			out, err := cmd.CombinedOutput()
			if c.To = time.Now().UnixMilli(); err != nil || !strings.Contains(string(out), "Echo: "+c.Token) {
				c.Error = fmt.Sprintf("%v: %s", err, out)
			}
			s.mu.Lock()
			s.calls = append(s.calls, c)
			s.mu.Unlock()
		}
	})
}

// end waits until all clients are done and returns their calls.
func (s *storm) end(t *testing.T) []rrCall {
	t.Helper()
	s.loops.Wait()
	limit := time.After(3*callLimit + 10*time.Second)
	calls := s.calls
	for _, p := range s.programs {
		select {
		case <-p.ended:
		case <-limit:
			t.Errorf("%s got stuck", p.Name)
			p.kill()
		}
		if p.state != nil {
			t.Errorf("%s ended with: %v\n%s", p.Name, p.state, tail(p.output(), 5))
		}
		calls = append(calls, jsonLines[rrCall](t, p.log, `"token"`)...)
	}
	return calls
}
