//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Two data planes behind a balancer that sends each request to the other one: a session belongs to neither.

// balanced is nginx in front of two data planes, round robin, without any affinity.
func balanced(t *testing.T) (addr string, c *control, replicas []*proxy) {
	t.Helper()
	c = startControl(t, "control", nil)
	replicas = []*proxy{startProxy(t, "proxy-1", nil, []*control{c}), startProxy(t, "proxy-2", nil, []*control{c})}
	addr = ownHost() + ":8080"
	startNginx(t, addr, fmt.Sprintf(`	upstream gateways { server %s; server %s; }
	server {
		listen %s;
		location / { proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_buffering off; proxy_read_timeout 1h; }
	}`, replicas[0].Listen, replicas[1].Listen, addr))
	return addr, c, replicas
}

func TestSessionLivesAcrossReplicasWithoutAffinity(t *testing.T) {
	addr, c, replicas := balanced(t)
	upstream := npmEverything(t)
	c.apply(t, server("everything", upstream))
	key := c.key(t, "caller", "everything")
	calls := []any{
		map[string]any{"tool": "echo", "arguments": map[string]any{"message": "across"}},
		map[string]any{"tool": "trigger-elicitation-request"},
		map[string]any{"tool": "trigger-sampling-request", "arguments": map[string]any{"prompt": "say something", "maxTokens": 10}},
		map[string]any{"tool": "get-roots-list"},
		map[string]any{"tool": "trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
	}
	direct := typescript(t, 1, "", upstream, "", calls)
	through := typescript(t, 1, "", "http://"+addr+"/everything/mcp", key, calls)
	t.Logf("asked by the server: %v, calls %d", through.Asked, len(through.Calls))
	for _, method := range []string{"elicitation/create", "sampling/createMessage", "roots/list"} {
		if !slices.Contains(through.Asked, method) {
			t.Errorf("the server's %s didn't reach the client: %+v", method, through)
		}
	}
	if a, b := sameness(direct), sameness(through); a != b || through.Error != "" {
		t.Errorf("direct  %s\nthrough %s", a, b)
	}
	shared(t, replicas)
}

// sameness is what a session must show whichever way it went. How often the reference server asks for roots, and when, is up to its own clock.
func sameness(s seen) string {
	s.Asked = slices.Compact(slices.Sorted(slices.Values(s.Asked)))
	return fmt.Sprint(readable(s))
}

// shared checks by the access lines that the session's GET, POSTs and DELETE, and a request of the server and its answer, came to different
// replicas.
func shared(t *testing.T, replicas []*proxy) {
	t.Helper()
	const asking, answer = "tools/call:trigger-elicitation-request", "POST answer"
	var one, other string
	eventually(t, shown, "the logs show that the session was shared", func() error { // each replica writes its lines when it comes to it
		one, other = served(replicas[0]), served(replicas[1])
		if strings.Contains(other, asking) {
			one, other = other, one
		}
		switch {
		case !strings.Contains(one+other, "DELETE"):
			return fmt.Errorf("the session's end isn't there:\n%s\n%s", one, other)
		case !strings.Contains(one, asking) || !strings.Contains(other, answer):
			return fmt.Errorf("the server's request and its answer didn't pass through different replicas:\n%s\n%s", one, other)
		case strings.Contains(one, "POST initialize") == strings.Contains(other, "POST initialize"), min(strings.Count(one, ","), strings.Count(other, ",")) < 3:
			return fmt.Errorf("the requests weren't shared:\n%s\n%s", one, other)
		}
		return nil
	})
	t.Logf("one replica: %s\n the other: %s", one, other)
}

var accessLine = regexp.MustCompile(`"(\w+) /everything/mcp HTTP/1.1" \d+ [\w ]+?(?: method=(\S+))? server=\S+(?: tool=(\S+))?`)

// served are the requests that a replica took, in order: "POST tools/call:echo", "GET", "POST answer", "DELETE".
func served(p *proxy) string {
	out := []string{}
	for _, m := range accessLine.FindAllStringSubmatch(p.output(), -1) {
		what := m[1]
		switch {
		case m[3] != "":
			what += " " + m[2] + ":" + m[3]
		case m[2] != "":
			what += " " + m[2]
		case what == http.MethodPost:
			what += " answer"
		}
		out = append(out, what)
	}
	return strings.Join(out, ", ")
}

func TestSessionOfAnotherCallerOrServerIsNotFound(t *testing.T) {
	addr, c, _ := balanced(t)
	upstream := npmEverything(t)
	c.apply(t, server("everything", upstream)+server("same_again", upstream))
	key, other := c.key(t, "caller", "*"), c.key(t, "other", "*")
	const revision, list = "2025-11-25", `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}`
	accept := []string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", revision}
	initialize := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`, revision)
	a, err := post("http://"+addr+"/everything/mcp", key, initialize, accept...)
	session := a.Header.Get("Mcp-Session-Id")
	if err != nil || a.Status != http.StatusOK || session == "" {
		t.Fatalf("initialize: %v %+v", err, a)
	}
	for range 4 { // on both replicas
		for _, x := range []struct {
			key, server string
			want        int
		}{{key, "everything", http.StatusOK}, {other, "everything", http.StatusNotFound}, {key, "same_again", http.StatusNotFound}} {
			a, err := post("http://"+addr+"/"+x.server+"/mcp", x.key, list, append([]string{"Mcp-Session-Id", session}, accept...)...)
			if err != nil || a.Status != x.want {
				t.Errorf("%s with a session of everything: %v, status %d, want %d: %.200s", x.server, err, a.Status, x.want, a.Body)
			}
		}
	}
}
