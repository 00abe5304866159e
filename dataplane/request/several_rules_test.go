package request_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
)

// withRich is settings with a server "rich" and a plain one; the returned upstream is rich's.
func withRich(t testing.TB, rich http.Handler, more ...func(*configv1.ServerSpec)) (settings, *mcptest.Upstream) {
	t.Helper()
	a, b := mcptest.Start(t, rich), mcptest.Start(t, mcptest.Stateless())
	s := settings{servers: map[string]*configv1.ServerSpec{"rich": server(a.URL), "plain": server(b.URL)}}
	for _, m := range more {
		m(s.servers["rich"])
	}
	return s, a
}

func modernly(method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

// The caller's own Authorization goes to a server only where the URL names that server alone, whatever its config says.
func TestAuthorizationIsNotPassedThroughEndpointsOfSeveral(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.servers["up"].Auth = &configv1.Auth{Type: "passthrough"}
	g := start(t, s)
	for _, body := range []string{call("1", "up-echo"), list, greeting} {
		g.send(t, "POST", "/mcp", body, "Authorization", "Bearer upstream-token-0123456789")
	}
	for _, seen := range up.Seen() {
		if v := seen.Header.Get("Authorization"); v != "" {
			t.Errorf("the server was sent %q with %s", v, seen.Body)
		}
	}
}

// A limit that is reached is told as such, also where no one server is meant.
func TestLimitsHoldForWhatIsAboutSeveral(t *testing.T) {
	dave := "sk-dave-0123456789abcdef"
	s, _ := withRich(t, &mcptest.Rich{})
	s.keys = map[string]*configv1.ApiKeySpec{"dave": {Sha256: digest(dave), Servers: []string{"*"}, Limits: &configv1.CallLimits{Rate: "2/h"}}}
	g := start(t, s)
	for i, want := range []int{200, 429, 429} {
		if a := g.send(t, "POST", "/mcp", list, "X-Litellm-Api-Key", dave); a.status != want || strings.Contains(a.body, "defect") {
			t.Errorf("request %d: %d %s", i+1, a.status, a.body)
		}
	}
}

// A session that one server has lost costs nothing but that server's state: where its config doesn't forbid it, it is asked in one of its own,
// which is ended. What needs the lost one is told, so that the client begins anew.
func TestAServerThatLostItsSessionIsAskedInAnother(t *testing.T) {
	up := &mcptest.Rich{Mute: true, Tools: []string{`{"name":"show","inputSchema":{"type":"object"}}`}, Prompts: []string{`{"name":"tell"}`}}
	s, seen := withRich(t, up)
	s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	g := start(t, s)
	id := g.join(t, "/mcp")
	for _, lost := range up.Sessions() {
		up.Forget(lost)
	}
	heads := []string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-06-18"}
	if a := g.send(t, "POST", "/mcp", list, heads...); a.status != 200 || !slices.Contains(toolNames(t, a.body), "rich-show") {
		t.Errorf("list: %d %s", a.status, a.body)
	}
	for _, body := range []string{call("7", "rich-show"), `{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"rich-tell"}}`} {
		if a := g.send(t, "POST", "/mcp", body, heads...); a.status != 200 || !strings.Contains(a.body, `"id":7`) || !strings.Contains(a.body, `"result"`) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := g.send(t, "POST", "/mcp", call("8", "plain-echo"), heads...); a.status != 200 {
		t.Errorf("the other server: %d %s", a.status, a.body)
	}
	subscribe := `{"jsonrpc":"2.0","id":9,"method":"resources/subscribe","params":{"uri":"` + exposed.WrapURI("rich", "x://y") + `"}}`
	if a := g.send(t, "POST", "/mcp", subscribe, heads...); a.status != 404 || !strings.Contains(a.body, "-32001") {
		t.Errorf("a subscription in a session that nobody holds: %d %s", a.status, a.body)
	}
	calls := 0
	for _, r := range seen.Seen() {
		if strings.Contains(string(r.Body), `"tools/call"`) {
			calls++
		}
	}
	if calls != 2 {
		t.Errorf("calls: %d", calls)
	}
	eventually(t, "the last session ends", func() bool { return len(up.Sessions()) == 0 })
}

// Where a server keeps state in its sessions, a lost one is 404 for the whole, whatever is asked of it.
func TestAServerThatNeedsItsSessionIsNotAskedInAnother(t *testing.T) {
	up := &mcptest.Rich{Mute: true, Tools: []string{`{"name":"show","inputSchema":{"type":"object"}}`}}
	s, _ := withRich(t, up, func(s *configv1.ServerSpec) { s.Sessions = "required" })
	g := start(t, s)
	id := g.join(t, "/mcp")
	for _, lost := range up.Sessions() {
		up.Forget(lost)
	}
	for _, body := range []string{call("1", "rich-show"), list, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`} {
		a := g.send(t, "POST", "/mcp", body, "Mcp-Session-Id", id)
		if a.status != 404 || !strings.Contains(a.body, "-32001") {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

// An answer that comes after the session of the one call has ended reaches nobody, and costs the caller's own session nothing.
func TestALateAnswerIsTaken(t *testing.T) {
	asked := make(chan string, 1)
	up := &mcptest.Rich{Streams: true, Mute: true, Tools: []string{`{"name":"ask","inputSchema":{"type":"object"}}`}}
	up.Do = map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
		c.Send(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
		c.Answer(`{"content":[]}`)
		asked <- ""
	}}
	s, _ := withRich(t, up)
	s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	g := start(t, s)
	id := g.join(t, "/mcp")
	for _, lost := range up.Sessions() {
		up.Forget(lost)
	}
	heads := []string{"Mcp-Session-Id", id, "Accept", "application/json, text/event-stream"}
	a := g.send(t, "POST", "/mcp", call("1", "rich-ask"), heads...)
	<-asked
	_, rest, ok := strings.Cut(a.body, `"id":"`)
	question, _, _ := strings.Cut(rest, `"`)
	if a.status != 200 || !ok || question == "q" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":"`+question+`","result":{"roots":[]}}`, heads...); a.status != 202 {
		t.Errorf("late: %d %s", a.status, a.body)
	}
}

// A gateway credential leaves by no header that the caller can fill, whether one server is asked or several.
func TestFanOutsLeakNoCredential(t *testing.T) {
	s, up := withRich(t, &mcptest.Rich{})
	g := start(t, s)
	id := g.join(t, "/mcp")
	before := len(up.Seen())
	trace := []string{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate", alice, "Mcp-Session-Id", id}
	for method, bodies := range map[string][]string{
		"POST":   {list, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`, ready},
		"DELETE": {""}, "GET": {""},
	} {
		for _, body := range bodies {
			a := answer{}
			res := g.open(t, method, "/mcp", body, trace...)
			if a.header, a.status = res.Header, res.StatusCode; a.status >= 400 {
				all, _ := io.ReadAll(res.Body) //nolint:errcheck // a test
				a.body = string(all)
			}
			res.Body.Close()
			if !strings.Contains(a.header.Get("X-Hopgate-Error"), "credential_leak") {
				t.Errorf("%s %s: %d %s", method, body, a.status, a.body)
			}
		}
	}
	if a := g.send(t, "POST", "/mcp", modernly("server/discover", ""), append(trace[:4:4], "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "server/discover")...); a.status != 403 {
		t.Errorf("discover: %d %s", a.status, a.body)
	}
	for _, r := range up.Seen()[before:] {
		if strings.Contains(fmt.Sprint(r.Header), alice) {
			t.Errorf("the server was sent %v", r.Header)
		}
	}
}

// Requests of ours in a session of the caller's have ids that no other one in it has at that time.
func TestIDsOfOurOwnAreUnique(t *testing.T) {
	s, up := withRich(t, &mcptest.Rich{Mute: true, Tools: []string{`{"name":"a"}`, `{"name":"b"}`}, PageSize: 1})
	g := start(t, s)
	id := g.join(t, "/mcp")
	var all sync.WaitGroup
	for _, method := range []string{"tools/list", "prompts/list", "resources/list"} {
		all.Go(func() {
			g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`, "Mcp-Session-Id", id)
		})
	}
	all.Wait()
	seen := map[string]int{}
	for _, r := range up.Seen() {
		if strings.Contains(string(r.Body), `/list"`) && !strings.Contains(string(r.Body), "notifications/") {
			seen[field(string(r.Body), "id")]++
		}
	}
	if len(seen) != 4 {
		t.Errorf("ids of four requests: %v", seen)
	}
}

// Revision 2026-07-28 has none of these: 404 and -32601, or 405.
func TestWhatModernEndpointsDontHave(t *testing.T) {
	s, _ := withRich(t, &mcptest.RichModern{})
	g := start(t, s)
	for _, method := range []string{"ping", "initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"} {
		a := g.send(t, "POST", "/mcp", modernly(method, `"level":"info","uri":"x://y"`), "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method)
		if a.status != 404 || !strings.Contains(a.body, "-32601") || !strings.Contains(a.body, `"id":1`) {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if a := g.send(t, method, "/mcp", "", "Mcp-Protocol-Version", "2026-07-28"); a.status != 405 || a.header.Get("Allow") != "POST" {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
	}
	if a := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`); a.status != 200 || !strings.Contains(a.body, "-32601") {
		t.Errorf("server/discover without a revision: %d %s", a.status, a.body)
	}
}

// What goes to several servers bears our trace context in the body as in the header.
func TestTheTraceOfFanOutsIsOne(t *testing.T) {
	s, up := withRich(t, &mcptest.Rich{})
	g := start(t, s)
	id := g.join(t, "/mcp")
	parent := `"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
	g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info",`+parent+`}}`, "Mcp-Session-Id", id)
	g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{`+parent+`}}`, "Mcp-Session-Id", id)
	for _, r := range up.Seen() {
		if body := string(r.Body); strings.Contains(body, "setLevel") || strings.Contains(body, "roots/list_changed") {
			if !strings.Contains(body, r.Header.Get("Traceparent")) || !strings.Contains(body, "0af7651916cd43dd8448eb211c80319c") {
				t.Errorf("header %s, body %s", r.Header.Get("Traceparent"), body)
			}
		}
	}
}

// telling is a server of one session whose standalone stream says what it is told to say, and then stays silent.
func telling(events ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch m := mcptest.Peek(r); {
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "text/event-stream")
			for _, e := range events {
				mcptest.Event(w, "", e)
			}
			<-r.Context().Done()
		case m.Method == "initialize":
			w.Header().Set("Mcp-Session-Id", "s")
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"t","version":"1"}}`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	})
}

// What one server says that can't be told on costs nobody else his stream.
func TestAnEventThatCannotPassEndsNoStream(t *testing.T) {
	s, _ := withRich(t, telling(`{"jsonrpc":"2.0","id":"`+strings.Repeat("x", 2000)+`","method":"roots/list"}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"after"}}`))
	g := start(t, s)
	id := g.join(t, "/mcp")
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	if got := nextData(t, bufio.NewReader(stream.Body)); !strings.Contains(got, `"after"`) {
		t.Errorf("%s", got)
	}
}

// What is acknowledged is what somebody listens to.
func TestOnlyWhatIsListenedToIsAcknowledged(t *testing.T) {
	s, up := withRich(t, &mcptest.RichModern{})
	s.servers["plain"].Protocol = "legacy"
	g := start(t, s)
	uri := exposed.WrapURI("rich", "x://y")
	body := modernly("subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["`+uri+`","x://nobodys","`+exposed.WrapURI("stranger", "x://y")+`"]}`)
	stream := g.open(t, "POST", "/mcp", body, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen", "Accept", "application/json, text/event-stream")
	defer stream.Body.Close()
	got := nextData(t, bufio.NewReader(stream.Body))
	if uris := field(got, "params", "notifications", "resourceSubscriptions"); uris != `["`+uri+`"]` || field(got, "params", "notifications", "toolsListChanged") != "true" {
		t.Errorf("%s", got)
	}
	if asked := string(up.Await(t, "listen", holds("subscriptions/listen")).Body); !strings.Contains(asked, `["x://y"]`) {
		t.Errorf("the server was asked %s", asked)
	}
}

// What a server told while its stream was broken nobody knows: the caller is told to look again.
func TestAGapIsToldToWhoListens(t *testing.T) {
	var opened atomic.Int32
	rich := &mcptest.RichModern{}
	s, _ := withRich(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mcptest.Peek(r).Method == "subscriptions/listen" && opened.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		rich.ServeHTTP(w, r)
	}))
	delete(s.servers, "plain")
	g := start(t, s)
	body := modernly("subscriptions/listen", `"notifications":{"toolsListChanged":true}`)
	stream := g.open(t, "POST", "/mcp", body, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen", "Accept", "application/json, text/event-stream")
	defer stream.Body.Close()
	events := bufio.NewReader(stream.Body)
	nextData(t, events)
	if got := nextData(t, events); field(got, "method") != `notifications/tools/list_changed` && text(field(got, "method")) != "notifications/tools/list_changed" ||
		field(got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != "1" {
		t.Errorf("%s", got)
	}
}

// An answer to what nobody asked is the client's mistake, and no reason to begin a session anew.
func TestAnAnswerToNothingLosesNoSession(t *testing.T) {
	s, up := withRich(t, &mcptest.Rich{})
	g := start(t, s)
	id := g.join(t, "/mcp")
	before := len(up.Seen())
	for _, raw := range []string{`7`, `"q"`, `null`} {
		if a := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":`+raw+`,"result":{}}`, "Mcp-Session-Id", id); a.status != 400 || strings.Contains(a.body, "-32001") {
			t.Errorf("%s: %d %s", raw, a.status, a.body)
		}
	}
	if now := len(up.Seen()); now != before {
		t.Errorf("%d requests reached the server", now-before)
	}
}

// A stream of a session that ends with its call can't be come back to, so its events promise nothing.
func TestAStreamOfOneCallHasNoPlaces(t *testing.T) {
	up := &mcptest.Rich{Streams: true, EventIDs: true, Mute: true, Tools: []string{`{"name":"show","inputSchema":{"type":"object"}}`}}
	s, _ := withRich(t, up)
	s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	g := start(t, s)
	id := g.join(t, "/mcp")
	accept := []string{"Accept", "application/json, text/event-stream", "Mcp-Session-Id", id}
	if a := g.send(t, "POST", "/mcp", call("1", "rich-show"), accept...); !strings.Contains(a.body, "id: ") {
		t.Errorf("in the caller's session: %s", a.body)
	}
	for _, lost := range up.Sessions() {
		up.Forget(lost)
	}
	if a := g.send(t, "POST", "/mcp", call("2", "rich-show"), accept...); a.status != 200 || !strings.Contains(a.body, `"result"`) || strings.Contains(a.body, "id: ") {
		t.Errorf("in one of its own: %d %s", a.status, a.body)
	}
}

// A session is with an instance. When that isn't one of the server any more, the session is lost with it.
func TestASessionOfAnInstanceThatIsGoneIsLost(t *testing.T) {
	up := &mcptest.Rich{Mute: true, Tools: []string{`{"name":"show","inputSchema":{"type":"object"}}`}}
	a, b := mcptest.Start(t, up), mcptest.Start(t, up)
	s := settings{servers: map[string]*configv1.ServerSpec{"rich": {Endpoints: []*configv1.Endpoint{{Url: a.URL}, {Url: b.URL}}}}}
	s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	g := start(t, s)
	id := g.join(t, "/mcp")
	went, left := a, b.URL
	if len(b.Seen()) > 0 {
		went, left = b, a.URL
	}
	s.servers["rich"] = server(left)
	g.holder.Store(compiled(t, s))
	before := len(went.Seen())
	for _, body := range []string{call("1", "rich-show"), list} {
		if a := g.send(t, "POST", "/mcp", body, "Mcp-Session-Id", id); a.status != 200 || !strings.Contains(a.body, "show") {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if now := len(went.Seen()); now != before {
		t.Errorf("%d requests to what isn't configured any more", now-before)
	}
}

// Whose name was cut to fit is found in the server's list. When that can't be had, it is told as what failed, and the server isn't called by a name
// that it never had.
func TestACutNameWithoutAList(t *testing.T) {
	long := strings.Repeat("a_long_name_", 8)
	up := &mcptest.Rich{Mute: true, Tools: []string{tool(long)}, Prompts: []string{`{"name":"` + long + `"}`}}
	var broken atomic.Bool
	s, seen := withRich(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := mcptest.Peek(r); broken.Load() && strings.HasSuffix(m.Method, "/list") {
			mcptest.Refuse(w, m, http.StatusOK, -32603, "null")
			return
		}
		up.ServeHTTP(w, r)
	}))
	for {
		g := start(t, s)
		id := g.join(t, "/mcp")
		before, was := len(seen.Seen()), broken.Load()
		for _, body := range []string{call("1", exposed.Expose("rich", long)), `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"` + exposed.Expose("rich", long) + `"}}`} {
			a := g.send(t, "POST", "/mcp", body, "Mcp-Session-Id", id)
			if found := strings.Contains(a.body, `"result"`); found == was || was && !strings.Contains(a.header.Get("X-Hopgate-Error"), "hop=upstream") {
				t.Errorf("list broken: %v: %d %v %s", was, a.status, a.header["X-Hopgate-Error"], a.body)
			}
		}
		for _, r := range seen.Seen()[before:] {
			if body := string(r.Body); strings.Contains(body, `"params":{"name"`) && !strings.Contains(body, long) || was && strings.Contains(body, "tools/call") {
				t.Errorf("list broken: %v: the server was asked for %s", was, body)
			}
		}
		if was {
			return
		}
		broken.Store(true)
	}
}
