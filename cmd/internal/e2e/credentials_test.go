//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Credentials towards a server that takes only tokens made for it: the gateway's own, and those it gets for its callers'.

// guarded is an MCP server of the Go SDK whose bearer check believes one authorization server, for tokens whose audience is its own URL.
type guarded struct {
	URL    string
	issuer string
	keys   atomic.Pointer[jose.JSONWebKeySet]

	mu     sync.Mutex
	heads  []http.Header   // guarded by mu; of every request
	tokens map[string]bool // guarded by mu; that were believed
	least  time.Duration   // guarded by mu; the shortest life that one of them had left
}

// holder is what a believed token says, and what the tool whoami tells.
type holder struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Client   string `json:"client_id"`
	For      string `json:"on_behalf_of"`
	Scope    string `json:"scope"`
	Ends     int64  `json:"exp"`
}

func startGuarded(t *testing.T, issuer string) *guarded {
	t.Helper()
	l, err := net.Listen("tcp", ownHost()+":3001")
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{URL: "http://" + l.Addr().String() + "/mcp", issuer: issuer, tokens: map[string]bool{}, least: time.Hour}
	s := mcp.NewServer(&mcp.Implementation{Name: "guarded", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		text, err := json.Marshal(r.Extra.TokenInfo.Extra["holder"])
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}}, nil, err
	})
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	checked := auth.RequireBearerToken(g.verify, &auth.RequireBearerTokenOptions{Scopes: []string{"mcp:tools"}})(inner)
	h := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.heads = append(g.heads, r.Header.Clone())
		g.mu.Unlock()
		checked.ServeHTTP(w, r)
	})}
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	return g
}

// verify is the server's own check: signature, issuer, audience, end. It knows nothing of the gateway.
func (g *guarded) verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, errors.Join(auth.ErrInvalidToken, err)
	}
	keys, err := g.keySet(signed.Signatures[0].Header.KeyID)
	if err != nil {
		return nil, errors.Join(auth.ErrInvalidToken, err)
	}
	var h holder
	text, err := signed.Verify(keys)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return nil, errors.Join(auth.ErrInvalidToken, err)
	}
	ends := time.Unix(h.Ends, 0)
	if h.Issuer != g.issuer || h.Audience != g.URL || !time.Now().Before(ends) {
		return nil, fmt.Errorf("%w: %+v", auth.ErrInvalidToken, h)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[token] = true
	g.least = min(g.least, time.Until(ends))
	return &auth.TokenInfo{Scopes: strings.Fields(h.Scope), Expiration: ends, Extra: map[string]any{"holder": h}}, nil
}

// keySet is the issuer's, fetched anew for a key that isn't in it.
func (g *guarded) keySet(id string) (*jose.JSONWebKeySet, error) {
	if set := g.keys.Load(); set != nil && len(set.Key(id)) > 0 {
		return set, nil
	}
	res, err := quick.Get(g.issuer + "/jwks")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		return nil, err
	}
	g.keys.Store(&set)
	return &set, nil
}

// requests is how many came, admitted or not; none of them may hold one of the values.
func (g *guarded) requests(t *testing.T, never ...string) int {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.heads {
		for _, value := range never {
			if strings.Contains(fmt.Sprint(h), value) {
				t.Errorf("a credential of the gateway's or the caller's reached the server: %v", h)
			}
		}
	}
	return len(g.heads)
}

// believed is how many tokens were, and the shortest life that one had left.
func (g *guarded) believed() (tokens int, least time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.tokens), g.least
}

const listing = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// whoami reads the answer to a call of that tool: whose token arrived.
func whoami(a answer, err error) (holder, error) {
	if err != nil {
		return holder{}, err
	}
	var m struct {
		Result struct{ Content []struct{ Text string } }
	}
	var h holder
	if err := json.Unmarshal([]byte(a.Body), &m); err != nil || a.Status != http.StatusOK || len(m.Result.Content) != 1 {
		return h, fmt.Errorf("status %d, %s: %s", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body)
	}
	return h, json.Unmarshal([]byte(m.Result.Content[0].Text), &h)
}

