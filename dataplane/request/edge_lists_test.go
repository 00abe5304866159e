package request_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func many(n int, item func(i int) string) (out []string) {
	for i := range n {
		out = append(out, item(i))
	}
	return out
}

// walk follows a list's cursors to its end.
func (c *talker) walk(t testing.TB, method, member, key string) (found []string, pages int) {
	t.Helper()
	for cursor := ""; pages < 1000; pages++ {
		a := c.post(t, rpc("1", method, `{`+cursor+`}`))
		if a.status != 200 || field(a.body, "error") != "" {
			t.Fatalf("%s: %d %s", method, a.status, a.body)
		}
		for _, item := range items(t, a.body, member) {
			found = append(found, text(field(item, key)))
		}
		next := field(a.body, "result", "nextCursor")
		if next == "" {
			return found, pages + 1
		}
		cursor = `"cursor":` + next
	}
	t.Fatal("the list never ends")
	return nil, 0
}

var kinds = []struct{ method, member, key string }{{"tools/list", "tools", "name"}, {"prompts/list", "prompts", "name"}, {"resources/list", "resources", "uri"},
	{"resources/templates/list", "resourceTemplates", "uriTemplate"}}

func paged() http.Handler {
	named := func(format string) []string {
		return many(45, func(i int) string { return fmt.Sprintf(format, i) })
	}
	return &mcptest.Rich{PageSize: 4, Tools: named(`{"name":"t%02d","inputSchema":{"type":"object"}}`), Prompts: named(`{"name":"p%02d"}`),
		Resources: named(`{"name":"r","uri":"file:///r%02d"}`), Templates: named(`{"name":"x","uriTemplate":"file:///x%02d/{y}"}`)}
}

// Cursors lead through the whole of every kind of list, each item once, on whichever data plane each page is asked for.
func TestCursorsLeadToTheEnd(t *testing.T) {
	limited := func(s *settings) { s.limits = &configv1.Limits{Page: 10} }
	for _, w := range ways {
		f := startFleet(t, paged(), limited)
		c := f.join(t, w)
		for _, k := range kinds {
			found, pages := c.walk(t, k.method, k.member, k.key)
			found = slices.DeleteFunc(found, func(n string) bool { return n == "beside-echo" })
			if unique := len(slices.Compact(slices.Sorted(slices.Values(found)))); unique != 45 || len(found) != 45 {
				t.Errorf("%s %s: %d items, %d different", w.path, k.method, len(found), unique)
			}
			if want := map[bool]int{true: 12, false: 5}[w.server == ""]; pages != want {
				t.Errorf("%s %s: %d pages", w.path, k.method, pages)
			}
		}
		seen := heard(f.up, "prompts/list")
		if got := field(string(seen[1].Body), "params", "cursor"); got != `"4"` {
			t.Errorf("%s: the server's cursor was sent back as %s", w.path, got)
		}
	}
}

