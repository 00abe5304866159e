package api_test

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func BenchmarkPut(b *testing.B) {
	p := start(b, memstore.New())
	client, ctx := p.dial()
	n := 0
	b.Run("rest", func(b *testing.B) {
		for b.Loop() {
			n++
			if a := p.do("PUT", "/v1/servers/a", fmt.Sprintf(`{"labels":{"n":"%d"},%s`, n, demo[1:])); a.status != 200 {
				b.Fatal(a.body)
			}
		}
	})
	b.Run("grpc", func(b *testing.B) {
		for b.Loop() {
			n++
			s := demoServer("a")
			s.Labels = map[string]string{"n": fmt.Sprint(n)}
			if _, err := client.PutServer(ctx, &adminv1.PutServerRequest{Name: "a", Server: s}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
