package table_test

import (
	"crypto/tls"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func value(secret string) *configv1.Value { return &configv1.Value{Secret: secret} }

func TestCredentialsOfAServer(t *testing.T) {
	for _, c := range []struct {
		name string
		auth *configv1.Auth
		want table.Auth // without Token
	}{
		{"none", nil, table.Auth{Type: "none"}},
		{"api_key", &configv1.Auth{Type: "api_key", Value: value("s")}, table.Auth{Type: "api_key", Secret: "s", Header: "X-Api-Key"}},
		{"api_key in a header", &configv1.Auth{Type: "api_key", Value: value("s"), Header: "private-token"}, table.Auth{Type: "api_key", Secret: "s", Header: "Private-Token"}},
		{"bearer", &configv1.Auth{Type: "bearer", Value: value("s")}, table.Auth{Type: "bearer", Secret: "s"}},
		{"basic", &configv1.Auth{Type: "basic", Value: value("s"), Username: "ann"}, table.Auth{Type: "basic", Secret: "s", Username: "ann"}},
		{"authorization", &configv1.Auth{Type: "authorization", Value: value("s")}, table.Auth{Type: "authorization", Secret: "s"}},
		{"passthrough", &configv1.Auth{Type: "passthrough"}, table.Auth{Type: "passthrough"}},
	} {
		s := spec(at("https://h/"))
		s.Auth = c.auth
		tab, outs := apply(empty(), server(t, "a", s))
		a, ok := tab.Server("a")
		if !ok || a.Auth != c.want || a.AuthType != c.want.Type || a.Plain != (c.name == "none") {
			t.Errorf("%s: %+v; %q", c.name, a, outs)
		}
	}
}

func TestTokenEndpointOfAServer(t *testing.T) {
	auth := func(change func(*configv1.Auth)) *configv1.Auth {
		a := &configv1.Auth{Type: "oauth2", Value: value("s"), Flow: "client_credentials", TokenUrl: "https://Login.example.com:443/token", ClientId: "gw"}
		change(a)
		return a
	}
	for _, c := range []struct {
		name   string
		change func(*configv1.Auth)
		want   table.TokenEndpoint // without Target and URL
	}{
		{"plain", func(*configv1.Auth) {}, table.TokenEndpoint{ClientID: "gw", Resource: "https://mcp.example.com/v1/mcp"}},
		{"omitted", func(a *configv1.Auth) { a.OmitResource = true }, table.TokenEndpoint{ClientID: "gw"}},
		{"all", func(a *configv1.Auth) {
			a.Flow, a.ClientAuth, a.Scopes, a.Resource, a.Audience = "token_exchange", "client_secret_post", []string{"x", "y"}, "urn:mcp", "aud"
		}, table.TokenEndpoint{ClientID: "gw", Post: true, Scopes: []string{"x", "y"}, Resource: "urn:mcp", Audience: "aud"}},
		{"name to verify", func(a *configv1.Auth) { a.TokenTls = &configv1.UpstreamTLS{ServerName: "inner"} }, table.TokenEndpoint{ClientID: "gw", Resource: "https://mcp.example.com/v1/mcp"}},
	} {
		s := spec(at("https://MCP.example.com:443/v1/mcp?token=x"))
		s.Auth = auth(c.change)
		tab, outs := apply(empty(), server(t, "a", s))
		a, ok := tab.Server("a")
		if !ok {
			t.Fatalf("%s: %q", c.name, outs)
		}
		got := *a.Auth.Token
		name := "login.example.com"
		if s.Auth.TokenTls != nil {
			name = "inner"
		}
		if got.Target.Origin != "https://login.example.com" || got.Target.Path != "/token" || got.Target.TLS.ServerName != name || got.URL != s.Auth.TokenUrl || a.Auth.Flow != s.Auth.Flow {
			t.Errorf("%s: target %+v, %+v", c.name, got.Target, a.Auth)
		}
		got.Target, got.URL = nil, ""
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWhatTravelsToAServer(t *testing.T) {
	s := spec(at("https://h/"))
	s.Headers = []*configv1.Header{{Name: "x-tenant", Text: "a b"}, {Name: "X-KEY", Value: value("s")}}
	s.ClientHeaders, s.ForwardHeaders = []string{"x-tenant-id", "authorization"}, []string{"x-request-tag"}
	s.ReachableFrom, s.AllowedCidrs, s.AccessGroups = "internal", []string{"10.0.0.0/8", "2001:db8::1"}, []string{"dev"}
	tab, outs := apply(empty(), server(t, "my_server", s))
	a, ok := tab.Server("my_server")
	if !ok || len(outs) > 0 {
		t.Fatal(outs)
	}
	if want := []table.Header{{Name: "X-Tenant", Text: "a b"}, {Name: "X-Key", Secret: "s"}}; !slices.Equal(a.Headers, want) {
		t.Errorf("%+v", a.Headers)
	}
	if want := []table.ClientHeader{{Name: "X-Tenant-Id", Keys: [2]string{"X-Mcp-My_server-X-Tenant-Id", "X-Mcp-My-Server-X-Tenant-Id"}},
		{Name: "Authorization", Keys: [2]string{"X-Mcp-My_server-Authorization", "X-Mcp-My-Server-Authorization"}}}; !slices.Equal(a.ClientHeaders, want) {
		t.Errorf("%+v", a.ClientHeaders)
	}
	if want := []table.ForwardHeader{{"X-Request-Tag"}}; !slices.Equal(a.ForwardHeaders, want) || a.Plain || !slices.Equal(a.Groups, []string{"dev"}) {
		t.Errorf("%+v", a)
	}
	in, out := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	if !a.Reachable(true, in) || a.Reachable(false, in) || a.Reachable(true, out) || a.Reachable(true, netip.Addr{}) {
		t.Error("reachable from the wrong places")
	}
	tab, _ = apply(tab, server(t, "b", &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{at("http://h/")}, ClientHeaders: []string{"x-a"}}))
	if b, _ := tab.Server("b"); b.Plain || b.ClientHeaders[0].Keys[1] != "" || !b.Reachable(false, netip.Addr{}) {
		t.Errorf("%+v", b)
	}
}

func TestSpecsThatAreRejectedSayWhere(t *testing.T) {
	with := func(change func(*configv1.ServerSpec)) confset.Object {
		s := spec(at("https://h/"))
		change(s)
		return server(t, "a", s)
	}
	key := func(change func(*configv1.ApiKeySpec)) confset.Object { return apikey(t, "k", "hunter2", change) }
	idp := func(change func(*configv1.IdentityProviderSpec)) confset.Object {
		s := &configv1.IdentityProviderSpec{Issuer: "https://i.example.com", Audiences: []string{"x"}}
		change(s)
		return provider(t, "i", s)
	}
	oauth := func(change func(*configv1.Auth)) confset.Object {
		a := &configv1.Auth{Type: "oauth2", Value: value("s"), Flow: "client_credentials", TokenUrl: "https://h/token", ClientId: "gw"}
		change(a)
		return with(func(s *configv1.ServerSpec) { s.Auth = a })
	}
	secret := func(v string) confset.Object {
		return object(t, "secret", "s", &configv1.Secret{Name: "s", Spec: &configv1.SecretSpec{Value: v}})
	}
	for want, o := range map[string]confset.Object{
		"server/a rejected spec.reachable_from: ":        with(func(s *configv1.ServerSpec) { s.ReachableFrom = "here" }),
		"server/a rejected spec.allowed_cidrs[1]: is ":   with(func(s *configv1.ServerSpec) { s.AllowedCidrs = []string{"::1", "hunter2"} }),
		"server/a rejected spec.limits.rate: ":           with(func(s *configv1.ServerSpec) { s.Limits = &configv1.CallLimits{Rate: "1/d"} }),
		"server/a rejected spec.limits.concurrency: ":    with(func(s *configv1.ServerSpec) { s.Limits = &configv1.CallLimits{Concurrency: -1} }),
		"server/a rejected spec.tool_limits[0].limits: ": with(func(s *configv1.ServerSpec) { s.ToolLimits = []*configv1.ToolLimits{{Tool: "x"}} }),
		"server/a rejected spec.headers[0]: ":            with(func(s *configv1.ServerSpec) { s.Headers = []*configv1.Header{{Name: "a"}} }),
		"server/a rejected spec.headers[0].text: ":       with(func(s *configv1.ServerSpec) { s.Headers = []*configv1.Header{{Name: "a", Text: "hunter2\r\nb: c"}} }),
		"server/a rejected spec.headers[0].name: ":       with(func(s *configv1.ServerSpec) { s.Headers = []*configv1.Header{{Name: "Cookie", Text: "hunter2"}} }),
		"server/a rejected spec.client_headers[0]: ":     with(func(s *configv1.ServerSpec) { s.ClientHeaders = []string{"host"} }),
		"server/a rejected spec.forward_headers[0]: ":    with(func(s *configv1.ServerSpec) { s.ForwardHeaders = []string{"authorization"} }),
		"server/a rejected spec.auth.value: ":            with(func(s *configv1.ServerSpec) { s.Auth = &configv1.Auth{Type: "bearer"} }),
		"server/a rejected spec.auth.username: ": with(func(s *configv1.ServerSpec) {
			s.Auth = &configv1.Auth{Type: "basic", Value: value("s"), Username: "a:hunter2"}
		}),
		"server/a rejected spec.auth.header: ": with(func(s *configv1.ServerSpec) {
			s.Auth = &configv1.Auth{Type: "api_key", Value: value("s"), Header: "mcp-x"}
		}),
		"server/a rejected spec.auth.flow: ":              oauth(func(a *configv1.Auth) { a.Flow = "" }),
		"server/a rejected spec.auth.token_url: is plain": oauth(func(a *configv1.Auth) { a.TokenUrl = "http://h/token?hunter2" }),
		"server/a rejected spec.auth.token_url: is not":   oauth(func(a *configv1.Auth) { a.TokenUrl = "" }),
		"server/a rejected spec.auth.token_tls.ca_pem: ":  oauth(func(a *configv1.Auth) { a.TokenTls = &configv1.UpstreamTLS{CaPem: "hunter2"} }),
		"server/a rejected spec.auth.client_id: ":         oauth(func(a *configv1.Auth) { a.ClientId = "" }),
		"server/a rejected spec.auth.client_auth: ":       oauth(func(a *configv1.Auth) { a.ClientAuth = "jwt" }),
		"secret/s rejected spec.value: is empty":          secret(""),
		"secret/s rejected spec.value: has":               secret("hunter2\n"),
		"apikey/k rejected spec.previous_sha256: ":        key(func(s *configv1.ApiKeySpec) { s.PreviousExpires = "2030-01-31T00:00:00Z" }),
		"apikey/k rejected spec.previous_expires: ":       key(func(s *configv1.ApiKeySpec) { s.PreviousSha256 = strings.Repeat("ab", 32) }),
		"apikey/k rejected spec.limits.rate: ":            key(func(s *configv1.ApiKeySpec) { s.Limits = &configv1.CallLimits{Rate: "x"} }),
		"apikey/k rejected spec.tools[0].server: ":        key(func(s *configv1.ApiKeySpec) { s.Tools = []*configv1.ToolRule{{}} }),
		"apikey/k rejected spec.tools[0].allow[0]: ":      key(func(s *configv1.ApiKeySpec) { s.Tools = []*configv1.ToolRule{{Server: "*", Allow: []string{""}}} }),
		"apikey/k rejected spec.tools[0].parameters[0].re": key(func(s *configv1.ApiKeySpec) {
			s.Tools = []*configv1.ToolRule{{Server: "*", Parameters: []*configv1.ParameterRule{{Tool: "*", Parameter: "p", Required: true}}}}
		}),
		"toolset/x rejected spec.tools[0]: ":               toolset(t, "x", "a"),
		"identityprovider/i rejected spec.issuer: ":        idp(func(s *configv1.IdentityProviderSpec) { s.Issuer = "http://i.example.com" }),
		"identityprovider/i rejected spec.jwks_url: ":      idp(func(s *configv1.IdentityProviderSpec) { s.JwksUrl = "ftp://hunter2" }),
		"identityprovider/i rejected spec.audiences: ":     idp(func(s *configv1.IdentityProviderSpec) { s.Audiences = nil }),
		"identityprovider/i rejected spec.algorithms[0]: ": idp(func(s *configv1.IdentityProviderSpec) { s.Algorithms = []string{"none"} }),
		"identityprovider/i rejected spec.clock_skew: ":    idp(func(s *configv1.IdentityProviderSpec) { s.ClockSkew = "6m" }),
		"identityprovider/i rejected spec.grants[0].roles": idp(func(s *configv1.IdentityProviderSpec) { s.Grants = []*configv1.ClaimGrant{{Roles: []string{"admin"}}} }),
		"identityprovider/i rejected spec.grants[0].claim": idp(func(s *configv1.IdentityProviderSpec) { s.Grants = []*configv1.ClaimGrant{{Claim: "a..b", Value: "x"}} }),
		"identityprovider/i rejected spec.grants[0].value": idp(func(s *configv1.IdentityProviderSpec) { s.Grants = []*configv1.ClaimGrant{{Value: "x"}} }),
		"ingress/i rejected spec.listener: ":               ingress(t, "i", &configv1.IngressSpec{Listener: "second"}),
		"ingress/i rejected spec.trusted_proxies[0]: ":     ingress(t, "i", &configv1.IngressSpec{TrustedProxies: []string{"10.0.0.0/33"}}),
		"ingress/i rejected spec.forwarded_headers[0]: ":   ingress(t, "i", &configv1.IngressSpec{ForwardedHeaders: []string{"via"}}),
		"ingress/i rejected spec.public_origins[0]: ":      ingress(t, "i", &configv1.IngressSpec{PublicOrigins: []string{"https://h/"}}),
		"ingress/i rejected spec.internal_ranges[0]: ":     ingress(t, "i", &configv1.IngressSpec{InternalRanges: []string{"x"}}),
		"ingress/i rejected spec.cors_origins[0]: ":        ingress(t, "i", &configv1.IngressSpec{CorsOrigins: []string{"*"}}),
		"ingress/i rejected spec.trusted_redirect_origins": ingress(t, "i", &configv1.IngressSpec{TrustedRedirectOrigins: []string{"https://h"}}),
		"ingress/i rejected spec.trusted_native_redirect_": ingress(t, "i", &configv1.IngressSpec{TrustedNativeRedirectUris: []string{"https://h"}}),
	} {
		tab, outs := apply(empty(), o)
		if !prefixes(outs, []string{want}) || tab.Rejected() != 1 {
			t.Errorf("want %q, got %q", want, outs)
		}
		if strings.Contains(strings.Join(outs, ""), "hunter2") {
			t.Errorf("a secret is echoed: %q", outs)
		}
	}
}

func TestSecretsComeWithTheirValue(t *testing.T) {
	o := object(t, "secret", "token", &configv1.Secret{Name: "token", Spec: &configv1.SecretSpec{Value: "Token hunter2"}})
	tab, outs := apply(empty(), o)
	s, ok := tab.Secret("token")
	if !ok || s.Value.Reveal() != "Token hunter2" || s.Hash != o.Hash || len(outs) > 0 {
		t.Fatalf("%+v, %q", s, outs)
	}
	if tab, _ = apply(tab, object(t, "secret", "token", &configv1.Secret{Name: "token"})); tab.Rejected() != 1 {
		t.Error("a secret without a value is taken")
	}
	if _, ok := tab.Secret("token"); ok {
		t.Error("a rejected secret keeps its last value")
	}
}

func TestIdentityProvider(t *testing.T) {
	tab, outs := apply(empty(), provider(t, "plain", &configv1.IdentityProviderSpec{Issuer: "http://127.0.0.1:9/", Audiences: []string{"x"}}),
		provider(t, "full", &configv1.IdentityProviderSpec{Issuer: "https://i.example.com", Audiences: []string{"x", "y/*"}, JwksUrl: "https://i.example.com/keys", Algorithms: []string{"ES512"},
			ClockSkew: "0s", AllowedClients: []string{"cli"}, ClientClaim: "app", UserClaim: "name", Limits: &configv1.CallLimits{Rate: "6/m", Concurrency: 3}, Tls: &configv1.UpstreamTLS{ServerName: "inner"},
			Grants: []*configv1.ClaimGrant{{Claim: "realm_access.roles", Value: "dev", Servers: []string{"*"}, Team: "core", Roles: []string{"debug"}}, {Groups: []string{"g"}}}}))
	plain, _ := tab.Provider("http://127.0.0.1:9/")
	full, _ := tab.Provider("https://i.example.com")
	if len(outs) > 0 || plain == nil || full == nil {
		t.Fatal(outs)
	}
	if !slices.Equal(plain.Algorithms, []string{"RS256", "PS256", "ES256", "EdDSA"}) || plain.Skew != time.Minute || plain.Clients != nil || plain.TLS != nil || plain.Rate != 0 ||
		!slices.Equal(plain.ClientOf, []string{"client_id", "azp", "cid"}) || !slices.Equal(plain.UserOf, []string{"email", "sub"}) || plain.UID != "uid-plain" {
		t.Errorf("%+v", plain)
	}
	if !slices.Equal(full.Algorithms, []string{"ES512"}) || full.Skew != 0 || len(full.Clients) != 1 || full.TLS.ServerName != "inner" || full.TLS.MinVersion != tls.VersionTLS12 ||
		full.Rate != 0.1 || full.InFlight != 3 || full.JWKS != "https://i.example.com/keys" || !slices.Equal(full.ClientOf, []string{"app"}) || !slices.Equal(full.UserOf, []string{"name"}) {
		t.Errorf("%+v", full)
	}
	g := full.Grants
	if len(g) != 2 || !slices.Equal(g[0].Claim, []string{"realm_access", "roles"}) || g[0].Value != "dev" || !g[0].Debug || !g[0].Grant.All || g[0].Grant.Team != "core" ||
		g[1].Claim != nil || g[1].Debug || g[1].Grant.All || g[0].Grant.Of != "realm_access.roles = dev of the identity provider full" {
		t.Errorf("%+v", g)
	}
	if list := tab.Providers(); len(list) != 2 || list[0] != full || list[1] != plain {
		t.Errorf("%+v", list)
	}
}

func TestOfTwoProvidersWithOneIssuerTheFirstByNameIsBelieved(t *testing.T) {
	s := &configv1.IdentityProviderSpec{Issuer: "https://i.example.com", Audiences: []string{"x"}}
	believed := func(tab *table.Table) string {
		p, ok := tab.Provider(s.Issuer)
		if !ok || len(tab.Providers()) != 1 || tab.Providers()[0] != p {
			return ""
		}
		return p.Name
	}
	tab, _ := apply(empty(), provider(t, "b", s))
	before, _ := tab.Provider(s.Issuer)
	tab, outs := apply(tab, provider(t, "c", s))
	if after, _ := tab.Provider(s.Issuer); after != before || !prefixes(outs, []string{"identityprovider/c rejected spec.issuer: is also that of identity provider b"}) {
		t.Errorf("%q", outs)
	}
	tab, outs = apply(tab, provider(t, "a", s))
	if believed(tab) != "a" || tab.Rejected() != 2 || len(outs) != 2 {
		t.Errorf("%q is believed, %q", believed(tab), outs)
	}
	if tab, outs = remove(tab, "identityprovider", "a"); believed(tab) != "b" || tab.Rejected() != 1 || !strings.Contains(outs[0], "served again") {
		t.Errorf("%q is believed, %q", believed(tab), outs)
	}
	bad := &configv1.IdentityProviderSpec{Issuer: s.Issuer}
	if tab, _ = apply(tab, provider(t, "b", bad)); believed(tab) != "c" || tab.Rejected() != 1 {
		t.Errorf("%q is believed after b was rejected; %q", believed(tab), lines(tab.Outcomes()))
	}
}
