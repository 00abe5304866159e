package table_test

import (
	"crypto/sha256"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestAnEmptyTableHasBuiltInSettings(t *testing.T) {
	var h table.Holder
	s := h.Load().Settings()
	want := table.Settings{Body: 4 << 20, Event: 16 << 20, Result: 64 << 20, Depth: 64, StreamsPerPrincipal: 100, Page: 1000, SampleRatio: 0.01,
		Timeouts: table.Timeouts{Connect: 5 * time.Second, FirstByte: time.Minute, Idle: 5 * time.Minute, List: 5 * time.Second}}
	if *s != want {
		t.Errorf("%+v, want %+v", *s, want)
	}
	tab := empty()
	h.Store(tab)
	if h.Load() != tab || tab.Ring("session") != nil || tab.Version().Digest != confset.Empty().Digest() {
		t.Error("the holder or the empty table is wrong")
	}
}

func TestApplyLeavesTheOldTableAlone(t *testing.T) {
	one, _ := apply(empty(), server(t, "a", spec(at("http://one/"))), apikey(t, "k", "secret"))
	two, outs := apply(one, server(t, "a", spec(at("http://two/"))), server(t, "b", spec(at("http://b/"))))
	two, _ = remove(two, "apikey", "k")
	if len(outs) > 0 {
		t.Error(outs)
	}
	a1, _ := one.Server("a")
	a2, _ := two.Server("a")
	if _, there := one.Server("b"); there || a1.Target.Host != "one" || a2.Target.Host != "two" || who(one, "secret") != "k" || who(two, "secret") != "" {
		t.Errorf("a goes to %s and %s, b is in the old table: %v", a1.Target.Host, a2.Target.Host, there)
	}
	if n, k := two.Len(); n != 2 || k != 0 || two.Version().Revision != 3 {
		t.Errorf("%d servers, %d keys, %+v", n, k, two.Version())
	}
}

func TestABadServerKeepsItsLastGoodVersion(t *testing.T) {
	good := server(t, "a", spec(at("http://one/")))
	tab, _ := apply(empty(), good)
	tab, outs := apply(tab, server(t, "a", spec(at("ftp://two/"))), server(t, "b", spec()))
	want := []string{
		"server/a rejected spec.endpoints[0].url: is not an absolute http or https URL; write it like https://host/path",
		"server/b rejected spec.endpoints: is empty; give at least one endpoint with its url",
	}
	if !slices.Equal(outs, want) || tab.Rejected() != 2 || !slices.Equal(lines(tab.Outcomes()), want) {
		t.Errorf("outcomes %q, %d rejected", outs, tab.Rejected())
	}
	if a, _ := tab.Server("a"); a == nil || a.Target.Host != "one" || a.Hash != good.Hash {
		t.Errorf("a is %+v", a)
	}
	if _, ok := tab.Server("b"); ok {
		t.Error("b is served")
	}
	tab, outs = apply(tab, server(t, "a", spec(at("http://three/"))))
	if len(outs) > 0 || tab.Rejected() != 1 {
		t.Errorf("outcomes %q, %d rejected", outs, tab.Rejected())
	}
	tab, _ = remove(tab, "server", "b")
	if tab.Rejected() != 0 || len(tab.Outcomes()) != 0 {
		t.Errorf("%d rejected after the removal", tab.Rejected())
	}
}

func TestABadKeyIsGone(t *testing.T) {
	tab, _ := apply(empty(), apikey(t, "k", "secret"))
	tab, outs := apply(tab, apikey(t, "k", "secret", func(s *configv1.ApiKeySpec) { s.Expires = "soon" }))
	if len(outs) != 1 || !strings.HasPrefix(outs[0], "apikey/k rejected spec.expires:") || who(tab, "secret") != "" {
		t.Errorf("outcomes %q, the key belongs to %q", outs, who(tab, "secret"))
	}
}

func TestBadSettingsAndRingsKeepTheLastGood(t *testing.T) {
	ring := func(keys ...*configv1.SealingKey) confset.Object {
		return object(t, "sealingring", "session", &configv1.SealingRing{Name: "session", Keys: keys})
	}
	k := func(id uint32, sealing bool) *configv1.SealingKey {
		return &configv1.SealingKey{Id: id, Secret: []byte(strings.Repeat(string(rune('a'+id)), 32)), Sealing: sealing}
	}
	tab, outs := apply(empty(), ring(k(3, false), k(2, true), k(1, true)), settings(t, &configv1.SettingsSpec{Limits: &configv1.Limits{Body: "1MiB", Depth: 9}}))
	if len(outs) > 0 {
		t.Fatal(outs)
	}
	tab, outs = apply(tab, ring(k(1, false)), settings(t, &configv1.SettingsSpec{Limits: &configv1.Limits{Body: "much"}, Tracing: &configv1.Tracing{SampleRatio: "2"}}))
	if want := []string{"sealingring/session rejected keys:", "settings/default rejected spec.limits.body:", "settings/default rejected spec.tracing.sample_ratio:"}; !prefixes(outs, want) {
		t.Errorf("outcomes %q", outs)
	}
	r := tab.Ring("session")
	if r == nil || r.Sealing.ID != 2 || len(r.Open) != 3 || tab.Settings().Body != 1<<20 || tab.Settings().Depth != 9 || tab.Settings().Event != 16<<20 {
		t.Errorf("ring %+v, settings %+v", r, tab.Settings())
	}
	if key, ok := r.Key(3); !ok || key.Secret[0] != 'd' {
		t.Errorf("key 3 is %v, %v", key, ok)
	}
	tab, _ = remove(tab, "settings", "default")
	tab, _ = remove(tab, "sealingring", "session")
	if tab.Settings().Body != 4<<20 || tab.Ring("session") != nil {
		t.Error("what was removed is still in force")
	}
}

func prefixes(have, want []string) bool {
	return slices.EqualFunc(have, want, strings.HasPrefix)
}

func TestTimeoutsComeFromTheNearestLevel(t *testing.T) {
	s := spec(at("http://h/"))
	s.Timeouts = &configv1.Timeouts{Connect: "1s", Total: "0s", List: "6s"}
	defaults := settings(t, &configv1.SettingsSpec{Timeouts: &configv1.Timeouts{Connect: "2s", FirstByte: "3s", Total: "4s", List: "7s"}})
	tab, _ := apply(empty(), server(t, "a", s))
	tab, outs := apply(tab, defaults)
	a, _ := tab.Server("a")
	if want := (table.Timeouts{Connect: time.Second, FirstByte: 3 * time.Second, Idle: 5 * time.Minute, List: 6 * time.Second}); a.Timeouts != want || len(outs) > 0 {
		t.Errorf("%+v, want %+v; %q", a.Timeouts, want, outs)
	}
	other, _ := apply(empty(), server(t, "a", s), defaults)
	if b, _ := other.Server("a"); b.Timeouts != a.Timeouts {
		t.Errorf("applied together: %+v", b.Timeouts)
	}
	tab, _ = remove(tab, "settings", "default")
	if a, _ := tab.Server("a"); a.Timeouts.FirstByte != time.Minute || a.Timeouts.Connect != time.Second {
		t.Errorf("%+v after the settings went", a.Timeouts)
	}
}

func TestPrincipal(t *testing.T) {
	tab, outs := apply(empty(),
		apikey(t, "k", "one", func(s *configv1.ApiKeySpec) {
			s.User, s.Servers, s.Roles, s.Expires, s.TrustTraceContext = "ann", []string{"a", "b"}, []string{"debug", "admin"}, "2030-01-31T00:00:00Z", true
		}),
		apikey(t, "l", "two", func(s *configv1.ApiKeySpec) { s.Servers, s.Roles = []string{"*"}, []string{"king"} }))
	if len(outs) != 1 || !strings.HasPrefix(outs[0], "apikey/l warned spec.roles:") {
		t.Errorf("outcomes %q", outs)
	}
	p := tab.Principal(sha256.Sum256([]byte("one")))
	if p.ID != "key:uid-k" || p.Name != "k" || p.User != "ann" || !may(tab, p, "a") || !may(tab, p, "b") || may(tab, p, "c") || !p.Debug || !p.TrustTrace ||
		!p.Expires.Equal(time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", p)
	}
	if p := tab.Principal(sha256.Sum256([]byte("two"))); !may(tab, p, "anything") || p.Debug || !p.Expires.IsZero() {
		t.Errorf("%+v", p)
	}
}

func TestOfTwoKeysWithOneHashTheFirstByNameIsServed(t *testing.T) {
	tab, _ := apply(empty(), apikey(t, "b", "same"))
	tab, outs := apply(tab, apikey(t, "c", "same"), apikey(t, "a", "same"))
	want := []string{
		"apikey/b rejected spec.sha256: is also that of API key a, which is served; give each its own key",
		"apikey/c rejected spec.sha256: is also that of API key a, which is served; give each its own key",
	}
	if !slices.Equal(outs, want) || who(tab, "same") != "a" || tab.Rejected() != 2 {
		t.Errorf("outcomes %q, served is %q, %d rejected", outs, who(tab, "same"), tab.Rejected())
	}
	tab, outs = remove(tab, "apikey", "a")
	if who(tab, "same") != "b" || tab.Rejected() != 1 || len(outs) != 2 || !strings.Contains(outs[0], "served again") {
		t.Errorf("outcomes %q, served is %q", outs, who(tab, "same"))
	}
	tab, _ = apply(tab, apikey(t, "b", "other"))
	if who(tab, "same") != "c" || who(tab, "other") != "b" || tab.Rejected() != 0 {
		t.Errorf("same is %q, other %q", who(tab, "same"), who(tab, "other"))
	}
	tab, _ = remove(tab, "apikey", "c")
	if who(tab, "same") != "" {
		t.Errorf("same is %q", who(tab, "same"))
	}
}

func TestAStaticPrincipalWinsOverAKey(t *testing.T) {
	hash := sha256.Sum256([]byte("master"))
	tab := table.New(table.Config{Static: []*table.Principal{{ID: "master", Name: "master", Hash: hash, Grants: []*table.Grant{table.Everything}}}})
	tab, outs := apply(tab, apikey(t, "k", "master"))
	if who(tab, "master") != "master" || len(outs) != 1 || !strings.Contains(outs[0], "the key of this process") {
		t.Errorf("served is %q, outcomes %q", who(tab, "master"), outs)
	}
	tab, _ = remove(tab, "apikey", "k")
	if _, keys := tab.Len(); who(tab, "master") != "master" || keys != 0 {
		t.Errorf("served is %q, %d keys", who(tab, "master"), keys)
	}
}

func TestWhatThisVersionDoesNotKnowIsTold(t *testing.T) {
	newer := server(t, "a", spec(at("http://h/")))
	newer.Body = append(slices.Clone(newer.Body), 0xfa, 0x3f, 1, 'x') // field 1023, one byte long
	tab, outs := apply(empty(), object(t, "gizmo", "x", &configv1.Server{}), newer, server(t, "b", &configv1.ServerSpec{
		Transport: "carrier", Protocol: "future", Auth: &configv1.Auth{Type: "magic", Value: &configv1.Value{Secret: "s"}}, Endpoints: []*configv1.Endpoint{at("http://h/")}}))
	want := []string{"gizmo/x warned : kind not known to this version", "server/a warned :", "server/b rejected spec.transport:", "server/b rejected spec.protocol:", "server/b rejected spec.auth.type:"}
	if !prefixes(outs, want) {
		t.Errorf("outcomes %q", outs)
	}
	if _, ok := tab.Server("a"); !ok || tab.Rejected() != 1 {
		t.Error("a is not served")
	}
}

func TestFieldsOfALaterVersionAreFoundDeepInside(t *testing.T) {
	later := protowire.AppendVarint(protowire.AppendTag(nil, 1023, protowire.VarintType), 1)
	limits, rule, claim := &configv1.CallLimits{}, &configv1.ToolRule{Server: "*"}, &configv1.ClaimGrant{}
	limits.ProtoReflect().SetUnknown(later)
	rule.Parameters = []*configv1.ParameterRule{{Tool: "*", Parameter: "p"}, {Tool: "*", Parameter: "q"}}
	rule.Parameters[1].ProtoReflect().SetUnknown(later)
	claim.Tools = []*configv1.ToolRule{rule}
	for _, o := range []confset.Object{
		team(t, "core", &configv1.TeamSpec{Limits: limits}),
		apikey(t, "k", "secret", func(s *configv1.ApiKeySpec) { s.Tools = []*configv1.ToolRule{{Server: "*"}, rule} }),
		provider(t, "okta", &configv1.IdentityProviderSpec{Issuer: "https://i.example.com", Audiences: []string{"x"}, Grants: []*configv1.ClaimGrant{claim}}),
	} {
		if _, outs := apply(empty(), o); len(outs) != 1 || !strings.Contains(outs[0], "rejected : has fields not known to this version") {
			t.Errorf("%s: %q", o.Key, outs)
		}
	}
}

func TestCheckSaysWhatApplyWould(t *testing.T) {
	broken := server(t, "a", spec(at("http://h/")))
	broken.Body = []byte{0xff}
	other := server(t, "a", spec(at("http://h/")))
	other.Key.Name = "b"
	for _, o := range []confset.Object{broken, other, server(t, "a", spec(at("http://h:99999/", "us"))), server(t, "a", spec(at("http://h/"))),
		apikey(t, "k", "x", func(s *configv1.ApiKeySpec) { s.Sha256 = "ff" }), object(t, "settings", "mine", &configv1.Settings{Name: "mine"})} {
		_, outs := empty().Apply(confset.Delta{Upserts: []confset.Object{o}}, 1, table.Version{})
		if got := table.Check(o); !reflect.DeepEqual(got, outs) {
			t.Errorf("%s: Check says %q, Apply %q", o.Key, lines(got), lines(outs))
		}
	}
}

func TestServersComeInTheOrderOfNames(t *testing.T) {
	tab := empty()
	for _, name := range []string{"c", "a", "b"} {
		tab, _ = apply(tab, server(t, name, spec(at("http://h/"))))
	}
	var names []string
	for s := range tab.Servers() {
		if names = append(names, s.Name); len(names) == 2 {
			break
		}
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("got %v", names)
	}
}
