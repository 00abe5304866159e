package request_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}`
	ready = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	ask   = `{"jsonrpc":"2.0","id":"call-1","method":"tools/call","params":{"name":"ask","arguments":{}}}`
	said  = `{"jsonrpc":"2.0","id":"ask-1","result":{"action":"accept","content":{}}}`
)

// begin opens a session and returns its id as the caller sees it.
func (g *gateway) begin(t *testing.T, path string, heads ...string) string {
	t.Helper()
	a := g.send(t, http.MethodPost, path, hello, append([]string{"Accept", "application/json, text/event-stream"}, heads...)...)
	id := a.header.Get("Mcp-Session-Id")
	if a.status != 200 || id == "" || strings.Contains(a.body, "error") {
		t.Fatalf("initialize: %d %q %s", a.status, id, a.body)
	}
	return id
}

func inSession(id string, more ...string) []string {
	return append([]string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream"}, more...)
}

// Any data plane of the fleet serves any request of a session: each of its requests goes to another one.
func TestASessionIsServedByEveryDataPlane(t *testing.T) {
	up := &mcptest.Stateful{}
	s := one(mcptest.Start(t, up).URL)
	planes, turn := []*gateway{start(t, s), start(t, s)}, 0
	next := func() *gateway { turn++; return planes[turn%2] }

	id := next().begin(t, "/up/mcp")
	if a := next().send(t, http.MethodPost, "/up/mcp", ready, inSession(id)...); a.status != 202 || a.body != "" {
		t.Fatalf("initialized: %d %s", a.status, a.body)
	}
	call := next().open(t, http.MethodPost, "/up/mcp", ask, inSession(id)...)
	defer call.Body.Close()
	events := bufio.NewReader(call.Body)
	if e := event(t, events); !strings.Contains(e, `"id":"ask-1","method":"elicitation/create"`) {
		t.Fatalf("the server's request: %s", e)
	}
	if a := next().send(t, http.MethodPost, "/up/mcp", said, inSession(id)...); a.status != 202 {
		t.Fatalf("the answer to it: %d %s", a.status, a.body)
	}
	if e := event(t, events); !strings.Contains(e, `"id":"call-1"`) || !strings.Contains(e, `answered \"ask-1\"`) {
		t.Fatalf("the call's answer: %s", e)
	}
	stream := next().open(t, http.MethodGet, "/up/mcp", "", inSession(id)...)
	defer stream.Body.Close()
	if e := event(t, bufio.NewReader(stream.Body)); !strings.Contains(e, "notifications/tools/list_changed") {
		t.Fatalf("the stream: %s", e)
	}
	if a := next().send(t, http.MethodDelete, "/up/mcp", "", inSession(id)...); a.status != 200 || up.Sessions() != 0 {
		t.Fatalf("DELETE: %d, %d sessions left", a.status, up.Sessions())
	}
	if turn != 6 {
		t.Fatalf("%d requests", turn)
	}
}

// event reads one event with its blank line; comments are left out.
func event(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v after %q", err, b.String())
		}
		if !strings.HasPrefix(line, ":") {
			b.WriteString(line)
		}
		if line == "\n" && b.Len() > 1 {
			return b.String()
		}
	}
}

func TestSessionsBelongToCallerAndEndpoint(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Stateful{})
	carol := "sk-carol-0123456789abcdef"
	g := start(t, settings{
		servers: map[string]*configv1.ServerSpec{"up": server(up.URL), "twin": server(up.URL)},
		keys:    map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"up", "twin"}}},
	})
	id := g.begin(t, "/up/mcp")
	if strings.Contains(id, "session-1") || strings.Contains(id, "c2Vzc2lvbi0") {
		t.Errorf("the id shows the upstream's: %s", id)
	}
	asked := len(up.Seen())
	for _, c := range []struct{ name, path, id, key, kind string }{
		{"another caller", "/up/mcp", id, carol, "mismatch"},
		{"another endpoint", "/twin/mcp", id, alice, "mismatch"},
		{"both", "/twin/mcp", id, carol, "mismatch"},
		{"the upstream's own id", "/up/mcp", "session-1", alice, "malformed"},
		{"a broken one", "/up/mcp", id[:len(id)-2], alice, "malformed"},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			a := g.send(t, method, c.path, list, inSession(c.id, "X-Litellm-Api-Key", c.key)...)
			want := "hop=client; phase=session; kind=" + c.kind
			if a.status != 404 || !strings.Contains(a.body, `"code":-32001`) || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), want) {
				t.Errorf("%s, %s: %d %s %s", c.name, method, a.status, a.header.Get("X-Hopgate-Error"), a.body)
			}
		}
	}
	if len(up.Seen()) != asked {
		t.Errorf("the upstream was asked %d times", len(up.Seen())-asked)
	}
	if a := g.send(t, http.MethodPost, "/mcp/up/", list, inSession(id)...); a.status != 200 {
		t.Errorf("the other spelling of the endpoint: %d %s", a.status, a.body)
	}
}

// What the upstream gets is its own id, and nothing of the caller's.
func TestSessionIdsAreTranslated(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Stateful{})
	g := start(t, one(up.URL))
	id := g.begin(t, "/up/mcp", "Mcp-Session-Id", "")
	g.send(t, http.MethodPost, "/up/mcp", list, inSession(id)...)
	seen := up.Seen()
	if got := seen[0].Header["Mcp-Session-Id"]; got != nil {
		t.Errorf("initialize went out with %v", got)
	}
	if got := seen[1].Header["Mcp-Session-Id"]; len(got) != 1 || got[0] != "session-1" {
		t.Errorf("the call went out with %v", got)
	}
}

// A session that the upstream lost is 404, whatever the upstream's words, so that the client begins anew.
func TestSessionsLostUpstreamAreTold(t *testing.T) {
	for name, body := range map[string]string{"JSON-RPC": `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"who?"}}`, "text": "gone"} {
		up := &mcptest.Stateful{}
		lost := mcptest.Status(404, map[bool]string{true: "application/json", false: "text/plain"}[name == "JSON-RPC"], body)
		s := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if mcptest.Peek(r).Method == "initialize" {
				up.ServeHTTP(w, r)
				return
			}
			lost.ServeHTTP(w, r)
		}))
		g := start(t, one(s.URL))
		id := g.begin(t, "/up/mcp")
		a := g.send(t, http.MethodPost, "/up/mcp", list, inSession(id)...)
		if a.status != 404 || a.header.Get("X-Hopgate-Error") != "hop=upstream; phase=session; kind=not_found; remote=true; upstream_status=404; server=up" {
			t.Errorf("%s: %d %s", name, a.status, a.header.Get("X-Hopgate-Error"))
		}
		if name == "JSON-RPC" && a.body != body || name == "text" && (!strings.Contains(a.body, "-32001") || strings.Contains(a.body, "gone")) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// A session id is given only with an answer that begins a session.
func TestNoSessionComesWithAFault(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Mcp-Session-Id", "s")
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"hello":"world"}`)) //nolint:errcheck // a test server
	}))
	bad := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Mcp-Session-Id", strings.Repeat("x", 3000))
		mcptest.Result(w, mcptest.Read(r), `{"protocolVersion":"2025-11-25"}`)
	}))
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"up": server(up.URL), "bad": server(bad.URL)}})
	for _, name := range []string{"up", "bad"} {
		a := g.send(t, http.MethodPost, "/"+name+"/mcp", hello, legacy...)
		if a.status != 502 || a.header.Get("Mcp-Session-Id") != "" || !strings.Contains(a.header.Get("X-Hopgate-Error"), "server="+name) {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
	}
}
