package table_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func setOf(tb testing.TB, t *table.Table, name string) *table.Toolset {
	tb.Helper()
	ts, ok := t.Toolset(name)
	if !ok {
		tb.Fatalf("no toolset %s", name)
	}
	return ts
}

func TestAToolsetShowsToolsAsItSays(t *testing.T) {
	renaming := spec(at("http://h/"))
	renaming.Tools = &configv1.ServerTools{Deny: []string{"secret"}, Overrides: []*configv1.ToolOverride{
		{Tool: "find", Name: "search", Description: "Finds.", Parameters: []string{"q"}}, {Tool: "get", Name: "search2"}}}
	tab, outs := apply(empty(), server(t, "a", renaming), server(t, "b", spec(at("http://h/"))),
		object(t, "toolset", "set", &configv1.Toolset{Name: "set", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{
			{Server: "a", Tool: "find"}, {Server: "b", Tool: "search"}, {Server: "a", Tool: "get", Name: "fetch", Description: "Fetches."}, {Server: "a", Tool: "secret"},
			{Server: "gone", Tool: "x", Name: "mine"}, {Server: "b", Tool: "mine"}, {Server: "b", Tool: "search2", Description: "Own."}}}}))
	ts := setOf(t, tab, "set")
	if len(outs) > 0 || ts.Name != "set" || len(ts.Tools) != 7 || ts.Tools[2].Name != "fetch" {
		t.Fatalf("%q %+v", outs, ts)
	}
	for tool, want := range map[string]string{"a find": "search Finds.", "b search": "", "a get": "fetch Fetches.", "a secret": "", "b mine": "", "b search2": "search2 Own.", "b other": ""} {
		of, name, _ := strings.Cut(tool, " ")
		s, _ := tab.Server(of)
		v, ok := ts.Show(s, name)
		if got := strings.TrimSpace(v.Name + " " + v.Description); got != want || ok != (want != "") {
			t.Errorf("%s is shown as %q, %v, want %q", tool, got, ok, want)
		}
		if found, tool, ok := tab.Find(ts, v.Name); v.Name != "" && (!ok || found != s || tool != name) {
			t.Errorf("%s isn't found under %s", tool, v.Name)
		}
	}
	for _, shown := range []string{"find", "get", "secret", "mine", "other", ""} { // mine stays that of the server that is gone
		if s, tool, ok := tab.Find(ts, shown); ok {
			t.Errorf("%q is %s of %s", shown, tool, s.Name)
		}
	}
	a, _ := tab.Server("a")
	if v, _ := ts.Show(a, "find"); len(v.Parameters) != 1 {
		t.Errorf("the toolset takes the bounds of the server away: %+v", v)
	}
	if _, ok := tab.Toolset("other"); ok {
		t.Error("a toolset is made up")
	}
}

func TestAToolsetWithOneNameTwiceIsGone(t *testing.T) {
	tab, outs := apply(empty(), object(t, "toolset", "set", &configv1.Toolset{Name: "set", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{
		{Server: "a", Tool: "x", Name: "n"}, {Server: "b", Tool: "x", Name: "n"}}}}))
	if _, ok := tab.Toolset("set"); ok || len(outs) != 1 || !strings.HasPrefix(outs[0], "toolset/set rejected spec.tools[1].name: ") {
		t.Errorf("%q", outs)
	}
}

// What a server doesn't show opens nothing, through toolsets as well.
func TestHiddenToolsOpenNoServer(t *testing.T) {
	s := spec(at("http://h/"))
	s.Tools = &configv1.ServerTools{Deny: []string{"x"}}
	tab, outs := apply(empty(), server(t, "a", s), toolset(t, "set", "a x"), apikey(t, "k", "secret", func(s *configv1.ApiKeySpec) { s.Servers, s.Toolsets = nil, []string{"set"} }))
	if len(outs) > 0 || access(t, tab, "secret", "a").Open() {
		t.Errorf("open, %q", outs)
	}
}

