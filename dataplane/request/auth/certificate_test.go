package auth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestClientCertificatesAdmit(t *testing.T) {
	named := func(name string) func(*configv1.ApiKeySpec) {
		return func(s *configv1.ApiKeySpec) { s.CertificateName = name }
	}
	tb := tableOf(t, apiKey(t, "alice", alice, named("alice.test")), apiKey(t, "bob", bob),
		apiKey(t, "old", expired, named("spiffe://test/old"), func(s *configv1.ApiKeySpec) { s.Expires = now.Format(time.RFC3339) }))
	gate := &auth.Gate{Now: func() time.Time { return now }}
	for _, c := range []struct {
		name  string
		names []string
		h     http.Header
		want  string
	}{
		{"alone", []string{"alice.test"}, headers(), "alice"},
		{"one name of several", []string{"x.test", "alice.test"}, headers(), "alice"},
		{"with its own key", []string{"alice.test"}, headers(lite, alice), "alice"},
		{"with somebody else's key", []string{"alice.test"}, headers(lite, bob), "mismatch"},
		{"with an unknown key", []string{"alice.test"}, headers(lite, unknown), "unauthenticated"},
		{"with a token for somebody else", []string{"alice.test"}, headers(std, "Bearer upstream"), "alice"},
		{"with somebody else's key in Authorization", []string{"alice.test"}, headers(std, "Bearer "+bob), "mismatch"},
		{"of nobody", []string{"nobody.test"}, headers(), "unauthenticated"},
		{"of nobody, with a key", []string{"nobody.test"}, headers(lite, bob), "bob"},
		{"of two", []string{"alice.test", "spiffe://test/old"}, headers(), "mismatch"},
		{"expired", []string{"spiffe://test/old"}, headers(), "expired"},
		{"no name", nil, headers(), "unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := gate.Admit(t.Context(), tb, c.h, c.names)
			if err == nil {
				if a.Principal.Name != c.want {
					t.Errorf("admitted %s", a.Principal.Name)
				}
				return
			}
			if f := fault.As(err); a != (auth.Admission{}) || f == nil || f.Kind.String() != c.want {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestAReplacedKeyIsTheSameCallerUntilItsEnd(t *testing.T) {
	tb := tableOf(t, apiKey(t, "alice", alice, func(s *configv1.ApiKeySpec) {
		s.PreviousSha256, s.PreviousExpires = hashOf(bob), now.Format(time.RFC3339)
	}))
	at := now.Add(-1)
	gate := &auth.Gate{Now: func() time.Time { return at }}
	next, err := gate.Admit(t.Context(), tb, headers(lite, alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	previous, err := gate.Admit(t.Context(), tb, headers(lite, bob), nil)
	if err != nil || previous.Principal.ID != next.Principal.ID || !previous.Expires.Equal(now) {
		t.Errorf("%+v, %v", previous, err)
	}
	if both, err := gate.Admit(t.Context(), tb, headers(own, alice, lite, bob), nil); err != nil || !both.Expires.Equal(now) {
		t.Errorf("%+v, %v", both, err)
	}
	if !gate.Holds(tb, "Bearer "+bob) {
		t.Error("the replaced key may leave")
	}
	at = now
	_, err = gate.Admit(t.Context(), tb, headers(lite, bob), nil)
	if f := fault.As(err); f == nil || f.Kind != fault.Expired {
		t.Errorf("%v", err)
	}
	if _, err := gate.Admit(t.Context(), tb, headers(lite, alice), nil); err != nil {
		t.Error(err)
	}
}
