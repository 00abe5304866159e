package admit_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func over(t *testing.T, name, path, region, group string, patch *configv1.ServerSpec, clear ...string) admit.Put {
	s := &configv1.OverlaySpec{Kind: "server", Target: "a", Region: region, Group: group, Clear: clear}
	if patch != nil {
		s.Patch = &configv1.OverlaySpec_Server{Server: patch}
	}
	return put(t, "overlay", name, path, &configv1.Overlay{Name: name, Spec: s})
}

func total(s string) *configv1.ServerSpec {
	return &configv1.ServerSpec{Timeouts: &configv1.Timeouts{Total: s}}
}

// having is a set of what these puts stored.
func having(puts ...admit.Put) stored {
	s := stored{refs: map[confset.Key][]confset.Key{}, heads: map[confset.Key]store.Head{}}
	for _, p := range puts {
		s.keys = append(s.keys, p.Object.Key)
		s.heads[p.Object.Key] = store.Head{Object: p.Object}
		for _, r := range links.Of(p.Message).Refs {
			s.refs[r.To] = append(s.refs[r.To], p.Object.Key)
		}
	}
	return s
}

func TestAnOverlayNeedsItsTargetAndHoldsIt(t *testing.T) {
	o := over(t, "o", "", "eu", "", total("1s"))
	want(t, gate(t, admit.Config{}).Check(admit.Change{Puts: []admit.Put{o}}), `overlay/o spec.target: names the server "a", which doesn't exist`)
	want(t, gate(t, admit.Config{}).Check(admit.Change{Puts: []admit.Put{o, server(t, "a", "", good)}}))
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good), o)})
	want(t, g.Check(admit.Change{Deletes: []admit.Delete{gone("server", "a", "")}}), `server/a : is in use by overlay "o"; remove these references before, or in the same change`)
	want(t, g.Check(admit.Change{Deletes: []admit.Delete{gone("server", "a", ""), gone("overlay", "o", "")}}))
}

func TestAnOverlayHoldsTheSecretsOfItsPatch(t *testing.T) {
	auth := &configv1.ServerSpec{Auth: &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: "token"}}}
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good))})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "o", "", "eu", "", auth)}}), `overlay/o spec.server.auth.value.secret: names the secret "token", which doesn't exist`)
	g = gate(t, admit.Config{Set: having(server(t, "a", "", good), over(t, "o", "", "eu", "", auth))})
	want(t, g.Check(admit.Change{Deletes: []admit.Delete{gone("secret", "token", "")}}), `secret/token : is in use by overlay "o"`)
}

func TestWhatAnOverlayMakesOfItsTargetMustBeInOrder(t *testing.T) {
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good))})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "o", "objects[0].overlay", "eu", "", nil, "spec.endpoints")}}),
		`overlay/o objects[0].overlay.spec.clear[0]: is empty for data planes of region eu; add one`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "o", "", "eu", "", &configv1.ServerSpec{Auth: &configv1.Auth{Type: "basic"}})}}),
		`overlay/o : spec.auth.value of the server "a" is missing for data planes of region eu; name a Secret`,
		`overlay/o : spec.auth.username of the server "a" is missing for data planes of region eu; write the user's name`)
}

func TestAChangedTargetIsCheckedWithItsStoredOverlays(t *testing.T) {
	tls := &configv1.ServerSpec{Tls: &configv1.UpstreamTLS{ServerName: "a.example.com"}}
	g := gate(t, admit.Config{Set: having(server(t, "a", "", "https://a.example.com/mcp"), over(t, "o", "", "eu", "", tls))})
	want(t, g.Check(admit.Change{Puts: []admit.Put{server(t, "a", "", "https://b.example.com/mcp")}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{server(t, "a", "", good)}}),
		`server/a spec.tls: is set, but spec.endpoints[0].url is http, which has no certificate to verify for data planes of region eu`)
}

func TestRemovingAnOverlayMustLeaveTheOthersInOrder(t *testing.T) {
	tls := &configv1.ServerSpec{Tls: &configv1.UpstreamTLS{ServerName: "a.example.com"}}
	https := over(t, "region", "", "eu", "", &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "https://a.example.com/mcp"}}})
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good), https, over(t, "both", "", "eu", "edge", tls))})
	d := admit.Delete{Current: store.Head{Object: https.Object}, Path: "deletions[0]"}
	want(t, g.Check(admit.Change{Deletes: []admit.Delete{d}}),
		`overlay/region deletions[0]: without it, spec.tls of the server "a" is set, but spec.endpoints[0].url is http, which has no certificate to verify for data planes of group edge in region eu`)
}

func TestTheDataPlaneIsAskedForEveryPlace(t *testing.T) {
	var asked []string
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good), over(t, "group", "", "", "edge", total("2s"))), Compile: func(o confset.Object) []admit.Problem {
		if o.Key.Kind != "server" {
			return nil
		}
		s := &configv1.Server{}
		if err := proto.Unmarshal(o.Body, s); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, s.GetSpec().GetTimeouts().GetTotal()+s.GetSpec().GetProtocol())
		if s.GetSpec().GetProtocol() == "modern" && s.GetSpec().GetTimeouts().GetTotal() == "2s" {
			return []admit.Problem{{Field: "spec.protocol", Text: "won't do"}}
		}
		return nil
	}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "region", "", "eu", "", &configv1.ServerSpec{Protocol: "modern"})}}),
		`overlay/region spec.server.protocol: won't do for data planes of group edge in region eu`)
	if got := fmt.Sprint(asked); got != "[2s modern 2smodern]" {
		t.Errorf("asked for %s", got)
	}
}

