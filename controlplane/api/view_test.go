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
	"github.com/hopgate/hopgate/proto/confset"
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
	return func(c *api.Config, g *admit.Config) { c.Index, g.Set = v, lagging{v} }
}

// lagging is the set of a replica that follows the watch.
type lagging struct{ *view.Views }

func (l lagging) Has(key confset.Key) bool { _, ok := l.Get(key.Kind, key.Name); return ok }

// One request after another must work on whatever replicas they arrive: what refers to an object made elsewhere, and its removal.
func TestReferencesHoldAcrossReplicas(t *testing.T) {
	s, kek := memstore.New(), testKEK(t)
	one := start(t, s, overViews(t, s), withKEK(kek))
	other := start(t, s.Replica(), overViews(t, s.Replica()), withKEK(kek))
	const needing = `{"spec":{"auth":{"type":"bearer","value":{"secret":"token"}},"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}]}}`
	for range 30 {
		one.must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
		other.must(200, "PUT", "/v1/servers/a", needing)
		if got := str(one.must(400, "DELETE", "/v1/secrets/token", ""), "message"); got != `secret "token": is in use by server "a"; remove these references before, or in the same change` {
			t.Fatal(got)
		}
		one.must(200, "DELETE", "/v1/servers/a", "")
		other.must(200, "DELETE", "/v1/secrets/token", "")
		one.must(400, "PUT", "/v1/servers/a", needing)
	}
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
