package gather_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/names"
)

// The names that the laws are tried with: two that are cut alike but for the digits, two that a server has made so that they look like the cut
// name of another, and some that sort around each other.
var (
	hosts = []string{"a", "a_b", "b", "c0"}
	long  = strings.Repeat("x", 70)
	tools = []string{"read", "read_all", "w", "-", "a b", "sé", long + "1", long + "2", names.Expose("a", long+"1")[2:], names.Expose("b", long+"2")[2:]}
)

// told is a list whose items tell where they came from.
func told(server string, have []string) *catalogue.List {
	l := &catalogue.List{}
	for _, name := range slices.Sorted(slices.Values(have)) {
		raw, _ := json.Marshal(map[string]string{"name": name, "uri": name, "title": server + " " + name}) //nolint:errcheck // strings
		l.Items = append(l.Items, message.Item{Name: name, Raw: raw})
	}
	return l
}

type seen struct{ name, server, item string }

// look reads a page's items with where they came from.
func look(tb testing.TB, b []byte, kind catalogue.Kind) (out []seen, next *string) {
	tb.Helper()
	var m struct{ Result map[string]json.RawMessage }
	if err := json.Unmarshal(b, &m); err != nil {
		tb.Fatalf("%v: %s", err, b)
	}
	var items []struct{ Name, URI, Title string }
	if err := json.Unmarshal(m.Result[kind.Member()], &items); err != nil {
		tb.Fatalf("%v: %s", err, b)
	}
	if raw, ok := m.Result["nextCursor"]; ok {
		next = new(string)
		if err := json.Unmarshal(raw, next); err != nil {
			tb.Fatal(err)
		}
	}
	for _, it := range items {
		s := seen{name: it.Name}
		if kind == catalogue.Resources {
			s.name = it.URI
		}
		s.server, s.item, _ = strings.Cut(it.Title, " ")
		out = append(out, s)
	}
	return out, next
}

// world is what the servers have at one moment.
type world struct {
	table *table.Table
	lists map[string]*catalogue.List // nil: it doesn't answer
}

func (w *world) has(server, item string) bool {
	if _, there := w.table.Server(server); !there || w.lists[server] == nil {
		return false
	}
	_, ok := w.lists[server].Find(item)
	return ok
}

// draw lets servers and items come and go.
func (w *world) draw(tb testing.TB, rt *rapid.T) {
	delta := confset.Delta{}
	for _, name := range hosts {
		switch rapid.IntRange(0, 5).Draw(rt, "what happens to "+name) {
		case 0:
			delta.Removals = append(delta.Removals, confset.Key{Kind: "server", Name: name})
		case 1:
			delta.Upserts = append(delta.Upserts, server(tb, name, nil))
		case 2:
			w.lists[name] = nil
		case 3, 4:
			w.lists[name] = told(name, rapid.SliceOfNDistinct(rapid.SampledFrom(tools), 0, len(tools), rapid.ID).Draw(rt, "items"))
		}
	}
	w.table, _ = w.table.Apply(delta, w.table.Version().Revision+1, w.table.Version())
}

func TestWalksMeetWhatIsThereExactlyOnce(t *testing.T) {
	var base []confset.Object
	set := &configv1.ToolsetSpec{}
	for _, name := range hosts {
		base = append(base, server(t, name, nil))
	}
	for i := range len(hosts) * len(tools) { // an order that is neither that of names nor its reverse
		at := i * 7 % (len(hosts) * len(tools))
		set.Tools = append(set.Tools, &configv1.ToolsetTool{Server: hosts[at%len(hosts)], Tool: tools[at/len(hosts)], Name: fmt.Sprintf("t%d", at)})
	}
	base = append(base, key(t, everything()), toolset(t, "set", set.GetTools()...))
	start := tabled(t, base...)
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]catalogue.Kind{catalogue.Tools, catalogue.Prompts, catalogue.Resources}).Draw(rt, "kind")
		ts := ""
		if kind == catalogue.Tools && rapid.Bool().Draw(rt, "toolset") {
			ts = "set"
		}
		w := &world{table: start, lists: map[string]*catalogue.List{}}
		for _, name := range hosts {
			w.lists[name] = told(name, tools)
		}
		w.draw(t, rt)
		always := map[[2]string]bool{}
		for _, s := range hosts {
			for _, item := range tools {
				always[[2]string{s, item}] = true
			}
		}
		page := gather.Page{Kind: kind, Most: rapid.IntRange(0, 5).Draw(rt, "most")}
		var walked []seen
		for {
			page.Scope = scope(t, w.table, ts)
			page.Parts = parts(page.Scope, w.lists)
			maps.DeleteFunc(always, func(at [2]string, _ bool) bool { return !w.shows(page.Scope, kind, at) })
			b, err := gather.AppendList(nil, []byte("1"), page, seal)
			if err != nil {
				rt.Fatal(err)
			}
			items, next := look(t, b, kind)
			walked = append(walked, items...)
			if next == nil {
				break
			}
			if len(items) == 0 {
				rt.Fatal("an empty page that isn't the last")
			}
			page.After = unseal(*next)
			w.draw(t, rt)
		}
		checkWalk(rt, walked, always, set, ts != "")
	})
}

