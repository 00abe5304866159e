package view_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
)

// many returns servers s0, s1, ...
func many(n int) (objs []proto.Message, keys []confset.Key) {
	for i := range n {
		s := server(fmt.Sprintf("s%d", i), "http://127.0.0.1:1/")
		objs, keys = append(objs, s), append(keys, cptest.Key(s))
	}
	return objs, keys
}

// start returns a control plane with n servers.
func start(t *testing.T, n int) (*cptest.Control, *memstore.Store, []confset.Key) {
	t.Helper()
	mem := memstore.New()
	c := cptest.New(t, cptest.Config{Store: mem})
	objs, keys := many(n)
	c.Put(objs...)
	quiet()
	return c, mem, keys
}

// out makes the store unavailable until the views noticed, and available again; what follows happens before they look again.
func out(mem *memstore.Store) {
	mem.SetDown()
	synctest.Wait()
	mem.SetUp()
}

func TestAStoreOutOfReachRaisesStalenessAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, _ := start(t, 3)
		before := c.Views().Current(anywhere)
		mem.SetDown()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if st := c.Views().Status(); st.Stale < 4*time.Minute || c.Views().Current(anywhere) != before {
			t.Errorf("after five minutes: stale %v, same view %v", st.Stale, c.Views().Current(anywhere) == before)
		}
		mem.SetUp()
		rev := c.Put(server("late", "http://127.0.0.1:1/"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		st := c.Views().Status()
		if st.Stale != 0 || c.Views().Current(anywhere).Revision != rev || st.Loads != 1 {
			t.Errorf("afterwards: stale %v, revision %d (want %d), loads %d (want 1)", st.Stale, c.Views().Current(anywhere).Revision, rev, st.Loads)
		}
	})
}

func TestAfterACompactionOnlyTrueDifferencesArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, keys := start(t, 100)
		before := c.Views().Current(anywhere)
		out(mem)
		c.Put(server("s7", "http://127.0.0.1:7/"))
		c.Delete(keys[:3]...)
		mem.Compact()
		quiet()
		now, st := c.Views().Current(anywhere), c.Views().Status()
		d := confset.Diff(before.Set, now.Set)
		if len(d.Upserts) != 1 || len(d.Removals) != 3 || st.Loads != 2 {
			t.Errorf("published %d upserts, %d removals after %d loads; want 1, 3 after 2", len(d.Upserts), len(d.Removals), st.Loads)
		}
		if u := now.Delta(before.Digest()); u == nil || len(u.Parts[0].Upserts) != 1 {
			t.Errorf("the delta across the load is %v", u)
		}
	})
}

func TestMassRemovalsNamedByAChangeArePublished(t *testing.T) {
	for _, name := range []string{"watched", "found by a load"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, mem, keys := start(t, 50)
				if name != "watched" {
					out(mem)
				}
				c.Delete(keys[:40]...)
				if name != "watched" {
					c.Put(server("more", "http://127.0.0.1:1/"))
					mem.Compact()
				}
				quiet()
				if n, st := c.Views().Current(anywhere).Set.Len(), c.Views().Status(); n > 11 || len(st.Held) != 0 {
					t.Errorf("%d objects are left and %d removals held; want at most 11 and none", n, len(st.Held))
				}
			})
		})
	}
}

func TestAWipedStoreRemovesNothingUntilConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, keys := start(t, 50)
		before := c.Views().Current(anywhere)
		mem.Wipe()
		quiet()
		c.Put(server("s0", "http://127.0.0.1:1/"))
		quiet()
		now, st := c.Views().Current(anywhere), c.Views().Status()
		if now.Set.Len() != 50 || len(st.Held) != 49 || now.Epoch == before.Epoch {
			t.Fatalf("after the wipe: %d objects, %d held, new epoch %v; want 50, 49, true", now.Set.Len(), len(st.Held), now.Epoch != before.Epoch)
		}
		if _, ok := c.Views().Get("server", "s9"); ok {
			t.Error("the index shows an object that the store doesn't have")
		}
		c.Put(server("s9", "http://127.0.0.1:1/"))
		quiet()
		if n := c.Views().Confirm(); n != 48 {
			t.Errorf("confirmed %d removals, want 48", n)
		}
		quiet()
		if e := c.Views().Current(anywhere).Epoch; now.Epoch != e+"~held" || e != mem.Epoch() {
			t.Errorf("epoch %s, while removals were held %s; a restarted control plane must look like another store", e, now.Epoch)
		}
		left := c.Views().Current(anywhere).Set
		if _, ok := left.Get(keys[9]); !ok || left.Len() != 2 {
			t.Errorf("after confirming: %d objects, want s0 and s9", left.Len())
		}
	})
}

func TestAFewUnexplainedRemovalsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, _ := start(t, 10)
		mem.Wipe()
		quiet()
		if n := c.Views().Current(anywhere).Set.Len(); n != 0 {
			t.Errorf("%d objects are left; up to ten removals need no confirmation", n)
		}
	})
}

func TestViewsComeUpWithTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		mem.SetDown()
		time.AfterFunc(3*time.Second, mem.SetUp)
		c := cptest.New(t, cptest.Config{Store: mem})
		if c.Views().Current(anywhere) == nil || c.Views().Status().Stale != 0 {
			t.Errorf("after the store came up: view %v, status %+v", c.Views().Current(anywhere), c.Views().Status())
		}
	})
}