// A server whose cursors lead in a circle doesn't hold a walk for ever, and costs nobody the lists of the others.
func TestCursorsThatLeadNowhereEnd(t *testing.T) {
	circle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := mcptest.Peek(r); m.Method == "tools/list" {
			mcptest.Result(w, m, `{"tools":[`+tool("again")+`],"nextCursor":"first page"}`)
			return
		}
		(&mcptest.Rich{Sessionless: true}).ServeHTTP(w, r)
	})
	f := startFleet(t, circle)
	c := f.join(t, ways[1])
	a := c.post(t, list)
	if got := toolNames(t, a.body); !slices.Equal(got, []string{"beside-echo"}) || !strings.Contains(field(a.body, "result", "_meta"), `"rich":{"status":"misconfigured"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := len(heard(f.up, "tools/list")); n > 5 {
		t.Errorf("it was asked %d times", n)
	}
}

// One broken server takes nothing from the others, in any way it may be broken; what is missing is told, and not kept.
func TestABrokenServerBreaksOnlyItself(t *testing.T) {
	broken := map[string]string{"refused": mcptest.RefusedURL(t), "page": mcptest.Start(t, mcptest.Page(200)).URL,
		"error": mcptest.Start(t, mcptest.Status(500, "text/plain", "x")).URL, "cut": mcptest.Start(t, mcptest.CutBody(100)).URL,
		"denied": mcptest.Start(t, mcptest.Status(401, "text/plain", "")).URL, "junk": mcptest.Start(t, mcptest.Status(200, "application/json", "{")).URL}
	servers := map[string]*configv1.ServerSpec{"fine": server(mcptest.Start(t, mcptest.Stateless()).URL)}
	for name, url := range broken {
		servers[name] = server(url)
	}
	g := start(t, settings{servers: servers})
	id := g.join(t, "/mcp")
	for range 2 {
		a := g.send(t, "POST", "/mcp", list, "Mcp-Session-Id", id)
		if got := toolNames(t, a.body); a.status != 200 || !slices.Equal(got, []string{"fine-echo"}) {
			t.Errorf("%d %s", a.status, a.body)
		}
		for name := range broken {
			if got := text(field(a.body, "result", "_meta", "hopgate.dev/outcomes", name, "status")); got == "" || got == "ok" {
				t.Errorf("%s: outcome %q in %s", name, got, a.body)
			}
		}
	}
	if a := g.send(t, "POST", "/mcp", call("1", "fine-echo"), "Mcp-Session-Id", id); !strings.Contains(a.body, "hello") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Servers that all fail are no empty catalogue: whoever looks can tell, and what they have is seen as soon as they are back.
func TestFailureIsNoEmptyCatalogue(t *testing.T) {
	up := &mcptest.Rich{Tools: []string{tool("echo")}}
	down := true
	flapping := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		up.ServeHTTP(w, r)
	}))
	g := start(t, one(flapping.URL))
	a := g.send(t, "POST", "/mcp", greeting)
	if caps := field(a.body, "result", "capabilities"); !strings.Contains(caps, "tools") {
		t.Errorf("nobody will ask again: %s", a.body)
	}
	id := a.header.Get("Mcp-Session-Id")
	a = g.send(t, "POST", "/mcp", list, "Mcp-Session-Id", id)
	if field(a.body, "error") == "" && field(a.body, "result", "_meta", "hopgate.dev/outcomes", "up", "status") != `"unreachable"` {
		t.Errorf("it looks empty: %d %s", a.status, a.body)
	}
	if a := g.send(t, "POST", "/up/mcp", list, legacy...); a.status != 503 && a.status != 502 {
		t.Errorf("alone: %d %s", a.status, a.body)
	}
	down = false
	if a := g.send(t, "POST", "/mcp", list, "Mcp-Session-Id", id); !strings.Contains(a.body, "up-echo") {
		t.Errorf("it is back: %d %s", a.status, a.body)
	}
}

// No tool is lost: not the 700th, none whose name is long, none whose name another server has too, and none that is odd.
func TestNoToolIsLost(t *testing.T) {
	long := strings.Repeat("long_name_", 12)
	odd := []string{"a.b", "a/b", "wetter-köln", "-", "UPPER", "with space", long + "1", long + "2", "tools-list", `quo\"te`}
	crowd := many(700, func(i int) string { return tool(fmt.Sprintf("t%03d", i)) })
	for _, n := range odd {
		crowd = append(crowd, `{"inputSchema":{"type":"object","required":["x"]},"name":"`+n+`"}`)
	}
	f := startFleet(t, &mcptest.Rich{Tools: crowd, PageSize: 100}, func(s *settings) {
		s.servers["twin"] = server(mcptest.Start(t, &mcptest.Rich{Tools: crowd, Sessionless: true}).URL)
	})
	for _, w := range ways {
		c := f.join(t, w)
		found, _ := c.walk(t, "tools/list", "tools", "name")
		slices.Sort(found)
		if n, want := len(slices.Compact(slices.Clone(found))), map[bool]int{true: 710, false: 1421}[w.server == ""]; n != want || len(found) != want {
			t.Errorf("%s: %d tools, %d different names", w.path, len(found), n)
		}
		for _, name := range found {
			if n := len(name); w.server != "" && n > 64 {
				t.Errorf("%s has %d bytes", name, n)
			}
			if strings.HasPrefix(name, "t0") || strings.HasPrefix(name, "rich-t") && name != "rich-tools-list" || strings.HasPrefix(name, "twin-t") && name != "twin-tools-list" {
				continue // like the others
			}
			a := c.post(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q}}`, name))
			if a.status != 200 || field(a.body, "result") == "" {
				t.Errorf("%s is listed and can't be called: %d %s", name, a.status, a.body)
			}
		}
	}
}

// A changed list is told to clients, and who asks then sees the change, on every data plane.
func TestChangesOfListsAreTold(t *testing.T) {
	changing := func() http.Handler {
		return &mcptest.Rich{Tools: []string{tool("before")}, Prompts: []string{`{"name":"p"}`}}
	}
	for _, w := range ways {
		up := changing().(*mcptest.Rich)
		f := startFleet(t, up)
		c := f.join(t, w)
		eventually(t, "both data planes know the list", func() bool {
			before := len(heard(f.up, "tools/list"))
			c.walk(t, "tools/list", "tools", "name")
			c.walk(t, "tools/list", "tools", "name")
			return w.server == "" || len(heard(f.up, "tools/list")) == before
		})
		get := c.open(t, http.MethodGet, "")
		up.Change(func() { up.Tools = append(up.Tools, tool("after")) })
		up.Push(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		if data, _ := get.next(t); !strings.Contains(data, "tools/list_changed") {
			t.Errorf("%s: %s", w.path, data)
		}
		for range 2 {
			eventually(t, "the new tool on "+w.path, func() bool {
				found, _ := c.walk(t, "tools/list", "tools", "name")
				return slices.Contains(found, w.name("after"))
			})
		}
	}
}
