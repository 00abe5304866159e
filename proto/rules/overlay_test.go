package rules_test

import (
	"fmt"
	"testing"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestOverlaysClearFieldsOfTheSpecThatStandInNoList(t *testing.T) {
	for path, want := range map[string]bool{
		"spec.limits": true, "spec.limits.rate": true, "spec.endpoints": true, "spec.auth.token_tls.ca_pem": true,
		"spec": false, "name": false, "labels": false, "meta.uid": false, "spec.": false, "spec.limits.": false, "": false, "spec.endpoints.url": false,
		"spec.limits.rate.x": false, "spec.tools": false,
	} {
		if got := rules.Clearable("server", path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
	if rules.Clearable("apikey", "spec.limits") || rules.Clearable("nonsense", "spec.limits") {
		t.Error("a kind without overlays has fields that they clear")
	}
}

func TestAnOverlayClearsAtMost64Fields(t *testing.T) {
	o := &configv1.Overlay{Name: "o", Spec: &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu"}}
	for i := range 65 {
		o.Spec.Clear = append(o.Spec.Clear, fmt.Sprintf("spec.x%d", i))
	}
	vs := rules.Overlay(o)
	if len(vs) == 0 || vs[0].Field != "spec.clear" || vs[0].Problem != "there are 65 paths" {
		t.Errorf("%v", vs)
	}
}

// What depends on the rest of the server isn't refused here: the patch may complete it.
func TestAPatchIsJudgedByWhatItAloneSays(t *testing.T) {
	for _, s := range []*configv1.ServerSpec{
		{Auth: &configv1.Auth{Header: "x-key"}},
		{Auth: &configv1.Auth{Type: "oauth2"}},
		{Tls: &configv1.UpstreamTLS{ServerName: "a.example.com"}},
		{Limits: &configv1.CallLimits{Concurrency: 3}},
	} {
		o := &configv1.Overlay{Name: "o", Spec: &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu", Patch: &configv1.OverlaySpec_Server{Server: s}}}
		if vs := rules.Overlay(o); len(vs) > 0 {
			t.Errorf("%v: %v", s, vs)
		}
	}
}
