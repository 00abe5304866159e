package rest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
	"github.com/hopgate/hopgate/proto/rules"
)

// listed is a REST list as its callers read it.
type listed struct {
	Tools []struct {
		Name string
		Info struct {
			Server string `json:"server_name"`
		} `json:"mcp_info"`
	}
	Error    *string
	Outcomes map[string]struct{ Status string }
}

func read(t testing.TB, a answer) (l listed) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || a.status != 200 || !jsontext.Value(a.body).IsValid() {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return l
}

// stock are the tools of every depot. Two are so long that their names are cut where several servers are, one says itself whose it is.
var stock = []string{"read", "read_all", "to-do", "beta-echo", strings.Repeat("long_", 12) + "a", strings.Repeat("long_", 12) + "b"}

var depots = []string{"alpha", "beta", "gamma"}

// house is a gateway in front of depots.
type house struct {
	g      *gateway
	depots map[string]*depot
	urls   map[string]string
}

func newHouse(t *testing.T) *house {
	h := &house{depots: map[string]*depot{}, urls: map[string]string{}}
	for _, name := range depots {
		h.depots[name] = &depot{name: name, tools: tools(stock...)}
		h.depots[name].tools[1] = `{"name":"read_all","mcp\u005finfo":{"server_name":"me"},"inputSchema":{"type":"object"}}`
		h.urls[name] = mcptest.Start(t, h.depots[name]).URL
	}
	h.g = start(t, object(t, "settings", "default", &configv1.Settings{Name: "default", Spec: &configv1.SettingsSpec{Limits: &configv1.Limits{Page: 4}}}))
	return h
}

// draw puts a random config in force.
func (h *house) draw(t *testing.T, rt *rapid.T) {
	pattern := rapid.SampledFrom([]string{"read", "read*", "to-do", "beta*", "long_*"})
	some := func(label string, words ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 3, rapid.ID).Draw(rt, label)
	}
	spec := &configv1.ApiKeySpec{Servers: some("servers", "alpha", "beta", "gamma", "*"), Groups: some("groups", "lab", "shop"), Toolsets: some("toolsets", "kit", "bag")}
	for range rapid.IntRange(0, 1).Draw(rt, "rules") {
		spec.Tools = append(spec.Tools, &configv1.ToolRule{Server: rapid.SampledFrom([]string{"*", "alpha", "beta"}).Draw(rt, "of"),
			Allow: rapid.SliceOfN(pattern, 0, 2).Draw(rt, "allow"), Deny: rapid.SliceOfN(pattern, 0, 1).Draw(rt, "deny")})
	}
	objects := []confset.Object{key(t, spec)}
	for _, name := range depots {
		objects = append(objects, object(t, "server", name, &configv1.Server{Name: name, Spec: h.drawServer(rt, name)}))
	}
	for _, name := range []string{"kit", "bag"} {
		objects = append(objects, object(t, "toolset", name, &configv1.Toolset{Name: name, Spec: drawSet(rt)}))
	}
	h.g.holder.Store(applied(t, h.g.base, objects...))
	for _, name := range depots {
		h.depots[name].down.Store(rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, name+" is down"))
	}
}

func (h *house) drawServer(rt *rapid.T, name string) *configv1.ServerSpec {
	return rapid.Custom(func(rt *rapid.T) *configv1.ServerSpec {
		s := spec(h.urls[name], rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"lab", "shop"}), 0, 2, rapid.ID).Draw(rt, "groups")...)
		s.Tools = &configv1.ServerTools{Deny: rapid.SliceOfN(rapid.SampledFrom([]string{"read_all", "long_*"}), 0, 1).Draw(rt, "deny")}
		for range rapid.IntRange(0, 2).Draw(rt, "overrides") {
			s.Tools.Overrides = append(s.Tools.Overrides, &configv1.ToolOverride{Tool: rapid.SampledFrom(stock).Draw(rt, "tool"),
				Name: rapid.SampledFrom([]string{"", "mine", "gamma-read", "read", "alpha-to-do"}).Draw(rt, "name")})
		}
		return s
	}).Filter(func(s *configv1.ServerSpec) bool {
		return len(rules.Server(&configv1.Server{Name: name, Spec: s})) == 0
	}).Draw(rt, name)
}

func drawSet(rt *rapid.T) *configv1.ToolsetSpec {
	return rapid.Custom(func(rt *rapid.T) *configv1.ToolsetSpec {
		s := &configv1.ToolsetSpec{}
		for range rapid.IntRange(1, 5).Draw(rt, "size") {
			s.Tools = append(s.Tools, &configv1.ToolsetTool{Server: rapid.SampledFrom(append([]string{"gone"}, depots...)).Draw(rt, "of"),
				Tool: rapid.SampledFrom(stock).Draw(rt, "tool"), Name: rapid.SampledFrom([]string{"", "", "mine", "beta-echo", "alpha-read"}).Draw(rt, "name")})
		}
		return s
	}).Filter(func(s *configv1.ToolsetSpec) bool {
		return len(rules.Toolset(&configv1.Toolset{Name: "kit", Spec: s})) == 0
	}).Draw(rt, "toolset")
}

