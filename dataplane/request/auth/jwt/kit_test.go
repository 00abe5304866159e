package jwt_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/netrange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuers are those of a table.
type issuers []*table.IdentityProvider

func (l issuers) Providers() []*table.IdentityProvider { return l }

func (l issuers) Provider(issuer string) (*table.IdentityProvider, bool) {
	for _, p := range l {
		if p.Issuer == issuer {
			return p, true
		}
	}
	return nil, false
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is an issuer, a configuration that believes it, and Tokens.
type rig struct {
	issuer *jwttest.Issuer
	key    *jwttest.Key
	list   issuers
	clock  *clock
	tokens *jwt.Tokens
}

func newRig(t testing.TB, keys ...*jwttest.Key) *rig {
	t.Helper()
	if len(keys) == 0 {
		keys = []*jwttest.Key{jwttest.NewKey(t, "k1", "ES256")}
	}
	r := &rig{issuer: jwttest.New(t, keys...), key: keys[0], clock: &clock{now: time.Now().Truncate(time.Second)}}
	r.list = issuers{r.issuer.Provider()}
	r.tokens = r.newTokens(t, egress.Config{})
	return r
}

func (r *rig) newTokens(t testing.TB, cfg egress.Config) *jwt.Tokens {
	t.Helper()
	client, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := jwt.New(jwt.Config{Egress: client, Now: r.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { jwt.Stop(tokens); client.Close() })
	return tokens
}

// token is a good one, with other claims where given.
func (r *rig) token(t testing.TB, more map[string]any) string {
	t.Helper()
	return r.key.Token(t, r.issuer.Claims(r.clock.Now(), more))
}

func (r *rig) verify(token string) (*jwt.Caller, error) {
	return r.tokens.Verify(context.Background(), r.list, token, sha256.Sum256([]byte(token)))
}

// change is the provider with something else; another version of its configuration.
func (r *rig) change(f func(*table.IdentityProvider)) {
	p := *r.list[0]
	f(&p)
	r.list = issuers{&p}
}

// admitted fails the test unless the token is good.
func (r *rig) admitted(t *testing.T, token string) *table.Principal {
	t.Helper()
	c, err := r.verify(token)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return c.Principal
}

// refused fails the test unless the token is refused with a 401 that says want and nothing of the token.
func (r *rig) refused(t *testing.T, token, want string) *fault.Error {
	t.Helper()
	c, err := r.verify(token)
	f := fault.As(err)
	if c != nil || f == nil {
		t.Fatalf("admitted %+v, %v", c, err)
	}
	if f.Hop != fault.Client || f.Phase != fault.Auth || f.HTTPStatus() != http.StatusUnauthorized || f.Hint == "" {
		t.Errorf("the refusal is %v", f)
	}
	if !strings.Contains(f.Message, want) {
		t.Errorf("it says %q, not %q", f.Message, want)
	}
	for _, part := range strings.Split(token, ".") {
		if len(part) > 8 && strings.Contains(f.Error()+f.Hint, part) {
			t.Errorf("it shows the token: %q", f.Error())
		}
	}
	return f
}

// unavailable fails the test unless the issuer's keys can't be had.
func (r *rig) unavailable(t *testing.T, token, want string) {
	t.Helper()
	_, err := r.verify(token)
	f := fault.As(err)
	if f == nil || f.Hop != fault.AuthServer || f.Phase != fault.Metadata || f.Kind != fault.Unavailable || f.HTTPStatus() != http.StatusServiceUnavailable {
		t.Fatalf("got %v", err)
	}
	if f.RetryAfter < time.Second || f.RetryAfter > 10*time.Second {
		t.Errorf("retry after %v", f.RetryAfter)
	}
	if !strings.Contains(f.Error(), want) {
		t.Errorf("it says %q, not %q", f.Error(), want)
	}
	if said := f.Message + f.Hint; strings.Contains(said, "127.0.0.1") || strings.Contains(said, "/keys") {
		t.Errorf("it says too much: %q", said)
	}
}

func ranges(t testing.TB, list ...string) netrange.Set {
	t.Helper()
	s, err := netrange.NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
