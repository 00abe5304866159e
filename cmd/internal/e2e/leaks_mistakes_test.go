//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"google.golang.org/protobuf/proto"
)

// tokens sends JWTs and keys that admit nobody, and credentials of the gateway where a server would get them.
func (s *spill) tokens(t *testing.T) {
	t.Helper()
	g := s.gossip
	_, strange, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	valid := s.token("another caller's JWT", g.sign("one", g.key, g.claims("us", map[string]any{"note": s.word("a claim")})))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + strings.TrimRight(valid[strings.Index(valid, "."):], "."+valid[strings.LastIndex(valid, ".")+1:]) + "."
	for what, jwt := range map[string]string{
		"an expired JWT":            g.sign("one", g.key, g.claims("us", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"a forged JWT":              g.sign("one", strange, g.claims("us", nil)),
		"a JWT with an unknown key": g.sign("key-"+s.word("a key id"), strange, g.claims("us", nil)),
		"a JWT for others":          g.sign("one", g.key, g.claims("https://"+s.word("an audience")+".example.com", nil)),
		"a JWT of others":           g.sign("one", strange, g.claims("us", map[string]any{"iss": "https://" + s.word("an issuer") + ".example.com"})),
		"an unsigned JWT":           none,
		"a broken JWT":              valid[:len(valid)-7] + "!!!",
		"a wrong key":               "sk-" + s.word("a wrong key"),
		"a wrong password":          s.secret("no key at all"),
	} {
		for _, header := range []string{"Authorization", "X-Litellm-Api-Key", "X-Hopgate-Api-Key"} {
			if a := s.send(t, http.MethodPost, "/"+s.plain+"/mcp", toolCall("works", nil), header, "Bearer "+s.token(what, jwt)); a.Status != http.StatusUnauthorized {
				t.Errorf("%s in %s: %d %s", what, header, a.Status, a.Body)
			}
		}
	}
	away := s.token("a JWT of a broken issuer", g.sign("one", g.key, g.claims("us", map[string]any{"iss": g.URL + "/other"})))
	s.fails(t, s.send(t, http.MethodPost, "/"+s.plain+"/mcp", toolCall("works", nil), "Authorization", "Bearer "+away), "authserver")
	s.send(t, http.MethodPost, "/"+s.plain+"/mcp", toolCall("works", nil), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("us:"+s.secret("a wrong password in Basic"))))
	for _, inner := range []string{s.key, s.previous, valid} {
		s.leave(t, "passing", "Authorization", "Bearer "+inner)
		s.leave(t, "passing", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("us:"+inner)))
		s.leave(t, "clients", "X-Mcp-Clients-X-Tenant", inner)
		s.leave(t, "forward", "X-Passed", "Token "+inner)
		s.leave(t, s.plain, "Mcp-Param-Token", inner, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "works")
	}
	s.leave(t, "held")
}

// leave tries to get a credential of the gateway to an upstream; it must be stopped.
func (s *spill) leave(t *testing.T, server string, header ...string) {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"works","arguments":{}}}`
	if len(header) > 2 {
		body = strings.Replace(body, `"arguments"`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"arguments"`, 1)
	}
	a := s.send(t, http.MethodPost, "/"+server+"/mcp", body, append([]string{"X-Litellm-Api-Key", "Bearer " + s.key}, header...)...)
	if a.Status < 400 {
		t.Errorf("a credential left in %s: %+v", header[0], a)
	}
}

