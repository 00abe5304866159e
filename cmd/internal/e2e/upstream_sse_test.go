//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// npmEverythingSSE starts the npm reference server on the transport of 2024-11-05.
func npmEverythingSSE(t *testing.T) (url string, r *running) {
	t.Helper()
	host := ownHost()
	r = start(t, program{Name: "server-everything-sse", Env: []string{"PORT=3001", "BIND_HOST=" + host},
		Args: []string{node(t), "--require", script(t, "loopback.cjs"), npm(t, "@modelcontextprotocol", "server-everything", "dist", "index.js"), "sse"}})
	listening(t, r, host+":3001")
	return "http://" + host + ":3001/sse", r
}

// A server of HTTP+SSE must look through the gateway as it would if it spoke Streamable HTTP.
func TestUpstreamSSELooksLikeStreamableHTTP(t *testing.T) {
	c := startControl(t, "control", nil)
	direct := npmEverything(t)
	old, server := npmEverythingSSE(t)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, fmt.Sprintf("kind: Server\nname: old\nspec:\n  transport: sse\n  endpoints: [{url: %q}]\n---\n", old))
	key := c.key(t, "caller", "old", "--roles", "debug")
	calls := []any{
		map[string]any{"tool": "echo", "arguments": map[string]any{"message": "over a stream"}},
		map[string]any{"tool": "trigger-elicitation-request"},
		map[string]any{"tool": "trigger-sampling-request", "arguments": map[string]any{"prompt": "say something", "maxTokens": 10}},
		map[string]any{"tool": "get-roots-list"},
		map[string]any{"tool": "get-structured-content", "arguments": map[string]any{"location": "Chicago"}},
		map[string]any{"tool": "trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
	}
	for library, mode := range map[int]string{1: "", 2: "auto"} {
		want := typescript(t, library, mode, direct, "", calls)
		got := typescript(t, library, mode, p.url("old"), key, calls)
		t.Logf("client %d.x: revision %q, %d tools, %d calls, asked %v %s", library, got.Revision, len(got.Tools), len(got.Calls), got.Asked, got.Error)
		for _, method := range []string{"elicitation/create", "sampling/createMessage", "roots/list"} {
			if !slices.Contains(got.Asked, method) {
				t.Errorf("client %d.x: the server's %s didn't reach the client", library, method)
			}
		}
		if a, b := sameness(want), sameness(got); a != b || got.Error != "" {
			t.Errorf("client %d.x:\n streamable %s\n sse        %s", library, a, b)
		}
	}
	a, err := post(p.url("old"), key, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"bare"}}}`)
	if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, "Echo: bare") {
		t.Errorf("a bare call: %v %d %s", err, a.Status, a.Body)
	}
	eventually(t, shown, "every session is ended", func() error {
		out := server.output()
		if begun, ended := strings.Count(out, "Client Connected"), strings.Count(out, "Client Disconnected"); begun != 3 || ended != begun {
			return fmt.Errorf("%d begun, %d ended", begun, ended)
		}
		return nil
	})
}

func TestUpstreamSSETellsWhenTheTransportIsAnother(t *testing.T) {
	c := startControl(t, "control", nil)
	streamable := npmEverything(t)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, fmt.Sprintf("kind: Server\nname: mixed_up\nspec:\n  transport: sse\n  endpoints: [{url: %q}]\n---\n", streamable))
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",` +
		`"capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`
	a, err := post(p.url("mixed_up"), c.key(t, "caller", "mixed_up"), hello, "Accept", "application/json, text/event-stream")
	if err != nil || a.Status < 500 || !strings.Contains(a.Body, "streamable_http") {
		t.Errorf("%v %d %s", err, a.Status, a.Body)
	}
}

// On an endpoint of several servers, one of HTTP+SSE is one among others.
func TestUpstreamSSEAmongOthers(t *testing.T) {
	c := startControl(t, "control", nil)
	old, server := npmEverythingSSE(t)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, fmt.Sprintf("kind: Server\nname: old\nspec:\n  transport: sse\n  endpoints: [{url: %q}]\n---\n", old)+
		fmt.Sprintf("kind: Server\nname: new\nspec:\n  endpoints: [{url: %q}]\n---\n", npmEverything(t)))
	calls := []any{
		map[string]any{"tool": "old-echo", "arguments": map[string]any{"message": "one of two"}},
		map[string]any{"tool": "old-trigger-sampling-request", "arguments": map[string]any{"prompt": "say something", "maxTokens": 10}},
		map[string]any{"tool": "old-trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
		map[string]any{"tool": "new-echo", "arguments": map[string]any{"message": "two of two"}},
	}
	got := typescript(t, 1, "", "http://"+p.Listen+"/mcp", c.key(t, "caller", "*"), calls)
	if len(got.Calls) != 4 || got.Error != "" || !slices.Contains(got.Asked, "sampling/createMessage") || len(got.Calls[2].Steps) == 0 {
		t.Fatalf("%+v", got)
	}
	ofOld := slices.DeleteFunc(slices.Clone(got.Tools), func(name string) bool { return !strings.HasPrefix(name, "old-") })
	if len(ofOld)*2 != len(got.Tools) {
		t.Errorf("%d tools of %d", len(ofOld), len(got.Tools))
	}
	eventually(t, shown, "the caller's session is ended", func() error {
		if out := server.output(); !strings.Contains(out, "Client Disconnected") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}