func TestTwoOverlaysForOnePlaceDontChangeTheSameField(t *testing.T) {
	g := gate(t, admit.Config{Set: having(server(t, "a", "", good), over(t, "first", "", "eu", "", total("1s")))})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "second", "", "eu", "", total("2s"))}}),
		`overlay/second spec.server.timeouts.total: is changed by the overlay "first" for region eu, too; change it in one of them`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "third", "", "us", "", total("2s")), over(t, "fourth", "", "us", "", nil, "spec.timeouts")}}),
		`overlay/fourth spec.clear[0]: is changed by the overlay "third" for region us, too`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "first", "", "eu", "", total("2s")), over(t, "second", "", "eu", "edge", total("2s"))}}))
}

func TestAnObjectHasAtMost64Overlays(t *testing.T) {
	puts := []admit.Put{server(t, "a", "", good)}
	for i := range 64 {
		puts = append(puts, over(t, fmt.Sprintf("o%02d", i), "", fmt.Sprintf("r%02d", i), "", total("1s")))
	}
	g := gate(t, admit.Config{Set: having(puts...)})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "o63", "", "r63", "", total("2s"))}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "o64", "", "r64", "", total("2s"))}}), `overlay/o64 : the server "a": would have 65 overlays`)
}

// A credential is made for one way of sending it: as a header of another name it would end up in other people's logs.
func TestAnOverlayThatChangesTheTypeSaysWhichCredential(t *testing.T) {
	token := &configv1.Value{Secret: "token"}
	base := put(t, "server", "a", "", &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{
		Endpoints: []*configv1.Endpoint{{Url: good}}, Auth: &configv1.Auth{Type: "bearer", Value: token}}})
	secret := put(t, "secret", "token", "", &configv1.Secret{Name: "token", Spec: &configv1.SecretSpec{Value: "x"}})
	auth := func(a *configv1.Auth) *configv1.ServerSpec { return &configv1.ServerSpec{Auth: a} }
	const wrong = `spec.server.auth.type: would send the credential of another type for data planes of `
	g := gate(t, admit.Config{Set: having(base, secret)})
	for name, c := range map[string]struct {
		o    admit.Put
		want []string
	}{
		"type alone":       {over(t, "o", "", "eu", "", auth(&configv1.Auth{Type: "api_key"})), []string{"overlay/o " + wrong + "region eu; set auth.value beside"}},
		"with value":       {over(t, "o", "", "eu", "", auth(&configv1.Auth{Type: "api_key", Value: token})), nil},
		"the same type":    {over(t, "o", "", "eu", "", auth(&configv1.Auth{Type: "bearer"})), nil},
		"the value alone":  {over(t, "o", "", "eu", "", auth(&configv1.Auth{Value: token})), nil},
		"none, cleared":    {over(t, "o", "", "eu", "", auth(&configv1.Auth{Type: "none"}), "spec.auth"), nil},
		"cleared for good": {over(t, "o", "", "eu", "", nil, "spec.auth"), nil},
	} {
		t.Run(name, func(t *testing.T) { want(t, g.Check(admit.Change{Puts: []admit.Put{c.o}}), c.want...) })
	}
	g = gate(t, admit.Config{Set: having(base, secret, over(t, "region", "", "eu", "", auth(&configv1.Auth{Type: "api_key", Value: token})))})
	want(t, g.Check(admit.Change{Puts: []admit.Put{over(t, "edge", "", "eu", "edge", auth(&configv1.Auth{Type: "bearer"}))}}),
		`overlay/edge `+wrong+`group edge in region eu`)
	g = gate(t, admit.Config{Set: having(base, secret, over(t, "o", "", "eu", "", auth(&configv1.Auth{Type: "bearer"})))})
	other := put(t, "server", "a", "", &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{
		Endpoints: []*configv1.Endpoint{{Url: good}}, Auth: &configv1.Auth{Type: "authorization", Value: token}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{other}}), `server/a spec.auth.type: would send the credential of another type for data planes of region eu`)
}

// What an overlay says alone can be in order, and what it makes of its server not.
func TestToolsAndResilienceAreHeldAgainstTheWhole(t *testing.T) {
	base := put(t, "server", "a", "", &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: good}}, Protocol: "modern",
		Tools: &configv1.ServerTools{Deny: []string{"y"}}}})
	g := gate(t, admit.Config{Set: having(base)})
	tools := &configv1.ServerTools{Overrides: []*configv1.ToolOverride{{Tool: "x", Name: "y"}, {Tool: "y", Description: "d"}}}
	for name, c := range map[string]struct {
		o    admit.Put
		want []string
	}{
		"a name that is free there": {over(t, "o", "", "eu", "", &configv1.ServerSpec{Tools: tools}), nil},
		"and is not any more":       {over(t, "o", "", "eu", "", &configv1.ServerSpec{Tools: tools}, "spec.tools.deny"), []string{`overlay/o spec.server.tools.overrides[0].name: "y" is the tool of`}},
		"a queue for nothing":       {over(t, "o", "", "eu", "", &configv1.ServerSpec{Resilience: &configv1.Resilience{Queue: 1}}), []string{"overlay/o spec.server.resilience.queue: is set, but"}},
		"an older transport":        {over(t, "o", "", "eu", "", &configv1.ServerSpec{Transport: "sse"}), []string{`overlay/o : spec.protocol of the server "a" is modern, and transport sse`}},
	} {
		t.Run(name, func(t *testing.T) { want(t, g.Check(admit.Change{Puts: []admit.Put{c.o}}), c.want...) })
	}
}