// shows reports whether a page made now has an item: it is there, and has its name.
func (w *world) shows(s *route.Scope, kind catalogue.Kind, at [2]string) bool {
	if !w.has(at[0], at[1]) {
		return false
	}
	names := func(m *route.Member) iter.Seq[string] { return w.lists[m.Server.Name].Names() }
	m, ok := s.Member(at[0])
	switch {
	case !ok:
		return false
	case kind == catalogue.Tools:
		v, shown := s.Show(&m, at[1])
		_, tool, found := s.Tool(v.Name, names)
		return shown && found && tool == at[1]
	case kind == catalogue.Prompts:
		_, prompt, found := s.Prompt(expose(at), names)
		return found && prompt == at[1]
	}
	return true
}

func expose(at [2]string) string { return names.Expose(at[0], at[1]) }

func checkWalk(rt *rapid.T, walked []seen, always map[[2]string]bool, set *configv1.ToolsetSpec, ordered bool) {
	count := map[[2]string]int{}
	place := func(s seen) int {
		return slices.IndexFunc(set.GetTools(), func(t *configv1.ToolsetTool) bool { return t.GetServer() == s.server && t.GetTool() == s.item })
	}
	for i, s := range walked {
		count[[2]string{s.server, s.item}]++
		if i == 0 {
			continue
		}
		before := walked[i-1]
		order := cmp.Or(cmp.Compare(before.server, s.server), cmp.Compare(before.item, s.item))
		if ordered {
			order = cmp.Compare(place(before), place(s))
		}
		if order >= 0 {
			rt.Fatalf("%v stands behind %v", s, before)
		}
	}
	for at := range always {
		if count[at] != 1 {
			rt.Fatalf("%q was there all the while and was seen %d times", at, count[at])
		}
	}
}

// Whatever a caller may use, and however it is shown: what is listed is what is found by its name, and each that may be used has one name.
func TestListedIsCallable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := drawn(t, rt)
		ts := ""
		if _, ok := tab.Toolset("set"); ok && rapid.Bool().Draw(rt, "by the toolset") {
			ts = "set"
		}
		s, lists := scope(t, tab, ts), map[string]*catalogue.List{}
		if ts == "" && rapid.IntRange(0, 4).Draw(rt, "one server") == 0 {
			s.One, _ = tab.Server("a")
		}
		for _, name := range hosts {
			lists[name] = told(name, rapid.SliceOfNDistinct(rapid.SampledFrom(tools), 0, len(tools), rapid.ID).Draw(rt, "items"))
		}
		all := parts(s, lists)
		if s.One != nil {
			all = slices.DeleteFunc(all, func(p gather.ListPart) bool { return p.Member.Server != s.One })
		}
		b, err := gather.AppendList(nil, []byte("1"), gather.Page{Scope: s, Parts: all, Most: 1000}, seal)
		if err != nil {
			rt.Fatal(err)
		}
		got, _ := look(t, b, catalogue.Tools)
		checkCallable(rt, s, lists, got)
		checkUsable(rt, s, all, lists, got)
		checkStable(t, rt, s, all, got)
	})
}

func checkCallable(rt *rapid.T, s *route.Scope, lists map[string]*catalogue.List, got []seen) {
	names := map[string]bool{}
	for _, it := range got {
		m, tool, ok := s.Tool(it.name, func(m *route.Member) iter.Seq[string] { return lists[m.Server.Name].Names() })
		if !ok || m.Server.Name != it.server || tool != it.item || names[it.name] {
			rt.Fatalf("%+v is found as %q of %v", it, tool, m.Server)
		}
		names[it.name] = true
	}
}