// Whatever servers show and a toolset holds: no two of its tools have one name, and Find is the inverse of Show.
func TestAToolsetsShowAndFindAreInverses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := empty()
		for _, name := range []string{"a", "b"} {
			s := spec(at("http://h/"))
			s.Tools = drawTools(rt)
			tab, _ = apply(tab, server(t, name, s))
		}
		tab, outs := apply(tab, object(t, "toolset", "set", &configv1.Toolset{Name: "set", Spec: drawToolset(rt)}))
		if len(outs) > 0 {
			rt.Fatal(outs)
		}
		ts, shown := setOf(t, tab, "set"), map[string]string{}
		for s := range tab.Servers() {
			for _, tool := range allTools {
				v, ok := ts.Show(s, tool)
				if !ok {
					continue
				}
				if other, twice := shown[v.Name]; twice {
					rt.Fatalf("%s of %s and %s are shown as %q", tool, s.Name, other, v.Name)
				}
				shown[v.Name] = fmt.Sprint(s.Name, " ", tool)
			}
		}
		for _, name := range append([]string{"n", "m"}, allTools...) {
			got := ""
			if s, tool, ok := tab.Find(ts, name); ok {
				got = fmt.Sprint(s.Name, " ", tool)
			}
			if got != shown[name] {
				rt.Fatalf("%q is %q, want %q", name, got, shown[name])
			}
		}
	})
}

func drawToolset(rt *rapid.T) *configv1.ToolsetSpec {
	return rapid.Custom(func(rt *rapid.T) *configv1.ToolsetSpec {
		s := &configv1.ToolsetSpec{}
		for range rapid.IntRange(1, 5).Draw(rt, "tools") {
			s.Tools = append(s.Tools, &configv1.ToolsetTool{Server: rapid.SampledFrom([]string{"a", "b", "gone"}).Draw(rt, "server"),
				Tool: rapid.SampledFrom(allTools[1:]).Draw(rt, "tool"), Name: rapid.SampledFrom([]string{"", "", "a", "n", "m"}).Draw(rt, "name")})
		}
		return s
	}).Filter(func(s *configv1.ToolsetSpec) bool {
		return len(rules.Toolset(&configv1.Toolset{Name: "set", Spec: s})) == 0
	}).Draw(rt, "set")
}

// crowded is a table with a toolset of 110 tools of 10 servers that rename some, one of each to all.
func crowded(tb testing.TB) *table.Table {
	tb.Helper()
	tab, set := empty(), &configv1.ToolsetSpec{}
	for i := range 10 {
		s, name := spec(at("http://h/")), fmt.Sprint("s", i)
		s.Tools = &configv1.ServerTools{Deny: []string{"drop_*"}, Overrides: []*configv1.ToolOverride{
			{Tool: fmt.Sprintf("tool_%d_0", i), Name: fmt.Sprint("mine_", i)}, {Tool: "same", Name: "all"}}}
		set.Tools = append(set.Tools, &configv1.ToolsetTool{Server: name, Tool: "same"})
		tab, _ = apply(tab, server(tb, name, s))
		for j := range 10 {
			set.Tools = append(set.Tools, &configv1.ToolsetTool{Server: name, Tool: fmt.Sprintf("tool_%d_%d", i, j)})
		}
	}
	tab, outs := apply(tab, object(tb, "toolset", "set", &configv1.Toolset{Name: "set", Spec: set}))
	if len(outs) > 0 {
		tb.Fatal(outs)
	}
	return tab
}

func TestShowingAndFindingAllocateNothing(t *testing.T) {
	tab := crowded(t)
	ts := setOf(t, tab, "set")
	if n := testing.AllocsPerRun(100, func() {
		s, tool, ok := tab.Find(ts, "mine_7")
		if v, shown := ts.Show(s, tool); !ok || !shown || v.Name != "mine_7" {
			t.Fatal("not found")
		}
		if v, _ := ts.Show(s, "same"); v.Name != "" {
			t.Fatal("shown under the name of another")
		}
		if own, ok := s.Shape.Real("mine_7"); !ok || own != tool {
			t.Fatal("not real")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOfToolsThatServersNameAlikeTheFirstIsShown(t *testing.T) {
	tab := crowded(t)
	ts := setOf(t, tab, "set")
	if s, tool, ok := tab.Find(ts, "all"); !ok || s.Name != "s0" || tool != "same" {
		t.Errorf("%s of %s", tool, s.Name)
	}
	tab, _ = remove(tab, "server", "s0")
	if s, _, ok := tab.Find(setOf(t, tab, "set"), "all"); !ok || s.Name != "s1" {
		t.Error("the next one isn't shown")
	}
}

// Finding asks the servers that rename a tool to that name: here 1 of 10, with 110 tools.
func BenchmarkToolset(b *testing.B) {
	tab := crowded(b)
	b.ReportAllocs()
	for b.Loop() {
		ts, _ := tab.Toolset("set")
		s, tool, _ := tab.Find(ts, "mine_7")
		if _, ok := ts.Show(s, tool); !ok {
			b.Fatal("not shown")
		}
	}
}
