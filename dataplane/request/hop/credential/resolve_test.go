package credential_test

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// What each way of authenticating sends, how it is called and what the caller is shown.
func TestWhatLeavesForEachAuthType(t *testing.T) {
	static := []*configv1.Header{{Name: "X-Tenant", Text: "acme"}, {Name: "x-more", Value: value("two")}}
	for _, c := range []struct {
		name    string
		spec    *configv1.ServerSpec
		headers []string
		want    string
	}{
		{"nothing", &configv1.ServerSpec{}, []string{"Authorization: Bearer other"}, "no-auth | (none)"},
		{"api key", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "api_key", Value: value("one")}}, nil, "X-Api-Key: " + secret + " | static-token | (gateway-held)"},
		{"api key in a header", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "api_key", Value: value("one"), Header: "x-goog-api-key"}}, nil,
			"X-Goog-Api-Key: " + secret + " | static-token | (gateway-held)"},
		{"bearer", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}}, nil, "Authorization: Bearer " + secret + " | static-token | (gateway-held)"},
		{"basic", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "basic", Username: "Aladdin", Value: value("sesame")}}, nil,
			"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== | static-token | (gateway-held)"},
		{"authorization", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "authorization", Value: value("one")}}, nil, "Authorization: " + secret + " | static-token | (gateway-held)"},
		{"passthrough", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "passthrough"}}, []string{"Authorization: Bearer caller-0123456789ab"},
			"Authorization: Bearer caller-0123456789ab | oauth2-passthrough | Bearer****89ab"},
		{"oauth2", &configv1.ServerSpec{Auth: machine()}, nil, "Authorization: Bearer " + token(1) + " | m2m-client-credentials | (gateway-held)"},
		{"static headers", &configv1.ServerSpec{Headers: static}, nil, "X-Tenant: acme | X-More: " + second + " | static-token | (gateway-held)"},
		{"a static text is no credential", &configv1.ServerSpec{Headers: static[:1]}, nil, "X-Tenant: acme | no-auth | (none)"},
		{"bearer and static headers", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}, Headers: static}, nil,
			"Authorization: Bearer " + secret + " | X-Tenant: acme | X-More: " + second + " | static-token | (gateway-held)"},
		{"oauth2 and static headers", &configv1.ServerSpec{Auth: machine(), Headers: static[:1]}, nil,
			"Authorization: Bearer " + token(1) + " | X-Tenant: acme | m2m-client-credentials | (gateway-held)"},
		{"a client header", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, []string{"x-mcp-my_up-x-key: caller-0123456789ab"},
			"X-Key: caller-0123456789ab | per-request-header | ****89ab"},
		{"a client header that isn't listed", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, []string{"x-mcp-my_up-x-other: caller-0123456789ab"}, "no-auth | (none)"},
		{"a client header for another server", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, []string{"x-mcp-up-x-key: caller-0123456789ab", "x-key: a"}, "no-auth | (none)"},
		{"a blank client header", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, []string{"x-mcp-my_up-x-key:  "}, "no-auth | (none)"},
		{"with hyphens", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, []string{"x-mcp-my-up-x-key: caller-0123456789ab"},
			"X-Key: caller-0123456789ab | per-request-header | ****89ab"},
		{"the caller's Authorization wins", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}, ClientHeaders: []string{"authorization"}},
			[]string{"x-mcp-my_up-authorization: Bearer caller-0123456789ab"}, "Authorization: Bearer caller-0123456789ab | per-request-header | Bearer****89ab"},
		{"the caller's api key wins", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "api_key", Value: value("one")}, ClientHeaders: []string{"x-api-key"}},
			[]string{"x-mcp-my_up-x-api-key: short"}, "X-Api-Key: short | per-request-header | ****"},
		{"the caller's header wins over a static one", &configv1.ServerSpec{Headers: static[:1], ClientHeaders: []string{"x-tenant"}},
			[]string{"x-mcp-my_up-x-tenant: mine"}, "X-Tenant: mine | per-request-header | ****"},
		{"another client header leaves the credential", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}, ClientHeaders: []string{"x-tenant"}},
			[]string{"x-mcp-my_up-x-tenant: mine"}, "Authorization: Bearer " + secret + " | X-Tenant: mine | static-token | (gateway-held)"},
		{"in place of passthrough", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "passthrough"}, ClientHeaders: []string{"authorization"}},
			[]string{"x-mcp-my_up-authorization: Bearer caller-0123456789ab"}, "Authorization: Bearer caller-0123456789ab | per-request-header | Bearer****89ab"},
		{"forwarded", &configv1.ServerSpec{ForwardHeaders: []string{"x-request-id"}}, []string{"x-request-id: 7", "x-other: 8"}, "X-Request-Id: 7 | extra-headers | (none)"},
		{"forwarded twice", &configv1.ServerSpec{ForwardHeaders: []string{"x-request-id"}}, []string{"x-request-id: 7", "x-request-id: 8"},
			"X-Request-Id: 7, 8 | extra-headers | (none)"},
		{"forwarded after its client header", &configv1.ServerSpec{ForwardHeaders: []string{"x-tenant"}, ClientHeaders: []string{"x-tenant"}},
			[]string{"x-tenant: ambient", "x-mcp-my_up-x-tenant: meant"}, "X-Tenant: meant | per-request-header | ****"},
		{"forwarded never replaces", &configv1.ServerSpec{Headers: static[:1], ForwardHeaders: []string{"x-tenant"}}, []string{"x-tenant: ambient"}, "X-Tenant: acme | no-auth | (none)"},
		{"several ways", &configv1.ServerSpec{Headers: static, ForwardHeaders: []string{"x-request-id"}, ClientHeaders: []string{"x-key", "authorization"}},
			[]string{"x-request-id: 7", "x-mcp-my_up-x-key: k", "x-mcp-my_up-authorization: Bearer caller-0123456789ab"},
			"X-Key: k | Authorization: Bearer caller-0123456789ab | X-Tenant: acme | X-More: " + second + " | X-Request-Id: 7 | multiple | Bearer****89ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, &configv1.ServerSpec{})
			w.keep("sesame", "open sesame")
			w.configure(c.spec)
			for range 2 { // prepared and unprepared alike
				b, err := w.resolve(w.ask(c.headers...))
				if err != nil || show(b) != c.want {
					t.Errorf("%s %v\nwant %s", show(b), err, c.want)
				}
			}
		})
	}
}

