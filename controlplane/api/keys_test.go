package api_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// setIndex is an index over a set.
type setIndex struct{ set *confset.Set }

func (x *setIndex) Get(kind, name string) (store.Head, bool) {
	o, ok := x.set.Get(confset.Key{Kind: kind, Name: name})
	return store.Head{Object: o}, ok
}
func (*setIndex) List(string, string, int) []store.Head     { return nil }
func (*setIndex) Revision() int64                           { return 1 }
func (*setIndex) WaitRevision(context.Context, int64) error { return nil }
func (x *setIndex) edit(d confset.Delta)                    { x.set = x.set.Apply(d) }
func keyObject(tb testing.TB, name, key string) (o confset.Object) {
	tb.Helper()
	body, err := rules.Body(&configv1.ApiKey{Name: name, Spec: &configv1.ApiKeySpec{Sha256: sum(key), Roles: []string{"viewer"}}})
	if err != nil {
		tb.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: "apikey", Name: name}, "uid-"+name, body)
}

func TestKeysFollowTheSet(t *testing.T) {
	x := &setIndex{confset.Empty()}
	keys := api.NewKeys(func() *confset.Set { return x.set }, x)
	who := func(key string) string { name, _ := keys.Holder(sha256.Sum256([]byte(key))); return name }
	x.edit(confset.Delta{Upserts: []confset.Object{keyObject(t, "a", "one"), keyObject(t, "b", "two")}})
	if who("one") != "a" || who("two") != "b" || who("three") != "" {
		t.Errorf("%q %q", who("one"), who("two"))
	}
	x.edit(confset.Delta{Upserts: []confset.Object{keyObject(t, "a", "two"), keyObject(t, "b", "one")}})
	if who("one") != "b" || who("two") != "a" {
		t.Errorf("swapped: %q %q", who("one"), who("two"))
	}
	x.edit(confset.Delta{Removals: []confset.Key{{Kind: "apikey", Name: "b"}}})
	if who("one") != "" || who("two") != "a" {
		t.Errorf("removed: %q %q", who("one"), who("two"))
	}
}

func TestASetThatLagsRevivesNoKey(t *testing.T) {
	x := &setIndex{confset.Empty()}
	x.edit(confset.Delta{Upserts: []confset.Object{keyObject(t, "a", "one")}})
	old := x.set
	keys := api.NewKeys(func() *confset.Set { return old }, x)
	x.edit(confset.Delta{Upserts: []confset.Object{keyObject(t, "a", "two")}})
	if k, ok := keys.Find(sha256.Sum256([]byte("one"))); ok {
		t.Errorf("replaced hash: %v", k)
	}
	x.edit(confset.Delta{Removals: []confset.Key{{Kind: "apikey", Name: "a"}}})
	if k, ok := keys.Find(sha256.Sum256([]byte("two"))); ok {
		t.Errorf("removed: %v", k)
	}
}

// BenchmarkFindAfterAChange looks a key up after one of 100,000 changed.
func BenchmarkFindAfterAChange(b *testing.B) {
	objs := make([]confset.Object, 100_000)
	for i := range objs {
		objs[i] = keyObject(b, fmt.Sprintf("k%d", i), fmt.Sprint(i))
	}
	set, err := confset.New(objs)
	if err != nil {
		b.Fatal(err)
	}
	x := &setIndex{set}
	keys := api.NewKeys(func() *confset.Set { return x.set }, x)
	keys.Find([32]byte{})
	versions := []*confset.Set{set, set.Apply(confset.Delta{Upserts: []confset.Object{keyObject(b, "k7", "other")}})}
	i := 0
	for b.Loop() {
		i++
		x.set = versions[i%2]
		if _, ok := keys.Find(sha256.Sum256([]byte("8"))); !ok {
			b.Fatal("not found")
		}
	}
}
