package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// The diagnostic headers of a list are about all servers that it is made of: those that were asked, and those whose part was in memory.
func TestDiagnosticHeadersOfSeveralServers(t *testing.T) {
	a, b, refused := mcptest.Start(t, mcptest.Stateless()), mcptest.Start(t, mcptest.Stateless()), mcptest.RefusedURL(t)
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"aa": server(a.URL), "bb": server(b.URL), "cc": server(refused)},
		keys: map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"*"}}}})
	ask := func(path, key string) http.Header {
		t.Helper()
		r := g.send(t, http.MethodPost, path, list, append([]string{"X-Litellm-Api-Key", "Bearer " + key}, debugging...)...)
		if r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		return r.header
	}
	const ours = "region=test; era=legacy; revision=2025-11-25; bridged=false; config_revision=7, "
	for _, c := range []struct {
		key  string
		want map[string]string
	}{
		{carol, map[string]string{"Oauth2-Token": "(none)", "Auth-Resolution": "no-auth", "Server-Auth-Type": "none", "Route": "",
			"Outbound-Url": "aa=" + a.URL + "; bb=" + b.URL + "; cc=" + refused}},
		{alice, map[string]string{"Oauth2-Token": "(none)", "Auth-Resolution": "no-auth", "Server-Auth-Type": "none", "Outbound-Url": "cc=" + refused,
			"Route": ours + "server=aa; transport=streamable_http; from=memory, server=bb; transport=streamable_http; from=memory, " +
				"server=cc; transport=streamable_http; revision=2025-11-25"}},
	} {
		h := ask("/mcp", c.key)
		for k, v := range c.want {
			if got := h.Get("X-Mcp-Debug-" + k); got != v {
				t.Errorf("%s is %q, want %q", k, got, v)
			}
		}
	}
	h := ask("/aa,bb/mcp", alice)
	if got := h.Get("X-Mcp-Debug-Route"); !strings.HasPrefix(got, ours+"server=aa; ") || strings.Count(got, "from=memory") != 2 || h.Get("X-Mcp-Debug-Outbound-Url") != "" {
		t.Errorf("from memory: %v", h)
	}
}

// HTTP libraries escape commas. A session belongs to the list of names, however it is spelled.
func TestEscapedCommasAreTheSameEndpoint(t *testing.T) {
	s, keeper := two(t)
	g := start(t, s)
	id := g.join(t, "/keeper,plain/mcp")
	for _, path := range []string{"/keeper%2Cplain/mcp", "/plain%2ckeeper/mcp", "/mcp/keeper%2Cplain"} {
		l := g.send(t, "POST", path, list, "Mcp-Session-Id", id)
		if l.status != http.StatusOK || strings.Join(toolNames(t, l.body), " ") != "keeper-ask plain-echo" {
			t.Errorf("%s: %d %s", path, l.status, l.body)
		}
	}
	if a := g.send(t, "DELETE", "/plain%2Ckeeper/mcp", "", "Mcp-Session-Id", id); a.status != http.StatusOK || keeper.Sessions() != 0 {
		t.Errorf("%d, %d sessions", a.status, keeper.Sessions())
	}
}
