package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// linked is a server whose URIs show up in every place that a URI of a resource has.
func linked() *mcptest.Rich {
	return &mcptest.Rich{
		Tools: []string{`{"name":"show","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://w/show"},"ui/resourceUri":"ui://w/old"}}`},
		Resources: []string{`{"uri":"file:///a%2Fb?q=1#f","name":"a"}`, `{"uri":"urn:isbn:1","name":"u"}`, `{"uri":"no scheme at all","name":"n"}`,
			`{"uri":"ui://w/show","name":"w","mimeType":"text/html"}`, `{"uri":"x://[not::a url","name":"x"}`, `{"uri":"mailto:ä@ö","name":"m"}`},
		Templates: []string{`{"uriTemplate":"file:///{+path}","name":"t"}`, `{"uriTemplate":"{scheme}://x","name":"s"}`},
		Prompts:   []string{`{"name":"tell"}`},
		Do: map[string]func(c *mcptest.Call){
			"show": func(c *mcptest.Call) {
				c.Answer(`{"content":[{"type":"resource_link","uri":"urn:isbn:1","name":"u"},{"type":"resource","resource":{"uri":"file:///a%2Fb?q=1#f","text":"file:///plain"}}],` +
					`"structuredContent":{"uri":"file:///data"},"_meta":{"ui":{"resourceUri":"ui://w/show"}}}`)
			},
			"tell": func(c *mcptest.Call) {
				c.Answer(`{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"urn:isbn:1","text":""}}}]}`)
			},
		},
	}
}

// Wherever a server's URI is shown, it is one that can be read here; and the server sees its own.
func TestEveryURIThatIsShownCanBeRead(t *testing.T) {
	onEveryWay(t, func() http.Handler { return linked() }, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		for _, item := range items(t, c.post(t, rpc("1", "resources/list", "{}")).body, "resources") {
			before := len(heard(f.up, "resources/read"))
			shown := field(item, "uri")
			a := c.post(t, rpc("2", "resources/read", `{"uri":`+shown+`}`))
			seen := heard(f.up, "resources/read")
			if len(seen) == before {
				t.Errorf("%s can't be read: %d %s", shown, a.status, a.body)
				continue
			}
			own := text(field(string(seen[before].Body), "params", "uri"))
			if w.uri(own) != text(shown) || !strings.Contains(strings.Join(linked().Resources, " "), `"`+own+`"`) {
				t.Errorf("%s was read as %s", shown, own)
			}
			if got := items(t, a.body, "contents"); len(got) != 1 || field(got[0], "uri") != shown {
				t.Errorf("%s came as %s", shown, a.body)
			}
		}
		for i, item := range items(t, c.post(t, rpc("1", "resources/templates/list", "{}")).body, "resourceTemplates") {
			c.post(t, rpc("3", "completion/complete", `{"ref":{"type":"ref/resource","uri":`+field(item, "uriTemplate")+`},"argument":{"name":"path","value":""}}`))
			seen := heard(f.up, "completion/complete")
			if len(seen) != i+1 || !strings.Contains(strings.Join(linked().Templates, " "), field(string(seen[i].Body), "params", "ref", "uri")) {
				t.Errorf("%s was completed as %s", item, seen[len(seen)-1].Body)
			}
		}
	})
}

// Results name resources like lists do: in links, embedded resources, prompts, pages of apps, and nowhere else.
func TestResultsNameResourcesAsListsDo(t *testing.T) {
	for _, streams := range []bool{false, true} {
		onEveryWay(t, func() http.Handler { s := linked(); s.Streams = streams; return s }, func(t *testing.T, f *fleet, w way) {
			c := f.join(t, w)
			listed := c.post(t, list).body
			result := c.post(t, c.tool("1", "show", "{}")).body
			prompt := c.post(t, rpc("2", "prompts/get", `{"name":"`+w.name("tell")+`"}`)).body
			for _, x := range []struct{ in, uri string }{{listed, `"resourceUri":"` + w.uri("ui://w/show")}, {listed, `"ui/resourceUri":"` + w.uri("ui://w/old")},
				{result, `"uri":"` + w.uri("urn:isbn:1")}, {result, `"uri":"` + w.uri("file:///a%2Fb?q=1#f")}, {result, `"resourceUri":"` + w.uri("ui://w/show")},
				{result, `"text":"file:///plain"`}, {result, `"uri":"file:///data"`}, {prompt, `"uri":"` + w.uri("urn:isbn:1")}} {
				if !strings.Contains(x.in, x.uri) {
					t.Errorf("streams %v: no %s in %s", streams, x.uri, x.in)
				}
			}
		})
	}
}

