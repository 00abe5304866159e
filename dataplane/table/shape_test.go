package table_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// shaped is a server named a with tools shown as t says.
func shaped(tb testing.TB, t *configv1.ServerTools) (*table.Table, *table.Server) {
	tb.Helper()
	s := spec(at("http://h/"))
	s.Tools = t
	tab, outs := apply(empty(), server(tb, "a", s), apikey(tb, "k", "secret"))
	a, ok := tab.Server("a")
	if !ok || len(outs) > 0 {
		tb.Fatal(outs)
	}
	return tab, a
}

func TestWhatAServerShowsOfItsTools(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	tab, a := shaped(t, &configv1.ServerTools{Allow: []string{"get_*", "find", "list", "name"}, Deny: []string{"get_secret"}, Drift: "hide", Overrides: []*configv1.ToolOverride{
		{Tool: "find", Name: "search", Description: "Finds.", Parameters: []string{"q"}, Pin: pin}, {Tool: "get_one", Name: "name"}, {Tool: "get_secret", Name: "public"}}})
	for tool, want := range map[string]string{"find": "search", "get_one": "name", "get_two": "get_two", "list": "list",
		"get_secret": "", "drop": "", "search": "", "public": "", "": "", "name": ""} { // the tool name is hidden by the one that is shown as it
		v, ok := a.Shape.Show(tool)
		if v.Name != want || ok != (want != "") {
			t.Errorf("%q is shown as %q, %v, want %q", tool, v.Name, ok, want)
		}
		if got, ok := a.Shape.Real(v.Name); v.Name != "" && (!ok || got != tool) {
			t.Errorf("%q is really %q", v.Name, got)
		}
		if access(t, tab, "secret", "a").Tool(tool) != (want != "") {
			t.Errorf("access to %q", tool)
		}
	}
	for _, shown := range []string{"find", "get_one", "get_secret", "public", "drop", ""} {
		if tool, ok := a.Shape.Real(shown); ok {
			t.Errorf("%q is shown for %q", shown, tool)
		}
	}
	v, _ := a.Shape.Show("find")
	if v.Description != "Finds." || !slices.Equal(v.Parameters, []string{"q"}) || v.Pin != pin || !a.Shape.HideDrifted {
		t.Errorf("%+v", v)
	}
	acc := access(t, tab, "secret", "a")
	if acc.Free() || !slices.Equal(acc.Parameters("find"), []string{"q"}) || acc.Parameters("list") != nil || acc.Arguments("find", nil) != nil || acc.Arguments("drop", nil) == nil {
		t.Error("access is more or less than what is shown")
	}
}

func TestAServerWithoutToolsShowsAll(t *testing.T) {
	tab, a := shaped(t, &configv1.ServerTools{Drift: "hide"})
	if v, ok := a.Shape.Show("x"); a.Shape != nil || !ok || v.Name != "x" || !access(t, tab, "secret", "a").Free() || access(t, tab, "secret", "a").Parameters("x") != nil {
		t.Errorf("%+v, %+v", a.Shape, v)
	}
	if tool, ok := a.Shape.Real("x"); !ok || tool != "x" {
		t.Error(tool)
	}
}

func TestToolsThatCannotBeShownAreRejected(t *testing.T) {
	over := func(o ...*configv1.ToolOverride) *configv1.ServerTools { return &configv1.ServerTools{Overrides: o} }
	for want, tools := range map[string]*configv1.ServerTools{
		"spec.tools.drift: ":             {Drift: "x"},
		"spec.tools.deny[0]: ":           {Deny: []string{"a*b"}},
		"spec.tools.overrides[0].tool: ": over(&configv1.ToolOverride{Name: "x"}),
		"spec.tools.overrides[1].tool: ": over(&configv1.ToolOverride{Tool: "x", Name: "y"}, &configv1.ToolOverride{Tool: "x", Name: "z"}),
		"spec.tools.overrides[1].name: ": over(&configv1.ToolOverride{Tool: "x", Name: "y"}, &configv1.ToolOverride{Tool: "y", Description: "d"}),
		"spec.tools.overrides[0].name: ": over(&configv1.ToolOverride{Tool: "x", Name: "a b"}),
		"spec.tools.overrides[0].pin: ":  over(&configv1.ToolOverride{Tool: "x", Pin: strings.Repeat("AB", 32)}),
	} {
		s := spec(at("http://h/"))
		s.Tools = tools
		if _, outs := apply(empty(), server(t, "a", s)); len(outs) != 1 || !strings.HasPrefix(outs[0], "server/a rejected "+want) {
			t.Errorf("%s\n%q", want, outs)
		}
	}
}

