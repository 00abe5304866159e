package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func key(kind, name string) confset.Key { return confset.Key{Kind: kind, Name: name} }

// with is a good server, changed.
func with(t *testing.T, name, path string, change func(*configv1.ServerSpec)) admit.Put {
	m := &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: good}}}}
	change(m.Spec)
	return put(t, "server", name, path, m)
}

func bearer(secret string) func(*configv1.ServerSpec) {
	return func(s *configv1.ServerSpec) {
		s.Auth = &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: secret}}
	}
}

func inGroups(groups ...string) func(*configv1.ServerSpec) {
	return func(s *configv1.ServerSpec) { s.AccessGroups = groups }
}

func keyed(t *testing.T, name, path string, change func(*configv1.ApiKeySpec)) admit.Put {
	p := apiKey(t, name, path, name)
	m := proto.CloneOf(p.Message.(*configv1.ApiKey))
	change(m.Spec)
	return put(t, "apikey", name, path, m)
}

func team(t *testing.T, name string, toolsets ...string) admit.Put {
	return put(t, "team", name, "", &configv1.Team{Name: name, Spec: &configv1.TeamSpec{Servers: []string{"*"}, Toolsets: toolsets}})
}

func toolset(t *testing.T, name, path string) admit.Put {
	return put(t, "toolset", name, path, &configv1.Toolset{Name: name, Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "not_there_yet", Tool: "t"}}}})
}

func provider(t *testing.T, name, issuer string, grants ...*configv1.ClaimGrant) admit.Put {
	return put(t, "identityprovider", name, "", &configv1.IdentityProvider{Name: name, Spec: &configv1.IdentityProviderSpec{
		Issuer: issuer, Audiences: []string{"https://mcp.example.com/mcp"}, Grants: grants}})
}

func ingress(t *testing.T, name, path string, regions ...string) admit.Put {
	return put(t, "ingress", name, path, &configv1.Ingress{Name: name, Spec: &configv1.IngressSpec{Regions: regions}})
}

func TestWhatIsReferredToMustExist(t *testing.T) {
	g := gate(t, admit.Config{Set: stored{keys: []confset.Key{key("secret", "stored"), key("team", "leaving"), key("team", "stored")}}})
	const fix = ", which doesn't exist; create it before, or in the same change"
	want(t, g.Check(admit.Change{
		Puts: []admit.Put{
			with(t, "a", "o[0]", bearer("stored")), with(t, "b", "o[1]", bearer("missing")),
			keyed(t, "c", "o[2]", func(s *configv1.ApiKeySpec) { s.Team, s.Toolsets = "leaving", []string{"fresh", "missing"} }),
			toolset(t, "fresh", "o[3]"), team(t, "d", "fresh", "missing"),
			provider(t, "e", "https://e.example.com", &configv1.ClaimGrant{Servers: []string{"nobody"}, Team: "stored"}, &configv1.ClaimGrant{Team: "missing", Toolsets: []string{"missing"}}),
		},
		Deletes: []admit.Delete{gone("team", "leaving", "d[0]")},
	}),
		`server/b o[1].spec.auth.value.secret: names the secret "missing"`+fix,
		`apikey/c o[2].spec.toolsets[1]: names the toolset "missing"`+fix,
		`apikey/c o[2].spec.team: names the team "leaving"`+fix,
		`team/d spec.toolsets[1]: names the toolset "missing"`+fix,
		`identityprovider/e spec.grants[1].toolsets[0]: names the toolset "missing"`+fix,
		`identityprovider/e spec.grants[1].team: names the team "missing"`+fix)
}

func TestWhatOthersReferToIsNotRemoved(t *testing.T) {
	many := map[confset.Key][]confset.Key{key("secret", "token"): {key("server", "b"), key("server", "a")}}
	for i := range 14 {
		many[key("team", "big")] = append(many[key("team", "big")], key("apikey", fmt.Sprintf("k%02d", 13-i)))
	}
	set := stored{refs: many}
	for to := range many {
		set.keys = append(set.keys, to)
	}
	g := gate(t, admit.Config{Set: set})
	const fix = "; remove these references before, or in the same change"
	want(t, g.Check(admit.Change{Deletes: []admit.Delete{gone("secret", "token", ""), gone("team", "big", "deletions[1]")}}),
		`secret/token : is in use by server "a", server "b"`+fix,
		`team/big deletions[1]: is in use by apikey "k00", apikey "k01", apikey "k02", apikey "k03", apikey "k04", apikey "k05", apikey "k06", apikey "k07", apikey "k08", apikey "k09" and 4 more`+fix)
	// Whoever goes, or lets go, in the same change is no obstacle.
	want(t, g.Check(admit.Change{Puts: []admit.Put{server(t, "a", "", good)}, Deletes: []admit.Delete{gone("server", "b", ""), gone("secret", "token", "")}}))
	// One that comes is told at its field.
	want(t, g.Check(admit.Change{Puts: []admit.Put{with(t, "a", "", bearer("token"))}, Deletes: []admit.Delete{gone("server", "b", ""), gone("secret", "token", "")}}),
		`server/a spec.auth.value.secret: names the secret "token", which doesn't exist`)
}

func TestServersInGrantsAndToolsetsNeedNotExist(t *testing.T) {
	g := gate(t, admit.Config{Set: stored{refs: map[confset.Key][]confset.Key{}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{
		toolset(t, "tools", ""), apiKey(t, "k", "", "one"), team(t, "t"),
		keyed(t, "l", "", func(s *configv1.ApiKeySpec) { s.Groups = []string{"nobody"} }),
	}, Deletes: []admit.Delete{gone("server", "granted", "")}}))
}