// did is a tool of a server.
type did struct{ by, tool string }

// call says which server did which tool; nothing when the call was refused or failed.
func (h *house) call(t *testing.T, id, name, narrow string) did {
	var m struct{ By, Did string }
	a := h.g.call(t, fmt.Sprintf(`{"server_id":%q,"name":%q}`, id, name), "X-Mcp-Servers", narrow)
	if a.status == 200 {
		fatal(t, json.Unmarshal([]byte(a.body), &m))
	}
	return did{m.By, m.Did}
}

// seen lists a query and calls what it shows, each by the server_id of the query or else by what mcp_info says. It returns who did what by
// server_id and name.
func (h *house) seen(t *testing.T, rt *rapid.T, query, id, narrow string) map[[2]string]did {
	out := map[[2]string]did{}
	a := h.g.list(t, query, "X-Mcp-Servers", narrow)
	if a.status == 404 || a.status >= 500 {
		return out
	}
	l := read(t, a)
	missing := false
	for server, o := range l.Outcomes {
		missing = missing || o.Status != "ok"
		if (o.Status != "ok") != h.depots[server].down.Load() {
			rt.Errorf("%s: %s is %s", query, server, o.Status)
		}
	}
	if missing != (l.Error != nil && *l.Error == "partial_failure") {
		rt.Errorf("%s: %s", query, a.body)
	}
	for _, tool := range l.Tools {
		as := [2]string{id, tool.Name}
		if id == "" {
			as[0] = tool.Info.Server
		}
		if _, twice := out[as]; twice {
			rt.Errorf("%s: %v is listed twice", query, as)
		}
		out[as] = h.call(t, as[0], tool.Name, narrow)
		if out[as].by != tool.Info.Server {
			rt.Errorf("%s: %v of %q is done by %q", query, as, tool.Info.Server, out[as].by)
		}
	}
	return out
}

// same is what an MCP client may do at a path.
func (h *house) same(t *testing.T, rt *rapid.T, path, narrow string) (out []did) {
	cursor := `{}`
	for cursor != "" {
		a := h.g.send(t, "POST", path, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":`+cursor+`}`, "X-Mcp-Servers", narrow)
		var m struct {
			Result struct {
				Tools      []struct{ Name string }
				NextCursor string
			}
		}
		fatal(t, json.Unmarshal([]byte(a.body), &m))
		for _, tool := range m.Result.Tools {
			var m struct{ Result struct{ By, Did string } }
			a := h.g.send(t, "POST", path, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q}}`, tool.Name), "X-Mcp-Servers", narrow)
			fatal(t, json.Unmarshal([]byte(a.body), &m))
			out = append(out, did{m.Result.By, m.Result.Did})
		}
		if cursor = ""; m.Result.NextCursor != "" {
			cursor = fmt.Sprintf(`{"cursor":%q}`, m.Result.NextCursor)
		}
	}
	return out
}

// Whatever keys, groups, toolsets and servers say, and whatever is down: what REST lists is what the MCP endpoint behind it lists, each tool is
// called by the name and the server_id it was listed with and done by the server in its mcp_info, and no other name reaches anything.
func TestListedAndCallableAreTheSame(t *testing.T) {
	h := newHouse(t)
	rapid.Check(t, func(rt *rapid.T) {
		h.draw(t, rt)
		narrow := rapid.SampledFrom([]string{"", "", "alpha", "lab, gamma", "shop"}).Draw(rt, "x-mcp-servers")
		id := rapid.SampledFrom(append([]string{"lab", "shop", "kit", "bag", ""}, depots...)).Draw(rt, "server_id")
		all := h.seen(t, rt, "", "", narrow)
		got, path := all, "/mcp"
		if id != "" {
			got, path = h.seen(t, rt, "?server_id="+id, id, narrow), "/"+id+"/mcp"
		}
		var reached []did
		for _, d := range got {
			reached = append(reached, d)
		}
		if single := h.depots[id]; single == nil || narrow == "" { // the MCP endpoint of one server isn't narrowed here
			want := h.same(t, rt, path, narrow)
			if !slices.Equal(sorted(reached), sorted(want)) {
				rt.Errorf("server_id %q lists %v, and %s %v", id, sorted(reached), path, sorted(want))
			}
		}
		for _, name := range guesses {
			as := [2]string{id, name}
			_, shown := got[as]
			_, other := all[as]
			if shown || other || id == "" || !rapid.SampledFrom([]bool{true, false, false, false}).Draw(rt, "guess "+name) {
				continue
			}
			if d := h.call(t, id, name, narrow); d.tool != "" {
				rt.Errorf("%v reaches %v, and isn't listed", as, d)
			}
		}
	})
}

func sorted(all []did) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.by+" "+d.tool)
	}
	slices.Sort(out)
	return out
}

// guesses are all names that a tool could have anywhere.
var guesses = func() (out []string) {
	plain := append([]string{"mine", "gamma-read", "alpha-to-do", "alpha-read"}, stock...)
	out = append(out, plain...)
	for _, server := range depots {
		for _, name := range plain {
			out = append(out, exposed.Expose(server, name))
		}
	}
	return out
}()
