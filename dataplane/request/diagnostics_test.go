package request_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

var debugging = []string{"X-Litellm-Mcp-Debug", "true", "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream"}

// The five headers of the troubleshooting guide and the hops come on success and on failure; topology needs the role debug.
func TestDiagnosticHeaders(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	secret := up.URL + "/sk-0123456789abcdef0123456789abcdef?api_key=hunter2secret"
	sse := mcptest.Start(t, mcptest.Status(200, "text/event-stream", "data: "+`{"jsonrpc":"2.0","id":1,"result":{}}`+"\n\n"))
	big := mcptest.Start(t, mcptest.Status(200, "application/json", `{"jsonrpc":"2.0","id":1,"result":{"x":"`+strings.Repeat("x", 3<<20)+`"}}`))
	page, refused := mcptest.Start(t, mcptest.Page(200)), mcptest.RefusedURL(t)
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"other": server(secret), "sse": server(sse.URL), "big": server(big.URL), "page": server(page.URL), "refused": server(refused)}})
	for _, c := range []struct {
		name, path, key string
		status          int
		hops            string // regular expression
		url             string
		route           bool
	}{
		{"success", "/other/mcp", alice, 200, `^auth;ok;\d+\.\d, policy;ok;\d+\.\d, connect;ok;\d+\.\d, upstream;ok;\d+\.\d$`, strings.TrimSuffix(up.URL, "/mcp"), true},
		{"over a kept connection", "/other/mcp", alice, 200, `, connect;reused, upstream;ok;\d+\.\d$`, strings.TrimSuffix(up.URL, "/mcp"), true},
		{"without the role", "/other/mcp", bob, 200, `, connect;reused, upstream;ok;\d+\.\d$`, strings.TrimSuffix(up.URL, "/mcp"), false},
		{"event stream", "/sse/mcp", alice, 200, `upstream;ok`, sse.URL, true},
		{"large answer", "/big/mcp", alice, 200, `upstream;ok`, big.URL, true},
		{"refused", "/refused/mcp", alice, 502, `^auth;ok;\d+\.\d, policy;ok;\d+\.\d, connect;refused;\d+\.\d$`, refused, true},
		{"page", "/page/mcp", alice, 502, `upstream;mismatch;\d+\.\d$`, page.URL, true},
		{"unknown name", "/nope/mcp", alice, 404, `^auth;ok;\d+\.\d, policy;not_found;\d+\.\d$`, "", false},
		{"bad key", "/other/mcp", "sk-unknown-key-000000", 401, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.send(t, http.MethodPost, c.path, list, append([]string{"X-Litellm-Api-Key", "Bearer " + c.key, "Authorization", "Bearer short"}, debugging...)...)
			h := a.header
			if a.status != c.status {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := h.Get("X-Mcp-Debug-Inbound-Auth"); got != "x-litellm-api-key=Bearer****"+c.key[len(c.key)-4:]+"; authorization=Bearer****" {
				t.Errorf("inbound-auth %q", got)
			}
			if got := h.Get("X-Mcp-Debug-Hops"); (c.hops == "") != (got == "") || !regexp.MustCompile(c.hops).MatchString(got) {
				t.Errorf("hops %q", got)
			}
			if got := h.Get("Server-Timing"); (c.hops == "") != (got == "") || got != "" && !strings.Contains(got, "total;dur=") {
				t.Errorf("server-timing %q", got)
			}
			want := map[string]string{"X-Mcp-Debug-Oauth2-Token": "(none)", "X-Mcp-Debug-Auth-Resolution": "no-auth", "X-Mcp-Debug-Server-Auth-Type": "none"}
			if c.url == "" {
				want = map[string]string{"X-Mcp-Debug-Oauth2-Token": "", "X-Mcp-Debug-Auth-Resolution": "", "X-Mcp-Debug-Server-Auth-Type": "", "X-Mcp-Debug-Outbound-Url": ""}
			}
			for k, v := range want {
				if h.Get(k) != v {
					t.Errorf("%s is %q, want %q", k, h.Get(k), v)
				}
			}
			if got := h.Get("X-Mcp-Debug-Outbound-Url"); !strings.HasPrefix(got, c.url) || strings.Contains(got, "0123456789") || strings.Contains(got, "hunter2") {
				t.Errorf("outbound-url %q", got)
			}
			if got := h.Get("X-Mcp-Debug-Route"); (got != "") != c.route || c.route && !strings.Contains(got, "region=test; transport=streamable_http; era=legacy; revision=2025-11-25; bridged=false; config_revision=7") {
				t.Errorf("route %q", got)
			}
		})
	}
}

func TestDiagnosticsAreOnlyForThoseWhoAsk(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	for value, want := range map[string]bool{"": false, "false": false, "0": false, "no": false, "true": true, "TRUE": true, "1": true, "Yes": true} {
		for _, header := range []string{"X-Litellm-Mcp-Debug", "X-Hopgate-Debug"} {
			a := g.send(t, http.MethodPost, "/up/mcp", list, append([]string{header, value}, legacy...)...)
			for k := range a.header {
				if diagnostic := strings.HasPrefix(k, "X-Mcp-Debug") || k == "Server-Timing"; diagnostic && !want {
					t.Errorf("%s: %q got %s", header, value, k)
				}
			}
			if (a.header.Get("X-Mcp-Debug-Hops") != "") != want {
				t.Errorf("%s: %q got hops %q", header, value, a.header.Get("X-Mcp-Debug-Hops"))
			}
		}
	}
}

// The face of a fault tells the place and the trace.
func TestFaultsTellWhereToLook(t *testing.T) {
	g := start(t, one(mcptest.RefusedURL(t)))
	a := g.send(t, http.MethodPost, "/up/mcp", strings.Replace(list, `"id":1`, `"id":9007199254740993`, 1), legacy...)
	for _, want := range []string{`"id":9007199254740993,"error":{"code":-32000,`, `"hop":"upstream","phase":"connect","kind":"refused","remote":false,"server":"up","region":"test"`, `"trace_id":"` + a.header.Get("X-Hopgate-Trace-Id") + `"`, `"hint":`, `"doc":`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", a.header)
	}
	if strings.Contains(a.body, "127.0.0.1") {
		t.Errorf("the address shows: %s", a.body)
	}
}
