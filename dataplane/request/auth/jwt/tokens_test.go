package jwt_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestEveryAllowedAlgorithmAdmits(t *testing.T) {
	for _, alg := range rules.Algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, jwttest.NewKey(t, "k1", alg))
			r.change(func(p *table.IdentityProvider) { p.Algorithms = []string{alg} })
			r.admitted(t, r.token(t, nil))
			r.change(func(p *table.IdentityProvider) { p.Algorithms = []string{"none", "HS256"} })
			r.refused(t, r.token(t, nil), "algorithm")
			r.refused(t, hmacToken(`{"alg":"HS256"}`, fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":9e9}`, r.issuer.URL, jwttest.Audience), nil), "algorithm")
		})
	}
}

func TestACallerIsIssuerAndSubject(t *testing.T) {
	r := newRig(t)
	r.change(func(p *table.IdentityProvider) { p.Rate, p.InFlight = 5, 2 })
	p := r.admitted(t, r.token(t, map[string]any{"email": "ann@example.com"}))
	if len(p.ID) != 4+32 || !strings.HasPrefix(p.ID, "jwt:") || p.User != "ann@example.com" || !strings.HasSuffix(p.Name, "/"+p.User) || p.MayAssert || p.TrustTrace {
		t.Errorf("%+v", p)
	}
	if p.Limit == nil || p.Limit.ID != "jwt/"+p.ID[4:20] || p.Limit.Rate != 5 || p.Limit.Concurrency != 2 {
		t.Errorf("%+v", p.Limit)
	}
	same := r.admitted(t, r.token(t, map[string]any{"email": "new@example.com", "client_id": "other"}))
	if same.ID != p.ID {
		t.Error("the identity hangs on more than issuer and subject")
	}
	other := r.admitted(t, r.token(t, map[string]any{"sub": "u-2"}))
	machine := r.admitted(t, r.token(t, map[string]any{"sub": nil, "azp": "ignored"}))
	if other.ID == p.ID || machine.ID == p.ID || machine.User != "cli" {
		t.Errorf("%+v %+v", other, machine)
	}
	r.change(func(p *table.IdentityProvider) { p.Rate, p.InFlight = 0, 0 })
	if p := r.admitted(t, r.token(t, nil)); p.Limit != nil || p.User != "u-1" {
		t.Errorf("%+v", p)
	}
}

func TestUsersAreShownPrintable(t *testing.T) {
	r := newRig(t)
	p := r.admitted(t, r.token(t, map[string]any{"email": "a\r\nx: y\u202e" + strings.Repeat("ü", 100)}))
	if strings.ContainsAny(p.User, "\r\n\u202e") || len(p.User) > 128 || !strings.HasPrefix(p.User, "a??x: y?ü") {
		t.Errorf("%q", p.User)
	}
}

func TestTimes(t *testing.T) {
	r := newRig(t)
	now := r.clock.Now()
	for _, c := range []struct {
		name   string
		claims map[string]any
		says   string // empty: admitted
	}{
		{"fractions", map[string]any{"exp": float64(now.Unix()) + 100.5}, ""},
		{"within the skew", map[string]any{"exp": now.Add(-59 * time.Second).Unix(), "nbf": now.Add(59 * time.Second).Unix(), "iat": now.Add(59 * time.Second).Unix()}, ""},
		{"expired", map[string]any{"exp": now.Add(-60 * time.Second).Unix()}, "expired (exp)"},
		{"never expires", map[string]any{"exp": nil}, "when it expires"},
		{"exp is text", map[string]any{"exp": fmt.Sprint(now.Add(time.Hour).Unix())}, "when it expires"},
		{"exp is negative", map[string]any{"exp": -1}, "when it expires"},
		{"exp beyond time", map[string]any{"exp": 1e300}, "when it expires"},
		{"not valid yet", map[string]any{"nbf": now.Add(61 * time.Second).Unix()}, "(nbf)"},
		{"from the future", map[string]any{"iat": now.Add(61 * time.Second).Unix()}, "(iat)"},
		{"nbf is text", map[string]any{"nbf": "0"}, "nbf isn't a number"},
		{"iat is null", map[string]any{"iat": []int{1}}, "iat isn't a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := r.token(t, c.claims)
			if c.says == "" {
				r.admitted(t, token)
			} else if f := r.refused(t, token, c.says); (f.Kind == fault.Expired) != (c.name == "expired") {
				t.Errorf("kind %v", f.Kind)
			}
		})
	}
}

func TestATokenThatWasSeenStillExpires(t *testing.T) {
	r := newRig(t)
	token := r.token(t, nil)
	c, err := r.verify(token)
	if err != nil {
		t.Fatal(err)
	}
	r.clock.forward(c.Expires.Sub(r.clock.Now()) - 1)
	r.admitted(t, token)
	r.clock.forward(1)
	r.refused(t, token, "expired (exp)")
}

func TestAudiences(t *testing.T) {
	r := newRig(t)
	r.change(func(p *table.IdentityProvider) { p.Audiences = []string{"api://gw", "https://gw.test/*"} })
	for _, c := range []struct {
		aud any
		ok  bool
	}{
		{"api://gw", true}, {[]string{"x", "api://gw"}, true}, {"https://gw.test/a/mcp", true}, {"https://gw.test/", true},
		{"https://gw.test", false}, {"https://gw.test.evil/", false}, {"https://gw.test:8443/a", false}, {"api://gw/x", false}, {"API://gw", false},
		{"*", false}, {"", false}, {nil, false}, {[]string{}, false}, {7, false}, {true, false}, {map[string]any{"api://gw": 1}, false}, {[]any{"api://gw", 7}, false},
	} {
		token := r.token(t, map[string]any{"aud": c.aud})
		if c.ok {
			r.admitted(t, token)
		} else if f := r.refused(t, token, "isn't for this gateway"); !jwt.IsForeign(f) {
			t.Errorf("%v: not foreign", c.aud)
		}
		if jwt.Ours(r.list, token) != c.ok {
			t.Errorf("%v: ours %v", c.aud, !c.ok)
		}
	}
}

