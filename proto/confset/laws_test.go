package confset_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/hopgate/hopgate/proto/confset"
	"pgregory.net/rapid"
)

// objects draws a set as a map, so that keys are unique; few names make collisions between two draws likely.
func objects(t *rapid.T, label string) map[confset.Key]confset.Object {
	key := rapid.Custom(func(t *rapid.T) confset.Key {
		return confset.Key{
			Kind: rapid.SampledFrom([]string{"server", "apikey", "settings", ""}).Draw(t, "kind"),
			Name: rapid.StringMatching(`[a-e]{0,2}`).Draw(t, "name"),
		}
	})
	body := rapid.SampledFrom([]string{"", "one", "two"})
	out := map[confset.Key]confset.Object{}
	for _, k := range rapid.SliceOfN(key, 0, 40).Draw(t, label) {
		out[k] = confset.NewObject(k, rapid.SampledFrom([]string{"u1", "u2"}).Draw(t, "uid"), []byte(body.Draw(t, "body")))
	}
	return out
}

func build(t rapid.TB, m map[confset.Key]confset.Object) *confset.Set {
	t.Helper()
	s, err := confset.New(slices.Collect(maps.Values(m)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// model is the plain reading of a set: ordered objects.
func model(m map[confset.Key]confset.Object) []confset.Object {
	objs := slices.Collect(maps.Values(m))
	slices.SortFunc(objs, func(a, b confset.Object) int { return a.Key.Compare(b.Key) })
	return objs
}

func equal(a, b []confset.Object) bool {
	return slices.EqualFunc(a, b, func(a, b confset.Object) bool {
		return a.Key == b.Key && a.UID == b.UID && a.Hash == b.Hash && bytes.Equal(a.Body, b.Body)
	})
}

func TestApplyOfDiffLeadsToTheOtherSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := objects(t, "from"), objects(t, "to")
		a, b := build(t, from), build(t, to)
		d := confset.Diff(a, b)
		got := a.Apply(d)
		if got.Digest() != b.Digest() || got.Len() != len(to) || !equal(slices.Collect(got.All()), model(to)) {
			t.Fatalf("Apply(a, Diff(a, b)) is not b")
		}
		if !equal(slices.Collect(a.All()), model(from)) {
			t.Fatal("Apply changed its receiver")
		}
		if d.Empty() != (a.Digest() == b.Digest()) {
			t.Fatal("the delta is empty exactly when the digests are equal")
		}
		if !slices.IsSortedFunc(d.Upserts, func(x, y confset.Object) int { return x.Key.Compare(y.Key) }) || !slices.IsSortedFunc(d.Removals, confset.Key.Compare) {
			t.Fatal("the delta is not in order")
		}
	})
}

func TestDigestForgetsHowTheSetWasBuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := objects(t, "set")
		objs := model(m)
		want := build(t, m)
		step := confset.Empty()
		for _, o := range rapid.Permutation(objs).Draw(t, "order") {
			detour := confset.NewObject(o.Key, "detour", []byte("detour"))
			step = step.Apply(confset.Delta{Upserts: []confset.Object{detour}})
			step = step.Apply(confset.Delta{Upserts: []confset.Object{o}})
		}
		if step.Digest() != want.Digest() || !equal(slices.Collect(step.All()), objs) {
			t.Fatal("one by one differs from all at once")
		}
		for _, o := range objs {
			step = step.Apply(confset.Delta{Removals: []confset.Key{o.Key}})
		}
		if step.Digest() != confset.Empty().Digest() || step.Len() != 0 {
			t.Fatal("emptied set differs from the empty one")
		}
	})
}

func TestSetAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := objects(t, "set")
		s := build(t, m)
		for _, kind := range []string{"server", "apikey", "settings", "", "serve"} {
			want := slices.DeleteFunc(model(m), func(o confset.Object) bool { return o.Key.Kind != kind })
			if got := slices.Collect(s.Kind(kind)); !equal(got, want) {
				t.Fatalf("kind %q: %d objects, want %d", kind, len(got), len(want))
			}
		}
		for k := range objects(t, "probe") {
			got, ok := s.Get(k)
			want, there := m[k]
			if ok != there || got.Hash != want.Hash || got.UID != want.UID {
				t.Fatalf("Get(%s) differs from the map", k)
			}
		}
	})
}

// FuzzDigestLaws reads the input as edits of a set and checks the incremental set against one built from scratch after each.
func FuzzDigestLaws(f *testing.F) {
	f.Add([]byte("a1b2c3a0b1"))
	f.Add([]byte{0, 0, 255, 255, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		m := map[confset.Key]confset.Object{}
		s := confset.Empty()
		for i := 0; i+1 < min(len(in), 64); i += 2 {
			k := confset.Key{Kind: []string{"server", "apikey"}[in[i]&1], Name: string(in[i : i+1])}
			before := s
			if in[i+1]&3 == 0 {
				delete(m, k)
				s = s.Apply(confset.Delta{Removals: []confset.Key{k}})
			} else {
				m[k] = confset.NewObject(k, string(in[i+1]&12), in[i+1:])
				s = s.Apply(confset.Delta{Upserts: []confset.Object{m[k]}})
			}
			scratch := build(t, m)
			if s.Digest() != scratch.Digest() || s.Len() != len(m) {
				t.Fatal("incremental differs from scratch")
			}
			if back := s.Apply(confset.Diff(s, before)); back.Digest() != before.Digest() {
				t.Fatal("the way back does not lead back")
			}
		}
	})
}