func TestServersToolsetsAndGroupsShareNames(t *testing.T) {
	g := gate(t, admit.Config{Set: stored{
		keys: []confset.Key{key("server", "github"), key("toolset", "search"), key("server", "leaving")},
		refs: map[confset.Key][]confset.Key{key(links.KindGroup, "dev"): {key("server", "github")}},
	}})
	check := func(c admit.Change, lines ...string) {
		t.Helper()
		want(t, g.Check(c), lines...)
	}
	check(admit.Change{Puts: []admit.Put{toolset(t, "github", "o[0]"), server(t, "search", "o[1]", good)}},
		"toolset/github o[0].name: is taken by the server of that name; choose another name",
		"server/search o[1].name: is taken by the toolset of that name")
	check(admit.Change{Puts: []admit.Put{toolset(t, "dev", "o[0]")}},
		`toolset/dev o[0].name: is taken by the access group of that name, to which server "github" belongs; choose another name`)
	check(admit.Change{Puts: []admit.Put{server(t, "dev", "", good), server(t, "github", "", good)}}) // its only member leaves the group
	check(admit.Change{Puts: []admit.Put{with(t, "x", "o[0]", inGroups("ops", "github", "search", "fresh", "leaving")), server(t, "fresh", "o[1]", good)},
		Deletes: []admit.Delete{gone("server", "leaving", "")}},
		"server/x o[0].spec.access_groups[1]: is the name of a server; choose another name for the group",
		"server/x o[0].spec.access_groups[2]: is the name of a toolset",
		"server/x o[0].spec.access_groups[3]: is the name of a server")
	check(admit.Change{Puts: []admit.Put{server(t, "both", "o[0]", good), toolset(t, "both", "o[1]"), toolset(t, "leaving", "o[2]")},
		Deletes: []admit.Delete{gone("server", "leaving", "")}},
		"toolset/both o[1].name: is taken by the server of that name")
	check(admit.Change{Puts: []admit.Put{team(t, "github"), apiKey(t, "dev", "", "one")}})
}

func TestOneIngressPerRegionAndListener(t *testing.T) {
	slot := func(region string) links.Claim { return links.Claim{Space: links.Listener, Value: region + "\x00main"} }
	g := gate(t, admit.Config{Set: stored{holders: map[links.Claim]string{slot("eu"): "europe", slot(""): "rest"}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{ingress(t, "a", "o[0]", "us", "eu"), ingress(t, "b", "o[1]"), ingress(t, "c", "o[2]", "us")}}),
		`ingress/a o[0].spec.regions[1]: has the ingress "europe" already; a region and listener has one; change that one`,
		`ingress/b o[1].spec.regions: is empty, and the ingress "rest" is for all other regions already; name the regions of this one, or change that one`,
		`ingress/c o[2].spec.regions[0]: has the ingress "a" already`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{ingress(t, "europe", ""), ingress(t, "rest", "", "eu")}}))
}

func TestAnIssuerHasOneProvider(t *testing.T) {
	const issuer = "https://issuer.example.com"
	g := gate(t, admit.Config{Set: stored{holders: map[links.Claim]string{{Space: links.Issuer, Value: issuer}: "first"}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{provider(t, "first", issuer)}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{provider(t, "second", issuer)}}),
		`identityprovider/second spec.issuer: is the issuer of the identity provider "first" already; an issuer has one; change that one`)
}

func TestPreviousHashesAndCertificateNamesAreOnesOwnToo(t *testing.T) {
	hex := func(s string) string { return apiKey(t, "x", "", s).Message.(*configv1.ApiKey).GetSpec().GetSha256() }
	g := gate(t, admit.Config{Set: stored{holders: map[links.Claim]string{hash("one"): "a", {Space: links.Certificate, Value: "ci.example.com"}: "a"}}})
	rotated := func(name, previous string) admit.Put {
		return keyed(t, name, "", func(s *configv1.ApiKeySpec) {
			s.PreviousSha256, s.PreviousExpires, s.CertificateName = hex(previous), "2027-01-01T00:00:00Z", "ci.example.com"
		})
	}
	want(t, g.Check(admit.Change{Puts: []admit.Put{rotated("a", "one")}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{rotated("b", "one")}}),
		`apikey/b spec.previous_sha256: is the hash of the API key "a" already; make a new key`,
		`apikey/b spec.certificate_name: is the certificate name of the API key "a" already; a certificate admits as one key`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{rotated("b", "two"), apiKey(t, "c", "", "two")}, Deletes: []admit.Delete{gone("apikey", "a", "")}}),
		`apikey/c spec.sha256: is the hash of the API key "b" already; make a new key`)
}

func TestWhatIsPushedIsCompiledAndWhatWasFoundIsNot(t *testing.T) {
	var compiled []string
	g := gate(t, admit.Config{Compile: func(o confset.Object) []admit.Problem { compiled = append(compiled, string(o.Body)); return nil }})
	opened := confset.NewObject(key("server", "a"), "uid", []byte("as pushed"))
	p := server(t, "a", "", good)
	p.Pushed = &opened
	want(t, g.Check(admit.Change{Puts: []admit.Put{p}}))
	p.Found = rules.Violations{{Field: "spec.value", Problem: "is missing"}}
	want(t, g.Check(admit.Change{Puts: []admit.Put{p}}), "server/a spec.value: is missing")
	if strings.Join(compiled, ",") != "as pushed" {
		t.Errorf("compiled %q", compiled)
	}
}
