package request_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Each test here stands for a way in which a gateway of this kind was broken into, or let its users down, in the field.

// provider is an identity provider whose tokens open the server "up" to the group dev.
func provider(t testing.TB, i *jwttest.Issuer) confset.Object {
	return object(t, "identityprovider", "corp", &configv1.IdentityProvider{Name: "corp", Spec: &configv1.IdentityProviderSpec{
		Issuer: i.Provider().Issuer, Audiences: i.Provider().Audiences, JwksUrl: i.JWKS(), Tls: &configv1.UpstreamTLS{CaPem: i.RootsPEM()},
		Grants: []*configv1.ClaimGrant{{Claim: "groups", Value: "dev", Servers: []string{"up"}}}}})
}

// CVE-2026-59822 and CVE-2026-12773: a refusal that was swallowed on the way, and a caller with an empty identity who was let in.
func TestCVE_2026_59822_And_12773_NoFakeBearerReachesAServer(t *testing.T) {
	key := jwttest.NewKey(t, "k1", "RS256")
	issuer := jwttest.New(t, key)
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.more = []confset.Object{provider(t, issuer)}
	g := start(t, s)
	none := jwttest.Encode(`{"alg":"none"}`) + "." + jwttest.Encode(`{"iss":"`+issuer.Provider().Issuer+`","sub":"x"}`) + "."
	fakes := []string{"", "x", "Bearer", "Bearer ", "Bearer x", "Bearer null", "Bearer undefined", "Bearer sk-", "Bearer eyJ", "Bearer ..", "Bearer a.b.c",
		"Bearer " + none, "Basic " + base64.StdEncoding.EncodeToString([]byte("a:b")), "Digest x", "Bearer " + strings.Repeat("a", 20000), "Negotiate YII="}
	for _, header := range []string{"Authorization", "X-Litellm-Api-Key", "X-Hopgate-Api-Key"} {
		for _, fake := range fakes {
			for _, path := range []string{"/up/mcp", "/mcp/up", "/mcp", "/nothing/mcp", "/v1/mcp/network/client-ip"} {
				a := g.send(t, http.MethodPost, path, list, "X-Litellm-Api-Key", "", header, fake)
				if a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), "resource_metadata=") && path != "/v1/mcp/network/client-ip" {
					t.Errorf("%s: %.40q at %s: %d, challenge %q", header, fake, path, a.status, a.header.Get("Www-Authenticate"))
				}
			}
		}
	}
	if n := len(up.Seen()); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
	good := key.Token(t, issuer.Claims(time.Now(), map[string]any{"groups": []string{"dev"}}))
	if a := g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", "", "Authorization", "Bearer "+good); a.status != 200 {
		t.Errorf("a good token: %d %s", a.status, a.body)
	}
}

// CVE-2026-49468: a Host header that chose the route, and with it the rights.
func TestCVE_2026_49468_TheHostChoosesNoRoute(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.open = true
	g := start(t, s)
	hosts := []string{"localhost", "admin", "localhost/healthz", "up/mcp", "127.0.0.1:4001", "x/../admin", "[::1]", "a@b", "healthz?", "localhost#/readyz"}
	for _, host := range hosts {
		for _, request := range []string{
			"POST /up/mcp HTTP/1.1\r\nHost: " + host,
			"POST http://localhost/up/mcp HTTP/1.1\r\nHost: " + host,
			"POST http://" + strings.NewReplacer("#", "", "?", "", "/", "", "@", "").Replace(host) + "/up/mcp HTTP/1.1\r\nHost: localhost",
			"POST /up/mcp HTTP/1.1\r\nX-Original-Url: /healthz\r\nX-Rewrite-Url: /healthz\r\nX-Forwarded-Prefix: /healthz\r\nX-Forwarded-Host: localhost\r\nHost: " + host,
		} {
			if status := g.exchange(t, request+"\r\nContent-Type: application/json\r\nContent-Length: "+fmt.Sprint(len(list))+"\r\nConnection: close\r\n\r\n"+list); status == 200 {
				t.Errorf("%q was let in", request)
			}
		}
	}
	if n := len(up.Seen()); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
}

