package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMethodsAndPaths(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	for _, c := range []struct {
		method, path string
		heads        []string
		status       int
		allow        string
	}{
		{"PUT", "/up/mcp", nil, 405, "GET, POST, DELETE"},
		{"PATCH", "/mcp/up", nil, 405, "GET, POST, DELETE"},
		{"HEAD", "/up/mcp", nil, 405, "GET, POST, DELETE"},
		{"OPTIONS", "/up/mcp", nil, 405, "GET, POST, DELETE"},
		{"BREW", "/up/mcp", nil, 405, "GET, POST, DELETE"},
		{"PUT", "/up/mcp", []string{"X-Litellm-Api-Key", ""}, 401, ""},
		{"PUT", "/nope/mcp", nil, 404, ""},
		{"GET", "/up/mcp", nil, 405, "POST"},
		{"POST", "/up/mcp/", nil, 200, ""},
		{"POST", "/mcp/up", nil, 200, ""},
		{"POST", "/mcp/up/?query=1", nil, 200, ""},
		{"POST", "/up/mcp", []string{"Content-Type", "application/json; charset=utf-8"}, 200, ""},
		{"POST", "/up/mcp", []string{"Content-Type", "text/plain"}, 415, ""},
		{"POST", "/up/mcp", []string{"Content-Type", ""}, 415, ""},
		{"POST", "/mcp", nil, 200, ""},
		{"POST", "/mcp/", nil, 200, ""},
		{"PUT", "/mcp", nil, 405, "GET, POST, DELETE"},
		{"GET", "/mcp", nil, 400, ""},
		{"POST", "/up,other/mcp", nil, 404, ""},
		{"POST", "/mcp", []string{"X-Litellm-Api-Key", ""}, 401, ""},
		{"POST", "/", nil, 404, ""},
		{"GET", "/.well-known/oauth-protected-resource", []string{"X-Litellm-Api-Key", ""}, 404, ""},
		{"GET", "/.well-known/oauth-authorization-server", []string{"X-Litellm-Api-Key", ""}, 404, ""},
		{"GET", "/healthz", []string{"X-Litellm-Api-Key", "", "Host", "10.1.2.3"}, 200, ""},
		{"HEAD", "/healthz", nil, 200, ""},
		{"POST", "/healthz", nil, 405, "GET, HEAD"},
		{"GET", "/readyz", []string{"X-Litellm-Api-Key", ""}, 200, ""},
		{"DELETE", "/readyz", nil, 405, "GET, HEAD"},
	} {
		a := g.send(t, c.method, c.path, list, c.heads...)
		if a.status != c.status || a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s %v: %d, Allow %q; %s", c.method, c.path, c.heads, a.status, a.header.Get("Allow"), a.body)
		}
		if len(a.header.Get("X-Hopgate-Trace-Id")) != 32 {
			t.Errorf("%s %s: no trace id", c.method, c.path)
		}
		if (a.header.Get("X-Hopgate-Error") == "") != (c.status == 200 || c.status == 405 && c.allow == "POST") {
			t.Errorf("%s %s: x-hopgate-error %q", c.method, c.path, a.header.Get("X-Hopgate-Error"))
		}
		if challenge := a.header.Get("Www-Authenticate"); challenge != map[bool]string{true: `Bearer realm="hopgate"`}[c.status == 401] {
			t.Errorf("%s %s: challenge %q", c.method, c.path, challenge)
		}
	}
}

