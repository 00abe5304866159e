package request_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// needy are calls that a session's state may matter to.
func needy(c *talker) []string {
	return []string{c.tool("1", "show", "{}"), rpc(`"two"`, "prompts/get", `{"name":"`+c.way.name("tell")+`"}`),
		rpc("3", "resources/read", `{"uri":"`+c.way.uri("urn:isbn:1")+`"}`)}
}

// A session that its server has lost, and which keeps state in them, is 404 for whatever needs it, so that the client begins anew; nothing goes on
// half alive. The next session is whole again.
func TestALostSessionIsTold(t *testing.T) {
	for _, w := range ways {
		up := linked()
		f := startFleet(t, up, func(s *settings) { s.servers["rich"].Sessions = "required" })
		c := f.join(t, w)
		for _, id := range up.Sessions() {
			up.Forget(id)
		}
		for _, body := range append(needy(c), rpc("4", "resources/subscribe", `{"uri":"`+w.uri("urn:isbn:1")+`"}`), rpc("5", "logging/setLevel", `{"level":"info"}`),
			rpc("6", "tools/list", "{}")) {
			if a := c.post(t, body); a.status != 404 || field(a.body, "error", "code") != "-32001" {
				t.Errorf("%s %s: %d %s", w.path, body, a.status, a.body)
			}
		}
		c = f.join(t, w)
		if a := c.post(t, c.tool("1", "show", "{}")); a.status != 200 || !strings.Contains(a.body, w.uri("urn:isbn:1")) {
			t.Errorf("%s, begun anew: %d %s", w.path, a.status, a.body)
		}
	}
}

// Where a server needn't keep state, its lost session costs an endpoint of several servers nothing: lists stay whole and calls go on.
func TestALostSessionCostsTheOthersNothing(t *testing.T) {
	up := linked()
	f := startFleet(t, up, func(s *settings) {
		s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	})
	c := f.join(t, ways[1])
	for _, id := range up.Sessions() {
		up.Forget(id)
	}
	for _, body := range append(needy(c), call("4", "beside-echo")) {
		if a := c.post(t, body); a.status != 200 || field(a.body, "result") == "" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if got := toolNames(t, c.post(t, list).body); !slices.Equal(got, []string{"beside-echo", "rich-show"}) {
		t.Errorf("listed %v", got)
	}
}

// All calls of a client's session are of one session at the server, on whichever data plane they come, so that what a tool keeps stays.
func TestServersKeepTheirState(t *testing.T) {
	onEveryWay(t, func() http.Handler { return linked() }, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		for range 4 {
			c.post(t, c.tool("1", "show", "{}"))
			c.post(t, rpc("2", "prompts/get", `{"name":"`+w.name("tell")+`"}`))
			c.post(t, rpc("3", "resources/read", `{"uri":"`+w.uri("urn:isbn:1")+`"}`))
		}
		sessions := map[string]int{}
		for _, method := range []string{"tools/call", "prompts/get", "resources/read", "notifications/initialized"} {
			for _, s := range heard(f.up, method) {
				sessions[s.Header.Get("Mcp-Session-Id")]++
			}
		}
		if len(sessions) != 1 || sessions["rich-1"] != 13 {
			t.Errorf("sessions: %v", sessions)
		}
	})
}

// Servers with and without sessions, and one that can't be had without, do together what each does alone.
func TestServersWithAndWithoutSessionsMix(t *testing.T) {
	f := startFleet(t, linked(), func(s *settings) {
		s.servers["free"] = server(mcptest.Start(t, &mcptest.Rich{Sessionless: true, Tools: []string{tool("echo")}}).URL)
		s.servers["down"] = server(mcptest.RefusedURL(t))
		s.servers["down"].Sessions = "required"
	})
	c := f.join(t, ways[1])
	if got := toolNames(t, c.post(t, list).body); !slices.Equal(got, []string{"beside-echo", "free-echo", "rich-show"}) {
		t.Errorf("listed %v", got)
	}
	for _, name := range []string{"beside-echo", "free-echo", "rich-show"} {
		if a := c.post(t, call("1", name)); a.status != 200 || field(a.body, "result") == "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, s := range f.beside.Seen() {
		if s.Header.Get("Mcp-Session-Id") != "" {
			t.Errorf("a session id for a server that gave none: %s", s.Body)
		}
	}
	if a := c.post(t, call("1", "down-any")); a.status != 404 || field(a.body, "error", "code") != "-32001" {
		t.Errorf("a server that keeps state, and no session of it: %d %s", a.status, a.body)
	}
	if a := c.f.next().send(t, "DELETE", "/mcp", "", "Mcp-Session-Id", c.session); a.status != 200 {
		t.Errorf("DELETE: %d %s", a.status, a.body)
	}
}

