package request_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
	"github.com/hopgate/hopgate/proto/rules"
)

// depot is a server that says of each call which server and tool did it. It can be down, and gives sessions or not.
type depot struct {
	name  string
	keeps bool
	down  atomic.Bool
}

// stock are the tools of every depot. Two are so long that their names are cut where several servers are, and differ behind the cut.
var stock = []string{"read", "read_all", "wipe", "to-do", "séarch", strings.Repeat("long_", 12) + "a", strings.Repeat("long_", 12) + "b"}

var depots = []string{"alpha", "beta", "gamma", "gamma_2"}

func (d *depot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // a test server
	if d.down.Load() {
		panic(http.ErrAbortHandler)
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	_ = json.Unmarshal(body, &m) //nolint:errcheck // DELETE has none
	result := `{}`
	switch m.Method {
	case "initialize":
		if result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"d","version":"1"}}`; d.keeps {
			w.Header().Set("Mcp-Session-Id", "s-"+d.name)
		}
	case "tools/list":
		var items []string
		for _, tool := range stock {
			items = append(items, fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}}`, tool))
		}
		result = `{"tools":[` + strings.Join(items, ",") + `]}`
	case "tools/call":
		if !slices.Contains(stock, m.Params.Name) {
			mcptest.Refuse(w, mcptest.Message{ID: m.ID}, http.StatusOK, -32602, "null")
			return
		}
		result = fmt.Sprintf(`{"content":[],"by":%q,"did":%q}`, d.name, m.Params.Name)
	}
	if len(m.ID) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// house is a gateway in front of depots, with pages of three.
type house struct {
	g      *gateway
	base   *table.Table
	depots map[string]*depot
	urls   map[string]string
}

func newHouse(t *testing.T) *house {
	h := &house{depots: map[string]*depot{}, urls: map[string]string{}}
	s := settings{servers: map[string]*configv1.ServerSpec{}, limits: &configv1.Limits{Page: 3}}
	for i, name := range depots {
		h.depots[name] = &depot{name: name, keeps: i%2 == 0}
		h.urls[name] = mcptest.Start(t, h.depots[name]).URL
		s.servers[name] = server(h.urls[name])
	}
	h.g = start(t, s)
	h.base = h.g.holder.Load()
	return h
}

// law is what a random config says, told in the simplest way there is.
type law struct {
	servers  map[string]*configv1.ServerSpec
	key      *configv1.ApiKeySpec
	team     *configv1.TeamSpec
	toolsets map[string]*configv1.ToolsetSpec
}

// seen is a tool as a caller sees it.
type seen struct {
	server, tool string
	parameters   []string
}

func matches(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "*")
		return p == s || open && strings.HasPrefix(s, prefix)
	})
}

// grants reports whether one level opens a tool.
func (l *law) grants(servers, groups, toolsets []string, toolRules []*configv1.ToolRule, server, tool string) bool {
	open := slices.Contains(servers, server) || slices.Contains(servers, "*") ||
		slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(l.servers[server].GetAccessGroups(), g) })
	open = open || slices.ContainsFunc(toolsets, func(name string) bool {
		return slices.ContainsFunc(l.toolsets[name].GetTools(), func(t *configv1.ToolsetTool) bool { return t.GetServer() == server && t.GetTool() == tool })
	})
	for _, r := range toolRules {
		if r.GetServer() == server || r.GetServer() == "*" {
			open = open && (len(r.GetAllow()) == 0 || matches(r.GetAllow(), tool)) && !matches(r.GetDeny(), tool)
		}
	}
	return open
}

// usable reports whether the caller may use a tool at all.
func (l *law) usable(server, tool string) bool {
	if l.servers[server] == nil {
		return false
	}
	k, tm := l.key, l.team
	if !l.grants(k.GetServers(), k.GetGroups(), k.GetToolsets(), k.GetTools(), server, tool) {
		return false
	}
	switch k.GetTeam() {
	case "":
		return true
	case "core":
		return l.grants(tm.GetServers(), tm.GetGroups(), tm.GetToolsets(), tm.GetTools(), server, tool)
	}
	return false
}

