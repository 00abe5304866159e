package jwt_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func (r *rig) wantAsked(t *testing.T, metadata, keys int) {
	t.Helper()
	if m, k := r.issuer.Asked(); m != metadata || k != keys {
		t.Errorf("asked %d times for metadata and %d for keys, want %d and %d", m, k, metadata, keys)
	}
}

func TestKeysAreFetchedOnceForAllWhoWait(t *testing.T) {
	r := newRig(t)
	release := r.issuer.Hold()
	defer release()
	const callers = 50
	errs := make(chan error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		token := r.token(t, map[string]any{"jti": i})
		wg.Go(func() { _, err := r.verify(token); errs <- err })
	}
	eventually(t, "a fetch", func() bool { m, _ := r.issuer.Asked(); return m == 1 })
	release()
	wg.Wait()
	for range callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	r.wantAsked(t, 1, 1)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestWaitingEndsWithTheCaller(t *testing.T) {
	r := newRig(t)
	release := r.issuer.Hold()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	token := r.token(t, nil)
	go func() {
		_, err := r.tokens.Verify(ctx, r.list, token, sha256.Sum256([]byte(token)))
		result <- err
	}()
	eventually(t, "a fetch", func() bool { m, _ := r.issuer.Asked(); return m == 1 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || fault.As(err).Kind != fault.Unavailable {
		t.Errorf("%v", err)
	}
	release()
	eventually(t, "the keys came for the others", func() bool { _, err := r.verify(token); return err == nil })
	r.wantAsked(t, 1, 1)
}

func TestAnUnknownKeyIsAskedForOnceInTenSeconds(t *testing.T) {
	r := newRig(t)
	r.admitted(t, r.token(t, nil))
	r.wantAsked(t, 1, 1)
	next := jwttest.NewKey(t, "k2", "ES256")
	r.issuer.Publish(r.key, next)
	rotated := func() string { return next.Token(t, r.issuer.Claims(r.clock.Now(), nil)) }
	r.refused(t, rotated(), "no key that its issuer publishes fits")
	r.wantAsked(t, 1, 1)
	r.clock.forward(10 * time.Second)
	r.admitted(t, rotated())
	r.wantAsked(t, 2, 2)
	r.clock.forward(10 * time.Second)
	for range 20 {
		r.refused(t, jwttest.NewKey(t, "forged", "ES256").Token(t, r.issuer.Claims(r.clock.Now(), nil)), "no key")
	}
	r.wantAsked(t, 3, 3)
}

func TestAKeyThatLeftTheSetEnds(t *testing.T) {
	r := newRig(t)
	seen, next := r.lasting(t), jwttest.NewKey(t, "k2", "ES256")
	r.admitted(t, seen)
	r.issuer.Publish(next)
	r.clock.forward(time.Minute)
	r.admitted(t, seen) // nobody has looked yet
	r.clock.forward(11 * time.Minute)
	jwt.Refresh(r.tokens)
	r.refused(t, seen, "no key that its issuer publishes fits")
	r.admitted(t, next.Token(t, r.issuer.Claims(r.clock.Now(), nil)))
	r.issuer.PublishText(`{"keys":[]}`)
	r.clock.forward(11 * time.Minute)
	jwt.Refresh(r.tokens)
	r.refused(t, next.Token(t, r.issuer.Claims(r.clock.Now(), nil)), "no key")
}

func TestAnOutageKeepsTheLastKeys(t *testing.T) {
	r := newRig(t)
	r.admitted(t, r.token(t, nil))
	r.issuer.Fail(http.StatusServiceUnavailable)
	for range 4 {
		r.clock.forward(11 * time.Minute)
		jwt.Refresh(r.tokens)
		r.admitted(t, r.token(t, nil))
	}
	r.unavailable(t, jwttest.NewKey(t, "k2", "ES256").Token(t, r.issuer.Claims(r.clock.Now(), nil)), "")
	r.issuer.Fail(0)
	r.clock.forward(time.Minute)
	jwt.Refresh(r.tokens)
	r.admitted(t, r.token(t, nil))
}

func TestAnIssuerThatWasNeverReachedIsTriedAgain(t *testing.T) {
	r := newRig(t)
	r.issuer.Fail(http.StatusBadGateway)
	for range 10 {
		r.unavailable(t, r.token(t, nil), "")
	}
	m, _ := r.issuer.Asked()
	r.clock.forward(9 * time.Second)
	r.unavailable(t, r.token(t, nil), "")
	if again, _ := r.issuer.Asked(); again != m {
		t.Error("a failing issuer was asked again at once")
	}
	r.issuer.Fail(0)
	r.clock.forward(time.Second)
	r.admitted(t, r.token(t, nil))
}

func TestMetadataMustBeTheIssuersOwn(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig)
		says   string // empty: admitted
	}{
		"OpenID":              {func(*rig) {}, ""},
		"RFC 8414":            {func(r *rig) { r.issuer.OnlyRFC8414() }, ""},
		"another issuer":      {func(r *rig) { r.issuer.Describe("issuer", r.issuer.URL+"/") }, "another issuer"},
		"no issuer":           {func(r *rig) { r.issuer.Describe("issuer", nil) }, "another issuer"},
		"no key set":          {func(r *rig) { r.issuer.Describe("jwks_uri", nil) }, "names no key set"},
		"key set not a URL":   {func(r *rig) { r.issuer.Describe("jwks_uri", "::") }, "isn't a URL"},
		"key set not https":   {func(r *rig) { r.issuer.Describe("jwks_uri", "http://127.0.0.1:1/keys") }, "isn't https"},
		"key set elsewhere":   {func(r *rig) { r.issuer.Describe("jwks_uri", "https://10.0.0.1/keys") }, "isn't public"},
		"key set in metadata": {func(r *rig) { r.issuer.Describe("jwks_uri", "https://169.254.169.254/keys") }, "isn't public"},
		"key set a file":      {func(r *rig) { r.issuer.Describe("jwks_uri", "file:///etc/passwd") }, "plain https"},
		"configured key set": {func(r *rig) {
			r.issuer.Describe("issuer", "https://other.test")
			r.change(func(p *table.IdentityProvider) { p.JWKS = r.issuer.JWKS() })
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.change(r)
			if c.says == "" {
				r.admitted(t, r.token(t, nil))
			} else {
				r.unavailable(t, r.token(t, nil), c.says)
			}
		})
	}
}

// The settings for an issuer's own host (authority, server name) are not used for a key set on another host.
func TestAKeySetOnAnotherHostIsAStrangers(t *testing.T) {
	r := newRig(t)
	u, err := url.Parse(r.issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	r.issuer.Describe("jwks_uri", "https://localhost:"+u.Port()+"/keys")
	r.unavailable(t, r.token(t, nil), "isn't public")
	r.tokens = r.newTokens(t, egress.Config{Allow: ranges(t, "127.0.0.0/8", "::1")})
	r.change(func(p *table.IdentityProvider) { p.TLS.ServerName = "example.com" }) // would do for the key set, too
	r.unavailable(t, r.token(t, nil), "certificate")
}

func TestAChangedConfigurationForgetsTokensButNotKeys(t *testing.T) {
	r := newRig(t)
	token := r.token(t, nil)
	before := r.admitted(t, token)
	r.change(func(p *table.IdentityProvider) { p.Grants = nil })
	if p := r.admitted(t, token); p == before || len(p.Grants) != 0 {
		t.Errorf("%+v", p)
	}
	r.wantAsked(t, 1, 1)
	r.change(func(p *table.IdentityProvider) { p.TLS = r.issuer.Roots() }) // the same once more, as a new table has it
	r.admitted(t, token)
	r.wantAsked(t, 1, 1)
	r.change(func(p *table.IdentityProvider) { p.Audiences = []string{"other"} })
	r.refused(t, token, "isn't for this gateway")
	r.change(func(p *table.IdentityProvider) { p.Audiences, p.JWKS = []string{jwttest.Audience}, r.issuer.JWKS() })
	r.admitted(t, token)
	r.wantAsked(t, 1, 2)
	r.change(func(p *table.IdentityProvider) { p.TLS = nil }) // an authority that isn't believed any more
	r.unavailable(t, token, "unknown authority")
	r.list = nil
	r.refused(t, token, "issuer")
}

func TestSeenTokensAreTheSamePrincipal(t *testing.T) {
	r := newRig(t)
	token := r.lasting(t)
	p := r.admitted(t, token)
	if p != r.admitted(t, token) {
		t.Error("verified twice")
	}
	r.clock.forward(11 * time.Minute)
	jwt.Refresh(r.tokens)
	r.wantAsked(t, 2, 2)
	if p != r.admitted(t, token) {
		t.Error("verified again though the keys are the same")
	}
}

// lasting is a token for an hour.
func (r *rig) lasting(t *testing.T) string {
	t.Helper()
	return r.token(t, map[string]any{"exp": r.clock.Now().Add(time.Hour).Unix()})
}

func TestNoTokenOutlivesTheConfigurationItWasSeenUnder(t *testing.T) {
	r := newRig(t)
	first, second := r.lasting(t), r.token(t, map[string]any{"sub": "u-2"})
	r.admitted(t, first)
	r.change(func(p *table.IdentityProvider) { p.Clients = map[string]struct{}{"another": {}} })
	r.refused(t, second, "client") // the change is known now
	r.refused(t, first, "client")
}

func TestRunFetchesAheadAndEnds(t *testing.T) {
	r := newRig(t)
	client, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tokens, err := jwt.New(jwt.Config{Egress: client, Issuers: func() jwt.Issuers { return r.list }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- tokens.Run(ctx) }()
	eventually(t, "keys are there before a token is", func() bool { _, k := r.issuer.Asked(); return k == 1 })
	token := r.token(t, nil)
	verify := func() error {
		_, err := tokens.Verify(t.Context(), r.list, token, sha256.Sum256([]byte(token)))
		return err
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	r.wantAsked(t, 1, 1)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.change(func(p *table.IdentityProvider) { p.JWKS = r.issuer.JWKS() })
	if err := verify(); fault.As(err) == nil || fault.As(err).Kind != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
	r.wantAsked(t, 1, 1)
}

func TestNewNeedsAClient(t *testing.T) {
	if _, err := jwt.New(jwt.Config{}); err == nil || !strings.Contains(err.Error(), "Egress") {
		t.Error(err)
	}
}