// oddRequests puts secrets where callers put them by mistake: into paths, queries, headers and messages that don't parse.
func (s *spill) oddRequests(t *testing.T) {
	t.Helper()
	key, ours := []string{"X-Litellm-Api-Key", s.key}, "/"+s.plain+"/mcp"
	for i, path := range []string{"/sk-%s/mcp", "/mcp/%s", "/%s", "/%s/" + s.plain + "/mcp", "/key/%s/mcp", "/mcp?api_key=%s", ours + "?token=%s&x=1", "/v1/mcp/network/client-ip?key=%s", "/readyz?%s", "/a,%s/mcp"} {
		path = fmt.Sprintf(path, s.word("a token in the path or query of "+path))
		s.send(t, http.MethodPost, path, toolCall("works", nil), key...)
		s.send(t, http.MethodGet, path, "", key[:i%2*2]...)
		s.send(t, http.MethodPost, path, toolCall("works", nil))
	}
	// The document says which route it is about (RFC 9728 section 3.3): back to who asked, and to nobody else.
	route := s.known("a token in the path of a document", randomText(28), func(h *haystack) bool { return h.place == "answer" && strings.Contains(h.name, "/.well-known/") })
	s.send(t, http.MethodGet, "/.well-known/oauth-protected-resource/"+route+"/mcp", "")
	// Not among them: where a request came from and under which name (Host, Origin, forwarding headers), which diagnostics show, and
	// MCP-Protocol-Version, which the protocol says back.
	for _, name := range []string{"User-Agent", "Cookie", "Referer", "Accept", "Content-Type", "Content-Encoding", "Mcp-Session-Id", "Last-Event-Id", "Mcp-Method", "Mcp-Name", "Traceparent", "Tracestate", "Baggage", "X-Mcp-Servers", "X-Mcp-Bearer-Authorization", "Proxy-Authorization"} {
		s.send(t, http.MethodPost, ours, toolCall("works", nil), append(key, name, s.word("the header "+name))...)
		s.send(t, http.MethodPost, ours, toolCall("works", nil), name, s.word("the header "+name+" of a stranger"))
		s.send(t, http.MethodGet, "/v1/mcp/network/client-ip", "", append(key, "X-Mcp-Debug", "true", name, s.word("the header "+name+" of who asks for his address"))...)
	}
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"works","arguments":{"token":"%s"`, `%s`, `{"jsonrpc":"%s"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"%s"}`, `[{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"%s"}}]`, `{"jsonrpc":"2.0","id":{"%s":1},"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"https://files.example.com/a?token=%s"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p","arguments":{"x":"%s"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"works","_meta":{"x":"%s","traceparent":"%[1]s","io.modelcontextprotocol/protocolVersion":"%[1]s"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"%s","clientInfo":{"name":"%[1]s","version":"%[1]s"},"capabilities":{}}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"x":"%s"}}`, `{"jsonrpc":"2.0","id":1,"method":"ping","%s":1,"%[1]s":2}`,
	} {
		s.send(t, http.MethodPost, ours, fmt.Sprintf(body, s.word("a message like "+body)), key...)
	}
}

// put writes by the REST API, and checks the status.
func (s *spill) put(t *testing.T, path, body string, status int) {
	t.Helper()
	if got := s.rest(t, http.MethodPut, path, body, "Authorization", "Bearer "+masterKey); got != status {
		t.Errorf("PUT %s %s: status %d, want %d", path, body, got, status)
	}
}