func override(t *configv1.ServerTools, tool string) *configv1.ToolOverride {
	for _, o := range t.GetOverrides() {
		if o.GetTool() == tool {
			return o
		}
	}
	return nil
}

// shown is the name under which a server shows a tool, or nothing.
func (l *law) shown(server, tool string) string {
	t := l.servers[server].GetTools()
	left := func(tool string) bool {
		return (len(t.GetAllow()) == 0 || matches(t.GetAllow(), tool)) && !matches(t.GetDeny(), tool)
	}
	if l.servers[server] == nil || !left(tool) {
		return ""
	}
	if o := override(t, tool); o != nil {
		return cmp.Or(o.GetName(), tool)
	}
	for _, o := range t.GetOverrides() {
		if left(o.GetTool()) && cmp.Or(o.GetName(), o.GetTool()) == tool {
			return ""
		}
	}
	return tool
}

// of says what the caller sees of some servers, under prefixed names.
func (l *law) of(servers []string) map[string]seen {
	out := map[string]seen{}
	for _, server := range servers {
		for _, tool := range stock {
			if name := l.shown(server, tool); name != "" && l.usable(server, tool) {
				out[exposed.Expose(server, name)] = seen{server, tool, override(l.servers[server].GetTools(), tool).GetParameters()}
			}
		}
	}
	return out
}

// in says what the caller sees in a toolset. A name that the toolset gives wins, then the first tool that has it from its server.
func (l *law) in(toolset string, servers []string) map[string]seen {
	owner := map[string]int{}
	tools := l.toolsets[toolset].GetTools()
	for i, t := range tools {
		if t.GetName() != "" {
			owner[t.GetName()] = i
		}
	}
	for i, t := range tools {
		if name := l.shown(t.GetServer(), t.GetTool()); t.GetName() == "" && name != "" {
			if _, taken := owner[name]; !taken {
				owner[name] = i
			}
		}
	}
	out := map[string]seen{}
	for name, i := range owner {
		t := tools[i]
		if slices.Contains(servers, t.GetServer()) && slices.Contains(stock, t.GetTool()) && l.shown(t.GetServer(), t.GetTool()) != "" && l.usable(t.GetServer(), t.GetTool()) {
			out[name] = seen{t.GetServer(), t.GetTool(), override(l.servers[t.GetServer()].GetTools(), t.GetTool()).GetParameters()}
		}
	}
	return out
}

// group are the servers that a name stands for.
func (l *law) group(name string) (out []string) {
	for _, server := range depots {
		if server == name || slices.Contains(l.servers[server].GetAccessGroups(), name) {
			out = append(out, server)
		}
	}
	return out
}

// aisle is a path with what it should show.
type aisle struct {
	path   string
	narrow string // x-mcp-servers
	want   map[string]seen
	// missing: one of the names of the path stands for nothing that the caller sees, so that the path may not be there for it.
	missing bool
}

// aisles of endpoints of several servers.
var aisles = []string{"aggregate", "group", "list", "toolset", "own toolset"}

func drawWay(rt *rapid.T, l *law, kind string) aisle {
	words := rapid.SampledFrom(append([]string{"lab", "shop"}, depots...))
	var w aisle
	servers := depots
	switch kind {
	case "aggregate":
		w.path = "/mcp"
	case "group":
		name := rapid.SampledFrom([]string{"lab", "shop"}).Draw(rt, "group")
		w.path, servers = "/"+name+"/mcp", l.group(name)
	case "list":
		names := rapid.SliceOfN(words, 2, 3).Draw(rt, "list")
		w.path, servers = "/"+strings.Join(names, ",")+"/mcp", nil
		for _, name := range names {
			servers = append(servers, l.group(name)...)
			w.missing = w.missing || len(l.of(l.group(name))) == 0
		}
	default:
		name := rapid.SampledFrom([]string{"kit", "bag"}).Draw(rt, "toolset")
		if w.path = "/" + name + "/mcp"; kind == "toolset" {
			w.path = "/toolset" + w.path
		}
		if rapid.Bool().Draw(rt, "narrow") {
			w.narrow = words.Draw(rt, "to")
			servers = l.group(w.narrow)
		}
		w.want = l.in(name, servers)
		return w
	}
	if rapid.Bool().Draw(rt, "narrow") {
		names := rapid.SliceOfN(words, 1, 2).Draw(rt, "to")
		w.narrow = strings.Join(names, ", ")
		servers = slices.DeleteFunc(slices.Clone(servers), func(s string) bool {
			return !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(l.group(n), s) })
		})
	}
	w.want = l.of(servers)
	return w
}

