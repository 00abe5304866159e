package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
)

// Each server hears the revision it has agreed to, whatever the client said to the others.
func TestEachServerHearsTheRevisionItAgreedTo(t *testing.T) {
	june := mcptest.Start(t, &mcptest.Rich{Revision: "2025-06-18", Sessionless: true, Tools: []string{tool("echo")}})
	f := startFleet(t, &mcptest.Rich{Revision: "2025-03-26", Tools: []string{tool("echo")}, Prompts: []string{`{"name":"p"}`}},
		func(s *settings) { s.servers["june"] = server(june.URL) })
	c := f.join(t, ways[1])
	get := c.open(t, http.MethodGet, "")
	for _, body := range []string{list, rpc("1", "prompts/list", "{}"), call("1", "rich-echo"), call("1", "june-echo"), call("1", "beside-echo"),
		rpc("1", "logging/setLevel", `{"level":"info"}`), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`} {
		c.post(t, body)
	}
	get.Body.Close()
	f.next().send(t, "DELETE", "/mcp", "", c.with(nil)...)
	for want, up := range map[string]*mcptest.Upstream{"2025-03-26": f.up, "2025-06-18": june, "2025-11-25": f.beside} {
		if len(up.Seen()) < 4 {
			t.Errorf("%s: %d requests", want, len(up.Seen()))
		}
		for _, s := range up.Seen() {
			got := s.Header.Get("Mcp-Protocol-Version")
			if strings.Contains(string(s.Body), `"initialize"`) {
				if got != "" {
					t.Errorf("initialize went out with %s", got)
				}
				continue
			}
			if got != want {
				t.Errorf("%s %s heard %q instead of %q", s.Method, s.Body, got, want)
			}
		}
	}
}

// A server that answers with another revision than was offered is taken at its word: the client sees that one, and repeats it.
func TestTheAgreementIsTheServersWord(t *testing.T) {
	f := startFleet(t, &mcptest.Rich{Revision: "2025-06-18"})
	a := f.next().send(t, "POST", "/rich/mcp", greeting2511)
	if field(a.body, "result", "protocolVersion") != `"2025-06-18"` {
		t.Errorf("%s", a.body)
	}
	a = f.next().send(t, "POST", "/rich/mcp", list, "Mcp-Session-Id", a.header.Get("Mcp-Session-Id"), "Mcp-Protocol-Version", "2025-06-18")
	if got := heard(f.up, "tools/list")[0].Header.Get("Mcp-Protocol-Version"); a.status != 200 || got != "2025-06-18" {
		t.Errorf("%d %q", a.status, got)
	}
	for offer, want := range map[string]string{"2025-03-26": "2025-03-26", "2026-07-28": "2025-11-25", "1999-01-01": "2025-11-25", "2025-06-18": "2025-06-18"} {
		a := f.next().send(t, "POST", "/mcp", strings.Replace(greeting2511, "2025-11-25", offer, 1))
		if got := text(field(a.body, "result", "protocolVersion")); got != want {
			t.Errorf("of several, offered %s: %q %s", offer, got, a.body)
		}
	}
}

// Discovery promises 2026-07-28 only where every server speaks it, and then lists say how long they hold and for whom, and changes can be
// listened to.
func TestDiscoveryPromisesWhatIsThere(t *testing.T) {
	modern := func() *mcptest.RichModern {
		return &mcptest.RichModern{TTL: 30_000, Tools: []string{tool("echo")}, Resources: []string{`{"uri":"x://1","name":"x"}`}}
	}
	up, old := modern(), &mcptest.Rich{Sessionless: true}
	servers := map[string]*configv1.ServerSpec{"rich": server(mcptest.Start(t, up).URL), "twin": server(mcptest.Start(t, modern()).URL)}
	g := start(t, settings{servers: servers})
	discover := func(g *gateway) answer {
		return g.send(t, "POST", "/mcp", modernCall("server/discover", ""), modernHeads("server/discover", "")...)
	}
	a := discover(g)
	if field(a.body, "result", "supportedVersions") != `["2026-07-28"]` || field(a.body, "result", "ttlMs") == "" || field(a.body, "result", "cacheScope") != `"private"` {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, k := range kinds {
		a := g.send(t, "POST", "/mcp", modernCall(k.method, ""), modernHeads(k.method, "")...)
		if a.status != 200 || field(a.body, "result", "resultType") != `"complete"` || field(a.body, "result", "ttlMs") == "" || field(a.body, "result", "cacheScope") != `"private"` {
			t.Errorf("%s: %d %s", k.method, a.status, a.body)
		}
	}
	listening := (&talker{f: &fleet{planes: []*gateway{g}}, way: ways[1]}).open(t, "POST",
		modernCall("subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://rich~1"]}`), modernHeads("subscriptions/listen", "")...)
	if data, _ := listening.next(t); text(field(data, "method")) != "notifications/subscriptions/acknowledged" || field(data, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != "1" {
		t.Fatalf("%s: %s", listening.Status, data)
	}
	eventually(t, "the server is listened to", func() bool { return strings.Contains(strings.Join(up.Wanted(), ""), `"x://1"`) })
	up.Push("notifications/resources/updated", `"uri":"x://1"`)
	if data, _ := listening.next(t); field(data, "params", "uri") != `"`+ways[1].uri("x://1")+`"` || field(data, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != "1" {
		t.Errorf("%s", data)
	}
	servers["old"] = server(mcptest.Start(t, old).URL)
	mixed := start(t, settings{servers: servers})
	if a := discover(mixed); a.status != 400 || field(a.body, "error", "code") != "-32022" || strings.Contains(field(a.body, "error", "data", "supported"), "2026-07-28") {
		t.Errorf("with a server of the earlier era: %d %s", a.status, a.body)
	}
	if a := mixed.send(t, "POST", "/old/mcp", modernCall("server/discover", ""), modernHeads("server/discover", "")...); field(a.body, "error") == "" {
		t.Errorf("its own word: %d %s", a.status, a.body)
	}
}

// A request that names no revision is judged by its caller and served as one of the oldest era, not refused for what it doesn't say.
func TestRequestsWithoutARevisionAreServed(t *testing.T) {
	onEveryWay(t, rich, func(t *testing.T, f *fleet, w way) {
		for _, body := range []string{greeting2511, list, call("1", w.name("echo"))} {
			if a := f.next().send(t, "POST", w.path, body); a.status != 200 || field(a.body, "result") == "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a := f.next().send(t, "POST", w.path, body, "Mcp-Protocol-Version", "soon"); a.status != 400 && body != greeting2511 {
				t.Errorf("with one that nobody knows: %d %s", a.status, a.body)
			}
			if a := f.next().send(t, "POST", w.path, body, "X-Litellm-Api-Key", ""); a.status != 401 {
				t.Errorf("by nobody: %d %s", a.status, a.body)
			}
		}
	})
}

