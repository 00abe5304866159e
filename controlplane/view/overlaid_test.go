package view_test

import (
	"testing"
	"testing/synctest"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// over is an overlay of a server for a region.
func over(name, server, region string, spec *configv1.ServerSpec) *configv1.Overlay {
	return &configv1.Overlay{Name: name, Spec: &configv1.OverlaySpec{Kind: "server", Target: server, Region: region, Patch: &configv1.OverlaySpec_Server{Server: spec}}}
}

// A data plane that can't merge loses a server with the first overlay on it, by delta, and gets it back with the last one's end.
func TestWhoCannotMergeDoesNotGetWhatOverlaysChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		old := view.Scope{Region: "us", FeatureLevel: 2}
		check := func(when, want string) {
			t.Helper()
			quiet()
			if got := keysIn(c.Views().Current(old)); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
			o, ok := c.Views().Get("server", "plain")
			if withheld := want != "[server/other server/plain]"; ok && c.Views().Withholds(old, o.Object) != withheld {
				t.Errorf("%s: it isn't said to be withheld: %v", when, withheld)
			}
			if got := c.Views().Current(view.Scope{Region: "us", FeatureLevel: 3}).Set; ok && !has(got, o.Object.Key) {
				t.Errorf("%s: one that can merge lost it", when)
			}
		}
		c.Put(server("plain", "http://127.0.0.1:1/"), server("other", "http://127.0.0.1:2/"))
		check("without overlay", "[server/other server/plain]")
		held := c.Views().Current(old)
		c.Put(over("limit", "plain", "eu", &configv1.ServerSpec{ReachableFrom: "internal"}))
		check("with one, for another region", "[server/other]")
		if d := c.Views().Current(old).Delta(held.Digest()); d == nil || len(d.Parts[0].GetRemovals()) != 1 || len(d.Parts[0].GetUpserts()) != 0 {
			t.Errorf("the delta isn't one removal: %v", d)
		}
		c.Put(over("more", "plain", "us", &configv1.ServerSpec{ReachableFrom: "internal"}), server("plain", "http://127.0.0.1:3/"))
		check("with two, and a new body", "[server/other]")
		c.Delete(confset.Key{Kind: "overlay", Name: "limit"})
		check("one gone", "[server/other]")
		c.Restart()
		check("after a restart", "[server/other]")
		held = c.Views().Current(old)
		c.Delete(confset.Key{Kind: "overlay", Name: "more"})
		check("both gone", "[server/other server/plain]")
		if d := c.Views().Current(old).DeltaAfter(held.Epoch, held.Revision); d == nil || len(d.Parts[0].GetUpserts()) != 1 {
			t.Errorf("the trail doesn't bring it back: %v", d)
		}
	})
}

// A data plane that knows overlays, but not a field that one sets, would serve the server without it.
func TestWhoCannotReadAnOverlayDoesNotGetWhatItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		old := view.Scope{Region: "eu", FeatureLevel: 3}
		check := func(when, want string) {
			t.Helper()
			quiet()
			if got := keysIn(c.Views().Current(old)); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		hiding := &configv1.ServerSpec{Tools: &configv1.ServerTools{Deny: []string{"drop_*"}}}
		c.Put(server("plain", "http://127.0.0.1:1/"), over("one", "plain", "eu", &configv1.ServerSpec{ReachableFrom: "internal"}))
		check("with what it knows", "[overlay/one server/plain]")
		c.Put(over("one", "plain", "eu", hiding))
		check("with what it doesn't know", "[]")
		c.Put(over("two", "plain", "us", &configv1.ServerSpec{ReachableFrom: "internal"}))
		check("with one of each", "[overlay/two]")
		c.Delete(confset.Key{Kind: "overlay", Name: "one"})
		check("with what it knows again", "[overlay/two server/plain]")
	})
}

func has(s *confset.Set, key confset.Key) bool {
	_, ok := s.Get(key)
	return ok
}

// An overlay may make a server reachable from a region, and bring a secret of its own: both secrets are there, and only there.
func TestSecretsOfOverlaysAreSeenWhereTheyApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(credential("own", "a"), credential("local", "b"), using("github", "own", []string{"us"}))
		quiet()
		sees(t, c, europe)
		there := over("eu", "github", "eu", &configv1.ServerSpec{Headers: []*configv1.Header{{Name: "x-a", Value: &configv1.Value{Secret: "local"}}}})
		c.Put(there)
		quiet()
		sees(t, c, europe, "local", "own")
		c.Put(credential("next", "c"), using("github", "next", []string{"us"}))
		quiet()
		sees(t, c, europe, "local", "next")
		c.Restart()
		quiet()
		sees(t, c, europe, "local", "next")
		c.Delete(confset.Key{Kind: "overlay", Name: "eu"})
		quiet()
		sees(t, c, europe)
	})
}
