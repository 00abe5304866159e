package auth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	ownUser  = "x-hopgate-end-user-id"
	liteUser = "x-litellm-end-user-id"
)

func TestEndUsersAreCallersOfTheirOwn(t *testing.T) {
	tb := tableOf(t, apiKey(t, "alice", alice, func(s *configv1.ApiKeySpec) {
		s.MayAssertEndUser, s.Limits = true, &configv1.CallLimits{Concurrency: 3}
	}), apiKey(t, "bob", bob))
	gate := new(auth.Gate)
	plain, err := gate.Admit(t.Context(), tb, headers(lite, alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, c := range []struct {
		h    http.Header
		user string // "!": refused
	}{
		{headers(ownUser, "u1"), "u1"},
		{headers(liteUser, " u1 "), "u1"},
		{headers(liteUser, "u1", ownUser, "u1"), "u1"},
		{headers(liteUser, "u2"), "u2"},
		{headers(liteUser, "Jörg <j@example.com>"), "Jörg <j@example.com>"},
		{headers(ownUser, "", liteUser, " "), ""},
		{headers(ownUser, strings.Repeat("u", 256)), strings.Repeat("u", 256)},
		{headers(ownUser, strings.Repeat("u", 257)), "!"},
		{headers(ownUser, "u1", liteUser, "u2"), "!"},
		{http.Header{"X-Hopgate-End-User-Id": {"u1", "u1"}}, "!"},
		{headers(ownUser, "a\tb"), "!"},
		{headers(ownUser, "a\xff"), "!"},
		{headers(ownUser, "a\u202eb"), "!"},
	} {
		c.h.Set(lite, alice)
		a, err := gate.Admit(t.Context(), tb, c.h, nil)
		if c.user == "!" {
			if f := fault.As(err); a != (auth.Admission{}) || f == nil || f.Kind != fault.Malformed || f.HTTPStatus() != http.StatusBadRequest || strings.Contains(f.Error(), "u1") {
				t.Errorf("%v: %+v, %v", c.h, a, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.h, err)
			continue
		}
		p := a.Principal
		if p.EndUser != c.user || p.Name != "alice" || p.Limit != plain.Principal.Limit || (p == plain.Principal) != (c.user == "") {
			t.Errorf("%v: %+v", c.h, p)
		}
		if id, ok := seen[c.user]; ok && id != p.ID {
			t.Errorf("%q has two identities", c.user)
		}
		seen[c.user] = p.ID
		if c.user != "" && (!strings.HasPrefix(p.ID, plain.Principal.ID+"/") || len(p.ID) != len(plain.Principal.ID)+17) {
			t.Errorf("ID %s", p.ID)
		}
	}
	if seen["u1"] == seen["u2"] || plain.Principal.EndUser != "" {
		t.Error("end users share an identity")
	}
	a, err := gate.Admit(t.Context(), tb, headers(lite, bob, ownUser, "u1", liteUser, "u2"), nil)
	if err != nil || a.Principal.EndUser != "" || a.Principal.Name != "bob" {
		t.Errorf("a key that may not assert: %+v, %v", a, err)
	}
}
