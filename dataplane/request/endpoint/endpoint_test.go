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
		{"/mcp/everything", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything", Swapped: true}},
		{"/mcp/everything/", endpoint.Endpoint{Kind: endpoint.Server, Name: "everything", Swapped: true}},
		{"/mcp/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: "mcp", Swapped: true}},
		{"/old-name/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: "old-name"}},
		{"/" + long + "/mcp", endpoint.Endpoint{Kind: endpoint.Server, Name: long}},
		{"/a,b/mcp", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b"}},
		{"/mcp/a,b", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b", Swapped: true}},
		{"/a%2Cb/mcp", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b", Spelled: "a%2Cb"}},
		{"/a%2cb,c/mcp/", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b,c", Spelled: "a%2cb,c"}},
		{"/mcp/a%2Cb", endpoint.Endpoint{Kind: endpoint.List, Name: "a,b", Spelled: "a%2Cb", Swapped: true}},
		{"/a%2C/mcp", endpoint.Endpoint{Kind: endpoint.List, Name: "a,", Spelled: "a%2C"}},
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
		{"/a%252Cb/mcp", endpoint.Endpoint{}},
		{"/a%2Db/mcp", endpoint.Endpoint{}},
		{"/a%2/mcp", endpoint.Endpoint{}},
		{"/mcp%2Ca", endpoint.Endpoint{}},
		{"/every thing/mcp", endpoint.Endpoint{}},
		{"/caf\u00e9/mcp", endpoint.Endpoint{}},
		{"/" + long + "a/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource", endpoint.Endpoint{Kind: endpoint.ProtectedResource}},
		{"/.well-known/oauth-protected-resource/", endpoint.Endpoint{Kind: endpoint.ProtectedResource}},
		{"/.well-known/oauth-protected-resource/mcp", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/mcp"}},
		{"/.well-known/oauth-protected-resource/everything/mcp", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/everything/mcp"}},
		{"/.well-known/oauth-protected-resource/everything/mcp/", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/everything/mcp"}},
		{"/.well-known/oauth-protected-resource/mcp/everything", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/mcp/everything"}},
		{"/.well-known/oauth-protected-resource/a,b/mcp", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/a,b/mcp"}},
		{"/.well-known/oauth-protected-resource/a%2Cb/mcp", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/a%2Cb/mcp"}},
		{"/.well-known/oauth-protected-resource/a%2Cb/sse", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/a%2Cb/sse"}},
		{"/.well-known/oauth-protected-resource/a%2C%2Cb/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-authorization-server", endpoint.Endpoint{Kind: endpoint.AuthServer}},
		{"/.well-known/oauth-authorization-server/everything/mcp", endpoint.Endpoint{Kind: endpoint.AuthServer, Name: "/everything/mcp"}},
		{"/.well-known/openid-configuration", endpoint.Endpoint{Kind: endpoint.OpenID}},
		{"/.well-known/openid-configuration/mcp", endpoint.Endpoint{Kind: endpoint.OpenID, Name: "/mcp"}},
		{"/.well-known/jwks.json", endpoint.Endpoint{Kind: endpoint.JWKS}},
		{"/v1/mcp/network/client-ip", endpoint.Endpoint{Kind: endpoint.ClientIP}},
		{"/v1/mcp/network/client-ip/", endpoint.Endpoint{Kind: endpoint.ClientIP}},

		{"/.well-known", endpoint.Endpoint{}},
		{"/.well-known/mcp", endpoint.Endpoint{}},
		{"/.well-known/jwks.json/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resourceful", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/everything", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource//mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/mcp//", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/a/b/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/a,,b/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/a,\"/mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/../mcp", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/%65verything/mcp", endpoint.Endpoint{}},
		{"/everything/mcp/.well-known/openid-configuration", endpoint.Endpoint{}},
		{"/v1/mcp/network", endpoint.Endpoint{}},

		{"/toolset/research/mcp", endpoint.Endpoint{Kind: endpoint.Toolset, Name: "research"}},
		{"/toolset/research/mcp/", endpoint.Endpoint{Kind: endpoint.Toolset, Name: "research"}},
		{"/toolset/a,b/mcp", endpoint.Endpoint{}},
		{"/toolset//mcp", endpoint.Endpoint{}},
		{"/toolset/a/b/mcp", endpoint.Endpoint{}},
		{"/toolset/a", endpoint.Endpoint{}},
		{"/mcp-rest/tools/list", endpoint.Endpoint{Kind: endpoint.RestList}},
		{"/mcp-rest/tools/list/", endpoint.Endpoint{Kind: endpoint.RestList}},
		{"/mcp-rest/tools/call", endpoint.Endpoint{Kind: endpoint.RestCall}},
		{"/mcp-rest/tools", endpoint.Endpoint{}},
		{"/mcp/sse", endpoint.Endpoint{Kind: endpoint.SSE}},
		{"/mcp/sse/", endpoint.Endpoint{Kind: endpoint.SSE}},
		{"/mcp/message", endpoint.Endpoint{Kind: endpoint.Message}},
		{"/a/sse", endpoint.Endpoint{Kind: endpoint.SSE, Name: "a"}},
		{"/a,b/sse", endpoint.Endpoint{Kind: endpoint.SSE, Name: "a,b"}},
		{"/a/message", endpoint.Endpoint{Kind: endpoint.Message, Name: "a"}},
		{"/a%2Cb/message", endpoint.Endpoint{Kind: endpoint.Message, Name: "a,b", Spelled: "a%2Cb"}},
		{"/a%2C/sse", endpoint.Endpoint{}},
		{"/toolset/a%2Cb/mcp", endpoint.Endpoint{}},
		{"/sse", endpoint.Endpoint{}},
		{"/message", endpoint.Endpoint{}},
		{"//sse", endpoint.Endpoint{}},
		{"/a,/sse", endpoint.Endpoint{}},
		{"/a/b/sse", endpoint.Endpoint{}},
		{"/toolset/a/sse", endpoint.Endpoint{}},
		{"/%61/message", endpoint.Endpoint{}},
		{"/.well-known/oauth-protected-resource/a/sse", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/a/sse"}},
		{"/.well-known/oauth-protected-resource/mcp/sse", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/mcp/sse"}},
		{"/.well-known/oauth-protected-resource/toolset/a/mcp", endpoint.Endpoint{Kind: endpoint.ProtectedResource, Name: "/toolset/a/mcp"}},
		{"/.well-known/oauth-protected-resource/a/message", endpoint.Endpoint{}},
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

func TestSessionsAreBoundToTheEndpointBehindADoor(t *testing.T) {
	for path, want := range map[string]string{
		"/mcp": "mcp", "/mcp/sse": "mcp", "/mcp/message": "mcp", "/a/mcp": "server/a", "/mcp/a": "server/a", "/a/sse": "server/a", "/a/message": "server/a",
		"/toolset/a/mcp": "toolset/a", "/b,a/mcp": "server/a,b", "/mcp/a,b,a": "server/a,b", "/b,a,b/sse": "server/a,b", "/a,a/mcp": "server/a,", "/a,,b/mcp": "server/a,b",
		"/b%2Ca/mcp": "server/a,b", "/mcp/a%2cb,a": "server/a,b", "/b%2Ca/sse": "server/a,b", "/a%2C/mcp": "server/a,",
	} {
		e := endpoint.Parse(path)
		if got := e.Canonical(); got != want || e.Behind().Canonical() != want {
			t.Errorf("%s: %q and behind it %q, want %q", path, got, e.Behind().Canonical(), want)
		}
	}
}

func TestTheRouteIsAsItWasSpelled(t *testing.T) {
	for path, want := range map[string]string{
		"/mcp": "/mcp", "/mcp/": "/mcp", "/a/mcp": "/a/mcp", "/a/mcp/": "/a/mcp", "/mcp/a": "/mcp/a", "/mcp/a,b": "/mcp/a,b", "/a,b/mcp": "/a,b/mcp",
		"/.well-known/oauth-protected-resource/mcp/a": "/mcp/a", "/.well-known/oauth-authorization-server": "", "/.well-known/jwks.json": "",
		"/a/sse": "/a/sse", "/a/message/": "/a/sse", "/mcp/message": "/mcp/sse", "/toolset/a/mcp/": "/toolset/a/mcp", "/mcp-rest/tools/list": "",
		"/a%2Cb/mcp": "/a%2Cb/mcp", "/mcp/a%2cb/": "/mcp/a%2cb", "/a%2Cb/message": "/a%2Cb/sse", "/.well-known/oauth-protected-resource/a%2Cb/mcp": "/a%2Cb/mcp",
		"/readyz": "", "/nothing": "", "/v1/mcp/network/client-ip": "",
	} {
		if got := endpoint.Parse(path).Route(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestOnlyDocumentsArePublic(t *testing.T) {
	for path, want := range map[string]bool{
		"/.well-known/oauth-protected-resource/mcp": true, "/.well-known/oauth-authorization-server": true, "/.well-known/openid-configuration": true,
		"/.well-known/jwks.json": true, "/mcp": false, "/a/mcp": false, "/a,b/mcp": false, "/v1/mcp/network/client-ip": false, "/nothing": false, "/readyz": false,
	} {
		if got := endpoint.Parse(path).Public(); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// FuzzParse: nothing makes Parse panic, a door is the same however its commas are written, and the document about a route is found from the
// route of every door.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/mcp", "/a/mcp", "/mcp/a,b", "/.well-known/jwks.json", "/.well-known/oauth-protected-resource/mcp/a", "//", "", "/a/sse", "/b,a/message", "/toolset/a/mcp", "/a%2Cb/mcp", "/mcp/a%2cb,a",
		"/a%252C/mcp", "/b%2Ca/sse", "/%2,/mcp", "/.well-known/openid-configuration/a%2Cb/mcp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		e := endpoint.Parse(path)
		route := e.Route()
		if e.Canonical() != e.Behind().Canonical() {
			t.Errorf("%q: %q, and behind it %q", path, e.Canonical(), e.Behind().Canonical())
		}
		escaped := endpoint.Parse(strings.ReplaceAll(path, ",", "%2C"))
		if escaped.Kind != e.Kind || !e.Public() && (escaped.Canonical() != e.Canonical() || escaped.Name != e.Name || escaped.Swapped != e.Swapped) {
			t.Errorf("%q: %+v, and with escaped commas %+v", path, e, escaped)
		}
		switch e.Kind {
		case endpoint.Aggregate, endpoint.Server, endpoint.Toolset, endpoint.SSE, endpoint.Message:
			if again := endpoint.Parse(route); again.Route() != route || again.Canonical() != e.Canonical() {
				t.Errorf("%q: %+v, and from its route %+v", path, e, again)
			}
		default:
			return
		}
		if d := endpoint.Parse("/.well-known/oauth-protected-resource" + route); d.Kind != endpoint.ProtectedResource || d.Route() != route {
			t.Errorf("%q: %+v, %+v", path, e, d)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if endpoint.Parse("/everything/mcp").Kind != endpoint.Server {
			b.Fatal("not a server")
		}
	}
}