// exchange sends raw bytes on a connection of their own and returns the status, 0 when there was no answer.
func (g *gateway) exchange(t *testing.T, raw string) (status int) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	fatal(t, err)
	defer c.Close() //nolint:errcheck // a test's connection
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.WriteString(c, raw); err != nil {
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()        //nolint:errcheck // a test's connection
	io.Copy(io.Discard, res.Body) //nolint:errcheck // only the status counts
	return res.StatusCode
}

// CVE-2026-42271 and CVE-2026-30623: whoever could write a server's config could start a program on the gateway's machine. A data plane
// starts none (cmd/internal/arch looks for imports of os/exec), and refuses servers that would need one.
func TestCVE_2026_42271_And_30623_NoServerStartsAProgram(t *testing.T) {
	for _, transport := range []string{"stdio", "command", "STDIO"} {
		spec := server("http://127.0.0.1:1/mcp")
		spec.Transport = transport
		_, outcomes := table.New(table.Config{Region: "test"}).Apply(confset.Delta{Upserts: []confset.Object{
			object(t, "server", "run", &configv1.Server{Name: "run", Spec: spec})}}, 1, table.Version{})
		if len(outcomes) != 1 || !outcomes[0].Rejected || outcomes[0].Field != "spec.transport" {
			t.Errorf("%s: %+v", transport, outcomes)
		}
	}
	for _, url := range []string{"file:///bin/sh", "unix:///run/x.sock", "exec:sh", "stdio://sh", "javascript:1", "data:,x"} {
		_, outcomes := table.New(table.Config{}).Apply(confset.Delta{Upserts: []confset.Object{
			object(t, "server", "run", &configv1.Server{Name: "run", Spec: server(url)})}}, 1, table.Version{})
		if len(outcomes) == 0 || !outcomes[0].Rejected {
			t.Errorf("%s was taken", url)
		}
	}
}

