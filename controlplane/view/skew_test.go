package view_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// keysIn are the objects in a view, in the set's order of kinds and names.
func keysIn(v *view.View) string {
	var keys []confset.Key
	for _, o := range confset.Diff(confset.Empty(), v.Set).Upserts {
		keys = append(keys, o.Key)
	}
	return fmt.Sprint(keys)
}

// Whatever the region, also one that gets views of its own later: a data plane of the first version has neither servers with credentials nor
// their secrets.
func TestAnOlderDataPlaneGetsNoSecretInAnyRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		old := func(region string) view.Scope { return view.Scope{Region: region, FeatureLevel: 1} }
		check := func(when string) {
			t.Helper()
			quiet()
			for _, region := range []string{"eu", "us"} {
				if got := keysIn(c.Views().Current(old(region))); got != "[server/plain]" {
					t.Errorf("%s: an older data plane in %s has %s", when, region, got)
				}
			}
		}
		c.Put(server("plain", "http://127.0.0.1:1/"), credential("token", "v"), using("github", "token", nil))
		check("seen everywhere")
		c.Put(using("local", "token", []string{"eu"}))
		check("eu has views of its own")
		sees(t, c, europe, "token")
		c.Put(credential("token", "w"))
		check("another value")
		some, all := c.Views().Unsupported(old("eu"), 10)
		if fmt.Sprint(some) != "[secret/token server/github server/local]" || all != 3 {
			t.Errorf("unsupported in eu: %v of %d", some, all)
		}
		c.Delete(confset.Key{Kind: "server", Name: "local"})
		check("eu shares views again")
		c.Restart()
		check("after a restart")
	})
}

// An edit that restricts is a removal by delta and by trail; the one that doesn't any more brings it back.
func TestAnEditToAHigherLevelIsARemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		old := view.Scope{Region: "eu", FeatureLevel: 1}
		k := &configv1.ApiKey{Name: "k", Spec: &configv1.ApiKeySpec{User: "u"}}
		bound := &configv1.ApiKey{Name: "k", Spec: &configv1.ApiKeySpec{User: "u", Team: "core"}}
		for i, step := range []struct {
			put  *configv1.ApiKey
			want string
		}{{k, "[apikey/k]"}, {bound, "[]"}, {bound, "[]"}, {k, "[apikey/k]"}} {
			was := c.Views().Current(old)
			c.Put(step.put)
			quiet()
			now := c.Views().Current(old)
			if got := keysIn(now); got != step.want {
				t.Errorf("step %d: %s, want %s", i, got, step.want)
			}
			if u := now.DeltaAfter(was.Epoch, was.Revision); u == nil || lead(was.Set, u).Digest() != now.Digest() {
				t.Errorf("step %d: the trail leads elsewhere", i)
			}
			if u := now.Delta(was.Digest()); u == nil || lead(was.Set, u).Digest() != now.Digest() {
				t.Errorf("step %d: the delta leads elsewhere", i)
			}
			o, _ := c.Views().Current(anywhere).Set.Get(confset.Key{Kind: "apikey", Name: "k"})
			if c.Views().Withholds(old, o) != (step.want == "[]") || c.Views().Withholds(anywhere, o) {
				t.Errorf("step %d: withheld %v, and %v from the highest level", i, c.Views().Withholds(old, o), c.Views().Withholds(anywhere, o))
			}
		}
	})
}
