//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// inConfig says where what operators write into an object may be read: in the object itself. A token in a URL is config, not a Secret.
func inConfig(kinds ...string) func(h *haystack) bool {
	return func(h *haystack) bool {
		in := h.place == "etcd" || h.place == "etcd file"
		for _, k := range kinds {
			in = in || h.place == "admin" && strings.Contains(h.name, "/v1/"+k) || h.place == "cli" && strings.HasPrefix(h.name, "get "+k)
		}
		return in
	}
}

// leaky is a URL with a token in its path and one in its query.
func (s *spill) leaky(base, what string) string {
	return base + "/key/" + s.known("the token in the path of "+what, randomText(28), inConfig("servers", "identityproviders")) +
		"/mcp?api_key=" + s.known("the token in the query of "+what, randomText(28), inConfig("servers", "identityproviders"))
}

// configure makes keys, secrets and one server per way to be called and per way to fail.
func (s *spill) configure(t *testing.T) {
	t.Helper()
	for _, name := range []string{"bearer-token", "password", "upstream-key", "whole-header", "static-header", "client-secret"} {
		if res := s.command(t, s.secret("the Secret "+name), nil, "secret", "set", name); res.Code != 0 {
			t.Fatal(res)
		}
	}
	s.must(t, s.command(t, s.upstreams(t), []string{"LEAKY=" + s.secret("a Secret from the environment")}, "apply", "-f", "-", "--wait"))
	s.previous = s.newKey(t, "key", "create", "--name", "caller", "--servers", "*", "--roles", "debug", "--may-assert-end-user")
	s.key = s.newKey(t, "key", "rotate", "caller", "--overlap", "1h")
	s.put(t, "secrets/held", `{"spec":{"value":`+quoted(s.key)+`}}`, http.StatusOK)
	s.must(t, s.command(t, s.server("held", "/held/mcp", "auth: {type: bearer, value: {secret: held}}"), nil, "apply", "-f", "-", "--wait"))
	s.controls[0].settled(t)
}

func (s *spill) must(t *testing.T, res result) {
	t.Helper()
	if res.Code != 0 {
		t.Fatal(res)
	}
}

// newKey has a key made: what it prints is the one place where a key is shown.
func (s *spill) newKey(t *testing.T, args ...string) string {
	t.Helper()
	res := s.command(t, "", nil, args...)
	s.must(t, res)
	shown := strings.Join(args, " ")
	return s.known("the key of "+shown, strings.TrimSpace(res.Out), func(h *haystack) bool { return h.place == "cli" && h.name == shown })
}

func (s *spill) server(name, path, more string) string {
	return fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [{url: %q}]\n  %s\n---\n", name, s.gossip.URL+path, more)
}

// upstreams is the config, and what callers must send to whom.
func (s *spill) upstreams(t *testing.T) string {
	s.headers["clients"] = []string{"X-Mcp-Clients-X-Tenant", s.secret("a header for one server"), "X-Mcp-Clients-Authorization", "Bearer " + s.secret("a caller's own Authorization for one server")}
	s.headers["forward"] = []string{"X-Passed", s.secret("a header that is passed on")}
	s.headers["passing"] = []string{"Authorization", "Bearer " + s.secret("a caller's own Authorization")}
	token := func(flow, path, more string) string {
		return fmt.Sprintf("auth: {type: oauth2, flow: %s, token_url: %q, client_id: us, value: {secret: client-secret}%s}", flow, s.gossip.URL+path, more)
	}
	out := s.server(s.plain, "/plain/mcp", "") +
		s.server("bearer", "/bearer/mcp", "auth: {type: bearer, value: {secret: bearer-token}}") +
		s.server("basic", "/basic/mcp", "auth: {type: basic, username: us, value: {secret: password}}") +
		s.server("keyed", "/keyed/mcp", "auth: {type: api_key, header: x-upstream-key, value: {secret: upstream-key}}") +
		s.server("whole", "/whole/mcp", "auth: {type: authorization, value: {secret: whole-header}}") +
		s.server("static", "/static/mcp", "headers: [{name: x-static, value: {secret: static-header}}]") +
		s.server("clients", "/clients/mcp", "client_headers: [x-tenant, authorization]") +
		s.server("forward", "/forward/mcp", "forward_headers: [x-passed]") +
		s.server("passing", "/passing/mcp", "auth: {type: passthrough}") +
		s.server("machine", "/machine/mcp", token("client_credentials", "/token", "")) +
		s.server("posted", "/posted/mcp", token("client_credentials", "/token", ", client_auth: client_secret_post")) +
		s.server("exchange", "/exchange/mcp", token("token_exchange", "/token", "")) +
		strings.ReplaceAll(s.server("leaky", "LEAKY", "auth: {type: bearer, value: {secret: from-environment}}"), s.gossip.URL+"LEAKY", s.leaky(s.gossip.URL+"/leaky", "an upstream"))
	for i, how := range denials {
		path := "/token/" + strings.ReplaceAll(how, " ", "%20")
		out += s.server(fmt.Sprintf("denied%d", i), "/denied/mcp", token("client_credentials", path, "")) +
			s.server(fmt.Sprintf("posted%d", i), "/denied/mcp", token("client_credentials", path, ", client_auth: client_secret_post")) +
			s.server(fmt.Sprintf("swapped%d", i), "/denied/mcp", token("token_exchange", path, ""))
	}
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0) // each handshake fails
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	for name, base := range s.unreachable(stranger.URL) {
		out += fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [{url: %q}]\n  auth: {type: bearer, value: {secret: bearer-token}}\n---\n", name, s.leaky(base, name))
	}
	return out + "kind: Secret\nname: from-environment\nspec: {value: \"${LEAKY}\"}\n---\n" + s.others()
}

// unreachable are upstreams that can't be called, by name.
func (s *spill) unreachable(stranger string) map[string]string {
	return map[string]string{"stranger": stranger, "dead": "http://" + ownHost() + ":3001", "nowhere": "http://no-such-host.invalid", "early": s.gossip.URL + "/early"}
}

// others is one object of every other kind.
func (s *spill) others() string {
	origins := []string{}
	for _, p := range s.proxies {
		origins = append(origins, "http://"+p.Listen)
	}
	return fmt.Sprintf(`kind: Settings
name: default
spec: {tracing: {sample_ratio: "1"}}
---
kind: Ingress
name: here
spec: {use_forwarded_headers: true, trusted_proxies: [127.0.0.0/8], public_origins: [%q, %q]}
---
kind: Team
name: team
spec: {servers: ["*"]}
---
kind: Toolset
name: tools
spec: {tools: [{server: %s, tool: works}]}
---
kind: IdentityProvider
name: issuer
spec: {issuer: %q, audiences: [us], algorithms: [EdDSA], grants: [{servers: ["*"]}]}
---
kind: IdentityProvider
name: broken
spec: {issuer: %q, jwks_url: %q, audiences: [us], algorithms: [EdDSA], grants: [{servers: ["*"]}]}
`, origins[0], origins[1], s.plain, s.gossip.URL, s.gossip.URL+"/other", s.leaky(s.gossip.URL+"/early", "an issuer's keys"))
}