// Who has subscribed to a resource hears of it under the URI it subscribed to.
func TestUpdatesNameWhatWasSubscribedTo(t *testing.T) {
	for _, w := range ways {
		up := linked()
		f := startFleet(t, up)
		c := f.join(t, w)
		get := c.open(t, http.MethodGet, "")
		uri := w.uri("urn:isbn:1")
		for _, method := range []string{"resources/subscribe", "resources/unsubscribe"} {
			if a := c.post(t, rpc("1", method, `{"uri":"`+uri+`"}`)); field(a.body, "result") != "{}" {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
			if seen := heard(f.up, method); len(seen) != 1 || field(string(seen[0].Body), "params", "uri") != `"urn:isbn:1"` {
				t.Errorf("%s arrived as %v", method, seen)
			}
		}
		up.Push(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"urn:isbn:1","x":9007199254740993}}`)
		if data, _ := get.next(t); field(data, "params", "uri") != `"`+uri+`"` || !strings.Contains(data, "9007199254740993") {
			t.Errorf("%s: %s", w.path, data)
		}
	}
}

// A list that depends on who asks may not be kept for all, whatever the server says of its own.
func TestFilteredListsAreNobodyElses(t *testing.T) {
	carol := "sk-carol-0123456789abcdef"
	up := &mcptest.RichModern{TTL: 60_000, Tools: []string{tool("open"), tool("closed")}}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(mcptest.Start(t, up).URL)},
		keys: map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"rich"}, Tools: []*configv1.ToolRule{{Server: "rich", Deny: []string{"closed"}}}}}})
	for _, w := range ways {
		a := g.send(t, "POST", w.path, modernCall("tools/list", ""), modernHeads("tools/list", "", "X-Litellm-Api-Key", carol)...)
		if got := toolNames(t, a.body); len(got) != 1 || got[0] != w.name("open") {
			t.Errorf("%s: %d %s", w.path, a.status, a.body)
		}
		if field(a.body, "result", "cacheScope") != `"private"` || field(a.body, "result", "ttlMs") == "" {
			t.Errorf("%s: others would be served it: %s", w.path, a.body)
		}
		a = g.send(t, "POST", w.path, modernCall("tools/list", ""), modernHeads("tools/list", "")...)
		if want := map[bool]string{true: `"public"`, false: `"private"`}[w.server == ""]; len(toolNames(t, a.body)) != 2 || field(a.body, "result", "cacheScope") != want {
			t.Errorf("%s, to one who may use all: %s", w.path, a.body)
		}
	}
}

// A list that a server gives each caller differently is fetched for each caller, whatever the server says of it.
func TestPrivateListsArentShared(t *testing.T) {
	for _, scope := range []string{"private", "public"} {
		spec := server(mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			(&mcptest.RichModern{TTL: 60_000, Scope: scope, Mute: true, Tools: []string{tool("of_" + r.Header.Get("X-User"))}}).ServeHTTP(w, r)
		})).URL)
		spec.ForwardHeaders = []string{"x-user"}
		g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": spec}})
		g.send(t, "POST", "/mcp", modernCall("server/discover", ""), modernHeads("server/discover", "")...)
		for _, w := range ways {
			for _, user := range []string{"ann", "ben", "ann"} {
				a := g.send(t, "POST", w.path, modernCall("tools/list", ""), modernHeads("tools/list", "", "X-User", user)...)
				if got := toolNames(t, a.body); len(got) != 1 || got[0] != w.name("of_"+user) {
					t.Errorf("%s, %s: %s", w.path, user, a.body)
				}
				if field(a.body, "result", "cacheScope") != `"private"` && (scope == "private" || w.server != "") {
					t.Errorf("%s, %s: %s", w.path, user, a.body)
				}
			}
		}
	}
}