// draw draws a config and puts it in force.
func (h *house) draw(t *testing.T, rt *rapid.T) *law {
	pattern := rapid.SampledFrom([]string{"read", "read*", "w*", "to-do", "s*", "long_*", "none"})
	tools := func(label string) (out []*configv1.ToolRule) {
		for range rapid.IntRange(0, 1).Draw(rt, label+" rules") {
			out = append(out, &configv1.ToolRule{Server: rapid.SampledFrom(append([]string{"*"}, depots...)).Draw(rt, "server"),
				Allow: rapid.SliceOfN(pattern, 0, 2).Draw(rt, "allow"), Deny: rapid.SliceOfN(pattern, 0, 1).Draw(rt, "deny")})
		}
		return out
	}
	some := func(label string, most int, words ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, most, rapid.ID).Draw(rt, label)
	}
	l := &law{servers: map[string]*configv1.ServerSpec{}, toolsets: map[string]*configv1.ToolsetSpec{}}
	most := func(label string) []string {
		if rapid.Bool().Draw(rt, label+": all") {
			return []string{"*"}
		}
		return some(label, 3, depots...)
	}
	l.key = &configv1.ApiKeySpec{Sha256: digest(carol), Servers: most("servers"), Groups: some("groups", 1, "lab", "shop"),
		Toolsets: some("toolsets", 2, "kit", "bag", "missing"), Tools: tools("key")}
	l.team = &configv1.TeamSpec{Servers: most("team servers"), Groups: some("team groups", 1, "lab"), Toolsets: some("team toolsets", 1, "kit"), Tools: tools("team")}
	l.key.Team = rapid.SampledFrom([]string{"", "", "", "core", "core", "core", "gone"}).Draw(rt, "team")
	objects := []confset.Object{object(t, "apikey", "carol", &configv1.ApiKey{Name: "carol", Spec: l.key}), object(t, "team", "core", &configv1.Team{Name: "core", Spec: l.team})}
	for _, name := range depots {
		l.servers[name] = h.drawServer(rt, name)
		objects = append(objects, object(t, "server", name, &configv1.Server{Name: name, Spec: l.servers[name]}))
	}
	for _, name := range []string{"kit", "bag"} {
		l.toolsets[name] = drawSet(rt)
		objects = append(objects, object(t, "toolset", name, &configv1.Toolset{Name: name, Spec: l.toolsets[name]}))
	}
	next, outcomes := h.base.Apply(confset.Delta{Upserts: objects}, h.base.Version().Revision+1, h.base.Version())
	for _, o := range outcomes {
		if o.Rejected {
			rt.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	h.g.holder.Store(next)
	return l
}

func (h *house) drawServer(rt *rapid.T, name string) *configv1.ServerSpec {
	words := rapid.SampledFrom(append([]string{"mine", "other"}, stock...))
	return rapid.Custom(func(rt *rapid.T) *configv1.ServerSpec {
		s := server(h.urls[name])
		s.Resilience = &configv1.Resilience{BreakerFailures: -1, Retries: -1}
		s.ListTtl = rapid.SampledFrom([]string{"0s", "10m"}).Draw(rt, "list_ttl")
		s.AccessGroups = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"lab", "shop"}), 0, 2, rapid.ID).Draw(rt, "groups")
		s.Tools = &configv1.ServerTools{Allow: rapid.SliceOfN(rapid.SampledFrom([]string{"*", "*", "read*", "to-do", "long_*"}), 0, 2).Draw(rt, "allow"),
			Deny: rapid.SliceOfN(rapid.SampledFrom([]string{"read_all", "long_*"}), 0, 1).Draw(rt, "deny")}
		for range rapid.IntRange(0, 2).Draw(rt, "overrides") {
			s.Tools.Overrides = append(s.Tools.Overrides, &configv1.ToolOverride{Tool: rapid.SampledFrom(stock).Draw(rt, "tool"),
				Name: rapid.OneOf(words, rapid.Just("")).Draw(rt, "name"), Parameters: rapid.SliceOfN(rapid.Just("a"), 0, 1).Draw(rt, "parameters")})
		}
		return s
	}).Filter(func(s *configv1.ServerSpec) bool {
		return len(rules.Server(&configv1.Server{Name: name, Spec: s})) == 0
	}).Draw(rt, name)
}