// A gateway credential never leaves, whichever way it would take.
func TestGatewayCredentialsNeverLeave(t *testing.T) {
	const basicKey = "Basic c2stZ2F0ZXdheS1jYW5hcnktMDEyMzQ1Njc4OTp4" // key as user
	spec := func() *configv1.ServerSpec {
		return &configv1.ServerSpec{ClientHeaders: []string{"authorization", "x-key"}, ForwardHeaders: []string{"x-other"}}
	}
	with := func(a *configv1.Auth, h ...*configv1.Header) *configv1.ServerSpec {
		return &configv1.ServerSpec{Auth: a, Headers: h}
	}
	passthrough := with(&configv1.Auth{Type: "passthrough"})
	leakyMachine := machine()
	leakyMachine.Value = value("leaky")
	for _, c := range []struct {
		name    string
		spec    *configv1.ServerSpec
		headers []string
		says    string
	}{
		{"Authorization passed through", passthrough, []string{"Authorization: Bearer " + gatewayKey}, "the header authorization holds"},
		{"Authorization bare", passthrough, []string{"Authorization: " + gatewayKey}, "the header authorization holds"},
		{"Authorization in Basic", passthrough, []string{"Authorization: " + basicKey}, "the header authorization holds"},
		{"Authorization of any scheme", passthrough, []string{"Authorization: token " + gatewayKey}, "the header authorization holds"},
		{"for this server", spec(), []string{"x-mcp-my_up-authorization: Bearer " + gatewayKey}, "the header x-mcp-my_up-authorization holds"},
		{"for this server with hyphens", spec(), []string{"x-mcp-my-up-x-key: " + gatewayKey}, "the header x-mcp-my-up-x-key holds"},
		{"for this server in Basic", spec(), []string{"x-mcp-my_up-authorization: " + basicKey}, "the header x-mcp-my_up-authorization holds"},
		{"forwarded", spec(), []string{"x-other: " + gatewayKey}, "the header x-other holds"},
		{"forwarded as a second value", spec(), []string{"x-other: 1", "x-other: " + gatewayKey}, "the header x-other holds"},
		{"a static text", with(nil, &configv1.Header{Name: "x-a", Text: gatewayKey}), nil, "x-a to the server my_up"},
		{"a static secret", with(nil, &configv1.Header{Name: "x-a", Value: value("leaky")}), nil, "x-a to the server my_up"},
		{"an api key", with(&configv1.Auth{Type: "api_key", Value: value("leaky")}), nil, "x-api-key to the server my_up"},
		{"a bearer token", with(&configv1.Auth{Type: "bearer", Value: value("leaky")}), nil, "authorization to the server my_up"},
		{"a password", with(&configv1.Auth{Type: "basic", Username: "u", Value: value("leaky")}), nil, "authorization to the server my_up"},
		{"a whole Authorization", with(&configv1.Auth{Type: "authorization", Value: value("leaky")}), nil, "authorization to the server my_up"},
		{"a client secret", with(leakyMachine), nil, "client secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.spec)
			b, err := w.resolve(w.ask(c.headers...))
			if got := face(err); got != "hop=gateway; phase=policy; kind=credential_leak" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", got, err)
			}
			if show(b) != "resolution-failed | (none)" || w.endpoint.count() > 0 {
				t.Errorf("%s, %d requests for tokens", show(b), w.endpoint.count())
			}
			clean(t, "the fault", err.Error())
		})
	}
}