// What a session gives belongs to its caller and its endpoint: the session, the requests of servers in it, the events of its streams.
func TestSealedThingsBelongToTheirCaller(t *testing.T) {
	carol := "sk-carol-0123456789abcdef"
	up := linked()
	up.EventIDs, up.Streams = true, true
	up.Do["ask"] = func(c *mcptest.Call) { c.Ask("1", "roots/list", "{}"); c.Answer(`{"content":[]}`) }
	f := startFleet(t, up, func(s *settings) {
		s.keys = map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"*"}}}
	})
	ways := append(ways, way{"/rich,beside/mcp", "rich-", "rich"})
	for i, w := range ways {
		c := f.join(t, w)
		question := c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
		data, event := question.next(t)
		answer := `{"jsonrpc":"2.0","id":` + field(data, "id") + `,"result":{"roots":[]}}`
		before := len(f.up.Seen())
		for _, method := range []string{"POST", "GET", "DELETE"} {
			for _, body := range []string{c.tool("1", "show", "{}"), answer} {
				heads := []string{"Mcp-Session-Id", c.session, "Last-Event-Id", event, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream"}
				if a := f.next().send(t, method, w.path, body, append(heads, "X-Litellm-Api-Key", carol)...); a.status != 404 || field(a.body, "error", "code") != "-32001" {
					t.Errorf("carol, %s %s %s: %d %s", method, w.path, body, a.status, a.body)
				}
				other := ways[(i+1)%len(ways)].path
				if a := f.next().send(t, method, other, body, heads...); a.status != 404 {
					t.Errorf("%s at %s in a session of %s: %d %s", method, other, w.path, a.status, a.body)
				}
			}
		}
		// The request's id alone, in a session of carol's own, answers nothing.
		mine := f.join(t, w, "X-Litellm-Api-Key", carol)
		if w.server != "" {
			if a := mine.post(t, answer); a.status != 404 {
				t.Errorf("carol answers for alice: %d %s", a.status, a.body)
			}
		}
		for _, s := range f.up.Seen()[before:] {
			if bytes.Contains(s.Body, []byte(`"roots"`)) && s.Header.Get("Mcp-Session-Id") == "rich-1" && !bytes.Contains(s.Body, []byte("initialize")) {
				t.Errorf("it reached the server: %s", s.Body)
			}
		}
		if a := c.post(t, answer); a.status != 202 {
			t.Errorf("alice: %d %s", a.status, a.body)
		}
		question.next(t)
	}
}

// Nothing opens a session that nobody ends: not lists, discovery, calls without a client, requests that fail or are refused.
func TestNoSessionIsLeftBehind(t *testing.T) {
	for _, w := range ways {
		up := linked()
		up.Mute = true // no watch of its lists, which has a session while it lasts
		f := startFleet(t, up)
		g := f.next()
		for _, body := range []string{list, rpc("1", "prompts/list", "{}"), call("1", w.name("show")), call("1", w.name("none")), rpc("1", "no/such", "{}"), ready,
			rpc("1", "resources/read", `{"uri":"`+w.uri("urn:isbn:1")+`"}`), rpc("1", "tools/list", `{"cursor":"?"}`), rpc("1", "completion/complete", "{}"), rpc("1", "ping", "{}")} {
			g.send(t, "POST", w.path, body)
			g.send(t, "POST", w.path, body, "Host", "evil.example")
			g.send(t, "POST", w.path, body, "X-Litellm-Api-Key", "sk-nobody")
		}
		g.send(t, "POST", w.path, modernCall("server/discover", ""), modernHeads("server/discover", "")...)
		g.send(t, "POST", w.path, modernCall("tools/list", ""), modernHeads("tools/list", "")...)
		g.send(t, "GET", w.path, "")
		g.send(t, "DELETE", w.path, "")
		eventually(t, "the last session ends", func() bool { return len(up.Sessions()) == 0 })
		begun := up.Begun()
		g.send(t, "POST", w.path, greeting2511, "Host", "evil.example")
		g.send(t, "POST", w.path, greeting2511, "X-Litellm-Api-Key", "")
		if up.Begun() != begun {
			t.Errorf("%s: a session for a request that was refused", w.path)
		}
		c := f.join(t, w)
		c.post(t, list)
		c.post(t, c.tool("1", "show", "{}"))
		f.next().send(t, "DELETE", w.path, "", c.with(nil)...)
		if left := up.Sessions(); len(left) != 0 {
			t.Errorf("%s: %v are left", w.path, left)
		}
	}
}

// A session that isn't there is told in one shape: 404, and a JSON-RPC error -32001 for the request that asked.
func TestAMissingSessionHasOneShape(t *testing.T) {
	onEveryWay(t, func() http.Handler { return linked() }, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		for name, id := range map[string]string{"junk": "junk", "a stranger's": "rich-1", "broken": c.session[:len(c.session)-2] + "AA", "long": strings.Repeat("x", 5000)} {
			for method, want := range map[string]string{"POST": `"q\u0031"`, "GET": "null", "DELETE": "null"} {
				a := f.next().send(t, method, w.path, rpc(want, "tools/list", "{}"), "Mcp-Session-Id", id, "Accept", "application/json, text/event-stream")
				if a.status != 404 || a.header.Get("Content-Type") != "application/json" || field(a.body, "error", "code") != "-32001" || field(a.body, "id") != want ||
					!strings.HasPrefix(text(field(a.body, "error", "message")), "Session not found") {
					t.Errorf("%s, %s: %d %s", name, method, a.status, a.body)
				}
			}
		}
	})
}
