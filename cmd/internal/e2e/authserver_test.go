//go:build e2e

package e2e

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
)

// Callers with tokens of a real authorization server: who is admitted, who isn't, and what a change of its keys and its absence do.

// authServer is oidc-provider as a process: it issues JWTs for the resource they are asked for, and says so in its log.
type authServer struct {
	*running
	Issuer string
	file   string
	conf   authConfig
}

// authConfig is the file that authserver.mjs reads.
type authConfig struct {
	Issuer  string            `json:"issuer"`
	Keys    []json.RawMessage `json:"keys"`
	TTL     int               `json:"ttl"` // of tokens, in seconds
	Clients []authClient      `json:"clients"`
}

type authClient struct {
	ID     string         `json:"client_id"`
	Secret string         `json:"client_secret"`
	Claims map[string]any `json:"claims,omitempty"`
}

// client is one whose tokens carry these groups.
func client(id string, groups ...string) authClient {
	c := authClient{ID: id, Secret: "secret-of-" + id + "-0123456789abcdef"}
	if len(groups) > 0 {
		c.Claims = map[string]any{"groups": groups}
	}
	return c
}

// signingKey makes an RSA key; each is another.
func signingKey(t *testing.T, id string) *jwttest.Key {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &jwttest.Key{ID: id, Alg: "RS256", Private: private}
}

// startAuthServer starts an issuer that signs with key.
func startAuthServer(t *testing.T, key *jwttest.Key, ttl int, clients ...authClient) *authServer {
	t.Helper()
	a := &authServer{Issuer: "http://" + ownHost() + ":9000", file: filepath.Join(t.TempDir(), "authserver.json")}
	a.conf = authConfig{Issuer: a.Issuer, TTL: ttl, Clients: clients}
	a.publish(t, key)
	a.running = start(t, program{Name: "authserver", Args: []string{node(t), script(t, "authserver.mjs"), a.file}, Env: []string{"NODE_ENV=production"}})
	a.wait(t)
	return a
}