func TestIssuersAreComparedToTheLetter(t *testing.T) {
	r := newRig(t)
	for _, iss := range []any{r.issuer.URL + "/", strings.ToUpper(r.issuer.URL), strings.TrimSuffix(r.issuer.URL, "t"), "", nil, 7, []string{r.issuer.URL}} {
		token := r.token(t, map[string]any{"iss": iss})
		if f := r.refused(t, token, "issuer"); !jwt.IsForeign(f) || jwt.Ours(r.list, token) {
			t.Errorf("%v: not foreign", iss)
		}
	}
	if metadata, keys := r.issuer.Asked(); metadata+keys != 0 {
		t.Error("tokens of strangers made the gateway fetch something")
	}
}

func TestAllowedClients(t *testing.T) {
	r := newRig(t)
	r.change(func(p *table.IdentityProvider) { p.Clients = map[string]struct{}{"cli": {}, "": {}} })
	for _, c := range []struct {
		claims map[string]any
		says   string
	}{
		{nil, ""},
		{map[string]any{"client_id": nil, "azp": "cli"}, ""},
		{map[string]any{"client_id": nil, "cid": "cli"}, ""},
		{map[string]any{"client_id": "Cli"}, "client"},
		{map[string]any{"client_id": "other", "azp": "cli"}, "client"},
		{map[string]any{"client_id": nil}, "client"},
		{map[string]any{"client_id": ""}, "client"},
		{map[string]any{"client_id": []string{"cli"}}, "client id"},
		{map[string]any{"client_id": nil, "azp": 7}, "client id"},
	} {
		if token := r.token(t, c.claims); c.says == "" {
			r.admitted(t, token)
		} else {
			r.refused(t, token, c.says)
		}
	}
	r.change(func(p *table.IdentityProvider) { p.Clients, p.ClientOf = map[string]struct{}{"x": {}}, []string{"app"} })
	r.admitted(t, r.token(t, map[string]any{"app": "x"}))
	r.refused(t, r.token(t, map[string]any{"client_id": "x"}), "client")
}

func TestClaimsThatMatchAddUp(t *testing.T) {
	r := newRig(t)
	grants := []struct {
		path, value string
		claims      map[string]any
		want        bool
	}{
		{"", "", nil, true},
		{"role", "dev", map[string]any{"role": "dev"}, true},
		{"role", "dev", map[string]any{"role": "developer"}, false},
		{"role", "dev", map[string]any{"role": "ops dev"}, false},
		{"role", "dev", map[string]any{"role": []string{"ops", "dev"}}, true},
		{"role", "dev", map[string]any{"role": []any{[]string{"dev"}}}, false},
		{"role", "dev", map[string]any{"role": map[string]any{"dev": true}}, false},
		{"role", "*", map[string]any{"role": false}, true},
		{"role", "*", nil, false},
		{"role", "7", map[string]any{"role": 7}, false},
		{"scope", "mcp:tools", map[string]any{"scope": "openid mcp:tools"}, true},
		{"scope", "mcp:tools", map[string]any{"scope": "mcp:tools:read"}, false},
		{"scp", "a", map[string]any{"scp": []string{"a"}}, true},
		{"realm_access.roles", "dev", map[string]any{"realm_access": map[string]any{"roles": []string{"dev"}}}, true},
		{"realm_access.roles", "dev", map[string]any{"realm_access": "roles"}, false},
		{"https://x.test/roles", "dev", map[string]any{"https://x.test/roles": []string{"dev"}}, true},
	}
	r.change(func(p *table.IdentityProvider) {
		p.Grants = nil
		for _, g := range grants {
			c := table.ClaimGrant{Value: g.value, Grant: &table.Grant{Team: g.path}}
			if g.path != "" {
				c.Claim = strings.Split(g.path, ".")
			}
			p.Grants = append(p.Grants, c)
		}
		p.Grants = append(p.Grants, table.ClaimGrant{Claim: []string{"support"}, Value: "*", Debug: true})
	})
	opened := r.list[0].Grants
	for i, g := range grants {
		claims := map[string]any{"support": nil}
		maps.Copy(claims, g.claims)
		p := r.admitted(t, r.token(t, claims))
		got := false
		for _, one := range p.Grants {
			got = got || one == opened[i].Grant
		}
		if got != g.want || p.Debug {
			t.Errorf("%s=%s with %v: %v", g.path, g.value, g.claims, got)
		}
	}
	if p := r.admitted(t, r.token(t, map[string]any{"role": "ops", "support": 1})); len(p.Grants) != 3 || !p.Debug { // for every token, and twice for any role
		t.Errorf("%d grants, debug %v", len(p.Grants), p.Debug)
	}
	r.change(func(p *table.IdentityProvider) { p.Grants = p.Grants[1:] })
	if p := r.admitted(t, r.token(t, nil)); len(p.Grants) != 0 {
		t.Error("a token that matches nothing has grants")
	}
}
