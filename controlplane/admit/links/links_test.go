package links_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestLinksAreNamedWithTheirFields(t *testing.T) {
	one, two := strings.Repeat("01", 32), strings.Repeat("02", 32)
	for name, c := range map[string]struct {
		m    proto.Message
		want []string
	}{
		"server": {&configv1.Server{Spec: &configv1.ServerSpec{
			Auth:         &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: "token"}},
			AccessGroups: []string{"dev"},
			Headers:      []*configv1.Header{{Name: "a", Text: "b"}, {Name: "c", Value: &configv1.Value{Secret: "other"}}},
		}}, []string{"spec.auth.value.secret secret/token", "spec.access_groups[0] group/dev", "spec.headers[1].value.secret secret/other"}},
		"api key": {&configv1.ApiKey{Spec: &configv1.ApiKeySpec{Sha256: one, PreviousSha256: two, CertificateName: "ci.example.com", Team: "core",
			Toolsets: []string{"a", "b"}, Servers: []string{"s"}, Groups: []string{"g"}}},
			[]string{"spec.toolsets[0] toolset/a", "spec.toolsets[1] toolset/b", "spec.team team/core",
				"spec.sha256 1:\x01", "spec.previous_sha256 1:\x02", "spec.certificate_name 2:c"}},
		"a key pasted where its hash belongs": {&configv1.ApiKey{Spec: &configv1.ApiKeySpec{Sha256: "sk-1234"}}, nil},
		"team":                                {&configv1.Team{Spec: &configv1.TeamSpec{Toolsets: []string{"a"}, Servers: []string{"s"}}}, []string{"spec.toolsets[0] toolset/a"}},
		"identity provider": {&configv1.IdentityProvider{Spec: &configv1.IdentityProviderSpec{Issuer: "https://i.example.com", Grants: []*configv1.ClaimGrant{
			{Team: "core"}, {Toolsets: []string{"x", "y"}}}}},
			[]string{"spec.grants[0].team team/core", "spec.grants[1].toolsets[0] toolset/x", "spec.grants[1].toolsets[1] toolset/y", "spec.issuer 3:h"}},
		"ingress of two regions":  {&configv1.Ingress{Spec: &configv1.IngressSpec{Regions: []string{"eu", "us"}}}, []string{"spec.regions[0] 4:e", "spec.regions[1] 4:u"}},
		"ingress of all others":   {&configv1.Ingress{}, []string{"spec.regions 4:\x00"}},
		"toolset names are soft":  {&configv1.Toolset{Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "s", Tool: "t"}}}}, nil},
		"a secret binds nothing":  {&configv1.Secret{Spec: &configv1.SecretSpec{Value: "v"}}, nil},
		"an empty name is no ref": {&configv1.Server{Spec: &configv1.ServerSpec{Auth: &configv1.Auth{Value: &configv1.Value{}}}}, nil},
	} {
		var got []string
		l := links.Of(c.m)
		for _, r := range l.Refs {
			got = append(got, r.Field()+" "+r.To.String())
		}
		for _, h := range l.Claims {
			got = append(got, h.Field()+" "+fmt.Sprint(h.Claim.Space)+":"+h.Claim.Value[:1])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", name, got, c.want)
		}
	}
}

func TestAListenerDefaultsToMain(t *testing.T) {
	spelled := links.Of(&configv1.Ingress{Spec: &configv1.IngressSpec{Regions: []string{"eu"}, Listener: "main"}})
	left := links.Of(&configv1.Ingress{Spec: &configv1.IngressSpec{Regions: []string{"eu"}}})
	if spelled.Claims[0].Claim != left.Claims[0].Claim || left.Claims[0].Claim.Region() != "eu" {
		t.Errorf("%v and %v", spelled.Claims, left.Claims)
	}
}
