package table_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// fleet is a delta of 2,000 servers and n API keys.
func fleet(tb testing.TB, n int) confset.Delta {
	tb.Helper()
	var d confset.Delta
	for i := range 2000 {
		name := fmt.Sprintf("server_%04d", i)
		d.Upserts = append(d.Upserts, object(tb, "server", name, &configv1.Server{Name: name, Spec: &configv1.ServerSpec{
			Endpoints: []*configv1.Endpoint{{Url: "https://" + name + ".example.com/mcp"}}}}))
	}
	for i := range n {
		d.Upserts = append(d.Upserts, numberedKey(tb, i, 0))
	}
	return d
}

func numberedKey(tb testing.TB, i, salt int) confset.Object {
	sum := sha256.Sum256(fmt.Append(nil, i, "-", salt))
	name := fmt.Sprintf("key_%06d", i)
	return object(tb, "apikey", name, &configv1.ApiKey{Name: name, Spec: &configv1.ApiKeySpec{
		Sha256: hex.EncodeToString(sum[:]), User: "someone", Servers: []string{"server_0001", "server_0002"}}})
}

// One API key gets another secret: the goal is 5 µs, whatever the number of keys.
func BenchmarkApplyOneKey(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(b, n), 1, table.Version{})
			var deltas [64]confset.Delta
			for i := range deltas {
				deltas[i].Upserts = []confset.Object{numberedKey(b, i*7%n, 1)}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				t.Apply(deltas[i%len(deltas)], 2, table.Version{})
				i++
			}
		})
	}
}

// A team changes that all keys could belong to: none of them is touched.
func BenchmarkApplyOneTeam(b *testing.B) {
	t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(b, 100_000), 1, table.Version{})
	d := confset.Delta{Upserts: []confset.Object{team(b, "core", &configv1.TeamSpec{Servers: []string{"server_0001"}})}}
	b.ReportAllocs()
	for b.Loop() {
		t.Apply(d, 2, table.Version{})
	}
}

// A process starts with 2,000 servers and 100,000 keys.
func BenchmarkApplyAll(b *testing.B) {
	d := fleet(b, 100_000)
	for b.Loop() {
		table.New(table.Config{Region: "eu"}).Apply(d, 1, table.Version{})
	}
}

func BenchmarkApplySettings(b *testing.B) {
	t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(b, 1000), 1, table.Version{})
	d := confset.Delta{Upserts: []confset.Object{object(b, "settings", "default", &configv1.Settings{Name: "default",
		Spec: &configv1.SettingsSpec{Timeouts: &configv1.Timeouts{Connect: "1s"}}})}}
	for b.Loop() {
		t.Apply(d, 2, table.Version{})
	}
}

func BenchmarkPrincipal(b *testing.B) {
	t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(b, 100_000), 1, table.Version{})
	sums := make([][32]byte, 0, 1024)
	for i := range cap(sums) {
		sums = append(sums, sha256.Sum256(fmt.Append(nil, i*97, "-", 0)))
	}
	i := 0
	for b.Loop() {
		if t.Principal(sums[i%len(sums)]) == nil {
			b.Fatal("not found")
		}
		i++
	}
}
