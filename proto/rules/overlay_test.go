package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestOverlaysClearFieldsOfTheSpecThatStandInNoList(t *testing.T) {
	for path, want := range map[string]bool{
		"spec.limits": true, "spec.limits.rate": true, "spec.endpoints": true, "spec.auth.token_tls.ca_pem": true,
		"spec": false, "name": false, "labels": false, "meta.uid": false, "spec.": false, "spec.limits.": false, "": false, "spec.endpoints.url": false,
		"spec.limits.rate.x": false, "spec.tools": true, "spec.toolset": false,
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
		{Timeouts: &configv1.Timeouts{Idle: "1m"}},
	} {
		o := &configv1.Overlay{Name: "o", Spec: &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu", Patch: &configv1.OverlaySpec_Server{Server: s}}}
		if vs := rules.Overlay(o); len(vs) > 0 {
			t.Errorf("%v: %v", s, vs)
		}
	}
}

func TestWhatIsForTheWholeFleetIsNotForOverlays(t *testing.T) {
	server := &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu", Clear: []string{"spec.tool_limits", "spec.limits.rate"},
		Patch: &configv1.OverlaySpec_Server{Server: &configv1.ServerSpec{Limits: &configv1.CallLimits{Concurrency: 3}}}}
	ingress := &configv1.OverlaySpec{Kind: "ingress", Target: "a", Region: "eu", Clear: []string{"spec.listener"},
		Patch: &configv1.OverlaySpec_Ingress{Ingress: &configv1.IngressSpec{Regions: []string{"eu"}}}}
	for s, want := range map[*configv1.OverlaySpec][]string{
		server: {"spec.clear[0]: is shared out among the data planes of the whole fleet; change that in the server itself",
			"spec.clear[1]: is shared out among the data planes of the whole fleet; change that in the server itself",
			"spec.server.limits: is shared out among the data planes of the whole fleet; change that in the server itself"},
		ingress: {"spec.clear[0]: says for whom the ingress is; change that in the ingress itself",
			"spec.ingress.regions: says for whom the ingress is; change that in the ingress itself"},
	} {
		told(t, rules.Overlay(&configv1.Overlay{Name: "o", Spec: s}), want...)
	}
}

func told(t *testing.T, vs rules.Violations, want ...string) {
	t.Helper()
	var got []string
	for _, v := range vs {
		got = append(got, v.Field+": "+v.Problem+"; "+v.Fix)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestAnOverlayIsForPlacesThatDataPlanesCanHave(t *testing.T) {
	for name, good := range map[string]bool{"edge": true, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false, "Edge": false, "-": false} {
		for _, s := range []*configv1.OverlaySpec{{Region: name}, {Group: name}} {
			s.Kind, s.Target, s.Clear = "server", "a", []string{"spec.timeouts"}
			if vs := rules.Overlay(&configv1.Overlay{Name: "o", Spec: s}); (len(vs) == 0) != good || (len(rules.Region(name)) == 0) != good {
				t.Errorf("%v: %v", s, vs)
			}
		}
	}
}

// A file that takes something away must not end up as one that leaves it.
func TestAPatchThatSaysNothingIsRefused(t *testing.T) {
	empty := &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu", Patch: &configv1.OverlaySpec_Server{Server: &configv1.ServerSpec{}}}
	told(t, rules.Overlay(&configv1.Overlay{Name: "o", Spec: empty}),
		"spec.server: sets nothing, and there is no spec.clear; write what is to be different; false, 0 and empty are set by naming the field in spec.clear")
	const same = ": is empty, which in a patch is the same as not there; name the field in spec.clear of the overlay, or remove it"
	for file, want := range map[string][]string{
		"{kind: ingress, target: i, region: eu, ingress: {use_forwarded_headers: false, trusted_proxies: [], cors_origins: [https://a.example.com]}}": {
			"spec.ingress.use_forwarded_headers" + same, "spec.ingress.trusted_proxies" + same},
		"{kind: server, target: a, region: eu, server: {timeouts: {total: ''}, reachable_from: internal}}":                                    {"spec.server.timeouts.total" + same},
		"{kind: settings, target: default, region: eu, settings: {limits: {depth: 0, body: 1MiB}}}":                                           {"spec.settings.limits.depth" + same},
		"{kind: server, target: a, region: eu, group: '', clear: [], server: {endpoints: [{url: 'https://a.example.com/mcp', regions: []}]}}": nil,
		"{kind: server, target: a, region: eu, server: {timeouts: {total: null, idle: 1m}}}":                                                  nil,
	} {
		_, err := rules.Documents([]byte("kind: Overlay\nname: o\nspec: " + file))
		var vs rules.Violations
		if err != nil && !errors.As(err, &vs) {
			t.Fatal(err)
		}
		told(t, vs, want...)
	}
}