func drawSet(rt *rapid.T) *configv1.ToolsetSpec {
	return rapid.Custom(func(rt *rapid.T) *configv1.ToolsetSpec {
		s := &configv1.ToolsetSpec{}
		for range rapid.IntRange(1, 7).Draw(rt, "size") {
			s.Tools = append(s.Tools, &configv1.ToolsetTool{Server: rapid.SampledFrom(append([]string{"gone"}, depots...)).Draw(rt, "of"),
				Tool: rapid.SampledFrom(stock).Draw(rt, "tool"), Name: rapid.SampledFrom([]string{"", "", "", "read", "mine", "own"}).Draw(rt, "name")})
		}
		return s
	}).Filter(func(s *configv1.ToolsetSpec) bool {
		return len(rules.Toolset(&configv1.Toolset{Name: "kit", Spec: s})) == 0
	}).Draw(rt, "toolset")
}

// visit is a caller on one of the aisles, within a session or without.
type visit struct {
	h       *house
	w       *aisle
	session string
}

func (v *visit) post(t *testing.T, body string) answer {
	heads := lean("X-Mcp-Servers", v.w.narrow)
	if v.session != "" {
		heads = append(heads, "Mcp-Session-Id", v.session)
	}
	return v.h.g.send(t, http.MethodPost, v.w.path, body, heads...)
}

