package api_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// wire is a fleet and a state whose events the test makes.
type wire struct {
	fleet
	mu      sync.Mutex
	nodes   map[*func(*adminv1.Node)]struct{} // guarded by mu
	changes map[*func(view.Told)]struct{}     // guarded by mu
	status  view.Status
}

func newWire() *wire {
	return &wire{nodes: map[*func(*adminv1.Node)]struct{}{}, changes: map[*func(view.Told)]struct{}{}}
}

func on[T any](w *wire, all map[*func(T)]struct{}, hear func(T)) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all[&hear] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(all, &hear)
	}
}

func emit[T any](w *wire, all map[*func(T)]struct{}, v T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for hear := range all {
		(*hear)(v)
	}
}

func (w *wire) Listen(hear func(*adminv1.Node)) func() { return on(w, w.nodes, hear) }

// stater is the state side of a wire.
type stater struct{ *wire }

func (s stater) Status() view.Status                { return s.status }
func (s stater) Listen(hear func(view.Told)) func() { return on(s.wire, s.changes, hear) }
func (s stater) ConfirmCount(n int) (int, bool)     { return len(s.status.Held), n == len(s.status.Held) }

func (w *wire) option(c *api.Config, _ *admit.Config) { c.Fleet, c.State = w, stater{w} }

func (w *wire) watchers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.nodes)
}

// watchSSE opens a REST watch and returns its answer and a reader of lines.
func (p *plane) watchSSE() (*http.Response, *bufio.Reader) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.url+"/v1/watch", nil)
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	res, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = res.Body.Close() })
	return res, bufio.NewReader(res.Body)
}

func lines(t testing.TB, r *bufio.Reader, n int) (out []string) {
	t.Helper()
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", out, err)
		}
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	return out
}

func TestAWatchTellsChangesAndNodesAsServerSentEvents(t *testing.T) {
	w := newWire()
	p := start(t, memstore.New(), w.option)
	res, r := p.watchSSE() //nolint:bodyclose // closed when the test ends
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, type %s", res.StatusCode, got)
	}
	emit(w, w.changes, view.Told{Change: &store.ChangeRecord{ID: "c1", Author: "master", Revision: 7, Objects: []store.Changed{{Kind: "server", Name: "a", After: "00"}, {Kind: "ring", Name: "session"}}}})
	emit(w, w.nodes, &adminv1.Node{Node: "dp", Connected: true, InSync: true})
	emit(w, w.changes, view.Told{Gap: true})
	want := []string{": watching", "",
		"event: change", "id: c1", `data: {"id":"c1","author":"master","objects":[{"kind":"server","name":"a","action":"created","after":"AA=="}],"revision":"7"}`, "",
		"event: node", `data: {"node":"dp","connected":true,"in_sync":true}`, "",
		"event: missed", `data: {"events":"1"}`, ""}
	if got := lines(t, r, len(want)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAWatchOverGRPCTellsRealChanges(t *testing.T) {
	s := memstore.New()
	var views *view.Views
	p := start(t, s, overViews(t, s), func(c *api.Config, _ *admit.Config) {
		views = c.Index.(*view.Views)
		c.State = views
	})
	c, ctx := p.dial()
	st, err := c.WatchEvents(ctx, &adminv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Header(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p.must(200, "PUT", fmt.Sprintf("/v1/servers/s%d", i), demo)
		e, err := st.Recv()
		if got := e.GetChange(); err != nil || got.GetRevision() == 0 || len(got.GetObjects()) != 1 || got.GetObjects()[0].GetName() != fmt.Sprintf("s%d", i) || got.GetDelivery() != nil {
			t.Fatalf("heard %v, %v", e, err)
		}
	}
}

func TestASlowWatcherHearsHowManyEventsItMissed(t *testing.T) {
	w := newWire()
	p := start(t, memstore.New(), w.option)
	_, r := p.watchSSE() //nolint:bodyclose // closed when the test ends
	lines(t, r, 2)
	// One burst under the lock that every watcher's sender must not need.
	const burst = 100_000
	for i := range burst {
		emit(w, w.nodes, &adminv1.Node{Node: fmt.Sprint(i), Version: strings.Repeat("v", 200)})
	}
	told, missed := 0, int64(0)
	for told+int(missed) < burst {
		line := lines(t, r, 1)[0]
		if strings.HasPrefix(line, "event: node") {
			told++
		}
		var n int64
		if _, err := fmt.Sscanf(line, `data: {"events":"%d"}`, &n); err == nil {
			missed += n
		}
	}
	if missed == 0 || told+int(missed) != burst {
		t.Errorf("%d told and %d missed of %d", told, missed, burst)
	}
}

func TestWatchesAreBoundedAndEndAtShutdown(t *testing.T) {
	w := newWire()
	p := start(t, memstore.New(), w.option)
	c, ctx := p.dial()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range 100 {
		st, err := c.WatchEvents(ctx, &adminv1.WatchEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Header(); err != nil {
			t.Fatal(err)
		}
	}
	if a := p.do("GET", "/v1/watch", ""); a.status != 429 || !strings.Contains(a.body, "100 callers watch already") {
		t.Errorf("one more: %d %s", a.status, a.body)
	}
	cancel()
	for end := time.Now().Add(10 * time.Second); w.watchers() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d watches are left", w.watchers())
		}
	}
}

func TestOnlyAdminsAndViewersWatch(t *testing.T) {
	p := start(t, memstore.New())
	for _, c := range []struct {
		name, key, roles string
		status           int
		code             codes.Code
	}{{"nobody", "sk-unknown", "", 401, codes.Unauthenticated}, {"user", "sk-user-0123456789abcdef0123456789", `[]`, 403, codes.PermissionDenied}} {
		if c.roles != "" {
			p.must(200, "PUT", "/v1/apikeys/"+c.name, `{"spec":{"sha256":"`+sum(c.key)+`","roles":`+c.roles+`}}`)
		}
		other := p.as(c.key)
		if a := other.do("GET", "/v1/watch", ""); a.status != c.status {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		client, ctx := other.dial()
		st, err := client.WatchEvents(ctx, &adminv1.WatchEventsRequest{})
		if err == nil {
			_, err = st.Recv()
		}
		if status.Code(err) != c.code {
			t.Errorf("%s over gRPC: %v", c.name, err)
		}
	}
}

func TestAWatchEndsWithItsKey(t *testing.T) {
	w := newWire()
	p := start(t, memstore.New(), w.option)
	const key = "sk-viewer-0123456789abcdef0123456789"
	p.must(200, "PUT", "/v1/apikeys/eye", `{"spec":{"sha256":"`+sum(key)+`","roles":["viewer"]}}`)
	_, sse := p.as(key).watchSSE() //nolint:bodyclose // closed when the test ends
	lines(t, sse, 2)
	client, ctx := p.as(key).dial()
	st, err := client.WatchEvents(ctx, &adminv1.WatchEventsRequest{})
	if err == nil {
		_, err = st.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.must(200, "DELETE", "/v1/apikeys/eye", "")
	emit(w, w.nodes, &adminv1.Node{Node: "hidden"})
	if line, err := sse.ReadString('\n'); err == nil {
		t.Errorf("a revoked key still hears %q", line)
	}
	if e, err := st.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked key still hears %v, %v", e, err)
	}
}

// page is a writer of one answer that the test reads.
type page struct {
	logbook
	header http.Header
}

func (p *page) Header() http.Header { return p.header }
func (*page) WriteHeader(int)       {}
func (*page) Flush()                {}

func TestAnIdleWatchShowsThatItIsAliveAndEndsAtShutdown(t *testing.T) {
	kek := testKEK(t)
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		gate, err := admit.New(admit.Config{Set: storeIndex{s}, Limits: s.Limits()})
		if err != nil {
			t.Fatal(err)
		}
		srv, err := api.New(api.Config{Store: s, Index: storeIndex{s}, Fleet: fleet{}, Gate: gate, KEK: kek, MasterKey: sha256.Sum256([]byte(masterKey))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Run(ctx) })
		out := &page{header: http.Header{}}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/watch", http.NoBody)
		req.Header.Set("Authorization", "Bearer "+masterKey)
		wg.Go(func() { srv.Handler().ServeHTTP(out, req) })
		<-time.After(31 * time.Second)
		if got := out.String(); got != ": watching\n\n: alive\n\n: alive\n\n" {
			t.Errorf("wrote %q", got)
		}
		stop()
		wg.Wait()
	})
}

