package view_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

var (
	europe = view.Scope{Region: "eu", FeatureLevel: 2}
	states = view.Scope{Region: "us", FeatureLevel: 2}
	asia   = view.Scope{Region: "asia", FeatureLevel: 2}
	before = view.Scope{Region: "eu"}
)

// using is a server that needs a secret, with an endpoint per list of regions.
func using(name, secret string, regions ...[]string) *configv1.Server {
	s := &configv1.Server{Name: name, Spec: &configv1.ServerSpec{}}
	if secret != "" {
		s.Spec.Auth = &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: secret}}
	}
	for _, list := range regions {
		s.Spec.Endpoints = append(s.Spec.Endpoints, &configv1.Endpoint{Url: "http://127.0.0.1:1/mcp", Regions: list})
	}
	return s
}

func credential(name, value string) *configv1.Secret {
	return &configv1.Secret{Name: name, Spec: &configv1.SecretSpec{Value: value}}
}

// secretsIn are the secrets in a view, by name.
func secretsIn(v *view.View) (names []string) {
	for o := range v.Set.Kind("secret") {
		names = append(names, o.Key.Name)
	}
	return names
}

// sees checks which secrets a scope has.
func sees(t *testing.T, c *cptest.Control, s view.Scope, want ...string) {
	t.Helper()
	if got := secretsIn(c.Views().Current(s)); !slices.Equal(got, want) {
		t.Errorf("%s at level %d sees %q, want %q", s, s.FeatureLevel, got, want)
	}
}

func TestASecretIsOnlyWhereAServerNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(credential("token", "v"), credential("unused", "v"), server("plain", "http://127.0.0.1:1/"))
		quiet()
		sees(t, c, europe)
		c.Put(using("github", "token", []string{"eu"}))
		quiet()
		sees(t, c, europe, "token")
		sees(t, c, states)
		sees(t, c, asia)
		sees(t, c, before)
		c.Put(using("github", "token", []string{"eu"}, []string{"us"}))
		quiet()
		sees(t, c, states, "token")
		sees(t, c, asia)
		c.Put(using("github", "token", []string{"eu"}, nil))
		quiet()
		sees(t, c, europe, "token")
		sees(t, c, asia, "token")
		c.Put(using("other", "token", []string{"us"}))
		c.Delete(confset.Key{Kind: "server", Name: "github"})
		quiet()
		sees(t, c, europe)
		sees(t, c, states, "token")
		c.Put(using("other", "", []string{"us"}))
		quiet()
		sees(t, c, states)
		c.Put(using("nowhere", "token"))
		quiet()
		for _, s := range []view.Scope{europe, states, asia, before} {
			sees(t, c, s)
		}
	})
}

func TestHeadersNeedSecretsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		s := using("github", "", nil)
		s.Spec.Headers = []*configv1.Header{{Name: "x-key", Value: &configv1.Value{Secret: "key"}}, {Name: "x-again", Value: &configv1.Value{Secret: "key"}}}
		c.Put(credential("key", "v"), s)
		quiet()
		sees(t, c, europe, "key")
	})
}

// The secret comes with the same update as the first server that needs it, and goes with the last; who doesn't see it gets nothing of it.
func TestASecretComesAndGoesWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(credential("token", "v"))
		quiet()
		steps := []func(){
			func() { c.Put(using("github", "token", []string{"eu"})) },
			func() { c.Put(credential("token", "w")) },
			func() { c.Delete(confset.Key{Kind: "server", Name: "github"}) },
		}
		want := [][2]string{ // upserts and removals in eu
			{"[secret/token server/github]", "[]"}, {"[secret/token]", "[]"}, {"[]", "[secret/token server/github]"},
		}
		elsewhere := [][2]string{{"[server/github]", "[]"}, {"[]", "[]"}, {"[]", "[server/github]"}}
		for i, step := range steps {
			eu, us := c.Views().Current(europe), c.Views().Current(states)
			step()
			quiet()
			for _, at := range []struct {
				was, now *view.View
				want     [2]string
			}{{eu, c.Views().Current(europe), want[i]}, {us, c.Views().Current(states), elsewhere[i]}} {
				d := confset.Diff(at.was.Set, at.now.Set)
				var up []string
				for _, o := range d.Upserts {
					up = append(up, o.Key.String())
				}
				if got := [2]string{fmt.Sprint(up), fmt.Sprint(d.Removals)}; got != at.want {
					t.Errorf("step %d: %v, want %v", i, got, at.want)
				}
				if u := at.now.Delta(at.was.Digest()); u != nil && lead(at.was.Set, u).Digest() != at.now.Digest() {
					t.Errorf("step %d: the delta leads elsewhere", i)
				}
				if u := at.now.DeltaAfter(at.was.Epoch, at.was.Revision); u == nil || lead(at.was.Set, u).Digest() != at.now.Digest() {
					t.Errorf("step %d: the trail leads elsewhere", i)
				}
			}
		}
	})
}