func (s *spill) rest(t *testing.T, method, path, body string, header ...string) int {
	t.Helper()
	s.turn++
	req, err := http.NewRequest(method, "http://"+s.controls[s.turn%len(s.controls)].Admin+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.admins.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// misplace writes secrets by API into fields where they don't belong; nearly all is refused.
func (s *spill) misplace(t *testing.T) {
	t.Helper()
	url := `"endpoints":[{"url":"http://127.0.0.1:9/mcp"}]`
	for _, c := range []struct{ path, body string }{
		{"apikeys/odd", `{"spec":{"sha256":"sk-%s"}}`}, {"apikeys/odd", `{"spec":{"key":"sk-%s"}}`}, {"apikeys/odd", `{"spec":{"previous_sha256":"sk-%s"}}`}, {"apikeys/odd", `{"spec":{"sha256":["%s"]}}`},
		{"servers/odd", `{"spec":{"endpoints":[{"url":"https://us:%s@example.com/mcp"}]}}`}, {"servers/odd", `{"spec":{"endpoints":[{"url":"https://%s@example.com/mcp"}]}}`},
		{"servers/odd", `{"spec":{"endpoints":[{"url":"https://example.com/mcp#%s"}]}}`}, {"servers/odd", `{"spec":{"endpoints":[{"url":"example.com/%s"}]}}`}, {"servers/odd", `{"spec":{"endpoints":[{"url":"https://example.com/ %s"}]}}`},
		{"servers/odd", `{"spec":{"endpoints":["https://example.com/%s"]}}`}, {"servers/odd", `{"spec":{"endpoints":"https://example.com/%s"}}`}, {"servers/odd", `{"spec":{"endpoints":[{"url":"https://example.com:%s/"}]}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"Bearer %s"}}}`}, {"servers/odd", `{"spec":{` + url + `,"auth":{"type":"bearer","value":"%s"}}}`}, {"servers/odd", `{"spec":{` + url + `,"auth":"Bearer %s"}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"bearer","value":{"secret":"%s"}}}}`}, {"servers/odd", `{"spec":{` + url + `,"auth":{"type":"bearer","token":"%s"}}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"bearer","value":{"value":"%s"}}}}`}, {"servers/odd", `{"spec":{` + url + `,"auth":{"type":"basic","username":"us:%s","value":{"secret":"password"}}}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"api_key","header":"x-key: %s","value":{"secret":"password"}}}}`}, {"servers/odd", `{"spec":{` + url + `,"headers":[{"name":"x-key: %s","text":"x"}]}}`},
		{"servers/odd", `{"spec":{` + url + `,"headers":[{"name":"authorization","text":"Bearer %s"}]}}`}, {"servers/odd", `{"spec":{` + url + `,"headers":[{"name":"x-key","text":"%s","value":{"secret":"password"}}]}}`},
		{"servers/odd", `{"spec":{` + url + `,"headers":{"x-key":"%s"}}}`}, {"servers/odd", `{"spec":{` + url + `,"client_headers":["Authorization: Bearer %s"]}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"oauth2","flow":"client_credentials","client_id":"us","token_url":"https://us:%s@example.com/token","value":{"secret":"password"}}}}`},
		{"servers/odd", `{"spec":{` + url + `,"auth":{"type":"oauth2","flow":"client_credentials","client_id":"us","client_secret":"%s","token_url":"https://example.com/token"}}}`},
		{"servers/odd", `{"spec":{` + url + `,"tls":{"ca_pem":"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n"}}}`},
		{"secrets/odd", `{"spec":{"sealed":"%s"}}`}, {"secrets/odd", `{"value":"%s"}`}, {"secrets/odd", `{"spec":"%s"}`}, {"secrets/odd", `{"spec":{"value":["%s"]}}`}, {"secrets/odd", `{"spec":{"value":{"%s":1}}}`},
		{"secrets/odd", `{"spec":{"value":"%s\n"}}`}, {"secrets/odd", `{"spec":{"value":"%s é"}}`}, {"secrets/odd", `{"spec":{"value":"%s"`}, {"secrets/odd", `{"spec":{"valeu":"%s"}}`}, {"secrets/odd", `{"spec":{"value":%s}}`},
		{"secrets/odd", `{"spec":{"value":"%s","value":"x"}}`}, {"secrets/odd", `{"spec":{"value":"\q%s"}}`}, {"secrets/odd", `%s`},
		{"identityproviders/odd", `{"spec":{"issuer":"https://us:%s@example.com","audiences":["a"]}}`}, {"identityproviders/odd", `{"spec":{"issuer":"https://example.com","client_secret":"%s"}}`},
		{"identityproviders/odd", `{"spec":{"issuer":"https://example.com","audiences":["a"],"jwks_url":"https://%s@example.com/"}}`},
		{"ingresses/odd", `{"spec":{"public_origins":["https://us:%s@example.com"]}}`},
	} {
		s.put(t, c.path, fmt.Sprintf(c.body, s.word("what was written as "+c.path+" "+c.body)), http.StatusBadRequest)
	}
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "secrets/odd", `{"spec":{"value":`+s.known("a number as value", "7"+number.String(), nil)+`}}`, http.StatusBadRequest)
	for _, path := range []string{"apikeys/sk-%s", "servers?api_key=%s", "servers?page_token=%s", "servers?page_size=%s", "%s", "changes/%s", "secrets/odd?validate_only=%s", "secrets/odd?request_id=%s"} {
		path = fmt.Sprintf(path, s.word("a path like "+path))
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			s.rest(t, method, path, `{}`, "Authorization", "Bearer "+masterKey)
		}
	}
	s.write(t)
}