// Names that aren't ASCII are encoded anew when a server's own name takes the place of the shown one.
func TestMirroredNamesAreEncodedAnew(t *testing.T) {
	odd := []string{"wetter-köln", "plain", " blank", "=?base64?x", "tab\tbed", "日本語", "=?base64?YQ==?="}
	up := &mcptest.RichModern{}
	for _, n := range odd {
		raw := strings.ReplaceAll(n, "\t", `\t`)
		up.Resources = append(up.Resources, `{"name":"r","uri":"`+raw+`"}`)
		up.Tools = append(up.Tools, `{"name":"`+raw+`","inputSchema":{"type":"object"}}`)
	}
	u := mcptest.Start(t, up)
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(u.URL)}})
	for _, w := range ways {
		for _, n := range odd {
			name := n
			if w.server != "" {
				name = exposed.Expose(w.server, n) // odd ones are respelled there
			}
			raw := strings.ReplaceAll(name, "\t", `\t`)
			a := g.send(t, "POST", w.path, modernCall("tools/call", `"name":"`+raw+`"`), modernHeads("tools/call", encoded(name))...)
			if a.status != 200 || !strings.Contains(a.body, "complete") {
				t.Errorf("%s %q: %d %s", w.path, n, a.status, a.body)
			}
			uri := w.uri(n)
			a = g.send(t, "POST", w.path, modernCall("resources/read", `"uri":"`+strings.ReplaceAll(uri, "\t", `\t`)+`"`), modernHeads("resources/read", encoded(uri))...)
			if a.status != 200 || !strings.Contains(a.body, "complete") {
				t.Errorf("%s %q: %d %s", w.path, uri, a.status, a.body)
			}
		}
	}
	for _, s := range u.Seen() {
		if got := mcptest.Header(s.Header.Get("Mcp-Name")); got != "" && got != text(field(string(s.Body), "params", "name"))+text(field(string(s.Body), "params", "uri")) {
			t.Errorf("Mcp-Name %q beside %s", s.Header.Get("Mcp-Name"), s.Body)
		}
	}
}

// A subscription that a change of config ends is answered, on every way: its client knows that the stream wasn't cut.
func TestSubscriptionsEndWithTheirResult(t *testing.T) {
	up := mcptest.Start(t, &mcptest.RichModern{})
	s := settings{servers: map[string]*configv1.ServerSpec{"rich": server(up.URL)}}
	for _, w := range ways {
		g := start(t, s)
		c := &talker{f: &fleet{planes: []*gateway{g}}, way: w}
		listening := c.open(t, "POST", modernCall("subscriptions/listen", `"notifications":{"toolsListChanged":true}`), modernHeads("subscriptions/listen", "")...)
		listening.next(t)
		moved := settings{servers: map[string]*configv1.ServerSpec{"other": server(up.URL)}}
		g.holder.Store(compiled(t, moved))
		g.handler.Recheck()
		data, _ := listening.next(t)
		if field(data, "id") != "1" || field(data, "result", "resultType") != `"complete"` || field(data, "result", "_meta", "io.modelcontextprotocol/subscriptionId") != "1" {
			t.Errorf("%s: %s", w.path, data)
		}
		if rest := listening.rest(); strings.Contains(rest, "(") {
			t.Errorf("%s: cut: %s", w.path, rest)
		}
	}
}

// What 2026-07-28 has removed isn't there, whoever would answer: methods are unknown, verbs not allowed.
func TestWhatWasRemovedIsGone(t *testing.T) {
	up := mcptest.Start(t, &mcptest.RichModern{})
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(up.URL)}})
	for _, w := range ways {
		for method, params := range map[string]string{"ping": "", "logging/setLevel": `"level":"info"`, "resources/subscribe": `"uri":"` + w.uri("x://1") + `"`,
			"resources/unsubscribe": `"uri":"` + w.uri("x://1") + `"`, "no/such": ""} {
			a := g.send(t, "POST", w.path, modernCall(method, params), modernHeads(method, "")...)
			if a.status != 404 || field(a.body, "error", "code") != "-32601" || field(a.body, "id") != "1" {
				t.Errorf("%s %s: %d %s", w.path, method, a.status, a.body)
			}
		}
		for _, verb := range []string{"GET", "DELETE"} {
			if a := g.send(t, verb, w.path, "", "Mcp-Protocol-Version", "2026-07-28"); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "POST") {
				t.Errorf("%s %s: %d %s", w.path, verb, a.status, a.body)
			}
		}
	}
}