// walk lists all pages; between goes between two of them. It returns each name as often as it was listed, with its parameters.
func (v *visit) walk(t *testing.T, rt *rapid.T, between func()) (listed map[string][]string, n map[string]int, ok bool) {
	listed, n = map[string][]string{}, map[string]int{}
	cursor := ""
	for range 50 {
		params := `{}`
		if cursor != "" {
			params = fmt.Sprintf(`{"cursor":%q}`, cursor)
		}
		a := v.post(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":`+params+`}`)
		if a.status == http.StatusNotFound {
			return nil, nil, false
		}
		var m struct {
			Result struct {
				Tools []struct {
					Name        string
					InputSchema struct{ Properties map[string]any }
				}
				NextCursor string
			}
		}
		if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != 200 || strings.Contains(a.body, `"code"`) || len(m.Result.Tools) > 3 {
			rt.Fatalf("%s: %d %s", v.w.path, a.status, a.body)
		}
		for _, tool := range m.Result.Tools {
			listed[tool.Name] = slices.Sorted(maps.Keys(tool.InputSchema.Properties))
			n[tool.Name]++
		}
		if cursor = m.Result.NextCursor; cursor == "" {
			return listed, n, true
		}
		between()
	}
	rt.Fatalf("%s: the pages have no end", v.w.path)
	return nil, nil, false
}

// call says which server did which tool; nothing when the call was refused or failed.
func (v *visit) call(t *testing.T, name, argument string) (server, tool string) {
	a := v.post(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{%q:"x"}}}`, name, argument))
	var m struct{ Result struct{ By, Did string } }
	_ = json.Unmarshal([]byte(a.body), &m) //nolint:errcheck // then nobody did it
	return m.Result.By, m.Result.Did
}

func (h *house) visit(t *testing.T, rt *rapid.T, w *aisle) *visit {
	v := &visit{h: h, w: w}
	if rapid.Bool().Draw(rt, "session") {
		v.session = v.post(t, greeting).header.Get("Mcp-Session-Id")
	}
	return v
}

func (h *house) drawDown(rt *rapid.T, label string) {
	for _, name := range depots {
		h.depots[name].down.Store(rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, name+label))
	}
}

// Whatever keys, teams, groups, toolsets and servers say, and whatever is down: on every path exactly those tools are listed, once, that the
// caller may use, by names that are the same whatever is down; each listed name reaches exactly its server and tool; and no other name reaches
// anything.
func TestListedAndCallableAreTheSameOnEveryPath(t *testing.T) {
	h := newHouse(t)
	for _, kind := range aisles {
		t.Run(kind, func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { h.same(t, rt, kind) }) })
	}
}

func (h *house) same(t *testing.T, rt *rapid.T, kind string) {
	l := h.draw(t, rt)
	w := drawWay(rt, l, kind)
	h.drawDown(rt, " is down")
	v := h.visit(t, rt, &w)
	listed, n, there := v.walk(t, rt, func() {})
	if !there {
		if len(w.want) > 0 && !w.missing {
			rt.Fatalf("%s isn't there, and should show %v", w.path, w.want)
		}
		listed = nil
		w.want = nil
	}
	for name, s := range w.want {
		properties, ok := listed[name]
		want := []string{"a", "b"}
		if len(s.parameters) > 0 {
			want = s.parameters
		}
		switch down := h.depots[s.server].down.Load(); {
		case !ok && !down:
			rt.Errorf("%s (%s of %s) isn't listed on %s", name, s.tool, s.server, w.path)
		case ok && (n[name] != 1 || !slices.Equal(properties, want)):
			rt.Errorf("%s is listed %d times, with %q", name, n[name], properties)
		}
	}
	for name := range listed {
		if _, ok := w.want[name]; !ok {
			rt.Errorf("%s is listed on %s", name, w.path)
		}
	}
	h.calls(t, rt, v)
}

// calls calls every name that anything could have, and compares what that reaches.
func (h *house) calls(t *testing.T, rt *rapid.T, v *visit) {
	for _, name := range guesses {
		s, ok := v.w.want[name]
		if !ok && !rapid.SampledFrom([]bool{true, false, false, false}).Draw(rt, "guess "+name) {
			continue
		}
		by, did := v.call(t, name, "a")
		switch {
		case !ok && did != "":
			rt.Errorf("%s reaches %s of %s on %s, and isn't listed", name, did, by, v.w.path)
		case ok && h.depots[s.server].down.Load() && did != "", ok && !h.depots[s.server].down.Load() && (by != s.server || did != s.tool):
			rt.Errorf("%s reaches %q of %q, not %s of %s", name, did, by, s.tool, s.server)
		}
		if ok && len(s.parameters) > 0 {
			if _, did := v.call(t, name, "b"); did != "" {
				rt.Errorf("%s takes an argument that isn't shown", name)
			}
		}
	}
}

// guesses are all names that a tool could have anywhere.
var guesses = func() (out []string) {
	plain := append([]string{"mine", "other", "own"}, stock...)
	out = append(out, plain...)
	for _, server := range depots {
		for _, name := range plain {
			out = append(out, exposed.Expose(server, name))
		}
	}
	return out
}()

// A walk over pages visits what is there all the while exactly once, and nothing twice, while servers come and go between the pages.
func TestWalksVisitEverythingOnceWhileServersComeAndGo(t *testing.T) {
	h := newHouse(t)
	for _, kind := range aisles {
		t.Run(kind, func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { h.once(t, rt, kind) }) })
	}
}

func (h *house) once(t *testing.T, rt *rapid.T, kind string) {
	l := h.draw(t, rt)
	w := drawWay(rt, l, kind)
	h.drawDown(rt, " is down")
	v := h.visit(t, rt, &w)
	gone := map[string]bool{}
	look := func() {
		for name, d := range h.depots {
			gone[name] = gone[name] || d.down.Load()
		}
	}
	look()
	_, n, there := v.walk(t, rt, func() { h.drawDown(rt, " goes"); look() })
	if !there {
		return // the other test is about that
	}
	for name, s := range w.want {
		if n[name] > 1 || n[name] == 0 && !gone[s.server] {
			rt.Errorf("%s (%s of %s) was visited %d times on %s", name, s.tool, s.server, n[name], w.path)
		}
	}
	for name := range n {
		if _, ok := w.want[name]; !ok {
			rt.Errorf("%s is listed on %s", name, w.path)
		}
	}
}