// CVE-2026-12798: an endpoint that fetched whatever URL a stranger named. No request makes a data plane call anybody but the configured server,
// whatever URLs it carries.
func TestCVE_2026_12798_NoRequestChoosesWhomWeCall(t *testing.T) {
	var calls atomic.Int64
	trap := mcptest.Start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	g := start(t, s)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"url":%q},"spec_path":%[1]q,"url":%[1]q,"_meta":{"url":%[1]q}}}`, trap.URL)
	for _, path := range []string{"/up/mcp", "/mcp", "/test/connection", "/v1/mcp/server", "/mcp-rest/test/connection", "/v1/mcp/test/tools/list", "/up/authorize?redirect_uri=" + trap.URL,
		"/register", "/.well-known/oauth-protected-resource/" + trap.URL, "/.well-known/openid-configuration"} {
		for _, key := range []string{"", alice} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				g.send(t, method, path, body, "X-Litellm-Api-Key", key, "X-Mcp-Url", trap.URL, "X-Forwarded-Host", strings.TrimPrefix(trap.URL, "http://"), "Referer", trap.URL,
					"X-Mcp-Up-Url", trap.URL, "Link", "<"+trap.URL+">", "Jku", trap.URL, "Authorization", "Bearer "+jku(trap.URL))
			}
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the trap was called %d times", n)
	}
}

// jku is a token whose header names where to fetch the key that signed it.
func jku(url string) string {
	return jwttest.Encode(`{"alg":"RS256","kid":"k","jku":"`+url+`","x5u":"`+url+`"}`) + "." + jwttest.Encode(`{"iss":"`+url+`","sub":"x","aud":"x"}`) + ".c2ln"
}

// A key that changed hands between checks, an upstream that takes anything: being let in by the server behind is not being let in here.
func TestAServerWithPassthroughAdmitsNobodyByItself(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.servers["up"].Auth = &configv1.Auth{Type: "passthrough"}
	g := start(t, s)
	if a := g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", "", "Authorization", "Bearer upstream-token-0123456789"); a.status != 401 {
		t.Errorf("without a key: %d", a.status)
	}
	a := g.send(t, http.MethodPost, "/up/mcp", list, "Authorization", "Bearer upstream-token-0123456789", "X-Litellm-Mcp-Debug", "true")
	if a.status != 200 || a.header.Get("X-Mcp-Debug-Oauth2-Token") != "Bearer****6789" || a.header.Get("X-Mcp-Debug-Auth-Resolution") != "oauth2-passthrough" {
		t.Errorf("with a key: %d %v", a.status, a.header)
	}
	for _, seen := range up.Seen() {
		if seen.Header.Get("Authorization") != "Bearer upstream-token-0123456789" || seen.Header.Get("X-Litellm-Api-Key") != "" {
			t.Errorf("the server saw %v", seen.Header)
		}
	}
	leaked := g.send(t, http.MethodPost, "/up/mcp", list, "Authorization", "Bearer "+alice, "X-Litellm-Mcp-Debug", "true")
	if leaked.status == 200 || !strings.Contains(leaked.header.Get("X-Hopgate-Error"), "credential_leak") || leaked.header.Get("X-Mcp-Debug-Oauth2-Token") != "SAME_AS_LITELLM_KEY - likely misconfigured" {
		t.Errorf("the gateway's own key: %d %v", leaked.status, leaked.header)
	}
}

// Whoever writes an address of the inside into X-Forwarded-For is still outside.
func TestASpoofedAddressReachesNoInternalServer(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.servers["up"].ReachableFrom = "internal"
	ingress := &configv1.IngressSpec{UseForwardedHeaders: true, TrustedProxies: []string{"127.0.0.1"}, InternalRanges: []string{"10.0.0.0/8"}}
	s.more = []confset.Object{object(t, "ingress", "front", &configv1.Ingress{Name: "front", Spec: ingress})}
	g := start(t, s)
	for forwarded, want := range map[string]int{
		"203.0.113.9":                      404,
		"10.0.0.1, 203.0.113.9":            404,
		"10.0.0.1, 10.0.0.2, 203.0.113.9":  404,
		"203.0.113.9, 127.0.0.1":           404,
		"10.0.0.1,,":                       404,
		"unknown":                          404,
		"":                                 404,
		"203.0.113.9, 10.0.0.7":            200,
		"10.0.0.7":                         200,
		"10.0.0.7, 127.0.0.1":              200,
		"::ffff:10.0.0.7":                  200,
		"[2001:db8::1]:443":                404,
		"10.0.0.7:1234":                    200,
		"10.0.0.1\t, 203.0.113.9:80\t":     404,
		"for=10.0.0.1":                     404,
		"10.0.0.7, not an address at all":  404,
		"127.0.0.1, 127.0.0.1, 127.0.0.1 ": 404,
	} {
		heads := []string{"X-Forwarded-For", forwarded, "X-Real-Ip", "10.0.0.1", "Forwarded", "for=10.0.0.1"}
		if a := g.send(t, http.MethodPost, "/up/mcp", list, heads...); a.status != want {
			t.Errorf("%q: %d, want %d: %s", forwarded, a.status, want, a.body)
		}
	}
}

// Refusals that quoted what they refused put tokens into logs and tickets.
func TestRefusalsQuoteNoCredential(t *testing.T) {
	const secret = "s3cr3t-0123456789-abcdefghij"
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<html>%v %s</html>", r.Header, r.URL)
	}))
	s := one(up.URL + "/" + secret + "?token=" + secret)
	s.servers["up"].Auth = &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: "upstream"}}
	s.servers["up"].ClientHeaders = []string{"x-token"}
	s.more = []confset.Object{object(t, "secret", "upstream", &configv1.Secret{Name: "upstream", Spec: &configv1.SecretSpec{Value: secret}})}
	s.ratio = "1"
	g := start(t, s)
	bodies := []string{
		g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Mcp-Debug", "1", "X-Mcp-Up-X-Token", secret).dump(),
		g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Mcp-Debug", "1", "Authorization", "Bearer "+secret).dump(),
		g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Mcp-Debug", "1", "X-Litellm-Api-Key", secret).dump(),
		g.send(t, http.MethodPost, "/up/mcp?key="+secret, list, "X-Litellm-Mcp-Debug", "1", "X-Hopgate-Api-Key", secret).dump(),
		g.send(t, http.MethodGet, "/up/mcp", "", "X-Litellm-Mcp-Debug", "1", "Mcp-Session-Id", secret).dump(),
	}
	bodies = append(bodies, g.access.String(), g.log.String(), g.metrics(t), fmt.Sprint(g.spans.GetSpans()))
	for i, text := range bodies {
		if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))[:30]) {
			t.Errorf("%d holds the secret: %s", i, text)
		}
	}
}

func (a answer) dump() string { return fmt.Sprint(a.status, a.header, a.body) }

// Changing where a server is or what it wants left every grant of it behind. Here grants hang on names.
func TestAServerThatMovesKeepsItsGrants(t *testing.T) {
	first, second := mcptest.Start(t, mcptest.Stateless()), mcptest.Start(t, mcptest.Stateless())
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"other": server(first.URL)}})
	if a := g.send(t, http.MethodPost, "/other/mcp", list, "X-Litellm-Api-Key", bob); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	moved := server(second.URL)
	moved.Headers = []*configv1.Header{{Name: "x-env", Text: "new"}}
	g.change(t, object(t, "server", "other", &configv1.Server{Name: "other", Spec: moved}))
	if a := g.send(t, http.MethodPost, "/other/mcp", list, "X-Litellm-Api-Key", bob); a.status != 200 || len(second.Seen()) == 0 {
		t.Errorf("after: %d, %d requests at the new place", a.status, len(second.Seen()))
	}
}

// change applies objects to the config in force.
func (g *gateway) change(t testing.TB, objs ...confset.Object) {
	t.Helper()
	now := g.holder.Load()
	next, outcomes := now.Apply(confset.Delta{Upserts: objs}, now.Version().Revision+1, now.Version())
	for _, o := range outcomes {
		if o.Rejected {
			t.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	g.holder.Store(next)
}

// Two people behind one key had one session and one cap between them.
func TestPeopleBehindOneKeyHaveSessionsOfTheirOwn(t *testing.T) {
	s := one(mcptest.Start(t, &mcptest.Stateful{}).URL)
	s.keys = map[string]*configv1.ApiKeySpec{
		"app":   {Sha256: digest(carol), Servers: []string{"up"}, MayAssertEndUser: true},
		"plain": {Sha256: digest(dave), Servers: []string{"up"}}}
	s.ratio = "1"
	g := start(t, s)
	ada := g.begin(t, "/up/mcp", "X-Litellm-Api-Key", carol, "X-Litellm-End-User-Id", "ada")
	for who, want := range map[string]int{"ada": 200, "bea": 404, "": 404} {
		heads := inSession(ada, "X-Litellm-Api-Key", carol, "X-Hopgate-End-User-Id", who)
		if a := g.send(t, http.MethodPost, "/up/mcp", list, heads...); a.status != want {
			t.Errorf("%q in the session of ada: %d, want %d", who, a.status, want)
		}
	}
	if !strings.Contains(fmt.Sprint(g.spans.GetSpans()), "enduser.id") {
		t.Error("the traces don't say who it was")
	}
	plain := g.begin(t, "/up/mcp", "X-Litellm-Api-Key", dave, "X-Litellm-End-User-Id", "ada")
	if a := g.send(t, http.MethodPost, "/up/mcp", list, inSession(plain, "X-Litellm-Api-Key", dave, "X-Litellm-End-User-Id", "bea")...); a.status != 200 {
		t.Errorf("a key that may not name people: %d", a.status)
	}
}

const dave = "sk-dave-0123456789abcdef9"

// Documents whose resource or issuer wasn't the URL asked for were thrown away by strict clients.
func TestDocumentsNameExactlyWhatWasAskedFor(t *testing.T) {
	issuer := jwttest.New(t, jwttest.NewKey(t, "k1", "RS256"))
	s := one("http://127.0.0.1:1/mcp")
	s.more = []confset.Object{provider(t, issuer),
		object(t, "ingress", "front", &configv1.Ingress{Name: "front", Spec: &configv1.IngressSpec{PublicOrigins: []string{"https://mcp.example.com"}}})}
	g := start(t, s)
	for route, resource := range map[string]string{"": "https://mcp.example.com", "/mcp": "https://mcp.example.com/mcp",
		"/up/mcp": "https://mcp.example.com/up/mcp", "/mcp/up": "https://mcp.example.com/mcp/up", "/nobody/mcp": "https://mcp.example.com/nobody/mcp"} {
		for document, member := range map[string]string{"oauth-protected-resource": "resource", "oauth-authorization-server": "issuer", "openid-configuration": "issuer"} {
			a := g.send(t, http.MethodGet, "/.well-known/"+document+route, "", "X-Litellm-Api-Key", "")
			if want := fmt.Sprintf(`"%s":"%s"`, member, resource); a.status != 200 || !strings.Contains(a.body, want+",") && !strings.Contains(a.body, want+"}") {
				t.Errorf("%s of %q: %d %s, want %s", document, route, a.status, a.body, want)
			}
		}
		if route == "" {
			continue
		}
		a := g.send(t, http.MethodPost, route, list, "X-Litellm-Api-Key", "")
		if want := `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource` + route + `"`; a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), want) {
			t.Errorf("challenge at %q: %d %q", route, a.status, a.header.Get("Www-Authenticate"))
		}
	}
	keys := start(t, one("http://127.0.0.1:1/mcp"))
	for _, document := range []string{"oauth-protected-resource", "oauth-protected-resource/up/mcp", "oauth-authorization-server", "openid-configuration", "jwks.json"} {
		if a := keys.send(t, http.MethodGet, "/.well-known/"+document, "", "X-Litellm-Api-Key", ""); a.status != 404 {
			t.Errorf("%s of a gateway that takes keys only: %d", document, a.status)
		}
	}
	if a := keys.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", ""); a.header.Get("Www-Authenticate") != `Bearer realm="hopgate"` {
		t.Errorf("challenge of a gateway that takes keys only: %q", a.header.Get("Www-Authenticate"))
	}
}

