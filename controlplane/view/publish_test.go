package view_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

var anywhere = view.Scope{Region: "eu", FeatureLevel: rules.MostLevel}

// quiet waits until a burst, if there was one, is over and a store that answers again was found.
func quiet() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func TestFirstChangeLeavesAtOnceAndABurstIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		quiet()
		began := time.Now()
		first := c.Put(server("a", "http://127.0.0.1:1/"))
		synctest.Wait()
		if got := c.Views().Current(anywhere).Revision; got != first || time.Since(began) != 0 {
			t.Fatalf("view is at revision %d after %v, want %d at once", got, time.Since(began), first)
		}
		var last int64
		for i := range 3 {
			time.Sleep(20 * time.Millisecond)
			last = c.Put(server(fmt.Sprintf("b%d", i), "http://127.0.0.1:1/"))
			synctest.Wait()
			if got := c.Views().Current(anywhere).Revision; got != first {
				t.Fatalf("change %d of a burst left early: view is at %d", i, got)
			}
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		v := c.Views().Current(anywhere)
		if v.Revision != last || len(v.Changes) != 3 {
			t.Fatalf("after the pause the view is at %d with %d changes, want %d with 3", v.Revision, len(v.Changes), last)
		}
		if len(v.ChangesAfter(first-1)) != 4 {
			t.Errorf("changes after %d: %d, want 4", first-1, len(v.ChangesAfter(first-1)))
		}
	})
}

func TestABurstWithoutPausesIsPublishedEveryHalfSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		quiet()
		began, seen := time.Now(), map[int64]bool{c.Views().Current(anywhere).Revision: true}
		for i := 0; time.Since(began) < 2*time.Second; i++ {
			rev := c.Put(server(fmt.Sprintf("s%d", i), "http://127.0.0.1:1/"))
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			v := c.Views().Current(anywhere)
			seen[v.Revision] = true
			if late := rev - v.Revision; late > 52 {
				t.Fatalf("the view is %d changes (10 ms each) behind", late)
			}
		}
		if len(seen) < 4 || len(seen) > 7 {
			t.Errorf("%d views in 2 s of changes without a pause, want about 5", len(seen))
		}
	})
}

func TestDeltasAndFullUpdatesLeadToTheDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		views := []*view.View{c.Views().Current(anywhere)}
		big := make([]byte, 400<<10)
		for i := range 5 {
			c.Commit(cptest.Change{Raw: []confset.Object{raw("big", i, big), raw("big", i+1, big), raw("big", i+2, big)}})
			if i > 2 {
				c.Delete(confset.Key{Kind: "server", Name: fmt.Sprintf("big%d", i-2)})
			}
			quiet()
			views = append(views, c.Views().Current(anywhere))
		}
		now := views[len(views)-1]
		for _, from := range views {
			u := now.Delta(from.Digest())
			if u == nil {
				t.Fatalf("revision %d is not known at %d", from.Revision, now.Revision)
			}
			if now.Delta(from.Digest()) != u {
				t.Error("a delta was made twice")
			}
			checkUpdate(t, from.Set, u, now)
		}
		checkUpdate(t, confset.Empty(), now.Full(), now)
		if now.Delta(confset.Digest{1}) != nil {
			t.Error("a delta from an unknown digest was made up")
		}
	})
}

func raw(name string, i int, body []byte) confset.Object {
	return confset.NewObject(confset.Key{Kind: "server", Name: fmt.Sprintf("%s%d", name, i)}, "uid", append(body, byte(i)))
}

func checkUpdate(t *testing.T, from *confset.Set, u *view.Update, to *view.View) {
	t.Helper()
	for i, part := range u.Parts {
		if n := proto.Size(part); n > 1<<20 {
			t.Errorf("part %d has %d bytes", i, n)
		}
		if last := i == len(u.Parts)-1; part.More == last || part.Full != u.Full {
			t.Errorf("part %d of %d: more %v, full %v", i, len(u.Parts), part.More, part.Full)
		}
		from = from.Apply(deltaOf(part))
	}
	digest := to.Digest()
	if last := u.Parts[len(u.Parts)-1]; from.Digest() != digest || string(last.Digest) != string(digest[:]) || last.Revision != to.Revision || last.Epoch != to.Epoch {
		t.Errorf("the update leads to %s, says %x at %d; want %s at %d", from.Digest(), last.Digest, last.Revision, digest, to.Revision)
	}
}

func deltaOf(u *syncv1.Update) confset.Delta {
	var d confset.Delta
	for _, r := range u.GetUpserts() {
		d.Upserts = append(d.Upserts, confset.Object{Key: confset.Key{Kind: r.GetKind(), Name: r.GetName()}, UID: r.GetUid(), Hash: confset.Hash(r.GetHash()), Body: r.GetBody()})
	}
	for _, n := range u.GetRemovals() {
		d.Removals = append(d.Removals, confset.Key{Kind: n.GetKind(), Name: n.GetName()})
	}
	return d
}

func TestObjectsAboveTheFeatureLevelAreWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "http://127.0.0.1:1/"))
		quiet()
		old, newer := c.Views().Current(view.Scope{Region: "eu"}), c.Views().Current(view.Scope{Region: "us", FeatureLevel: 99})
		if old.Set.Len() != 0 || newer.Set.Len() != 1 {
			t.Errorf("level 0 gets %d objects, level 99 gets %d; want 0 and 1", old.Set.Len(), newer.Set.Len())
		}
		if old.Revision != newer.Revision {
			t.Errorf("revisions %d and %d differ", old.Revision, newer.Revision)
		}
		if newer != c.Views().Current(anywhere) {
			t.Error("scopes that select the same don't share a view")
		}
	})
}

func TestAnObjectThatCannotBeOpenedStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := false
		open := func(h store.Head) (confset.Object, error) {
			if broken && h.Object.Key.Name == "a" {
				return confset.Object{}, errors.New("no key for it")
			}
			return h.Object, nil
		}
		c := cptest.New(t, cptest.Config{View: func(vc *view.Config) { vc.Open = open }})
		c.Put(server("a", "http://127.0.0.1:1/"))
		quiet()
		key := confset.Key{Kind: "server", Name: "a"}
		before, _ := c.Views().Current(anywhere).Set.Get(key)
		broken = true
		c.Put(server("a", "http://127.0.0.1:2/"), server("b", "http://127.0.0.1:2/"))
		quiet()
		after, ok := c.Views().Current(anywhere).Set.Get(key)
		if !ok || after.Hash != before.Hash || c.Views().Current(anywhere).Set.Len() != 2 {
			t.Errorf("the object that can't be opened: present %v, changed %v; objects %d, want 2", ok, after.Hash != before.Hash, c.Views().Current(anywhere).Set.Len())
		}
		if c.Views().Status().Unopened != 1 {
			t.Errorf("unopened: %d, want 1", c.Views().Status().Unopened)
		}
	})
}