// write is what goes well, or nearly: checks, repeats, lost races and calls by strangers.
func (s *spill) write(t *testing.T) {
	t.Helper()
	value := func(what string) string { return quoted(s.secret(what)) }
	s.put(t, "secrets/checked?validate_only=true", `{"spec":{"value":`+value("a value that is only checked")+`}}`, http.StatusOK)
	again := `{"spec":{"value":` + value("a value that is written twice") + `}}`
	s.put(t, "secrets/twice?request_id=0190a000-0000-7000-8000-000000000001", again, http.StatusOK)
	s.put(t, "secrets/twice?request_id=0190a000-0000-7000-8000-000000000001", again, http.StatusOK)
	s.put(t, "secrets/twice?request_id=0190a000-0000-7000-8000-000000000001", `{"spec":{"value":`+value("another value of the same request")+`}}`, http.StatusBadRequest)
	var before struct{ Meta struct{ Etag string } }
	if err := s.controls[0].get("/v1/secrets/twice", &before); err != nil {
		t.Fatal(err)
	}
	s.put(t, "secrets/twice", `{"spec":{"value":`+value("a value that wins a race")+`}}`, http.StatusOK)
	s.put(t, "secrets/twice", `{"spec":{"value":`+value("a value that loses a race")+`},"meta":{"etag":`+quoted(before.Meta.Etag)+`}}`, http.StatusPreconditionFailed)
	master := []string{"Authorization", "Bearer " + masterKey}
	s.rest(t, http.MethodPatch, "secrets/twice", `{"spec":{"value":`+value("a value that is patched")+`}}`, append(master, "If-Match", s.word("an etag"))...)
	s.rest(t, http.MethodPost, "changes", `{"objects":[{"secret":{"name":"many","spec":{"value":`+value("a value among many")+`}}}]}`, master...)
	s.rest(t, http.MethodPost, "changes", `{"objects":[{"secret":{"name":"many","spec":{"value":`+value("a value beside a mistake")+`}}},{"server":{"name":"odd"}}]}`, master...)
	for _, header := range []string{"Authorization", "X-Hopgate-Api-Key", "X-Litellm-Api-Key"} {
		s.rest(t, http.MethodPut, "secrets/twice", `{"spec":{"value":`+value("a stranger's value")+`}}`, header, "Bearer "+s.word("a stranger's key"))
		s.rest(t, http.MethodPut, "secrets/twice", `{"spec":{"value":`+value("a caller's value")+`}}`, header, "Bearer "+s.key)
	}
	s.rest(t, http.MethodGet, "servers", "", "Traceparent", s.word("a traceparent"), "Cookie", s.word("an admin's cookie"), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("us:"+masterKey)))
}