// A revoked key went on with the streams it held.
func TestAStreamEndsWithWhatOpenedIt(t *testing.T) {
	up, begun, _ := hanging(t, "event")
	s := one(up.URL)
	s.keys = map[string]*configv1.ApiKeySpec{"app": {Sha256: digest(carol), Servers: []string{"up"}}}
	g := start(t, s)
	for what, change := range map[string]func(*configv1.ApiKeySpec){
		"the grant":          func(k *configv1.ApiKeySpec) { k.Servers = []string{"other"} },
		"the key":            func(k *configv1.ApiKeySpec) { k.Sha256 = digest("sk-somebody-else-0123456789") },
		"all tools but some": func(k *configv1.ApiKeySpec) { k.Tools = []*configv1.ToolRule{{Server: "up", Allow: []string{"a"}}} },
		"the key's time":     func(k *configv1.ApiKeySpec) { k.Expires = "2020-01-01T00:00:00Z" },
	} {
		g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: s.keys["app"]}))
		res := g.open(t, http.MethodGet, "/up/mcp", "", "X-Litellm-Api-Key", carol, "Accept", "text/event-stream")
		<-begun
		g.handler.Recheck() // nothing has changed: it goes on
		r := bufio.NewReader(res.Body)
		if e := event(t, r); !strings.Contains(e, "notifications/message") {
			t.Fatalf("%s: %s", what, e)
		}
		spec := &configv1.ApiKeySpec{Sha256: s.keys["app"].Sha256, Servers: slices.Clone(s.keys["app"].Servers)}
		change(spec)
		g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: spec}))
		g.handler.Recheck()
		ended := make(chan struct{})
		go func() { io.Copy(io.Discard, r); close(ended) }() //nolint:errcheck // the end counts, not how
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		select {
		case <-ended:
		case <-ctx.Done():
			t.Errorf("the stream outlived %s", what)
		}
		cancel()
		res.Body.Close() //nolint:errcheck // it has ended
	}
}
