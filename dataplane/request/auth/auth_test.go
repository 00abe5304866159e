package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	alice   = "sk-alice-0123456789abcdef"
	bob     = "sk-bob-0123456789abcdef99"
	expired = "sk-old-0123456789abcdef99"
	unknown = "sk-nobody-0123456789abcde"
)

var now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func principal(name, key string, expires time.Time) *table.Principal {
	return &table.Principal{ID: "key:" + name, Name: name, Hash: sha256.Sum256([]byte(key)), Expires: expires}
}

var keys = table.New(table.Config{Static: []*table.Principal{
	principal("alice", alice, now.Add(time.Nanosecond)), principal("bob", bob, time.Time{}), principal("old", expired, now)}})

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

const (
	own  = "x-hopgate-api-key"
	lite = "x-litellm-api-key"
	std  = "Authorization"
)

func TestWhoIsAdmitted(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.Header
		want string // name, or the kind of the refusal
	}{
		{"own header", headers(own, "Bearer "+alice), "alice"},
		{"second header", headers(lite, "Bearer "+alice), "alice"},
		{"standard header", headers(std, "Bearer "+alice), "alice"},
		{"bare key", headers(lite, alice), "alice"},
		{"scheme in other case and blanks", headers(std, "  bEARER   "+alice+" "), "alice"},
		{"the same key three times", headers(own, alice, lite, "Bearer "+alice, std, "Bearer "+alice), "alice"},
		{"a token for somebody else beside a key", headers(lite, alice, std, "Bearer upstream-token"), "alice"},
		{"another scheme beside a key", headers(lite, alice, std, "Basic dTpw"), "alice"},
		{"an empty header beside a key", headers(own, "", lite, alice), "alice"},

		{"nothing", headers(), "unauthenticated"},
		{"empty", headers(lite, "", std, ""), "unauthenticated"},
		{"unknown key", headers(lite, "Bearer "+unknown), "unauthenticated"},
		{"unknown key in the standard header", headers(std, "Bearer "+unknown), "unauthenticated"},
		{"another scheme", headers(std, "Basic "+alice), "unauthenticated"},
		{"another scheme in a key header", headers(lite, "Token "+alice), "unauthenticated"},
		{"a scheme alone", headers(lite, "Bearer "), "unauthenticated"},
		{"key in another case", headers(lite, strings.ToUpper(alice)), "unauthenticated"},
		{"unknown key before a known one", headers(own, unknown, lite, alice), "unauthenticated"},
		{"unknown key after a known one", headers(own, alice, lite, unknown), "unauthenticated"},
		{"two principals", headers(own, alice, lite, bob), "mismatch"},
		{"two principals, one in the standard header", headers(lite, alice, std, "Bearer "+bob), "mismatch"},
		{"a header twice", http.Header{"X-Litellm-Api-Key": {alice, alice}}, "malformed"},
		{"the standard header twice beside a key", http.Header{"X-Litellm-Api-Key": {alice}, "Authorization": {"a", "b"}}, "malformed"},
		{"expired this instant", headers(lite, expired), "expired"},
		{"expired beside a valid one", headers(own, expired, lite, alice), "mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gate := auth.Gate{Now: func() time.Time { return now }}
			a, err := gate.Admit(t.Context(), keys, c.h, nil)
			if err == nil {
				if p := a.Principal; p.Name != c.want || a.Token != "" || !a.Expires.Equal(p.Expires) {
					t.Errorf("admitted %+v, want %s", a, c.want)
				}
				return
			}
			f := fault.As(err)
			if a != (auth.Admission{}) || f == nil || f.Kind.String() != c.want || f.Hop != fault.Client || f.Phase != fault.Auth || f.HTTPStatus() != 401 {
				t.Errorf("got %v, %v", a, err)
			}
			if strings.Contains(f.Message+f.Hint, "0123456789") {
				t.Errorf("the refusal shows the key: %v", f)
			}
		})
	}
}

func TestWithoutKeysOnlyNothingIsAnonymous(t *testing.T) {
	gate := auth.Gate{Anonymous: &table.Principal{ID: "anonymous", Name: "anonymous"}}
	if a, err := gate.Admit(t.Context(), keys, headers(), nil); err != nil || a.Principal.Name != "anonymous" {
		t.Errorf("got %v, %v", a, err)
	}
	if a, err := gate.Admit(t.Context(), keys, headers(lite, bob), nil); err != nil || a.Principal.Name != "bob" {
		t.Errorf("got %v, %v", a, err)
	}
	for _, h := range []http.Header{headers(lite, unknown), headers(std, "Bearer "+unknown), headers(std, "Basic dTpw")} {
		if a, err := gate.Admit(t.Context(), keys, h, nil); err == nil {
			t.Errorf("%v became %s", h, a.Principal.Name)
		}
	}
}

func TestCredentialsAreFoundInOutboundValues(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for v, want := range map[string]bool{
		alice: true, " " + bob + " ": true, "Bearer " + alice: true, "Token  " + expired: true, basic("me:" + alice): true, basic(alice + ":x"): true, basic(alice): true,
		"Bearer\t" + alice: true, "Token token=\"" + alice + "\"": true, "vendor=" + alice + ",other=1": true, "a, Bearer " + bob: true, alice + " x": true,
		strings.TrimRight(basic("m:"+alice), "="): true, "basic\t" + basic("me:" + alice)[6:]: true, "Basic " + base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe:"+alice)): true,
		"": false, "eu-west-1": false, "a=b;c=d": false, unknown: false, "Bearer " + unknown: false, basic("me:" + unknown): false, "Basic !!": false, "x" + alice: false,
	} {
		if got := new(auth.Gate).Holds(keys, v); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
}

func TestShownCredentialsAreMasked(t *testing.T) {
	for want, h := range map[string]http.Header{
		"(none)":                           headers(),
		"x-litellm-api-key=Bearer****cdef": headers(lite, "Bearer "+alice),
		"authorization=****":               headers(std, "short"),
		"x-hopgate-api-key=****ef99; authorization=Bearer****cdef": headers(std, "Bearer "+alice, own, bob),
	} {
		if got := auth.Shown(h, nil); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := auth.Shown(headers(own, bob), []string{"agent.example", "spiffe://x/\u00e9"}); got != "x-hopgate-api-key=****ef99; client-certificate=agent.example,spiffe://x/?" {
		t.Errorf("got %q", got)
	}
}