// shows fails the test unless the answer says how the credential was had, and the step is among the hops.
func shows(t *testing.T, a answer, resolution, token, step string) {
	t.Helper()
	if got := a.Header.Get("X-Mcp-Debug-Auth-Resolution"); got != resolution {
		t.Errorf("x-mcp-debug-auth-resolution: %q, want %q", got, resolution)
	}
	if got := a.Header.Get("X-Mcp-Debug-Oauth2-Token"); got != token {
		t.Errorf("x-mcp-debug-oauth2-token: %q, want %q", got, token)
	}
	if got := a.Header.Get("X-Mcp-Debug-Hops"); !regexp.MustCompile(`(^|, )` + step + `;[0-9.]+(, |$)`).MatchString(got) {
		t.Errorf("x-mcp-debug-hops: %q, want %s", got, step)
	}
}

// faulty fails the test unless the answer is this fault, named with its server.
func faulty(t *testing.T, a answer, err error, status int, fault, server, says string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	e := a.rpcError(t)
	if a.Status != status || !strings.HasPrefix(a.Header.Get("X-Hopgate-Error"), fault) || e.Data.Server != server || !strings.Contains(e.Message, says) {
		t.Errorf("status %d, %s: %s\nwant %d, %s, of %s, saying %q", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body, status, fault, server, says)
	}
}

// oauthServer is a document of a server that is reached by tokens of a flow.
func oauthServer(name, url, issuer, flow string) string {
	return fmt.Sprintf(`kind: Server
name: %s
spec:
  endpoints: [{url: %q}]
  auth: {type: oauth2, flow: %s, token_url: %q, client_id: gateway, value: {secret: gateway-secret}, scopes: ["mcp:tools"]}
---
`, name, url, flow, issuer+"/token")
}

// secret gives the gateway its client secret, and returns when every connected data plane has it.
func (c *control) secret(t *testing.T, value string) {
	t.Helper()
	if res := c.command(t, value+"\n", nil, "secret", "set", "gateway-secret"); res.Code != 0 || strings.Contains(res.Out+res.Err, value) {
		t.Fatalf("secret set: %v", res)
	}
	c.settled(t)
}

const debug = "X-Litellm-Mcp-Debug"

func TestCredentialsOfTheGatewayItselfReachAProtectedServer(t *testing.T) {
	t.Parallel() // much of it is starting
	own := client("gateway")
	issuer := startAuthServer(t, signingKey(t, "first"), 300, own)
	upstream := startGuarded(t, issuer.Issuer)
	c := startControl(t, "control", nil)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.secret(t, own.Secret)
	c.apply(t, oauthServer("vault", upstream.URL, issuer.Issuer, "client_credentials"))
	key := c.key(t, "caller", "vault", "--roles", "debug")
	call := func() (answer, error) { return post(p.url("vault"), key, toolCall("whoami", nil), debug, "true") }
	works := func(when string) {
		t.Helper()
		a, err := call()
		if h, err := whoami(a, err); err != nil || h.Audience != upstream.URL || h.Client != "gateway" || h.For != "" {
			t.Fatalf("%s: %+v %v", when, h, err)
		}
		shows(t, a, "m2m-client-credentials", "(gateway-held)", "credential;ok")
	}

	a, err := post(p.url("vault"), key, listing, debug, "true")
	if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, `"name":"whoami"`) {
		t.Fatalf("tools/list: %v %+v", err, a)
	}
	shows(t, a, "m2m-client-credentials", "(gateway-held)", "credential;ok")
	works("at first")
	if got, want := issuer.asked("client_credentials", "gateway"), "token client_credentials gateway "+upstream.URL+" 200"; !slices.Equal(got, []string{want}) {
		t.Errorf("the authorization server was asked %q, want once for the server's URL: %q", got, want)
	}
	if direct, err := post(upstream.URL, "", listing); err != nil || direct.Status != http.StatusUnauthorized {
		t.Errorf("the server takes callers without a token: %v %d", err, direct.Status)
	}
	if n := upstream.requests(t, key, own.Secret); n < 3 {
		t.Errorf("%d requests came", n)
	}
	t.Run("the access line has the step", func(t *testing.T) {
		eventually(t, shown, "credential=", func() error {
			if !regexp.MustCompile(` server=vault .* credential=[0-9.]+ms`).MatchString(p.output()) {
				return errors.New(tail(p.output(), 2))
			}
			return nil
		})
	})
	t.Run("a wrong secret is refused by name", func(t *testing.T) {
		before := upstream.requests(t)
		c.secret(t, "another-secret-0123456789abcdef")
		a, err := call()
		faulty(t, a, err, http.StatusBadGateway, "hop=authserver; phase=token; kind=denied", "vault", "invalid_client")
		shows(t, a, "resolution-failed", "(none)", "credential;denied")
		if upstream.requests(t) != before {
			t.Error("the server was called without its token")
		}
	})
	t.Run("a rotated secret is used by the next call", func(t *testing.T) {
		own.Secret = "rotated-secret-0123456789abcdef"
		issuer.conf.Clients = []authClient{own}
		issuer.write(t)
		issuer.again(t)
		c.secret(t, own.Secret)
		works("after the rotation")
		if n := len(issuer.asked("client_credentials", "gateway")); n != 1 {
			t.Errorf("%d requests for a token since, want 1", n)
		}
	})
	t.Run("a token that the server refuses is replaced", func(t *testing.T) {
		issuer.publish(t, signingKey(t, "second"))
		issuer.again(t)
		upstream.keys.Store(nil)
		a, err := call()
		faulty(t, a, err, http.StatusBadGateway, "hop=upstream; phase=headers; kind=unauthenticated", "vault", "")
		works("with another token")
		if n := len(issuer.asked("client_credentials", "gateway")); n != 1 {
			t.Errorf("%d requests for a token since, want 1", n)
		}
	})
	t.Run("a token endpoint that is down", func(t *testing.T) {
		issuer.kill()
		works("with the token it has")
		c.secret(t, "nobody-asks-for-it-0123456789abcdef") // a token is never used for longer than the secret it came by
		a, err := call()
		faulty(t, a, err, http.StatusBadGateway, "hop=authserver; phase=connect; kind=refused", "vault", "")
		shows(t, a, "resolution-failed", "(none)", "credential;refused")
		issuer.again(t)
		c.secret(t, own.Secret)
		works("after it is back")
	})
}

