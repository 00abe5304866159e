package route_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// kinds has a server, a group and a toolset for each of some words: "open" are open to mine, "closed" ones aren't granted, and "inside" ones are
// granted but can't be seen from outside.
func kinds(t *testing.T, words ...string) (tb *table.Table, mine *table.Principal) {
	t.Helper()
	var d confset.Delta
	for _, word := range words {
		spec := &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:1/mcp"}}, AccessGroups: []string{word + "_group"}}
		if word == "inside" {
			spec.ReachableFrom = "internal"
		}
		d.Upserts = append(d.Upserts, object(t, "server", &configv1.Server{Name: word, Spec: spec}),
			object(t, "toolset", &configv1.Toolset{Name: word + "_tools", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: word, Tool: "a"}}}}))
	}
	tb, _ = table.New(table.Config{Region: "eu"}).Apply(d, 1, table.Version{Revision: 1})
	return tb, granted("open", "closex", "insidx", "inside")
}

// at asks for a path from outside, as a request does.
func at(tb *table.Table, p *table.Principal, path string, narrow ...string) (route.Scope, error) {
	door := endpoint.Parse(path)
	if _, one := tb.Server(door.Name); one && door.Kind == endpoint.Server {
		s, _, err := route.Match(tb, p, door.Name, "eu", false, outside)
		return route.Scope{Table: tb, Principal: p, One: s}, err
	}
	return route.Several(tb, p, door, narrow, route.Place{Region: "eu", Client: outside})
}

func TestARefusalNamesTheWayThatWorks(t *testing.T) {
	tb, mine := kinds(t, "open", "closed", "inside")
	for _, c := range []struct{ path, narrow, message, hint string }{
		{"/toolset/open/mcp", "", "open is a server, not a toolset", "use /open/mcp"},
		{"/toolset/open_group/mcp", "", "open_group is an access group, not a toolset", "use /open_group/mcp"},
		{"/toolset/closed_tools/mcp", "", "there is no toolset closed_tools that this caller may reach", "`hopgate get toolsets` lists the toolsets, `hopgate get apikeys` what each key may reach"},
		{"/open_tools,open/mcp", "", "open_tools is a toolset, and lists in the path are of servers and access groups", "use /toolset/open_tools/mcp alone"},
		{"/mcp/open,open_tools", "", "open_tools is a toolset, and lists in the path are of servers and access groups", "use /toolset/open_tools/mcp alone"},
		{"/open%2Copen_tools/mcp", "", "open_tools is a toolset, and lists in the path are of servers and access groups", "use /toolset/open_tools/mcp alone"},
		{"/mcp", "open_tools", "x-mcp-servers names the toolset open_tools, and it takes servers and access groups", "use /toolset/open_tools/mcp without the header"},
		{"/mcp", "open, open_tools", "x-mcp-servers names the toolset open_tools, and it takes servers and access groups", "use /toolset/open_tools/mcp without the header"},
		{"/mcp", "closed", "x-mcp-servers names nothing that this caller may reach here: closed", "name servers or access groups of this endpoint, or leave the header out"},
		{"/open_tools/mcp", "closed", "x-mcp-servers names nothing that this caller may reach here: closed", "name servers or access groups of this endpoint, or leave the header out"},
		{"/,/mcp", "", "the list in the path has no names", "write servers and access groups with commas between them, as in /github,jira/mcp"},
		{"/opem,open/mcp", "", "there is no server opem that this caller may reach", "did you mean open?"},
		{"/open_grou/mcp", "", "there is no server open_grou that this caller may reach", "did you mean open_group?"},
		{"/open,%41/mcp", "", "there is no server %41 that this caller may reach", "`hopgate get servers` lists the servers, `hopgate get apikeys` what each key may reach"},
	} {
		_, err := at(tb, mine, c.path, c.narrow)
		f := fault.As(err)
		if f == nil || f.Header() != "hop=gateway; phase=route; kind=not_found" || f.HTTPStatus() != 404 || f.Message != c.message || f.Hint != c.hint {
			t.Errorf("%s with %q: %v; %+v", c.path, c.narrow, err, f)
		}
	}
	many := strings.Repeat("open,", 70) + "open"
	for path, narrow := range map[string]string{"/" + many + "/mcp": "", "/mcp": many} {
		_, err := at(tb, mine, path, narrow)
		if f := fault.As(err); f == nil || f.HTTPStatus() != 400 || !strings.Contains(f.Message, "has 71 names") || !strings.Contains(f.Hint, "64") {
			t.Errorf("%s with %q: %v", path, narrow, err)
		}
	}
}

// A toolset in x-mcp-servers is no reason to refuse on its own endpoint: all of it is there already.
func TestAToolsetNamesItself(t *testing.T) {
	tb, mine := kinds(t, "open")
	for path, narrow := range map[string]string{"/open_tools/mcp": "open_tools", "/toolset/open_tools/mcp": "nothing, open_tools", "/mcp/open_tools": "open_tools,open"} {
		s, err := at(tb, mine, path, narrow)
		if m := s.Members(); err != nil || len(m) != 1 || m[0].Server.Name != "open" {
			t.Errorf("%s with %q: %v, %v", path, narrow, m, err)
		}
	}
}

// What isn't there, what isn't granted and what can't be seen from there read alike to the byte, wherever they are named, near other names or not.
func TestClosedReadsLikeUnknownToTheByte(t *testing.T) {
	for _, others := range [][]string{{"open"}, {"open", "closex", "insidx"}} {
		with, mine := kinds(t, append(others, "closed", "inside")...)
		without, _ := kinds(t, others...)
		for _, name := range []string{"closed", "inside", "closed_group", "inside_group", "closed_tools", "inside_tools"} {
			for _, where := range []struct{ path, narrow string }{
				{"/NAME/mcp", ""}, {"/mcp/NAME", ""}, {"/toolset/NAME/mcp", ""}, {"/open,NAME/mcp", ""}, {"/NAME,open/mcp", ""}, {"/mcp/NAME%2Copen", ""},
				{"/NAME,/mcp", ""}, {"/mcp", "NAME"}, {"/mcp", "x,NAME"}, {"/open_group/mcp", "NAME"}, {"/open_tools/mcp", "NAME"},
				{"/toolset/open_tools/mcp", "NAME"}, {"/open,/mcp", "NAME"},
			} {
				path, narrow := strings.ReplaceAll(where.path, "NAME", name), strings.ReplaceAll(where.narrow, "NAME", name)
				told := func(tb *table.Table) string {
					_, err := at(tb, mine, path, narrow)
					f := fault.As(err)
					if f == nil {
						t.Fatalf("%s with %q is open: %v", path, narrow, err)
					}
					return fmt.Sprint(f.HTTPStatus(), f.Header(), f.Err, f.RetryAfter, string(f.AppendJSONRPC(nil, []byte("1"), fault.Place{})))
				}
				if closed, unknown := told(with), told(without); closed != unknown {
					t.Errorf("%s with %q:\n%s\n%s", path, narrow, closed, unknown)
				}
			}
		}
		for _, path := range []string{"/inside/mcp", "/inside_group/mcp", "/inside_tools/mcp", "/inside,open/mcp"} {
			if _, err := route.Several(with, mine, endpoint.Parse(path), nil, route.Place{Region: "eu", Internal: true}); err != nil {
				t.Errorf("%s is closed to all: %v", path, err)
			}
		}
	}
}
