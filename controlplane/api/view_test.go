package api_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
)

// overViews puts the real index, which follows the store's watch, under an admin API.
func overViews(t *testing.T, s *memstore.Store) option {
	t.Helper()
	v, err := view.New(view.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = v.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-v.Ready()
	return func(c *api.Config, _ *admit.Config) { c.Index = v }
}

func TestAReadAfterAWriteSeesIt(t *testing.T) {
	s := memstore.New()
	p := start(t, s, overViews(t, s))
	other := start(t, s.Replica(), overViews(t, s.Replica()))
	for i := range 50 {
		body := fmt.Sprintf(`{"labels":{"n":"%d"},%s`, i, demo[1:])
		made := p.must(200, "PUT", "/v1/servers/a", body)
		if got := p.must(200, "GET", "/v1/servers/a", ""); str(got, "labels", "n") != fmt.Sprint(i) {
			t.Fatalf("read %v after %d", got, i)
		}
		// The other replica's index may lag, but what it writes on doesn't.
		other.must(200, "PUT", "/v1/servers/a", body, "If-Match", str(made, "meta", "etag"))
		p.must(200, "DELETE", "/v1/servers/a", "")
		p.must(404, "GET", "/v1/servers/a", "")
		other.must(200, "PUT", "/v1/servers/a", body)
	}
}
