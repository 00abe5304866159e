package confset_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/confset"
)

func server(name, uid, body string) confset.Object {
	return confset.NewObject(confset.Key{Kind: "server", Name: name}, uid, []byte(body))
}

func TestNewRefusesTwoObjectsUnderOneKey(t *testing.T) {
	_, err := confset.New([]confset.Object{server("a", "1", "x"), server("b", "2", "x"), server("a", "3", "y")})
	if err == nil || !strings.Contains(err.Error(), "server/a") {
		t.Fatalf("error %v does not name server/a", err)
	}
}

// The digest crosses the wire and lies on disks: it must never change by accident.
func TestDigestIsTheOneOfTheWireContract(t *testing.T) {
	s, err := confset.New([]confset.Object{server("github", "01J", "body"), server("everything", "01K", ""),
		confset.NewObject(confset.Key{Kind: "settings", Name: "default"}, "01L", []byte{1, 2, 3})})
	if err != nil {
		t.Fatal(err)
	}
	const emptySet, threeObjects = "5dbcbe848448e7df3d538e1ae74822198c2a236e739bf1c5ed2e9f2d3c88aecc", "9fce35621a447ef6e3a22c848a05f16cff1afd2385d73ab01cb9a3bf56e85cc6"
	if got := confset.Empty().Digest().String(); got != emptySet {
		t.Errorf("empty set: digest %s, want %s", got, emptySet)
	}
	if got := s.Digest().String(); got != threeObjects {
		t.Errorf("three objects: digest %s, want %s", got, threeObjects)
	}
}

func TestDigestCoversEveryPart(t *testing.T) {
	base := server("ab", "u", "body")
	seen := map[confset.Digest]string{}
	for name, o := range map[string]confset.Object{
		"base": base, "kind": {Key: confset.Key{Kind: "serve", Name: "rab"}, UID: "u", Hash: base.Hash},
		"name": server("abu", "", "body"), "uid": server("ab", "v", "body"), "body": server("ab", "u", "bodies"),
	} {
		s := confset.Empty().Apply(confset.Delta{Upserts: []confset.Object{o}})
		if other, ok := seen[s.Digest()]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[s.Digest()] = name
	}
}

func TestApplyTakesLooseDeltas(t *testing.T) {
	s, err := confset.New([]confset.Object{server("a", "1", "x")})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Apply(confset.Delta{Removals: []confset.Key{{Kind: "server", Name: "nobody"}}, Upserts: []confset.Object{server("a", "1", "x")}}); got != s {
		t.Error("a delta that changes nothing made a new set")
	}
	both := confset.Delta{Removals: []confset.Key{{Kind: "server", Name: "a"}}, Upserts: []confset.Object{server("a", "2", "y"), server("a", "3", "z")}}
	if o, ok := s.Apply(both).Get(confset.Key{Kind: "server", Name: "a"}); !ok || o.UID != "3" {
		t.Errorf("got %q, %v; the last upsert should stay", o.UID, ok)
	}
}

func TestIntactSeesAChangedBody(t *testing.T) {
	o := server("a", "1", "body")
	if !o.Intact() {
		t.Error("a new object is not intact")
	}
	o.Body = []byte("bodY")
	if o.Intact() {
		t.Error("a changed body passes as intact")
	}
}

func TestLoopsMayEndEarly(t *testing.T) {
	s, err := confset.New([]confset.Object{server("b", "1", ""), server("a", "1", ""), server("c", "1", "")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for o := range s.All() {
		if names = append(names, o.Key.Name); len(names) == 2 {
			break
		}
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("got %v", names)
	}
}

func large(tb testing.TB, n int) *confset.Set {
	tb.Helper()
	objs := make([]confset.Object, n)
	for i := range objs {
		objs[i] = confset.NewObject(confset.Key{Kind: []string{"apikey", "server"}[i/100_000&1], Name: fmt.Sprintf("name-%06d", i)},
			fmt.Sprintf("01JD%022d", i), []byte(fmt.Sprintf("body %d", i)))
	}
	s, err := confset.New(objs)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// The goal is 30 µs a change: confset is computed on both sides of every push.
func BenchmarkApplyOneAmong102000(b *testing.B) {
	s := large(b, 102_000)
	key := confset.Key{Kind: "apikey", Name: "name-050000"}
	deltas := [2]confset.Delta{
		{Upserts: []confset.Object{confset.NewObject(key, "u", []byte("even"))}},
		{Upserts: []confset.Object{confset.NewObject(key, "u", []byte("odd"))}},
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s = s.Apply(deltas[i&1])
	}
}

func BenchmarkDiffOneAmong102000(b *testing.B) {
	s := large(b, 102_000)
	to := s.Apply(confset.Delta{Removals: []confset.Key{{Kind: "apikey", Name: "name-050000"}}})
	b.ReportAllocs()
	for b.Loop() {
		if confset.Diff(s, to).Empty() {
			b.Fatal("no difference")
		}
	}
}

func BenchmarkNew102000(b *testing.B) {
	objs := slices.Collect(large(b, 102_000).All())
	for b.Loop() {
		if _, err := confset.New(objs); err != nil {
			b.Fatal(err)
		}
	}
}
