package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func rich() http.Handler { return &mcptest.Rich{Tools: []string{tool("echo")}} }

// Ids come back with their type and in their spelling, whoever answers: the server, or the gateway for several.
func TestIDsKeepTypeAndSpelling(t *testing.T) {
	onEveryWay(t, rich, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		for _, id := range []string{`1`, `"1"`, `-7`, `9007199254740993`, `18446744073709551617`, `"a\u0062/é"`, `"9007199254740993"`, `""`} {
			for _, body := range []string{c.tool(id, "echo", "{}"), c.tool(id, "nope/é", "{}"), rpc(id, "tools/list", "{}"), rpc(id, "ping", "{}"),
				rpc(id, "logging/setLevel", `{"level":"info"}`), rpc(id, "no/such", "{}"), rpc(id, "tools/list", `{"cursor":"?"}`)} {
				a := c.post(t, body)
				if got := field(a.body, "id"); got != id {
					t.Errorf("%s came back as %s: %d %s", body, got, a.status, a.body)
				}
			}
		}
		for _, s := range heard(f.up, "tools/call") {
			if id := field(string(s.Body), "id"); !strings.Contains(`1 "1" -7 9007199254740993 18446744073709551617 "a\u0062/é" "9007199254740993" ""`, id) {
				t.Errorf("a call went out as %s", id)
			}
		}
	})
}

// The id of a server's own request is the same to that server when the client answers, also where the client saw another.
func TestIDsOfServersComeBackAsTheyWere(t *testing.T) {
	ids := []string{`7`, `"7"`, `9007199254740993`, `"x\u0062é"`, `-1`}
	asking := func() http.Handler {
		return &mcptest.Rich{Streams: true, Tools: []string{tool("ask")}, Do: map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
			for _, id := range ids {
				c.Ask(id, "roots/list", "{}")
			}
			c.Answer(`{"content":[]}`)
		}}}
	}
	onEveryWay(t, asking, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		call := c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
		for _, id := range ids {
			data, _ := call.next(t)
			if a := c.post(t, `{"id":`+field(data, "id")+`,"result":{"roots":[]},"jsonrpc":"2.0"}`); a.status != 202 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			f.up.Await(t, "the answer to "+id, holds(`{"id":`+id+`,"result":{"roots":[]},"jsonrpc":"2.0"}`))
		}
		if data, _ := call.next(t); field(data, "id") != "1" {
			t.Errorf("answer: %s", data)
		}
	})
}

// Numbers that no double holds survive, in lists, arguments, results and what the client says of itself.
func TestNumbersSurvive(t *testing.T) {
	const n = `{"big":9007199254740993,"exp":1.0e+400,"zero":-0,"frac":0.10}`
	item := `{"name":"count","inputSchema":{"type":"object","default":` + n + `},"x":` + n + `}`
	counting := func() http.Handler {
		return &mcptest.Rich{Tools: []string{item}, Do: map[string]func(c *mcptest.Call){"count": func(c *mcptest.Call) {
			c.Answer(`{"content":[],"structuredContent":` + n + `}`)
		}}}
	}
	onEveryWay(t, counting, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		if a := c.post(t, list); strings.Count(a.body, n) != 2 {
			t.Errorf("listed: %s", a.body)
		}
		if a := c.post(t, c.tool("1", "count", n)); !strings.Contains(a.body, n) {
			t.Errorf("result: %s", a.body)
		}
		if got := field(string(heard(f.up, "tools/call")[0].Body), "params", "arguments"); got != n {
			t.Errorf("arguments: %s", got)
		}
		if got := field(string(heard(f.up, "initialize")[0].Body), "params", "capabilities"); got != able {
			t.Errorf("capabilities: %s", got)
		}
	})
}

// An event may be as long as an answer: no line limit of a scanner is in the way.
func TestLongEventsPass(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	telling := func() http.Handler {
		return &mcptest.Rich{Streams: true, Tools: []string{tool("long")}, Do: map[string]func(c *mcptest.Call){"long": func(c *mcptest.Call) {
			c.Send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + long + `"}}`)
			c.Answer(mcptest.Text(long))
		}}}
	}
	onEveryWay(t, telling, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		call := c.open(t, http.MethodPost, c.tool("1", "long", "{}"))
		for _, want := range []string{"notifications/message", `"id":1`} {
			if data, _ := call.next(t); len(data) < len(long) || !strings.Contains(data, want) {
				t.Errorf("%d bytes: %.100s", len(data), data)
			}
		}
		a := c.post(t, c.tool("2", "long", "{}"), "Accept", "application/json")
		if len(a.body) < len(long) || field(a.body, "id") != "2" {
			t.Errorf("as JSON: %d %.200s", len(a.body), a.body)
		}
	})
}

// Every event with a message that the gateway makes itself, or makes anew, names its type: some clients drop those without. A server that names
// none is understood all the same.
func TestEventsOfTheGatewayNameTheirType(t *testing.T) {
	greeted := func(then http.Handler) string {
		return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m := mcptest.Peek(r); m.Method == "tools/call" {
				then.ServeHTTP(w, r)
				return
			}
			mcptest.Stateless().ServeHTTP(w, r)
		})).URL
	}
	bare := greeted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Write([]byte("data: " + mcptest.Answer(mcptest.Read(r), mcptest.Text("bare")) + "\n\n")) //nolint:errcheck // a test server
	}))
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"bare": server(bare), "cut": server(greeted(mcptest.Cut(false)))}})
	for _, c := range []struct{ path, tool string }{{"/bare/mcp", "t"}, {"/mcp", "bare-t"}} {
		a := g.send(t, "POST", c.path, call("1", c.tool), legacy...)
		if !strings.Contains(a.body, `"id":1`) || !strings.Contains(a.body, "bare") {
			t.Errorf("%s: %d %q", c.path, a.status, a.body)
		}
		if a := g.send(t, "POST", c.path, call("1", c.tool), "Accept", "application/json"); a.status != 200 || field(a.body, "id") != "1" {
			t.Errorf("%s as JSON: %d %q", c.path, a.status, a.body)
		}
	}
	for _, c := range []struct{ path, tool string }{{"/cut/mcp", "t"}, {"/mcp", "cut-t"}} {
		a := g.send(t, "POST", c.path, call("1", c.tool), legacy...)
		last := a.body[strings.LastIndex(strings.TrimRight(a.body, "\n"), "\n\n")+2:]
		if !strings.HasPrefix(last, "event: message\n") || !strings.Contains(last, `"error"`) {
			t.Errorf("%s: %q", c.path, a.body)
		}
	}
}
