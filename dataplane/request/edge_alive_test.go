package request_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Many a server has no GET at all, and its web framework says 404 to it: that tells nothing of its session.
func TestAStreamThatIsNotThereIsNoLostSession(t *testing.T) {
	posts := func(s *settings) {
		keeper := &mcptest.Stateful{}
		s.servers["posts"] = server(mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				http.Error(w, "Cannot GET /mcp", http.StatusNotFound)
				return
			}
			keeper.ServeHTTP(w, r)
		})).URL)
	}
	needed := func(s *settings) { posts(s); s.servers["posts"].Sessions = "required" }
	for name, with := range map[string]func(*settings){"another will do": posts, "needed": needed} {
		f, rich, other, _ := keepers(t, with)
		c := f.join(t, ways[1])
		forget(rich)
		forget(other)
		if stream := c.open(t, http.MethodGet, ""); stream.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, stream.Status)
		}
	}
}

// What a caller narrows its endpoint to doesn't say what its session holds: a part that one request leaves out lives on.
func TestAPartThatIsLeftOutLives(t *testing.T) {
	f, rich, _, _ := keepers(t)
	c := f.join(t, ways[1])
	forget(rich)
	g := f.next()
	narrow := c.with([]string{"X-Mcp-Servers", "rich"})
	for what, body := range map[string]string{"a call": call("1", "rich-show"), "a list": list} {
		if a := g.send(t, "POST", "/mcp", body, narrow...); a.status != 200 || field(a.body, "result") == "" {
			t.Errorf("%s, narrowed to a server that has lost its part: %d %s", what, a.status, a.body)
		}
	}
	if a := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, narrow...); a.status != 202 {
		t.Errorf("a notification: %d %s", a.status, a.body)
	}
	if a := g.send(t, "POST", "/mcp", call("2", "rich-show"), c.with(nil)...); a.status != 200 {
		t.Errorf("not narrowed any more: %d %s", a.status, a.body)
	}
}

// Some servers answer 404 with the error for an unknown method in revisions that have no such status: they know the session all the same.
func TestAnUnknownMethodIsNoLostSession(t *testing.T) {
	unknown := func(up http.Handler, method string) string {
		return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m := mcptest.Peek(r); m.Method == method {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`)
				return
			}
			up.ServeHTTP(w, r)
		})).URL
	}
	rich, other := &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}, &mcptest.Rich{Mute: true}
	f := startFleet(t, rich, func(s *settings) { s.servers["other"] = server(unknown(other, "ping")) })
	c := f.join(t, ways[1])
	forget(rich)
	if a := c.post(t, call("1", "rich-show")); a.status != 200 || field(a.body, "result") == "" {
		t.Errorf("ping: %d %s", a.status, a.body)
	}
	one := &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}
	f = startFleet(t, one, func(s *settings) { s.servers["rich"] = server(unknown(one, "prompts/get")) })
	c = f.join(t, ways[1])
	begun := one.Begun()
	if a := c.post(t, rpc("1", "prompts/get", `{"name":"rich-tell"}`)); a.status != http.StatusOK || field(a.body, "error", "code") != "-32601" {
		t.Errorf("a method that isn't there: %d %s", a.status, a.body)
	}
	if one.Begun() != begun {
		t.Error("a session was begun for what the server doesn't have")
	}
	f = startFleet(t, one, func(s *settings) { s.servers["rich"] = server(unknown(one, "prompts/list")) })
	if a := f.join(t, ways[1]).post(t, rpc("1", "prompts/list", "{}")); a.status != http.StatusOK || !strings.Contains(a.body, `"rich":{"status":"ok"}`) {
		t.Errorf("a list that isn't there: %d %s", a.status, a.body)
	}
}

// A session is ended whole: the header that narrows what a request is about leaves no server with a session that nobody ends.
func TestANarrowedDeleteEndsAll(t *testing.T) {
	one, other := &mcptest.Rich{Mute: true}, &mcptest.Rich{Mute: true}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"one": server(mcptest.Start(t, one).URL), "other": server(mcptest.Start(t, other).URL)}})
	id := g.join(t, "/mcp")
	if a := g.send(t, "DELETE", "/mcp", "", "Mcp-Session-Id", id, "X-Mcp-Servers", "one"); a.status != 200 || len(one.Sessions())+len(other.Sessions()) != 0 {
		t.Errorf("%d, left: %v %v", a.status, one.Sessions(), other.Sessions())
	}
}