func TestCredentialsAreRenewedAheadUnderLoad(t *testing.T) {
	t.Parallel() // its load is light
	const (
		life      = 6 * time.Second
		lifetimes = 2
		workers   = 8
		leastMade = 500
		left      = time.Second // of a token's life when it is used for the last time
	)
	own := client("gateway")
	issuer := startAuthServer(t, signingKey(t, "first"), int(life/time.Second), own)
	upstream := startGuarded(t, issuer.Issuer)
	c := startControl(t, "control", nil)
	planes := []*proxy{startProxy(t, "proxy-1", nil, []*control{c}), startProxy(t, "proxy-2", nil, []*control{c})}
	c.secret(t, own.Secret)
	c.apply(t, oauthServer("vault", upstream.URL, issuer.Issuer, "client_credentials"))
	key := c.key(t, "caller", "vault")

	var made, slowest atomic.Int64
	var failed sync.Map
	var wg sync.WaitGroup
	starts := time.Now()
	ends := starts.Add(lifetimes * life)
	for w := range workers {
		wg.Go(func() {
			pace := time.NewTicker(40 * time.Millisecond)
			defer pace.Stop()
			for time.Now().Before(ends) || made.Load() < leastMade {
				began := mark()
				_, err := whoami(post(planes[w%len(planes)].url("vault"), key, toolCall("whoami", nil)))
				took := time.Since(began.at)
				switch { // on its way for longer than its token had left, while the machine stood still
				case err != nil && took >= left && began.stalled() >= left:
					t.Logf("a call took %s of which the machine stalled for %s: %v", took, began.stalled(), err)
				case err != nil:
					failed.Store(made.Load(), err)
				}
				made.Add(1)
				for took := int64(took); ; {
					if old := slowest.Load(); took <= old || slowest.CompareAndSwap(old, took) {
						break
					}
				}
				<-pace.C
			}
		})
	}
	wg.Wait()
	passed := time.Since(starts)
	failed.Range(func(n, err any) bool { t.Errorf("call %d: %v", n, err); return true })
	asked := issuer.asked("client_credentials", "gateway")
	used, shortest := upstream.believed()
	t.Logf("%d calls over %d lifetimes of %s by two data planes: %d tokens asked for, %d used, at least %s left of each; slowest call %s", made.Load(), lifetimes, life,
		len(asked), used, shortest.Round(100*time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond))
	if least, most := len(planes)*lifetimes, len(planes)*int(2*passed/life); len(asked) < least || len(asked) > most {
		t.Errorf("%d requests for tokens, want one per lifetime and data plane, %d to %d:\n%s", len(asked), least, most, strings.Join(asked, "\n"))
	}
	if slices.ContainsFunc(asked, func(line string) bool { return !strings.HasSuffix(line, " 200") }) {
		t.Errorf("requests were refused:\n%s", strings.Join(asked, "\n"))
	}
}

