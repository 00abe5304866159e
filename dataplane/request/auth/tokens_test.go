package auth_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestTokensAdmitInEachHeader(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, map[string]any{"email": "ann@example.com", "scope": "openid admin"})
	for _, h := range []http.Header{headers(std, "Bearer "+token), headers(own, token), headers(lite, "bearer "+token), headers(own, token, std, "Bearer "+token)} {
		a, err := w.gate.Admit(t.Context(), w.table, h, nil)
		if err != nil {
			t.Fatalf("%v", err)
		}
		p := a.Principal
		if a.Token != token || a.Expires.Before(time.Now().Add(4*time.Minute)) || !strings.HasPrefix(p.ID, "jwt:") || p.User != "ann@example.com" || !strings.HasSuffix(p.Name, "/ann@example.com") || len(p.Grants) != 2 || !p.Debug {
			t.Errorf("%+v %+v", a, p)
		}
	}
}

func TestTokensBesideOtherCredentials(t *testing.T) {
	w := newWorld(t)
	token, foreign := w.token(t, nil), w.key.Token(t, w.other.Claims(time.Now(), nil))
	elsewhere := w.token(t, map[string]any{"aud": "https://upstream.test"})
	forged := w.forged.Token(t, w.claims(nil))
	old := w.token(t, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	for _, c := range []struct {
		name string
		h    http.Header
		want string // who, or the kind of the refusal
	}{
		{"another issuer's beside a key", headers(lite, alice, std, "Bearer "+foreign), "alice"},
		{"another issuer's before a key", headers(own, foreign, lite, alice), "unauthenticated"},
		{"another issuer's alone", headers(std, "Bearer "+foreign), "unauthenticated"},
		{"another audience's beside a key", headers(lite, alice, std, "Bearer "+elsewhere), "alice"},
		{"another audience's alone", headers(std, "Bearer "+elsewhere), "unauthenticated"},
		{"a good one beside a key", headers(lite, alice, std, "Bearer "+token), "mismatch"},
		{"a good one before a key", headers(own, token, lite, alice), "mismatch"},
		{"two callers", headers(own, token, std, "Bearer "+w.token(t, map[string]any{"sub": "u-2"})), "mismatch"},
		{"two tokens of one caller", headers(own, token, std, "Bearer "+w.token(t, map[string]any{"jti": "2"})), "corp/u-1"},
		{"a forged one beside a key", headers(lite, alice, std, "Bearer "+forged), "unauthenticated"},
		{"a forged one beside a good one", headers(lite, token, std, "Bearer "+forged), "unauthenticated"},
		{"an expired one beside a key", headers(lite, alice, std, "Bearer "+old), "expired"},
		{"a good one in Basic", headers(std, "Basic "+token), "unauthenticated"},
		{"garbage with dots beside a key", headers(lite, alice, std, "Bearer eyJ.x.y"), "alice"},
		{"garbage with dots", headers(std, "Bearer eyJ.x.y"), "unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := w.gate.Admit(t.Context(), w.table, c.h, nil)
			if err == nil {
				if a.Principal.Name != c.want {
					t.Errorf("admitted %s", a.Principal.Name)
				}
				return
			}
			if f := fault.As(err); a != (auth.Admission{}) || f == nil || f.Kind.String() != c.want || f.HTTPStatus() != http.StatusUnauthorized {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

// No bearer that isn't verified becomes a caller, on listeners with and without anonymous callers (CVE-2026-59822, CVE-2026-12773).
func TestCVE_2026_59822_AFakeBearerIsNobody(t *testing.T) {
	w := newWorld(t)
	w.gate.Anonymous = &table.Principal{ID: "anonymous", Name: "anonymous"}
	for _, credential := range []string{
		"x", "undefined", "null", "{}", "[]", "eyJ", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "a.b.c", "....", "Bearer x", w.forged.Token(t, w.claims(nil)),
		w.token(t, nil) + "x", strings.TrimRight(w.token(t, nil), "AQgw"), "sk-", strings.Repeat("e.", 9000), "\x00", w.token(t, nil)[1:],
	} {
		for _, h := range []http.Header{headers(own, credential), headers(lite, credential), headers(std, "Bearer "+credential), headers(std, credential)} {
			a, err := w.gate.Admit(t.Context(), w.table, h, nil)
			if f := fault.As(err); a != (auth.Admission{}) || f == nil || f.HTTPStatus() != http.StatusUnauthorized {
				t.Errorf("%.40q: %+v, %v", credential, a, err)
			}
		}
	}
}

func TestCVE_2026_12773_AnIssuerThatRefusesAdmitsNobody(t *testing.T) {
	for _, status := range []int{401, 403, 500} {
		w := newWorld(t)
		w.corp.Fail(status)
		a, err := w.gate.Admit(t.Context(), w.table, headers(std, "Bearer "+w.token(t, nil)), nil)
		if f := fault.As(err); a != (auth.Admission{}) || f == nil || f.Hop != fault.AuthServer || f.HTTPStatus() != http.StatusServiceUnavailable {
			t.Errorf("%d: %+v, %v", status, a, err)
		}
		if a, err := w.gate.Admit(t.Context(), w.table, headers(std, "Bearer "+alice), nil); err != nil || a.Principal.Name != "alice" {
			t.Errorf("a key was refused while the issuer is away: %v", err)
		}
	}
}

func TestWithoutTokensAJWTIsAnUnknownKey(t *testing.T) {
	w := newWorld(t)
	_, err := new(auth.Gate).Admit(t.Context(), w.table, headers(std, "Bearer "+w.token(t, nil)), nil)
	if f := fault.As(err); f == nil || f.Kind != fault.Unauthenticated {
		t.Errorf("%v", err)
	}
}

func TestAnonymousCallersAndIdentitiesExcludeEachOther(t *testing.T) {
	gate := auth.Gate{Anonymous: &table.Principal{ID: "anonymous", Name: "anonymous"}}
	endpoint := []*configv1.Endpoint{{Url: "https://mcp.example.com/mcp"}}
	server := func(auth *configv1.Auth) confset.Object {
		return object(t, "server", "github", &configv1.Server{Name: "github", Spec: &configv1.ServerSpec{Endpoints: endpoint, Auth: auth}})
	}
	for what, o := range map[string]confset.Object{
		"":                     server(nil),
		"an ingress":           object(t, "ingress", "eu", &configv1.Ingress{Name: "eu", Spec: &configv1.IngressSpec{PublicOrigins: []string{"https://gw.test"}}}),
		"an identity provider": newWorld(t).provider(t),
		"a passthrough server": server(&configv1.Auth{Type: "passthrough"}),
	} {
		a, err := gate.Admit(t.Context(), tableOf(t, o), headers(), nil)
		if f := fault.As(err); what == "" && err != nil || what != "" && (f == nil || f.HTTPStatus() != 401 || !strings.Contains(f.Message, what)) {
			t.Errorf("%q: %+v, %v", what, a, err)
		}
	}
}

func TestTokensAreFoundInOutboundValues(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, nil)
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		value string
		want  bool
	}{
		"raw": {token, true}, "after a scheme": {"Bearer " + token, true}, "in Basic": {basic("x:" + token), true}, "as user": {basic(token), true},
		"expired":       {w.token(t, map[string]any{"exp": 1}), true},
		"forged":        {w.forged.Token(t, w.claims(nil)), true},
		"other issuer":  {w.key.Token(t, w.other.Claims(time.Now(), nil)), false},
		"for upstreams": {w.token(t, map[string]any{"aud": "https://upstream.test"}), false},
		"two audiences": {w.token(t, map[string]any{"aud": []string{"https://upstream.test", jwttest.Audience}}), true},
		"a key":         {"Bearer " + alice, true}, "no JWT": {"eyJ.a.b", false}, "text": {"eu-west-1", false},
	} {
		if got := w.gate.Holds(w.table, c.value); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, keys := w.corp.Asked(); keys != 0 {
		t.Error("looking for tokens fetched keys")
	}
}