// publish writes the keys that the issuer has when it starts the next time; it signs with the first.
func (a *authServer) publish(t *testing.T, keys ...*jwttest.Key) {
	t.Helper()
	a.conf.Keys = nil
	for _, k := range keys {
		b, err := jose.JSONWebKey{Key: k.Private, KeyID: k.ID, Algorithm: k.Alg, Use: "sig"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		a.conf.Keys = append(a.conf.Keys, b)
	}
	a.write(t)
}

func (a *authServer) write(t *testing.T) {
	t.Helper()
	b, err := json.Marshal(a.conf)
	if err == nil {
		err = os.WriteFile(a.file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (a *authServer) wait(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, "the authorization server is ready", func() error {
		if !a.alive() {
			t.Fatalf("the authorization server ended: %v\n%s", a.state, tail(a.output(), 30))
		}
		return okay(a.Issuer + "/.well-known/openid-configuration")
	})
}

// again starts it once more, with what was written meanwhile.
func (a *authServer) again(t *testing.T) {
	t.Helper()
	if a.alive() {
		a.kill()
	}
	a.running = start(t, a.program)
	a.wait(t)
}

// token gets one by client_credentials, for a resource.
func (a *authServer) token(t *testing.T, id, resource string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"mcp:tools"}}
	req, err := http.NewRequest(http.MethodPost, a.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, client(id).Secret)
	res, err := quick.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var m struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || m.Token == "" {
		t.Fatalf("no token for %s: %s %v", id, res.Status, err)
	}
	return m.Token
}

// asked are the log's lines about requests for tokens: of a grant type ("token-exchange" in short), by a client. Each ends with resource and
// status.
func (a *authServer) asked(grant, id string) []string {
	return regexp.MustCompile(`(?m)^token \S*`+regexp.QuoteMeta(grant+" "+id)+` (.*)$`).FindAllString(a.output(), -1)
}

// callers is a fleet that admits the clients agent and plain by tokens of a real authorization server. Tokens with the group dev open demo.
type callers struct {
	*control
	p, other *proxy // where they call, and another data plane
	auth     *authServer
	key      *jwttest.Key // the issuer signs with
}

func startCallers(t *testing.T) *callers {
	t.Helper()
	g := &callers{key: signingKey(t, "first")}
	g.auth = startAuthServer(t, g.key, 300, client("agent", "dev"), client("plain"), client("outsider", "dev"))
	g.control = startControl(t, "control", nil)
	g.p, g.other = startProxy(t, "proxy", nil, []*control{g.control}), startProxy(t, "other-proxy", nil, []*control{g.control})
	g.apply(t, server("demo", demoServer(t))+identityProvider(g.auth.Issuer, []*proxy{g.p, g.other}, `allowed_clients: [agent, plain], clock_skew: 1s,
  grants: [{claim: groups, value: dev, servers: [demo], roles: [debug]}]`))
	return g
}

// on is the same with callers of one data plane.
func (g *callers) on(p *proxy) *callers {
	c := *g
	c.p = p
	return &c
}

// identityProvider is a document that believes tokens for the data planes.
func identityProvider(issuer string, planes []*proxy, more string) string {
	var audiences []string
	for _, p := range planes {
		audiences = append(audiences, `"http://`+p.Listen+`/*"`)
	}
	return fmt.Sprintf("kind: IdentityProvider\nname: corp\nspec: {issuer: %q, audiences: [%s], %s}\n---\n", issuer, strings.Join(audiences, ", "), more)
}

// token is one that the issuer made for agent.
func (g *callers) token(t *testing.T) string {
	t.Helper()
	return g.auth.token(t, "agent", g.p.url("demo"))
}

// claims are those of a token for agent as the issuer would make it; more are added or replace them, nil removes one.
func (g *callers) claims(more map[string]any) map[string]any {
	c := map[string]any{"iss": g.auth.Issuer, "aud": g.p.url("demo"), "sub": "agent", "client_id": "agent", "groups": []string{"dev"}, "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// signed is a token that the test signs itself.
func (g *callers) signed(t *testing.T, key *jwttest.Key, more map[string]any) string {
	t.Helper()
	return key.Token(t, g.claims(more))
}

// bearing posts with a token; an empty one is none.
func bearing(url, token, body string, header ...string) (answer, error) {
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return post(url, "", body, header...)
}

// admits is nil when the token's bearer was served.
func (g *callers) admits(token string) error {
	a, err := bearing(g.p.url("demo"), token, toolCall("echo", map[string]any{"message": "known"}))
	if err == nil && (a.Status != http.StatusOK || !strings.Contains(a.Body, `"Echo: known"`)) {
		err = fmt.Errorf("status %d, %s: %s", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body)
	}
	return err
}

// refuses fails the test unless the token is answered with a 401 that says why, in each of its places, and shows nothing of the token.
func (g *callers) refuses(t *testing.T, token, kind, why string) {
	t.Helper()
	a, err := bearing(g.p.url("demo"), token, toolCall("echo", map[string]any{"message": "known"}))
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != http.StatusUnauthorized || strings.Contains(a.Body, "Echo") {
		t.Fatalf("status %d, want 401: %s", a.Status, a.Body)
	}
	if got, want := a.Header.Get("X-Hopgate-Error"), "hop=client; phase=auth; kind="+kind; !strings.HasPrefix(got, want) {
		t.Errorf("x-hopgate-error: %s, want %s", got, want)
	}
	e := a.rpcError(t)
	if e.Data.Hop != "client" || e.Data.Phase != "auth" || e.Data.Kind != kind || !strings.Contains(e.Message, why) {
		t.Errorf("the answer says %+v, want kind %s and %q", e, kind, why)
	}
	challenge := a.Header.Get("Www-Authenticate")
	if !strings.HasPrefix(challenge, `Bearer resource_metadata="`+g.metadata()+`"`) || !strings.Contains(challenge, `error="invalid_token", error_description="`) ||
		!strings.Contains(challenge, why) {
		t.Errorf("WWW-Authenticate: %s", challenge)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 16 && strings.Contains(fmt.Sprint(a), part) {
			t.Errorf("the answer shows a part of the token: %v", a)
		}
	}
}

// metadata is where the protected resource says who issues tokens for it.
func (g *callers) metadata() string {
	return "http://" + g.p.Listen + "/.well-known/oauth-protected-resource/demo/mcp"
}

func TestAuthServerTokensAdmitAndOpenWhatTheirClaimsSay(t *testing.T) {
	t.Parallel() // most of it is starting and waiting
	g := startCallers(t)
	t.Run("a matching claim opens the server", func(t *testing.T) {
		a, err := bearing(g.p.url("demo"), g.token(t), toolCall("echo", map[string]any{"message": "hello"}), "X-Hopgate-Debug", "true")
		if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, `"Echo: hello"`) {
			t.Fatalf("%v %+v", err, a)
		}
		if shown := a.Header.Get("X-Mcp-Debug-Inbound-Auth"); !regexp.MustCompile(`^authorization=Bearer\*{4}.{4}$`).MatchString(shown) {
			t.Errorf("x-mcp-debug-inbound-auth: %s", shown)
		}
		if a.Header.Get("X-Mcp-Debug-Route") == "" {
			t.Error("the claim's role debug shows no route")
		}
		eventually(t, shown, "the access line names the caller", func() error {
			if !strings.Contains(g.p.output(), "/agent ") {
				return errors.New(tail(g.p.output(), 3))
			}
			return nil
		})
	})
	t.Run("without the claim there is no such server", func(t *testing.T) {
		token := g.auth.token(t, "plain", g.p.url("demo"))
		for _, body := range []string{toolCall("echo", nil), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`} {
			a, err := bearing(g.p.url("demo"), token, body)
			if err != nil || a.Status != http.StatusNotFound {
				t.Errorf("%v, status %d, want 404: %s", err, a.Status, a.Body)
			}
			unknown, err := bearing(g.p.url("nosuch"), token, body)
			if err != nil || unknown.Status != a.Status || unknown.rpcError(t).Data.Kind != a.rpcError(t).Data.Kind {
				t.Errorf("a server that isn't open answers otherwise than one that isn't there: %s, %v %s", a.Body, err, unknown.Body)
			}
		}
	})
	t.Run("without a token the way to the issuer is shown", g.showsTheWay)
	t.Run("a token that was admitted ends", func(t *testing.T) {
		token := ""
		for life := 2 * time.Second; token == ""; life *= 2 {
			ends := time.Now().Add(life).Truncate(time.Second)
			short := g.signed(t, g.key, map[string]any{"exp": ends.Unix()})
			switch err := g.admits(short); {
			case err == nil:
				token = short
			case time.Now().Before(ends), life > time.Minute:
				t.Fatal(err)
			} // else the machine took longer than the token lives
		}
		eventually(t, shown, "the token has expired", func() error {
			if g.admits(token) == nil {
				return errors.New("admitted")
			}
			return nil
		})
		g.refuses(t, token, "expired", "expired")
	})
	t.Run("tokens that aren't believed", g.disbelieves)
}

// showsTheWay follows RFC 9728 and RFC 8414 as a client does: from the 401 to the token endpoint.
func (g *callers) showsTheWay(t *testing.T) {
	a, err := post(g.p.url("demo"), "", toolCall("echo", nil))
	challenge := a.Header.Get("Www-Authenticate")
	if err != nil || a.Status != http.StatusUnauthorized || challenge != `Bearer resource_metadata="`+g.metadata()+`"` {
		t.Fatalf("%v, status %d, WWW-Authenticate: %s", err, a.Status, challenge)
	}
	var resource struct {
		Resource string
		Servers  []string `json:"authorization_servers"`
	}
	document(t, g.metadata(), &resource)
	if resource.Resource != g.p.url("demo") || !slices.Equal(resource.Servers, []string{g.auth.Issuer}) {
		t.Fatalf("the protected resource is described as %+v", resource)
	}
	var issuer struct {
		Issuer string
		Token  string `json:"token_endpoint"`
	}
	document(t, resource.Servers[0]+"/.well-known/openid-configuration", &issuer)
	if issuer.Issuer != g.auth.Issuer || issuer.Token != g.auth.Issuer+"/token" {
		t.Errorf("the issuer describes itself as %+v", issuer)
	}
}

func document(t *testing.T, url string, into any) {
	t.Helper()
	res, err := quick.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
}

func (g *callers) disbelieves(t *testing.T) {
	other := startAuthServer(t, signingKey(t, "first"), 300, client("agent", "dev"))
	good := strings.Split(g.token(t), ".")
	var header struct{ Kid string }
	if text, err := base64.RawURLEncoding.DecodeString(good[0]); err != nil || json.Unmarshal(text, &header) != nil || header.Kid != g.key.ID {
		t.Fatalf("the issuer's token has the header %s: %v", text, err)
	}
	payload := func(more map[string]any) string {
		b, err := json.Marshal(g.claims(more))
		if err != nil {
			t.Fatal(err)
		}
		return jwttest.Encode(string(b))
	}
	for _, c := range []struct{ name, token, kind, why string }{
		{"for another audience", g.auth.token(t, "agent", "http://127.0.0.9:4000/demo/mcp"), "", "audience"},
		{"for a longer host", g.auth.token(t, "agent", "http://"+g.p.Listen+"0/demo/mcp"), "", "audience"},
		{"for nobody", g.signed(t, g.key, map[string]any{"aud": nil}), "", "audience"},
		{"of another issuer", other.token(t, "agent", g.p.url("demo")), "", "issuer"},
		{"of another issuer in our issuer's name", g.signed(t, &jwttest.Key{ID: "first", Alg: "RS256", Private: signingKey(t, "").Private}, nil), "", "signature"},
		{"of our issuer in almost its name", g.signed(t, g.key, map[string]any{"iss": g.auth.Issuer + "/"}), "", "issuer"},
		{"expired", g.signed(t, g.key, map[string]any{"exp": time.Now().Add(-5 * time.Second).Unix()}), "expired", "expired"},
		{"without an end", g.signed(t, g.key, map[string]any{"exp": nil}), "", "exp"},
		{"not valid yet", g.signed(t, g.key, map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}), "", "nbf"},
		{"alg none", jwttest.Encode(`{"alg":"none","typ":"at+jwt"}`) + "." + good[1] + ".", "", "alg"},
		{"alg none with our key's name and signature", jwttest.Encode(`{"alg":"none","kid":"first"}`) + "." + good[1] + "." + good[2], "", "alg"},
		{"without its signature", good[0] + "." + good[1] + ".", "", "signed"},
		{"tampered payload", good[0] + "." + payload(nil) + "." + good[2], "", "signature"},
		{"HS256 with the public key", hs256(t, g.key, payload(nil)), "", "alg"},
		{"of a client that isn't allowed", g.auth.token(t, "outsider", g.p.url("demo")), "", "client"},
		{"of no client", g.signed(t, g.key, map[string]any{"client_id": nil}), "", "client"},
	} {
		t.Run(c.name, func(t *testing.T) { g.refuses(t, c.token, cmp.Or(c.kind, "unauthenticated"), c.why) })
	}
	if err := g.admits(strings.Join(good, ".")); err != nil {
		t.Errorf("the token of which the forged ones were made: %v", err)
	}
	eventually(t, shown, "each is in the access log", func() error {
		if n := strings.Count(g.p.output(), `"POST /demo/mcp HTTP/1.1" 401`); n < 16 {
			return fmt.Errorf("%d lines with 401", n)
		}
		return nil
	})
}

// hs256 signs with the text of the public key as if it were a shared secret.
func hs256(t *testing.T, key *jwttest.Key, payload string) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	input := jwttest.Encode(`{"alg":"HS256","kid":"`+key.ID+`","typ":"at+jwt"}`) + "." + payload
	mac.Write([]byte(input))
	return input + "." + jwttest.Encode(string(mac.Sum(nil)))
}

// refetch is how long a data plane may take to ask an issuer anew for a key it doesn't know, and some time to do so.
const refetch = 10*time.Second + 3*time.Second

func TestAuthServerRotatesItsKeys(t *testing.T) {
	t.Parallel() // most of it is waiting
	g := startCallers(t)
	first := g.token(t)
	if err := g.admits(first); err != nil {
		t.Fatal(err)
	}
	second := signingKey(t, "second")
	g.auth.publish(t, second, g.key)
	g.auth.again(t)
	changed := time.Now()
	newer := g.token(t)
	eventually(t, refetch, "a token of the new key is admitted", func() error {
		if err := g.admits(first); err != nil {
			t.Fatalf("the old key is still published, and its token refused: %v", err)
		}
		return g.admits(newer)
	})
	t.Logf("a new key was taken %s after its issuer published it", time.Since(changed).Round(10*time.Millisecond))

	g.auth.publish(t, second)
	g.auth.again(t)
	changed = time.Now()
	if err := g.admits(g.token(t)); err != nil {
		t.Errorf("a new token of the key that stays: %v", err)
	}
	unknown := g.signed(t, signingKey(t, "third"), nil)
	eventually(t, refetch, "tokens of the withdrawn key are refused", func() error {
		if g.admits(unknown) == nil { // asking for it is what brings the new set
			t.Fatal("a key that was never published admits")
		}
		if g.admits(first) == nil {
			return errors.New("admitted")
		}
		return nil
	})
	t.Logf("a withdrawn key ended %s after that, with an unknown one asked for", time.Since(changed).Round(10*time.Millisecond))
	g.refuses(t, first, "unauthenticated", "key")
	g.refuses(t, g.signed(t, g.key, nil), "unauthenticated", "key")
	for _, token := range []string{newer, g.token(t)} {
		if err := g.admits(token); err != nil {
			t.Errorf("a token of the key that stays: %v", err)
		}
	}
}

func TestAuthServerOutageRefusesNobodyWhoseKeyIsKnown(t *testing.T) {
	t.Parallel() // most of it is waiting
	g := startCallers(t)
	restarted := g.on(g.other)
	plain := g.control.key(t, "plain", "demo")
	seen := g.token(t)
	for _, g := range []*callers{g, restarted} {
		if err := g.admits(seen); err != nil {
			t.Fatal(err)
		}
	}
	unknown := g.signed(t, signingKey(t, "unknown"), nil)
	g.auth.kill()
	calls(t, 100, 4, func(n int) error {
		if n%2 == 0 {
			return g.admits(seen)
		}
		return g.admits(g.signed(t, g.key, nil))
	})

	restarted.p.stop(t)
	restarted.p.again(t)
	restarted.p.wait(t)
	for _, token := range []string{seen, g.signed(t, g.key, nil), unknown} {
		if err := restarted.withoutKeys(t, token); err != nil {
			t.Errorf("a data plane without the issuer's keys: %v", err)
		}
	}
	if err := echo(restarted.p.url("demo"), plain, "still here"); err != nil {
		t.Errorf("keys need no issuer: %v", err)
	}
	eventually(t, refetch, "an unknown key is asked for and can't be had", func() error { return g.withoutKeys(t, unknown) })
	for _, token := range []string{seen, g.signed(t, g.key, nil)} {
		if err := g.admits(token); err != nil {
			t.Errorf("the known key after a fetch that failed: %v", err)
		}
	}

	g.auth.again(t)
	back := time.Now()
	eventually(t, shown, "tokens are admitted again", func() error { return restarted.admits(seen) })
	t.Logf("tokens were admitted %s after the issuer was back, without a restart", time.Since(back).Round(10*time.Millisecond))
	for _, g := range []*callers{g, restarted} {
		if err := g.admits(g.token(t)); err != nil {
			t.Errorf("a new token: %v", err)
		}
	}
}

// withoutKeys is nil when a token was refused because its issuer's keys can't be had. Admission ends the test.
func (g *callers) withoutKeys(t *testing.T, token string) error {
	t.Helper()
	a, err := bearing(g.p.url("demo"), token, toolCall("echo", nil))
	switch {
	case err != nil:
		return err
	case a.Status < 400:
		t.Fatalf("admitted: %+v", a)
	case a.Status != http.StatusServiceUnavailable || !strings.HasPrefix(a.Header.Get("X-Hopgate-Error"), "hop=authserver; phase=metadata; kind=unavailable"):
		return fmt.Errorf("status %d, %s: %s", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body)
	case a.Header.Get("Retry-After") == "" || a.rpcError(t).Data.Hop != "authserver":
		return fmt.Errorf("the refusal doesn't say when to come again: %+v", a)
	}
	return nil
}
