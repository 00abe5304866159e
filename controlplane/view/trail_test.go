package view_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
)

// lead applies an update to a set.
func lead(set *confset.Set, u *view.Update) *confset.Set {
	var d confset.Delta
	for _, p := range u.Parts {
		for _, r := range p.GetUpserts() {
			d.Upserts = append(d.Upserts, confset.NewObject(confset.Key{Kind: r.GetKind(), Name: r.GetName()}, r.GetUid(), r.GetBody()))
		}
		for _, k := range p.GetRemovals() {
			d.Removals = append(d.Removals, confset.Key{Kind: k.GetKind(), Name: k.GetName()})
		}
	}
	return set.Apply(d)
}

// What one replica published and another one merged has a digest that only the first knows; the revision says it to both.
func TestASetOfAnotherReplicaIsLedOnByItsRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, keys := start(t, 40)
		type point struct {
			set *confset.Set
			rev int64
		}
		var seen []point
		for i := range 30 { // more than the sets a view remembers
			before := c.Views().Current(anywhere)
			seen = append(seen, point{before.Set, before.Revision})
			c.Put(server(fmt.Sprint("s", i), "http://127.0.0.1:7/"))
			if i%3 == 0 {
				c.Delete(keys[39-i/3])
			}
			quiet()
		}
		now := c.Views().Current(anywhere)
		for i, p := range seen {
			u := now.DeltaAfter(now.Epoch, p.rev)
			if u == nil || u.Full || lead(p.set, u).Digest() != now.Digest() {
				t.Errorf("from point %d at revision %d: %v", i, p.rev, u)
			}
		}
		if once, again := now.DeltaAfter(now.Epoch, seen[10].rev), now.DeltaAfter(now.Epoch, seen[10].rev); once != again {
			t.Error("the same update is made twice")
		}
		for what, u := range map[string]*view.Update{
			"another epoch":        now.DeltaAfter("other", seen[10].rev),
			"before the load":      now.DeltaAfter(now.Epoch, -1),
			"the newest revision":  now.DeltaAfter(now.Epoch, now.Revision),
			"revision of tomorrow": now.DeltaAfter(now.Epoch, now.Revision+1),
		} {
			if u != nil {
				t.Errorf("%s: %v", what, u)
			}
		}
	})
}

func TestTheTrailIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		first := c.Put(server("first", "http://127.0.0.1:1/"))
		quiet()
		var middle *view.View
		for round := range 10 {
			var objs []proto.Message
			for i := range 1000 {
				objs = append(objs, server(fmt.Sprint("s", i), fmt.Sprintf("http://127.0.0.1:%d/", round+1)))
			}
			c.Put(objs...)
			quiet()
			if round == 5 {
				middle = c.Views().Current(anywhere)
			}
		}
		now := c.Views().Current(anywhere)
		if u := now.DeltaAfter(now.Epoch, first); u != nil {
			t.Errorf("a revision more than 8,192 objects ago is remembered, with %d parts", len(u.Parts))
		}
		if u := now.DeltaAfter(now.Epoch, middle.Revision); u == nil || lead(middle.Set, u).Digest() != now.Digest() {
			t.Errorf("from the middle: %v", u)
		}
	})
}
