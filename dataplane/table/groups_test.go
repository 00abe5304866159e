package table_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func inGroups(tb testing.TB, name, url string, groups ...string) confset.Object {
	s := spec(at(url))
	s.AccessGroups = groups
	return server(tb, name, s)
}

func members(t *table.Table, group string) (names []string) {
	for _, s := range t.Group(group) {
		names = append(names, s.Name)
	}
	return names
}

func TestGroupsFollowTheirServers(t *testing.T) {
	one, _ := apply(empty(), inGroups(t, "b", "http://h/", "dev", "ops"), inGroups(t, "a", "http://h/", "dev"), inGroups(t, "c", "http://h/", "dev"))
	two, _ := apply(one, inGroups(t, "b", "http://h/", "ops"), inGroups(t, "c", "ftp://bad/"), inGroups(t, "d", "http://h/", "dev"))
	two, _ = remove(two, "server", "a")
	for _, c := range []struct {
		t     *table.Table
		group string
		want  []string
	}{{one, "dev", []string{"a", "b", "c"}}, {one, "ops", []string{"b"}}, {two, "dev", []string{"c", "d"}}, {two, "ops", []string{"b"}}, {two, "none", nil}} {
		if got := members(c.t, c.group); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.group, got, c.want)
		}
	}
	two, _ = remove(two, "server", "b")
	if two.Group("ops") != nil {
		t.Error("a group without servers is there")
	}
}

// However the servers came, a group holds just those of the table that name it, in order.
func TestGroupsAreThoseOfTheServers(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	rapid.Check(t, func(rt *rapid.T) {
		tab := empty()
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			var d confset.Delta
			for _, name := range some(rt, "changed", names, 4) {
				if rapid.IntRange(0, 3).Draw(rt, "drop") == 0 {
					d.Removals = append(d.Removals, confset.Key{Kind: "server", Name: name})
					continue
				}
				d.Upserts = append(d.Upserts, inGroups(t, name, rapid.SampledFrom([]string{"http://h/", "http://h/2", "ftp://bad/"}).Draw(rt, "url"), some(rt, "groups", worldGroups, 2)...))
			}
			if rapid.IntRange(0, 3).Draw(rt, "settings") == 0 {
				d.Upserts = append(d.Upserts, settings(t, &configv1.SettingsSpec{Timeouts: &configv1.Timeouts{Connect: rapid.SampledFrom([]string{"1s", "2s"}).Draw(rt, "connect")}}))
			}
			before := [][]*table.Server{slices.Clone(tab.Group("g")), tab.Group("g")}
			tab, _ = tab.Apply(d, 1, table.Version{})
			if !slices.Equal(before[0], before[1]) {
				rt.Fatal("a list of the old table changed")
			}
			for _, group := range worldGroups {
				var want []*table.Server
				for s := range tab.Servers() {
					if slices.Contains(s.Groups, group) {
						want = append(want, s)
					}
				}
				if !slices.Equal(tab.Group(group), want) {
					rt.Fatalf("%s: %v", group, members(tab, group))
				}
			}
		}
	})
}

// One server of 2,000 changes, of which each is in so many groups.
func BenchmarkApplyOneServerInGroups(b *testing.B) {
	for _, n := range []int{0, 1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			groups := make([]string, n)
			for i := range groups {
				groups[i] = fmt.Sprint("group_", i)
			}
			var all confset.Delta
			for i := range 2000 {
				all.Upserts = append(all.Upserts, inGroups(b, fmt.Sprintf("server_%04d", i), "http://h/", groups...))
			}
			t, _ := empty().Apply(all, 1, table.Version{})
			one := confset.Delta{Upserts: []confset.Object{inGroups(b, "server_1000", "http://h/2", groups...)}}
			b.ReportAllocs()
			for b.Loop() {
				t.Apply(one, 2, table.Version{})
			}
		})
	}
}