func TestARegionHasAViewOfItsOwnOnlyWhileItDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(credential("token", "v"), using("github", "token", nil), using("plain", "", []string{"eu"}))
		quiet()
		if c.Views().Current(europe) != c.Views().Current(states) {
			t.Error("regions that select the same don't share a view")
		}
		sub := c.Views().Subscribe(europe)
		defer sub.Close()
		<-sub.C()
		c.Put(using("local", "token", []string{"eu"}))
		quiet()
		<-sub.C()
		if sub.Current() != c.Views().Current(europe) || sub.Current() == c.Views().Current(states) {
			t.Error("the subscription doesn't follow its region into a view of its own")
		}
		c.Delete(confset.Key{Kind: "server", Name: "local"})
		quiet()
		<-sub.C()
		if sub.Current() != c.Views().Current(states) {
			t.Error("the subscription doesn't follow its region back")
		}
	})
}

func TestAHeldServerKeepsItsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, _ := start(t, 30)
		c.Put(credential("token", "v"), using("github", "token", []string{"eu"}))
		quiet()
		mem.Wipe()
		quiet()
		sees(t, c, europe, "token")
		c.Views().Confirm()
		quiet()
		sees(t, c, europe)
	})
}

// A secret of another key-encryption key is left out and counted; everything else is served.
func TestASecretThatDoesNotOpenIsLeftOut(t *testing.T) {
	kek := func() *secret.KEK {
		k, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	here, foreign := kek(), kek()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		c := cptest.New(t, cptest.Config{Store: mem, KEK: here})
		c.Put(credential("good", "v"), using("a", "good", nil), using("b", "bad", nil))
		cptest.New(t, cptest.Config{Store: mem.Replica(), KEK: foreign}).Put(credential("bad", "v"))
		quiet()
		for range 2 {
			sees(t, c, europe, "good")
			if n, unopened := c.Views().Current(europe).Set.Len(), c.Views().Status().Unopened; n != 3 || unopened != 1 {
				t.Errorf("%d objects, %d unopened; want 3 and 1", n, unopened)
			}
			if o, _ := c.Views().Current(europe).Set.Get(confset.Key{Kind: "secret", Name: "good"}); !bytes.Contains(o.Body, []byte("v")) {
				t.Errorf("pushed as %q", o.Body)
			}
			c.Restart()
		}
		c.Put(credential("bad", "w"))
		quiet()
		sees(t, c, europe, "bad", "good")
	})
}

// step is one change of a random history.
type step struct {
	name, secret, value string
	what                int
	regions             [][]string
	pause               bool
}

func drawStep(rt *rapid.T) step {
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	return step{
		name: name.Draw(rt, "name"), secret: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(rt, "secret"), value: rapid.StringMatching(`[a-z]{3}`).Draw(rt, "value"),
		what: rapid.IntRange(0, 3).Draw(rt, "what"), pause: rapid.Bool().Draw(rt, "pause"),
		regions: rapid.SliceOfN(rapid.SampledFrom([][]string{nil, {"eu"}, {"us"}, {"eu", "us"}}), 0, 2).Draw(rt, "endpoints"),
	}
}

// Whatever happens in whatever order, every region sees what a look at everything would give.
func TestSightsAgreeWithALookAtEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 12).Draw(rt, "steps")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = disagreements(t, steps) })
		if len(wrong) > 0 {
			rt.Fatal(wrong)
		}
	})
}