// mistype applies YAML with mistakes next to secrets, and types secrets where commands don't take any.
func (s *spill) mistype(t *testing.T) {
	t.Helper()
	secret, server := "kind: Secret\nname: typed\nspec:\n", "kind: Server\nname: typed\nspec:\n  endpoints: [{url: \"http://127.0.0.1:9/mcp\"}]\n  auth: "
	for _, yaml := range []string{
		secret + "\tvalue: %s\n", secret + "  value: [%s]\n", secret + "  value: {%s: 1}\n", secret + "  value: *%s\n", secret + "  value: !%s x\n", secret + "  value: @%s\n", secret + "  value: \"%s\n", secret + "  value: \"\\q%s\"\n",
		secret + "  valeu: %s\n", secret + "  value: %s\n  value: x\n", secret + "  value: %s: x\n", secret + " value: %s\n   other: x\n", secret + "  value: !!binary %s\n", secret + "  value: |\n    %s\n    é\n", secret + "  sealed: %s\n",
		secret + "  <<: *%s\n", secret + "  value:%s\n", "kind: Secret\nname: typed\nspec: %s\n", "kind: Secret\nname: typed\nvalue: %s\n", "- %s\n", "%s\n", "name: %s\n",
		"kind: Secret\nname: %s\nspec: {value: x}\n", server + "%s\n", server + "{type: bearer, value: %s}\n", server + "{type: bearer, value: {secret: %s}}\n", server + "{type: bearer, token: %s}\n",
		"kind: ApiKey\nname: typed\nspec: {sha256: sk-%s}\n", "kind: ApiKey\nname: typed\nspec: {key: sk-%s}\n", "kind: Server\nname: typed\nspec: {endpoints: [{url: \"http://us:%s@127.0.0.1/\"}]}\n",
	} {
		if res := s.command(t, fmt.Sprintf(yaml, s.word("what was typed as "+yaml)), nil, "apply", "-f", "-"); res.Code == 0 {
			t.Errorf("applied: %s", yaml)
		}
	}
	for _, line := range []string{
		"secret set typed %s", "secret set %s", "key revoke sk-%s", "key rotate sk-%s", "key create --name sk-%s --servers *", "get apikey/sk-%s", "delete apikey/sk-%s",
		"explain grant --key sk-%s --server bearer", "explain origin --peer 127.0.0.1 --header Authorization:%s", "explain origin --peer 127.0.0.1 --header Authorization=%s",
		"get servers --api-key sk-%s", "get servers %s extra", "get servers --timeout=%s", "%s",
		"tools bearer --url http://us:%s@127.0.0.1:9", "tools bearer --url http://127.0.0.1:9/?key=%s", "call bearer works token=%s --url http://127.0.0.1:9",
	} {
		args := strings.Fields(fmt.Sprintf(line, s.word("what was typed as hopgate "+line)))
		if res := s.command(t, "", nil, args...); res.Code == 0 && !strings.HasPrefix(line, "explain origin") {
			t.Errorf("it went well: hopgate %s", line)
		}
	}
}

// read reads everything that can be read, in every form.
func (s *spill) read(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"servers", "apikeys", "teams", "toolsets", "ingresses", "identityproviders", "secrets", "settings", "changes"} {
		for _, form := range []string{"table", "yaml", "json"} {
			s.must(t, s.command(t, "", nil, "get", kind, "-o", form))
		}
		s.fetch(t, "admin", "http://"+s.controls[0].Admin+"/v1/"+kind+"?page_size=1000")
	}
	for _, line := range []string{"status", "status -o json", "status -o yaml", "key list -o yaml", "secret list -o yaml", "get secret/bearer-token -o yaml", "get server/bearer -o json", "explain grant --key caller --server bearer --tool works",
		"explain grant --key caller --server bearer -o json", "tools bearer --url http://" + s.proxies[0].Listen + " --api-key " + s.key, "call bearer works x=1 --url http://" + s.proxies[1].Listen + " --api-key " + s.key, "version"} {
		s.must(t, s.command(t, "", nil, strings.Fields(line)...))
	}
	for _, path := range []string{"nodes", "info", "secrets/bearer-token", "apikeys/caller", "servers/" + s.plain} {
		s.fetch(t, "admin", "http://"+s.controls[1].Admin+"/v1/"+path)
	}
	for i := range s.controls { // so that each has something to say about it
		s.rest(t, http.MethodPatch, "servers/"+s.plain, fmt.Sprintf(`{"labels":{"turn":"%d"}}`, i), "Authorization", "Bearer "+masterKey)
	}
	admin, all := s.controls[0].client(t), &adminv1.ListRequest{PageSize: 1000}
	secrets, err := admin.ListSecrets(t.Context(), all)
	if err != nil || len(secrets.GetSecrets()) < 9 {
		t.Fatalf("%d secrets, %v", len(secrets.GetSecrets()), err)
	}
	changes, err := admin.ListChanges(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]proto.Message{"gRPC ListSecrets": secrets, "gRPC ListChanges": changes} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		s.see("admin", name, b)
	}
}