// Notifications and responses are answered 202 without a body, whatever the upstream made of it.
func TestNotificationsAreAccepted(t *testing.T) {
	servers := map[string]*configv1.ServerSpec{
		"empty_200": server(mcptest.Start(t, mcptest.Status(200, "application/json", "")).URL),
		"json_200":  server(mcptest.Start(t, mcptest.Status(200, "application/json", `{"jsonrpc":"2.0","id":null,"result":{}}`)).URL),
		"text_202":  server(mcptest.Start(t, mcptest.Status(202, "text/plain", "Accepted")).URL),
		"bare_204":  server(mcptest.Start(t, mcptest.Status(204, "", "")).URL),
		"page":      server(mcptest.Start(t, mcptest.Page(200)).URL),
		"refuses":   server(mcptest.Start(t, mcptest.Status(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}`)).URL),
	}
	g := start(t, settings{servers: servers})
	for name := range servers {
		for _, body := range []string{ready, said} {
			want := map[string]int{"page": 502, "refuses": 400}[name]
			a := g.send(t, http.MethodPost, "/"+name+"/mcp", body, legacy...)
			if want == 0 && (a.status != 202 || a.body != "" || a.header.Get("Content-Type") != "") || want != 0 && a.status != want {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
}

// How a server refuses GET and DELETE is passed on.
func TestRefusedVerbs(t *testing.T) {
	bare := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }))
	spoken := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "POST, DELETE")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMethodNotAllowed)
		w.Write([]byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Method not allowed."}}`)) //nolint:errcheck // a test server
	}))
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"bare": server(bare.URL), "spoken": server(spoken.URL),
		"page": server(mcptest.Start(t, mcptest.Page(200)).URL), "json": server(mcptest.Start(t, mcptest.Status(200, "application/json", "{}")).URL), "gone": server(mcptest.RefusedURL(t))}})
	for _, c := range []struct {
		name, method string
		status       int
		allow, body  string
	}{
		{"bare", "GET", 405, "POST", ""},
		{"bare", "DELETE", 405, "POST", ""},
		{"spoken", "GET", 405, "POST, DELETE", `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Method not allowed."}}`},
		{"page", "GET", 502, "", `"phase":"intermediary"`},
		{"json", "GET", 502, "", `"phase":"protocol"`},
		{"json", "DELETE", 200, "", ""},
		{"gone", "GET", 502, "", `"phase":"connect"`},
		{"gone", "DELETE", 502, "", `"phase":"connect"`},
	} {
		a := g.send(t, c.method, "/"+c.name+"/mcp", "", legacy...)
		if a.status != c.status || a.header.Get("Allow") != c.allow || !strings.Contains(a.body, c.body) || c.body == "" && a.body != "" {
			t.Errorf("%s %s: %d, Allow %q, %s", c.method, c.name, a.status, a.header.Get("Allow"), a.body)
		}
	}
}

func TestHostsAndOriginsAreChecked(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.public = []string{"https://mcp.example.com"}
	g := start(t, s)
	for _, c := range []struct {
		host, origin string
		status       int
	}{
		{"localhost:4000", "", 200}, {"mcp.example.com", "https://mcp.example.com", 200}, {"127.0.0.1", "http://localhost:6274", 200},
		{"evil.example", "", 403}, {"localhost", "https://evil.example", 403}, {"localhost", "null", 403},
	} {
		a := g.send(t, http.MethodPost, "/up/mcp", list, append([]string{"Host", c.host, "Origin", c.origin}, legacy...)...)
		if a.status != c.status || c.status == 403 && !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=client; phase=request; kind=denied") {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
}

func TestWithoutKeys(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.anonymous, s.public = true, []string{"https://mcp.example.com"}
	g := start(t, s)
	none := []string{"X-Litellm-Api-Key", ""}
	for _, c := range []struct {
		name   string
		heads  []string
		status int
	}{
		{"nothing", nil, 200},
		{"a key that is known", []string{"X-Litellm-Api-Key", alice}, 200},
		{"a key that isn't", []string{"X-Litellm-Api-Key", "sk-unknown-key-000000"}, 401},
		{"through a proxy", []string{"X-Forwarded-For", "10.0.0.1"}, 403},
		{"through another proxy", []string{"Forwarded", "for=10.0.0.1"}, 403},
		{"by a public name", []string{"Host", "mcp.example.com"}, 403},
		{"from a page of this machine", []string{"Origin", "http://localhost:6274"}, 200},
		{"from a foreign page", []string{"Origin", "https://evil.example"}, 403},
		{"as a form would", []string{"Content-Type", "text/plain"}, 415},
	} {
		a := g.send(t, http.MethodPost, "/up/mcp", list, append(append(append([]string{}, none...), legacy...), c.heads...)...)
		if a.status != c.status {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	if log := g.flushed(); !strings.Contains(log, "caller=anonymous") {
		t.Errorf("access log: %s", log)
	}
}

// flushed stops the gateway and returns its access log.
func (g *gateway) flushed() string {
	g.stop()
	return g.access.String()
}