// checkUsable looks whether what may be used is listed, unless its name is another's.
func checkUsable(rt *rapid.T, s *route.Scope, all []gather.ListPart, lists map[string]*catalogue.List, got []seen) {
	for i := range all {
		m := &all[i].Member
		for name := range all[i].List.Names() {
			v, ok := s.Show(m, name)
			if !ok {
				continue
			}
			owner, tool, ok := s.Tool(v.Name, func(m *route.Member) iter.Seq[string] { return lists[m.Server.Name].Names() })
			own := ok && owner.Server == m.Server && tool == name
			other := func(s seen) bool { return s.server != m.Server.Name || s.item != name }
			if n := len(slices.DeleteFunc(slices.Clone(got), other)); n != 1 && own || n != 0 && !own {
				rt.Fatalf("%q of %s is listed %d times", name, m.Server.Name, n)
			}
		}
	}
}

// checkStable looks whether names stay what they are when any server is missing.
func checkStable(t *testing.T, rt *rapid.T, s *route.Scope, all []gather.ListPart, got []seen) {
	some := slices.Clone(all)
	gone := map[string]bool{}
	for i := range some {
		if rapid.Bool().Draw(rt, "missing") {
			some[i].List, gone[some[i].Member.Server.Name] = nil, true
		}
	}
	b, err := gather.AppendList(nil, []byte("1"), gather.Page{Scope: s, Parts: some, Most: 1000}, seal)
	if err != nil {
		rt.Fatal(err)
	}
	left, _ := look(t, b, catalogue.Tools)
	if want := slices.DeleteFunc(slices.Clone(got), func(s seen) bool { return gone[s.server] }); !slices.Equal(left, want) {
		rt.Fatalf("%v are listed without %v, want %v", left, gone, want)
	}
}

// drawn is a table with random grants, shapes and a toolset.
func drawn(t *testing.T, rt *rapid.T) *table.Table {
	pattern := rapid.SampledFrom([]string{"read", "read*", "w", "*", "x*", "sé", "none"})
	tool := rapid.SampledFrom(tools)
	shown := rapid.SampledFrom([]string{"", "read", "w", "renamed", strings.Repeat("y", 64)})
	var objs []confset.Object
	for _, name := range hosts {
		shape := &configv1.ServerTools{Allow: rapid.SliceOfN(pattern, 0, 2).Draw(rt, "allow"), Deny: rapid.SliceOfN(pattern, 0, 1).Draw(rt, "deny")}
		for _, o := range rapid.SliceOfNDistinct(tool, 0, 3, rapid.ID).Draw(rt, "overrides") {
			shape.Overrides = append(shape.Overrides, &configv1.ToolOverride{Tool: o, Name: shown.Draw(rt, "shown")})
		}
		objs = append(objs, server(t, name, shape))
	}
	set := []*configv1.ToolsetTool{{Server: "a", Tool: "read"}}
	for range rapid.IntRange(0, 12).Draw(rt, "tools of the set") {
		set = append(set, &configv1.ToolsetTool{Server: rapid.SampledFrom(hosts).Draw(rt, "server"), Tool: tool.Draw(rt, "tool"), Name: shown.Draw(rt, "name")})
	}
	spec := &configv1.ApiKeySpec{}
	for _, name := range hosts {
		if rapid.IntRange(0, 2).Draw(rt, "granted") > 0 {
			spec.Servers = append(spec.Servers, name)
		}
	}
	if rapid.Bool().Draw(rt, "granted the set") {
		spec.Toolsets = []string{"set"}
	}
	for range rapid.IntRange(0, 2).Draw(rt, "rules") {
		spec.Tools = append(spec.Tools, &configv1.ToolRule{Server: rapid.SampledFrom(append([]string{"*"}, hosts...)).Draw(rt, "server"),
			Allow: rapid.SliceOfN(pattern, 0, 2).Draw(rt, "allow"), Deny: rapid.SliceOfN(pattern, 0, 1).Draw(rt, "deny")})
	}
	objs = append(objs, key(t, spec), toolset(t, "set", set...))
	tab, _ := table.New(table.Config{}).Apply(confset.Delta{Upserts: objs}, 1, table.Version{})
	if tab.Principal(holder) == nil {
		rt.Fatal("the key was rejected")
	}
	return tab
}