// A gateway credential that the authorization server itself hands out doesn't leave either.
func TestAMintedGatewayCredentialNeverLeaves(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
	w.endpoint.set(always(status(200, `{"access_token":"`+gatewayKey+`","token_type":"bearer"}`), nil))
	if _, err := w.resolve(w.ask()); face(err) != "hop=gateway; phase=policy; kind=credential_leak" {
		t.Error(err)
	}
}

// What can't be resolved isn't replaced by anything.
func TestWhatIsMissingFailsClosed(t *testing.T) {
	bearer := &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}}
	passthrough := &configv1.ServerSpec{Auth: &configv1.Auth{Type: "passthrough"}}
	for _, c := range []struct {
		name    string
		spec    *configv1.ServerSpec
		change  func(*world, *credential.Ask)
		headers []string
		face    string
		status  int
	}{
		{"the secret was never there", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("nowhere")}}, nil, nil,
			"hop=gateway; phase=config; kind=not_found", 503},
		{"the secret of a header was never there", &configv1.ServerSpec{Headers: []*configv1.Header{{Name: "x-a", Value: value("nowhere")}}}, nil, nil,
			"hop=gateway; phase=config; kind=not_found", 503},
		{"the secret went", bearer, func(w *world, a *credential.Ask) {
			if _, err := w.resolve(a); err != nil {
				w.t.Error(err)
			}
			w.lose("one")
			a.Table = w.table
		}, nil, "hop=gateway; phase=config; kind=not_found", 503},
		{"nothing to pass", passthrough, nil, nil, "hop=gateway; phase=policy; kind=unauthenticated", 403},
		{"a blank to pass", passthrough, nil, []string{"Authorization:  "}, "hop=gateway; phase=policy; kind=unauthenticated", 403},
		{"two to pass", passthrough, nil, []string{"Authorization: a", "Authorization: b"}, "hop=client; phase=request; kind=malformed", 400},
		{"several servers", passthrough, func(_ *world, a *credential.Ask) { a.Single = false }, []string{"Authorization: Bearer x"},
			"hop=gateway; phase=policy; kind=unsupported", 400},
		{"two spellings", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, nil, []string{"x-mcp-my_up-x-key: a", "x-mcp-my-up-x-key: a"},
			"hop=client; phase=request; kind=malformed", 400},
		{"one spelling twice", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, nil, []string{"x-mcp-my_up-x-key: a", "x-mcp-my_up-x-key: a"},
			"hop=client; phase=request; kind=malformed", 400},
		{"a control character", &configv1.ServerSpec{ClientHeaders: []string{"x-key"}}, nil, []string{"x-mcp-my_up-x-key: a\r\nX-Evil: b"},
			"hop=client; phase=request; kind=malformed", 400},
		{"a long value", &configv1.ServerSpec{ForwardHeaders: []string{"x-key"}}, nil, []string{"x-key: " + strings.Repeat("a", 16<<10+1)},
			"hop=client; phase=request; kind=malformed", 400},
		{"long values together", &configv1.ServerSpec{ForwardHeaders: []string{"x-key"}}, nil,
			[]string{"x-key: " + strings.Repeat("a", 9<<10), "x-key: " + strings.Repeat("a", 9<<10)}, "hop=client; phase=request; kind=malformed", 400},
		{"a type of the future", bearer, func(_ *world, a *credential.Ask) {
			s := *a.Server
			s.Auth.Type = "mtls"
			a.Server = &s
		}, nil, "hop=gateway; phase=config; kind=malformed", 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.spec)
			a := w.ask(c.headers...)
			if c.change != nil {
				c.change(w, a)
			}
			b, err := w.resolve(a)
			if face(err) != c.face || len(b.Fields) > 0 || b.Resolution != "resolution-failed" {
				t.Fatalf("%v, %s; want %s", err, show(b), c.face)
			}
		})
	}
}