func TestNamesThatAreCutAreToldOf(t *testing.T) {
	s := spec(at("http://h/"))
	s.Tools = &configv1.ServerTools{Deny: []string{"hidden"}, Overrides: []*configv1.ToolOverride{{Tool: "x", Name: strings.Repeat("n", 63)}, {Tool: "y", Name: strings.Repeat("m", 62)},
		{Tool: "hidden", Name: strings.Repeat("h", 64)}}}
	tab, outs := apply(empty(), server(t, "a", s))
	if len(outs) != 1 || !strings.HasPrefix(outs[0], "server/a warned spec.tools.overrides[0].name: is shown as a-nnn") || tab.Rejected() != 0 {
		t.Errorf("%q", outs)
	}
}

// drawTools draws what the rules take.
func drawTools(rt *rapid.T) *configv1.ServerTools {
	words := rapid.SampledFrom([]string{"a", "b", "c", "ab", "abc"})
	return rapid.Custom(func(rt *rapid.T) *configv1.ServerTools {
		t := &configv1.ServerTools{Allow: some(rt, "allow", []string{"a*", "b", "*"}, 2), Deny: some(rt, "deny", []string{"ab*", "c"}, 1)}
		for range rapid.IntRange(0, 4).Draw(rt, "overrides") {
			t.Overrides = append(t.Overrides, &configv1.ToolOverride{Tool: words.Draw(rt, "tool"), Name: rapid.OneOf(words, rapid.Just("")).Draw(rt, "name"), Description: "d"})
		}
		return t
	}).Filter(func(t *configv1.ServerTools) bool {
		s := spec(at("http://h/"))
		s.Tools = t
		return len(rules.Server(&configv1.Server{Name: "a", Spec: s})) == 0
	}).Draw(rt, "tools")
}

var allTools = []string{"", "a", "b", "c", "ab", "abc", "d"}

// Whatever the rules take is compiled, no two tools are shown under one name, and Real is the inverse of Show.
func TestShowAndRealAreInverses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		_, a := shaped(t, drawTools(rt))
		shown := map[string]string{}
		for _, tool := range allTools {
			v, ok := a.Shape.Show(tool)
			if !ok {
				continue
			}
			if other, twice := shown[v.Name]; twice {
				rt.Fatalf("%q and %q are shown as %q", tool, other, v.Name)
			}
			shown[v.Name] = tool
		}
		for _, name := range allTools {
			tool, ok := a.Shape.Real(name)
			if want, there := shown[name]; ok != there || tool != want {
				rt.Fatalf("%q is %q, %v, want %q", name, tool, ok, want)
			}
		}
	})
}

func TestExplainTellsWhatAServerShows(t *testing.T) {
	tab, a := shaped(t, &configv1.ServerTools{Deny: []string{"drop_*"}, Drift: "hide", Overrides: []*configv1.ToolOverride{
		{Tool: "find", Name: "search", Parameters: []string{"q", "page"}, Pin: strings.Repeat("ab", 32)}, {Tool: "x", Name: "y"}, {Tool: "y", Name: "x"}}})
	for tool, want := range map[string]string{
		"":         "granted shows its tools as spec.tools says",
		"other":    "granted shows tool other",
		"find":     "granted shows tool find as search; of its arguments just q, page may be sent; it is hidden while its definition isn't the pinned one",
		"search":   "denied shows tool find as search, and no other tool of that name: to ask about it, name find",
		"drop_all": "denied by spec.tools it denies tool drop_all by the rule deny: drop_*",
		"x":        "granted shows tool x as y, and tool y as x",
	} {
		steps := tab.Explain(holder(t, tab, "secret"), a, tool)
		st, last := steps[len(steps)-2], steps[len(steps)-1]
		if st.Level != "server" || st.Subject != "a" || st.Verdict+" "+st.Why != want || last.Verdict != st.Verdict {
			t.Errorf("%q: %+v", tool, steps)
		}
	}
}
