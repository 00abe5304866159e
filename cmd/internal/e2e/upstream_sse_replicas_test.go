//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A session lives in one data plane; the others must find it.
func TestUpstreamSSELivesAcrossReplicas(t *testing.T) {
	addr, c, replicas := balanced(t)
	direct := npmEverything(t)
	old, server := npmEverythingSSE(t)
	c.apply(t, fmt.Sprintf("kind: Server\nname: everything\nspec:\n  transport: sse\n  endpoints: [{url: %q}]\n---\n", old))
	key := c.key(t, "caller", "everything")
	calls := []any{
		map[string]any{"tool": "echo", "arguments": map[string]any{"message": "across"}},
		map[string]any{"tool": "trigger-elicitation-request"},
		map[string]any{"tool": "trigger-sampling-request", "arguments": map[string]any{"prompt": "say something", "maxTokens": 10}},
		map[string]any{"tool": "get-roots-list"},
		map[string]any{"tool": "trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
	}
	want := typescript(t, 1, "", direct, "", calls)
	got := typescript(t, 1, "", "http://"+addr+"/everything/mcp", key, calls)
	if a, b := sameness(want), sameness(got); a != b || got.Error != "" {
		t.Errorf("direct  %s\nthrough %s", a, b)
	}
	t.Logf("one replica: %s\n the other: %s", served(replicas[0]), served(replicas[1]))
	eventually(t, shown, "the session is ended", func() error {
		if out := server.output(); strings.Count(out, "Client Connected") != 1 || strings.Count(out, "Client Disconnected") != 1 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// The same on an endpoint of several servers: what needs the session of the HTTP+SSE server goes to the replica that holds it, the rest doesn't.
func TestUpstreamSSEAmongSeveralLivesAcrossReplicas(t *testing.T) {
	addr, c, replicas := balanced(t)
	direct := npmEverything(t)
	old, server := npmEverythingSSE(t)
	c.apply(t, fmt.Sprintf("kind: Server\nname: old\nspec:\n  transport: sse\n  sessions: required\n  endpoints: [{url: %q}]\n---\n"+
		"kind: Server\nname: plain\nspec:\n  endpoints: [{url: %q}]\n---\n", old, direct))
	key := c.key(t, "caller", "old,plain")
	calls := []any{
		map[string]any{"tool": "old-echo", "arguments": map[string]any{"message": "across"}},
		map[string]any{"tool": "plain-echo", "arguments": map[string]any{"message": "beside"}},
		map[string]any{"tool": "old-trigger-elicitation-request"},
		map[string]any{"tool": "old-trigger-sampling-request", "arguments": map[string]any{"prompt": "say something", "maxTokens": 10}},
		map[string]any{"tool": "old-echo", "arguments": map[string]any{"message": "again"}},
		map[string]any{"tool": "old-get-roots-list"},
		map[string]any{"tool": "old-trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
	}
	got := typescript(t, 1, "", "http://"+addr+"/mcp", key, calls)
	t.Logf("asked %v %s\none replica: %s\n the other: %s", got.Asked, got.Error, tail(replicas[0].output(), 12), tail(replicas[1].output(), 12))
	if got.Error != "" || len(got.Calls) != len(calls) {
		t.Fatalf("%s: %v", got.Error, readable(got))
	}
	for _, method := range []string{"elicitation/create", "sampling/createMessage", "roots/list"} {
		if !slices.Contains(got.Asked, method) {
			t.Errorf("the server's %s didn't reach the client: %v", method, got.Asked)
		}
	}
	for i, want := range map[int]string{0: "Echo: across", 1: "Echo: beside", 3: "sampled by the client", 4: "Echo: again"} {
		if a := got.Calls[i]; a.IsError || !strings.Contains(string(a.Content), want) {
			t.Errorf("%s: %v %s", a.Tool, a.IsError, a.Content)
		}
	}
	if steps := got.Calls[6].Steps; len(steps) == 0 {
		t.Error("no progress reached the client")
	}
	eventually(t, shown, "every session is ended", func() error {
		out := server.output()
		if begun, ended := strings.Count(out, "Client Connected"), strings.Count(out, "Client Disconnected"); begun == 0 || ended != begun {
			return fmt.Errorf("%d begun, %d ended", begun, ended)
		}
		return nil
	})
}