// Never again: 403 texts that dump tokens and secrets.
func TestNoSecretShowsInErrors(t *testing.T) {
	for _, answer := range []string{
		`{"error":"invalid_client","error_description":"description-canary ` + secret + `"}`,
		`{"error":"` + secret + `"}`, `{"error":{"a":"` + secret + `"}}`, secret, `<html>` + jwt + `</html>`,
		`{"access_token":"` + secret + "\\u0000" + `","token_type":"bearer"}`, `{"access_token":"` + secret + `","token_type":"` + jwt + `"}`,
		`{"access_token":"` + secret + `","token_type":"bearer","expires_in":"` + jwt + `"}`,
		`{"access_token":"` + secret + `","token_type":"bearer","issued_token_type":"` + jwt + `"}`,
	} {
		for _, code := range []int{200, 302, 400, 401, 403, 404, 429, 500, 503} {
			for _, a := range []*configv1.Auth{machine(), exchange()} {
				w := newWorld(t, &configv1.ServerSpec{Auth: a})
				w.endpoint.set(always(status(code, answer), nil))
				ask := w.ask("Authorization: Bearer " + jwt)
				ask.Subject = jwt
				_, err := w.resolve(ask)
				if err == nil {
					t.Fatalf("%d %s gave a token", code, answer)
				}
				f := face(err)
				clean(t, "the fault", err.Error()+f)
				clean(t, "the log", w.log.String())
				clean(t, "the ask", show(credential.Bound{}))
			}
		}
	}
}

// Never again: per-request and extra headers that get lost where egress has a second path. GET, DELETE and POST ask alike: what a
// resolver answers doesn't depend on the method.
func TestEveryKindOfHeaderLeavesTogether(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: machine(), Headers: []*configv1.Header{{Name: "x-static", Text: "s"}},
		ClientHeaders: []string{"x-client"}, ForwardHeaders: []string{"x-ambient"}})
	b, err := w.resolve(w.ask("x-mcp-my_up-x-client: c", "x-ambient: a"))
	want := "Authorization: Bearer " + token(1) + " | X-Client: c | X-Static: s | X-Ambient: a | m2m-client-credentials | (gateway-held)"
	if err != nil || show(b) != want {
		t.Errorf("%s %v", show(b), err)
	}
}

// A changed secret is used from the next request on.
func TestAChangedSecretCounts(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}})
	for _, v := range []string{"first-value", "second-value"} {
		w.keep("one", v)
		if b, err := w.resolve(w.ask()); err != nil || b.Fields[0].Value != "Bearer "+v {
			t.Error(show(b), err)
		}
	}
}

func TestAStaticCredentialCostsNoAllocation(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}})
	a := w.ask()
	a.Holds = func(string) bool { return false }
	if n := testing.AllocsPerRun(100, func() { _, _ = w.resolve(a) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAResolverNeedsAWayToTokenEndpoints(t *testing.T) {
	if _, err := credential.New(credential.Config{}); err == nil {
		t.Error("it was made without")
	}
}

func BenchmarkStatic(b *testing.B) {
	w := newWorld(b, &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: value("one")}})
	a := w.ask()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.resolve(a)
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	w := newWorld(b, &configv1.ServerSpec{Auth: machine()})
	a := w.ask()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.resolve(a)
	}
}