func TestRemovalsAreConfirmedByTheirNumber(t *testing.T) {
	w := newWire()
	for i := range 120 {
		w.status.Held = append(w.status.Held, confset.Key{Kind: "server", Name: fmt.Sprintf("s%03d", i)})
	}
	w.status.Stale = 1500 * time.Millisecond
	p := start(t, memstore.New(), w.option)
	info := p.must(200, "GET", "/v1/info", "")
	if held, _ := info["held"].([]any); len(held) != 100 || info["held_removals"] != 120.0 || info["stale_seconds"] != "2" || info["upstream"] != nil {
		t.Errorf("info %v", info)
	}
	if m := str(p.must(400, "POST", "/v1/removals:confirm", `{"count":119}`), "message"); !strings.Contains(m, "120 removals are held, not 119") {
		t.Error(m)
	}
	p.must(400, "POST", "/v1/removals:confirm", `{}`)
	const key = "sk-viewer-0123456789abcdef0123456789"
	p.must(200, "PUT", "/v1/apikeys/eye", `{"spec":{"sha256":"`+sum(key)+`","roles":["viewer"]}}`)
	p.as(key).must(403, "POST", "/v1/removals:confirm", `{"count":120}`)
	if got := p.must(200, "POST", "/v1/removals:confirm", `{"count":120}`); got["confirmed"] != 120.0 {
		t.Errorf("confirmed %v", got)
	}
	all := p.log.lines(t)
	if last := all[len(all)-1]; last["method"] != "ConfirmRemovals" || last["outcome"] != "ok" || last["caller"] != "master" || last["more_objects"] != 110.0 {
		t.Errorf("audit line %v", last)
	}
}

func TestARelayTellsOfItsHome(t *testing.T) {
	p := start(t, memstore.New(), func(c *api.Config, _ *admit.Config) {
		c.Home = func() (string, time.Duration) { return "cp.example.com:4002", 3 * time.Second }
	})
	if info := p.must(200, "GET", "/v1/info", ""); info["upstream"] != "cp.example.com:4002" || info["stale_seconds"] != "3" {
		t.Errorf("info %v", info)
	}
}

func TestTheDocumentSaysThatAWatchIsAStreamOfEvents(t *testing.T) {
	p := start(t, memstore.New())
	var doc struct {
		Paths map[string]map[string]struct{ Produces []string }
	}
	if err := json.Unmarshal([]byte(p.do("GET", "/openapi.json", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Paths["/v1/watch"]["get"].Produces; !slices.Equal(got, []string{"text/event-stream"}) {
		t.Errorf("%q", got)
	}
}
