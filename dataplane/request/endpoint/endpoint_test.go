package endpoint_test

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
)

func TestWhichDoorAPathIs(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		path string
		want endpoint.Endpoint
	}{
		{"/mcp", endpoint.Endpoint{Kind: endpoint.Aggregate}},
		{"/mcp/", endpoint.Endpoint{Kind: endpoint.Aggregate}},
		{"/everything/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything"}},
		{"/everything/mcp/", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything"}},
		{"/mcp/everything", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything"}},
		{"/mcp/everything/", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything"}},
		{"/mcp/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: "mcp"}},
		{"/old-name/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: "old-name"}},
		{"/" + long + "/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: long}},
		{"/a,b/mcp", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b"}},
		{"/mcp/a,b", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b"}},
		{"/healthz", endpoint.Endpoint{Kind: endpoint.Live}},
		{"/readyz", endpoint.Endpoint{Kind: endpoint.Ready}},
		{"/readyz/", endpoint.Endpoint{Kind: endpoint.Ready}},

		{"", endpoint.Endpoint{}},
		{"/", endpoint.Endpoint{}},
		{"*", endpoint.Endpoint{}},
		{"mcp", endpoint.Endpoint{}},
		{"/MCP", endpoint.Endpoint{}},
		{"//mcp", endpoint.Endpoint{}},
		{"/mcp//", endpoint.Endpoint{}},
		{"/everything", endpoint.Endpoint{}},
		{"/everything/mcpx", endpoint.Endpoint{}},
		{"/a/b/mcp", endpoint.Endpoint{}},
		{"/mcp/a/b", endpoint.Endpoint{}},
		{"/../mcp", endpoint.Endpoint{}},
		{"/%65verything/mcp", endpoint.Endpoint{}},
		{"/every thing/mcp", endpoint.Endpoint{}},
		{"/caf\u00e9/mcp", endpoint.Endpoint{}},
		{"/" + long + "a/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/everything/mcp", endpoint.Endpoint{}},
	} {
		if got := endpoint.Parse(c.path); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.path, got, c.want)
		}
	}
}

func TestBothSpellingsAreOneEndpoint(t *testing.T) {
	a, b := endpoint.Parse("/everything/mcp"), endpoint.Parse("/mcp/everything/")
	if a.Canonical() != b.Canonical() || a.Canonical() == endpoint.Parse("/other/mcp").Canonical() {
		t.Errorf("%q and %q", a.Canonical(), b.Canonical())
	}
}
