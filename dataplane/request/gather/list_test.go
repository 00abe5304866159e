package gather_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func everything() *configv1.ApiKeySpec { return &configv1.ApiKeySpec{Servers: []string{"*"}} }

func TestListsAreMergedInOrder(t *testing.T) {
	s := scope(t, tabled(t, server(t, "b", nil), server(t, "a", nil), server(t, "c", nil), server(t, "a_b", nil), key(t, everything())), "")
	for _, c := range []struct {
		kind   catalogue.Kind
		member string
		items  map[string][]string
		want   []string
	}{
		{catalogue.Tools, "name", map[string][]string{"b": {"z", "y"}, "a": {"w"}, "a_b": {"x"}}, []string{"a-w", "a_b-x", "b-y", "b-z"}},
		{catalogue.Prompts, "name", map[string][]string{"b": {"z", "y"}, "a": {"w"}}, []string{"a-w", "b-y", "b-z"}},
		{catalogue.Resources, "uri", map[string][]string{"b": {"file:///z", "mem:1"}, "a": {"file:///z"}}, []string{"file://a~/z", "file://b~/z", "mem:b~1"}},
		{catalogue.Templates, "uriTemplate", map[string][]string{"b": {"file:///{x}"}}, []string{"file://b~/{x}"}},
	} {
		lists := map[string]*catalogue.List{}
		for name, items := range c.items {
			lists[name] = listed(c.member, items...)
		}
		p := ask(t, gather.Page{Scope: s, Kind: c.kind, Parts: parts(s, lists), Most: 100, Outcomes: allThere})
		if got := p.names(); !slices.Equal(got, c.want) || p.Result.NextCursor != nil || p.Result.TTL != nil || p.Result.ResultType != "" {
			t.Errorf("%s: %q, want %q, %+v", c.kind.Method(), got, c.want, p.Result)
		}
		if len(p.Result.Meta["hopgate.dev/outcomes"]) != 2 || len(p.Result.Meta["litellm.ai/server_outcomes"]) != 2 {
			t.Errorf("%v", p.Result.Meta)
		}
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	s := scope(t, tabled(t, key(t, everything())), "")
	b, err := gather.AppendList(nil, nil, gather.Page{Scope: s, Kind: catalogue.Templates}, seal)
	want := `{"jsonrpc":"2.0","id":null,"result":{"resourceTemplates":[],"_meta":{"hopgate.dev/outcomes":{},"litellm.ai/server_outcomes":{}}}}`
	if string(b) != want || err != nil {
		t.Errorf("%s %v", b, err)
	}
}

func TestPagesAreBoundedInBytes(t *testing.T) {
	s := scope(t, tabled(t, server(t, "a", nil), key(t, everything())), "")
	list := &catalogue.List{}
	for i, size := range []int{5 << 20, 1 << 20, 2 << 20, 2 << 20, 10} {
		name := fmt.Sprintf("t%d", i)
		list.Items = append(list.Items, message.Item{Name: name, Raw: []byte(fmt.Sprintf(`{"name":%q,"x":"%s"}`, name, strings.Repeat("x", size)))})
	}
	page := gather.Page{Scope: s, Parts: parts(s, map[string]*catalogue.List{"a": list}), Most: 100}
	for _, want := range [][]string{{"a-t0"}, {"a-t1", "a-t2"}, {"a-t3", "a-t4"}} {
		p := ask(t, page)
		if !slices.Equal(p.names(), want) || (p.Result.NextCursor == nil) != (want[0] == "a-t3") {
			t.Fatalf("%q, want %q", p.names(), want)
		}
		if p.Result.NextCursor != nil {
			page.After = unseal(*p.Result.NextCursor)
		}
	}
}

// A page doesn't end behind an item whose name fits in no cursor.
func TestNamesTooLongForACursor(t *testing.T) {
	s := scope(t, tabled(t, server(t, "a", nil), key(t, everything())), "")
	long := "data:" + strings.Repeat("x", 20000)
	page := gather.Page{Scope: s, Kind: catalogue.Resources, Most: 1, Parts: parts(s, map[string]*catalogue.List{"a": listed("uri", "a:1", long, "e:1", "f:1")})}
	var sizes []int
	for {
		p := ask(t, page)
		sizes = append(sizes, len(p.names()))
		if p.Result.NextCursor == nil {
			break
		}
		page.After = unseal(*p.Result.NextCursor)
	}
	if !slices.Equal(sizes, []int{1, 2, 1}) {
		t.Errorf("%v", sizes)
	}
}

func TestCursorsOfOtherLists(t *testing.T) {
	s := scope(t, tabled(t, key(t, everything())), "")
	dst := []byte("x")
	b, err := gather.AppendList(dst, nil, gather.Page{Scope: s, After: session.Cursor{Method: "prompts/list", Server: "a"}}, seal)
	if f := fault.As(err); f == nil || f.JSONRPCCode() != fault.CodeInvalidParams || !strings.Contains(f.Message, "bad cursor") || string(b) != "x" {
		t.Errorf("%v %s", err, b)
	}
}

func TestACursorThatCantBeSealed(t *testing.T) {
	s := scope(t, tabled(t, server(t, "a", nil), key(t, everything())), "")
	broken := errors.New("no ring")
	b, err := gather.AppendList([]byte("x"), nil, gather.Page{Scope: s, Parts: parts(s, map[string]*catalogue.List{"a": listed("name", "b", "c")})},
		func(session.Cursor) (string, error) { return "", broken })
	if !errors.Is(err, broken) || string(b) != "x" {
		t.Errorf("%v %s", err, b)
	}
}

// Two tools of one server with one name: the one that is called by it is listed.
func TestOneNameIsOneTool(t *testing.T) {
	shape := &configv1.ServerTools{Overrides: []*configv1.ToolOverride{{Tool: "a", Name: "b"}, {Tool: "x", Description: "Mine.", Parameters: []string{"p"}}}}
	s := scope(t, tabled(t, server(t, "s", shape), key(t, everything())), "")
	p := ask(t, gather.Page{Scope: s, Parts: parts(s, map[string]*catalogue.List{"s": listed("name", "a", "b", "x")}), Most: 10})
	if got := p.names(); !slices.Equal(got, []string{"s-b", "s-x"}) {
		t.Errorf("%q", got)
	}
	if _, tool, ok := s.Tool("s-b", nil); !ok || tool != "a" {
		t.Errorf("s-b is %s", tool)
	}
}

func TestToolsetsKeepTheirOrder(t *testing.T) {
	set := toolset(t, "set", &configv1.ToolsetTool{Server: "b", Tool: "x", Name: "first"}, &configv1.ToolsetTool{Server: "gone", Tool: "x"},
		&configv1.ToolsetTool{Server: "a", Tool: "y"}, &configv1.ToolsetTool{Server: "b", Tool: "w", Description: "Mine."})
	s := scope(t, tabled(t, server(t, "a", nil), server(t, "b", nil), set, key(t, everything())), "set")
	lists := map[string]*catalogue.List{"a": listed("name", "x", "y"), "b": listed("name", "w", "x")}
	for most := 1; most < 4; most++ {
		page, got := gather.Page{Scope: s, Parts: parts(s, lists), Most: most}, []string(nil)
		for more := true; more; {
			p := ask(t, page)
			got = append(got, p.names()...)
			if more = p.Result.NextCursor != nil; more {
				page.After = unseal(*p.Result.NextCursor)
			}
		}
		if !slices.Equal(got, []string{"first", "y", "w"}) {
			t.Errorf("%q", got)
		}
	}
	for _, kind := range []catalogue.Kind{catalogue.Prompts, catalogue.Resources, catalogue.Templates} {
		if p := ask(t, gather.Page{Scope: s, Kind: kind, Parts: parts(s, lists), Most: 10}); len(p.names()) != 0 {
			t.Errorf("a toolset lists %s %q", kind.Method(), p.names())
		}
	}
}

// A walk goes on where it was when the toolset was edited meanwhile: behind its last tool if that is there, else where that stood.
func TestAToolsetThatChangesDuringAWalk(t *testing.T) {
	set := func(tools ...string) *route.Scope {
		var list []*configv1.ToolsetTool
		for _, name := range tools {
			list = append(list, &configv1.ToolsetTool{Server: "a", Tool: name})
		}
		return scope(t, tabled(t, server(t, "a", nil), toolset(t, "set", list...), key(t, everything())), "set")
	}
	lists := map[string]*catalogue.List{"a": listed("name", "p", "q", "r", "s", "t u")}
	for _, c := range []struct{ now, want []string }{
		{[]string{"p", "q", "t u", "r", "s"}, []string{"r", "s"}},
		{[]string{"t u", "r", "s"}, []string{"r", "s"}},
		{[]string{"p", "q", "r", "s"}, []string{"r", "s"}},
		{[]string{"p"}, nil},
	} {
		s := set("p", "q", "t u", "r", "s")
		p := ask(t, gather.Page{Scope: s, Parts: parts(s, lists), Most: 3})
		s = set(c.now...)
		p = ask(t, gather.Page{Scope: s, Parts: parts(s, lists), Most: 3, After: unseal(*p.Result.NextCursor)})
		if !slices.Equal(p.names(), c.want) {
			t.Errorf("%q: %q, want %q", c.now, p.names(), c.want)
		}
	}
}

// Who reaches a server by a toolset alone has its tools, and none of its prompts and resources.
func TestToolsAlone(t *testing.T) {
	set := toolset(t, "set", &configv1.ToolsetTool{Server: "a", Tool: "x"})
	s := scope(t, tabled(t, server(t, "a", nil), set, key(t, &configv1.ApiKeySpec{Toolsets: []string{"set"}})), "")
	for kind, want := range map[catalogue.Kind][]string{catalogue.Tools: {"a-x"}, catalogue.Prompts: nil, catalogue.Resources: nil, catalogue.Templates: nil} {
		p := ask(t, gather.Page{Scope: s, Kind: kind, Parts: parts(s, map[string]*catalogue.List{"a": listed("name", "x", "y")}), Most: 10})
		if !slices.Equal(p.names(), want) {
			t.Errorf("%s: %q", kind.Method(), p.names())
		}
	}
}

func TestCacheHints(t *testing.T) {
	now := time.Now()
	objs := tabled(t, server(t, "a", nil), server(t, "b", nil), key(t, everything()))
	restricted := tabled(t, server(t, "a", nil), server(t, "b", nil),
		key(t, &configv1.ApiKeySpec{Servers: []string{"*"}, Tools: []*configv1.ToolRule{{Server: "a", Deny: []string{"x"}}}}))
	headed := tabled(t, object(t, "server", "a", &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{ClientHeaders: []string{"x-tenant"},
		Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:1/mcp"}}}}), server(t, "b", nil), key(t, everything()))
	failed := []gather.Outcome{{Server: "a", Status: gather.Timeout}}
	for _, c := range []struct {
		name      string
		table     *table.Table
		a, b      catalogue.List
		outcomes  []gather.Outcome
		anonymous bool
		ttl       int64
		scope     string
	}{
		{"the shortest counts", objs, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: 40 * time.Second}, nil, true, 40000, "public"},
		{"of one that isn't kept", objs, catalogue.List{TTL: time.Minute}, catalogue.List{}, nil, true, 0, "public"},
		{"age counts", objs, catalogue.List{TTL: time.Minute, Fetched: now.Add(-50 * time.Second)}, catalogue.List{TTL: time.Minute}, nil, true, 10000, "public"},
		{"too old", objs, catalogue.List{TTL: time.Minute, Fetched: now.Add(-80 * time.Second)}, catalogue.List{TTL: time.Minute}, nil, true, 0, "public"},
		{"something is missing", objs, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: time.Minute}, failed, true, 5000, "public"},
		{"one is private", objs, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: time.Minute, Private: true}, nil, true, 60000, "private"},
		{"grants filter", restricted, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: time.Minute}, nil, true, 60000, "private"},
		{"one is sent headers of the caller's choice", headed, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: time.Minute}, nil, true, 60000, "private"},
		{"others may have less", objs, catalogue.List{TTL: time.Minute}, catalogue.List{TTL: time.Minute}, nil, false, 60000, "private"},
	} {
		s := scope(t, c.table, "")
		if c.anonymous {
			p := *s.Principal
			p.ID = "anonymous"
			s.Principal = &p
		}
		p := ask(t, gather.Page{Scope: s, Parts: parts(s, map[string]*catalogue.List{"a": &c.a, "b": &c.b}), Modern: true, Now: now, Outcomes: c.outcomes})
		if r := &p.Result; r.TTL == nil || *r.TTL != c.ttl || r.CacheScope != c.scope || r.ResultType != "complete" {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	none := &route.Scope{Table: objs}
	if p := ask(t, gather.Page{Scope: none, Modern: true}); *p.Result.TTL != 5000 || p.Result.CacheScope != "private" {
		t.Errorf("%+v", p.Result)
	}
}