func TestCredentialsOfCallersAreExchanged(t *testing.T) {
	t.Parallel() // much of it is starting
	own := client("gateway")
	issuer := startAuthServer(t, signingKey(t, "first"), 300, own, client("ann", "dev"), client("bob", "dev"))
	upstream := startGuarded(t, issuer.Issuer)
	c := startControl(t, "control", nil)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.secret(t, own.Secret)
	c.apply(t, oauthServer("vault", upstream.URL, issuer.Issuer, "token_exchange")+
		identityProvider(issuer.Issuer, []*proxy{p}, `grants: [{claim: groups, value: dev, servers: [vault], roles: [debug]}]`))
	exchanges := func() []string { return issuer.asked("token-exchange", "gateway") }

	callers := map[string]string{"ann": issuer.token(t, "ann", p.url("vault")), "bob": issuer.token(t, "bob", p.url("vault"))}
	for _, name := range []string{"ann", "bob"} {
		for range 3 {
			a, err := bearing(p.url("vault"), callers[name], toolCall("whoami", nil), debug, "true")
			if h, err := whoami(a, err); err != nil || h.Audience != upstream.URL || h.Client != "gateway" || h.For != name {
				t.Fatalf("%s: the server saw %+v, %v", name, h, err)
			}
			shows(t, a, "token-exchange", "(gateway-held)", "credential;ok")
		}
	}
	if a, err := bearing(p.url("vault"), callers["ann"], listing); err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, `"name":"whoami"`) {
		t.Errorf("tools/list: %v %+v", err, a)
	}
	want := "token urn:ietf:params:oauth:grant-type:token-exchange gateway " + upstream.URL + " 200"
	if got := exchanges(); !slices.Equal(got, []string{want, want}) {
		t.Errorf("the exchanges were\n%s\nwant one for each caller: %s", strings.Join(got, "\n"), want)
	}
	if n, _ := upstream.believed(); n != 2 {
		t.Errorf("the server saw %d tokens, want one for each caller", n)
	}
	came := upstream.requests(t, callers["ann"], callers["bob"], own.Secret)

	t.Run("a key has nothing to exchange", func(t *testing.T) {
		key := c.key(t, "caller", "vault", "--roles", "debug")
		for _, body := range []string{toolCall("whoami", nil), listing} {
			a, err := post(p.url("vault"), key, body, debug, "true")
			faulty(t, a, err, http.StatusForbidden, "hop=authserver; phase=exchange; kind=unauthenticated", "vault", "exchang")
			shows(t, a, "resolution-failed", "(none)", "credential;unauthenticated")
		}
		if n, m := upstream.requests(t, key), len(exchanges()); n != came || m != 2 {
			t.Errorf("%d requests more reached the server, %d exchanges in all", n-came, m)
		}
	})
	t.Run("a token that can't be exchanged now", func(t *testing.T) {
		fresh := issuer.token(t, "bob", p.url("vault"))
		issuer.kill()
		a, err := bearing(p.url("vault"), fresh, toolCall("whoami", nil))
		faulty(t, a, err, http.StatusBadGateway, "hop=authserver; phase=connect; kind=refused", "vault", "")
		if n := upstream.requests(t, fresh); n != came {
			t.Errorf("%d requests reached the server without an exchanged token", n-came)
		}
		if h, err := whoami(bearing(p.url("vault"), callers["bob"], toolCall("whoami", nil))); err != nil || h.For != "bob" {
			t.Errorf("the token exchanged before: %+v %v", h, err)
		}
	})
}