// disagreements runs a history and says where a region doesn't see what it should.
func disagreements(t *testing.T, steps []step) (wrong []string) {
	c := cptest.New(t, cptest.Config{})
	servers, secrets := map[string]*configv1.Server{}, map[string]bool{}
	for _, s := range steps {
		switch {
		case s.what == 0:
			secrets[s.name] = true
			c.Put(credential(s.name, s.value))
		case s.what == 1 && secrets[s.name]:
			delete(secrets, s.name)
			c.Delete(confset.Key{Kind: "secret", Name: s.name})
		case s.what == 2:
			servers[s.name] = using(s.name, s.secret, s.regions...)
			c.Put(servers[s.name])
		case s.what == 3 && servers[s.name] != nil:
			delete(servers, s.name)
			c.Delete(confset.Key{Kind: "server", Name: s.name})
		}
		if s.pause {
			quiet()
		}
	}
	quiet()
	for _, life := range []string{"at first", "after a restart"} {
		for _, scope := range []view.Scope{europe, states, asia} {
			if got, want := secretsIn(c.Views().Current(scope)), wanted(servers, secrets, scope.Region); !slices.Equal(got, want) {
				wrong = append(wrong, fmt.Sprintf("%s %s sees %q, want %q", life, scope, got, want))
			}
		}
		c.Restart()
	}
	return wrong
}

func wanted(servers map[string]*configv1.Server, secrets map[string]bool, region string) (out []string) {
	for _, s := range servers {
		name := s.GetSpec().GetAuth().GetValue().GetSecret()
		usable := slices.ContainsFunc(s.GetSpec().GetEndpoints(), func(e *configv1.Endpoint) bool {
			return len(e.GetRegions()) == 0 || slices.Contains(e.GetRegions(), region)
		})
		if usable && secrets[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestWhoRefersAndWhoClaimsFollowsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		issuer := func(name, iss string) *configv1.IdentityProvider {
			return &configv1.IdentityProvider{Name: name, Spec: &configv1.IdentityProviderSpec{Issuer: iss}}
		}
		claim := func(iss string) links.Claim { return links.Claim{Space: links.Issuer, Value: iss} }
		holder := func(iss string) string { name, _ := c.Views().Holder(claim(iss)); return name }
		token := confset.Key{Kind: "secret", Name: "token"}
		c.Put(using("a", "token"), using("b", "token"), issuer("one", "x"), issuer("two", "y"))
		quiet()
		if n := len(c.Views().Referrers(token)); n != 2 || holder("x") != "one" || holder("y") != "two" || holder("z") != "" {
			t.Errorf("%d referrers, x %q, y %q", n, holder("x"), holder("y"))
		}
		c.Put(using("a", "other"), issuer("one", "y"), issuer("two", "x"))
		c.Delete(confset.Key{Kind: "server", Name: "b"})
		quiet()
		if n := len(c.Views().Referrers(token)); n != 0 || holder("x") != "two" || holder("y") != "one" {
			t.Errorf("afterwards: %d referrers, x %q, y %q", n, holder("x"), holder("y"))
		}
		c.Restart()
		if n := len(c.Views().Referrers(confset.Key{Kind: "secret", Name: "other"})); n != 1 || holder("x") != "two" {
			t.Errorf("after a restart: %d referrers, x %q", n, holder("x"))
		}
	})
}

// BenchmarkServerAmongMany changes what one of 2,000 servers needs beside 100,000 keys.
func BenchmarkServerAmongMany(b *testing.B) {
	c := cptest.New(b, cptest.Config{})
	for i := range 100 {
		var objs []proto.Message
		for j := range 980 {
			objs = append(objs, &configv1.ApiKey{Name: fmt.Sprintf("k%d", i*1000+j), Spec: &configv1.ApiKeySpec{Sha256: fmt.Sprintf("%064x", i*1000+j), Team: "core"}})
		}
		for j := range 20 {
			name := fmt.Sprintf("s%d", i*20+j)
			objs = append(objs, using(name, name, []string{"eu"}))
		}
		c.Put(objs...)
		var secrets []proto.Message
		for j := range 20 {
			secrets = append(secrets, credential(fmt.Sprintf("s%d", i*20+j), "v"))
		}
		c.Put(secrets...)
	}
	for i := 0; b.Loop(); i++ {
		rev := c.Put(using("s500", fmt.Sprintf("s%d", i%2000), []string{"eu"}))
		if err := c.Views().WaitRevision(b.Context(), rev); err != nil {
			b.Fatal(err)
		}
	}
}
