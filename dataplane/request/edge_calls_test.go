package request_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// A server that answers notifications by 200 without a body, or by a result, is no reason to answer them by anything but 202, for several servers
// as for one.
func TestNotificationsToSeveralAreAccepted(t *testing.T) {
	odd := func(status int, body string) string {
		return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m := mcptest.Peek(r); len(m.ID) > 0 {
				mcptest.Stateless().ServeHTTP(w, r)
				return
			}
			mcptest.Status(status, "application/json", body).ServeHTTP(w, r)
		})).URL
	}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"empty": server(odd(200, "")), "json": server(odd(200, `{"jsonrpc":"2.0","id":null,"result":{}}`)),
		"broken": server(odd(500, "oh"))}})
	id := g.join(t, "/mcp")
	for _, n := range []string{ready, `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`, `{"jsonrpc":"2.0","method":"notifications/none"}`} {
		if a := g.send(t, "POST", "/mcp", n, "Mcp-Session-Id", id); a.status != 202 || a.body != "" || a.header.Get("Content-Type") != "" {
			t.Errorf("%s: %d %q", n, a.status, a.body)
		}
	}
}

// Nobody but clients makes progress tokens, and two clients with the same one each hear of their own call alone.
func TestProgressTokensAreTheClientsOwn(t *testing.T) {
	progressing := func() http.Handler {
		return &mcptest.Rich{Streams: true, Tools: []string{tool("work")}, Do: map[string]func(c *mcptest.Call){"work": func(c *mcptest.Call) {
			c.Ask(`"go"`, "ping", "{}")
			if token := field(c.Raw, "params", "_meta", "progressToken"); token != "" {
				c.Send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":1,"message":"` +
					text(field(c.Raw, "params", "arguments", "who")) + `"}}`)
			}
			c.Answer(`{"content":[]}`)
		}}}
	}
	onEveryWay(t, progressing, func(t *testing.T, f *fleet, w way) {
		whos := []string{"ann", "ben", "without"}
		var calls []*stream
		var clients []*talker
		for _, who := range whos {
			c := f.join(t, w)
			body := strings.Replace(c.tool("1", "work", `{"who":"`+who+`"}`), `"params":{`, `"params":{"_meta":{"progressToken":"same"},`, 1)
			if who == "without" {
				body = c.tool("1", "work", `{"who":"without"}`)
			}
			calls, clients = append(calls, c.open(t, http.MethodPost, body)), append(clients, c)
		}
		for i, call := range calls { // all are under way
			data, _ := call.next(t)
			if a := clients[i].post(t, `{"jsonrpc":"2.0","id":`+field(data, "id")+`,"result":{}}`); a.status != 202 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for i, call := range calls {
			rest := call.rest()
			if (strings.Contains(rest, `"progressToken":"same"`) && strings.Contains(rest, `"message":"`+whos[i]+`"`)) != (i < 2) || strings.Count(rest, "data:") != 2-i/2 {
				t.Errorf("%s heard %s", whos[i], rest)
			}
		}
		for _, s := range f.up.Seen() {
			if body := string(s.Body); strings.Contains(body, "progressToken") && !strings.Contains(body, `"ann"`) && !strings.Contains(body, `"ben"`) {
				t.Errorf("an invented token: %s", s.Body)
			}
		}
	})
}

// A cancellation reaches the call it means, in its client's session, and no call of another client with the same id.
func TestCancellationsFindTheirCall(t *testing.T) {
	waiting := func() http.Handler {
		return &mcptest.Rich{Streams: true, Tools: []string{tool("wait")}, Do: map[string]func(c *mcptest.Call){"wait": func(c *mcptest.Call) {
			c.Send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"begun"}}`)
			<-c.Cancelled()
			c.Answer(mcptest.Text("cancelled"))
		}}}
	}
	onEveryWay(t, waiting, func(t *testing.T, f *fleet, w way) {
		ann, ben := f.join(t, w), f.join(t, w)
		id := `"5"`
		a, b := ann.open(t, http.MethodPost, ann.tool(id, "wait", "{}")), ben.open(t, http.MethodPost, ben.tool(id, "wait", "{}"))
		a.next(t)
		b.next(t)
		cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"5","reason":"9007199254740993"}}`
		ann.post(t, cancel)
		if data, _ := a.next(t); !strings.Contains(data, "cancelled") || field(data, "id") != id {
			t.Errorf("ann's call: %s", data)
		}
		sessions := map[string]int{}
		for _, s := range heard(f.up, "notifications/cancelled") {
			sessions[s.Header.Get("Mcp-Session-Id")]++
			if field(string(s.Body), "params", "requestId") != id || !strings.Contains(string(s.Body), "9007199254740993") {
				t.Errorf("the cancellation: %s", s.Body)
			}
		}
		if len(sessions) != 1 {
			t.Errorf("cancelled in %v", sessions)
		}
		ben.post(t, cancel)
		if data, _ := b.next(t); !strings.Contains(data, "cancelled") {
			t.Errorf("ben's call: %s", data)
		}
	})
}

// A server that takes back a request of its own names it as the client knows it.
func TestServersTakeTheirRequestsBack(t *testing.T) {
	regretting := func() http.Handler {
		return &mcptest.Rich{Streams: true, Tools: []string{tool("ask")}, Do: map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
			c.Send(`{"jsonrpc":"2.0","id":4,"method":"sampling/createMessage","params":{}}`)
			c.Send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}`)
			c.Answer(`{"content":[]}`)
		}}}
	}
	onEveryWay(t, regretting, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		call := c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
		request, _ := call.next(t)
		back, _ := call.next(t)
		if field(request, "id") != field(back, "params", "requestId") {
			t.Errorf("a client can't tell that %s is taken back by %s", field(request, "id"), back)
		}
	})
}

// What a tool answers is the client's to validate: results that break their schema, errors with structured content, unknown kinds of content pass.
func TestResultsArentJudged(t *testing.T) {
	results := []string{
		`{"isError":true,"content":[{"type":"text","text":"no"}],"structuredContent":{"code":7}}`,
		`{"content":[],"structuredContent":{"n":"not a number"}}`, `{"content":[{"type":"hologram","x":[1]}]}`, `{"content":[]}`,
		`{"isError":true,"content":[]}`, `{"structuredContent":[1,2]}`, `{}`}
	var next int
	odd := func() http.Handler {
		next = 0
		return &mcptest.Rich{Tools: []string{`{"name":"odd","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}}`},
			Do: map[string]func(c *mcptest.Call){"odd": func(c *mcptest.Call) { c.Answer(results[next]) }}}
	}
	onEveryWay(t, odd, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		c.post(t, list)
		for next = range results {
			if a := c.post(t, c.tool("1", "odd", "{}")); field(a.body, "result") != results[next] {
				t.Errorf("%s came as %d %s", results[next], a.status, a.body)
			}
		}
	})
}

// Who leaves a call of 2026-07-28 cancels it: the server sees its stream end.
func TestLeavingCancelsTheCall(t *testing.T) {
	up, begun, left := hanging(t, "event")
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(up.URL)}})
	for _, w := range ways {
		c := &talker{f: &fleet{planes: []*gateway{g}}, way: w}
		call := c.open(t, "POST", modernCall("tools/call", `"name":"`+w.name("x")+`"`), modernHeads("tools/call", w.name("x"))...)
		<-begun
		call.next(t)
		call.Body.Close()
		select {
		case <-left:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the server goes on", w.path)
		}
	}
}
