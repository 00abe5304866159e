package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const masterKey = "sk-master-0123456789abcdef0123456789"

// storeIndex reads everything from the store at once, so that it never lags.
type storeIndex struct{ store.Store }

func (x storeIndex) load() *store.Snapshot {
	s, err := x.Load(context.Background())
	if err != nil {
		return &store.Snapshot{}
	}
	return s
}

func (x storeIndex) Get(kind, name string) (store.Head, bool) {
	h, err := x.Store.Get(context.Background(), confset.Key{Kind: kind, Name: name})
	return h, err == nil
}

func (x storeIndex) List(kind, after string, n int) []store.Head {
	heads := slices.DeleteFunc(x.load().Heads, func(h store.Head) bool { return h.Object.Key.Kind != kind || h.Object.Key.Name <= after })
	slices.SortFunc(heads, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	return heads[:min(n, len(heads))]
}

func (x storeIndex) Revision() int64 { return x.load().Revision }

func (x storeIndex) WaitRevision(context.Context, int64) error { return nil }

func (x storeIndex) Has(key confset.Key) bool { _, ok := x.Get(key.Kind, key.Name); return ok }

func (x storeIndex) Holder(c links.Claim) (string, bool) {
	for _, h := range x.load().Heads {
		for _, held := range links.Read(h.Object).Claims {
			if held.Claim == c {
				return h.Object.Key.Name, true
			}
		}
	}
	return "", false
}

func (x storeIndex) Referrers(to confset.Key) (out []confset.Key) {
	for _, h := range x.load().Heads {
		if slices.ContainsFunc(links.Read(h.Object).Refs, func(r links.Ref) bool { return r.To == to }) {
			out = append(out, h.Object.Key)
		}
	}
	return out
}

// fleet is two data planes that applied everything.
type fleet struct{}

func (fleet) ObjectStatus(confset.Object) *configv1.ObjectStatus {
	return &configv1.ObjectStatus{Applied: 2}
}

// ScopedStatus tells the hash it was asked for in a refusal.
func (fleet) ScopedStatus(o confset.Object, _ int64) *configv1.ObjectStatus {
	return &configv1.ObjectStatus{Applied: 1, Refusals: []*configv1.Refusal{{Text: o.Hash.String()}}}
}

func (fleet) Delivery(int64, []confset.Key) *adminv1.Delivery {
	return &adminv1.Delivery{Nodes: 2, Applied: 2}
}

func (fleet) Nodes() []*adminv1.Node { return []*adminv1.Node{{Node: "dp-1"}, {Node: "dp-2"}} }

func (fleet) Listen(func(*adminv1.Node)) (stop func()) { return func() {} }

// logbook collects log lines.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns the audit lines so far as maps.
func (l *logbook) lines(t *testing.T) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// plane is one running admin API over a store.
type plane struct {
	testing.TB
	store  *memstore.Store
	url    string
	addr   string
	log    *logbook
	client *http.Client
	key    string
}

type option func(*api.Config, *admit.Config)

// testKEK is a new key-encryption key.
func testKEK(t testing.TB) *secret.KEK {
	t.Helper()
	kek, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func withKEK(kek *secret.KEK) option { return func(c *api.Config, _ *admit.Config) { c.KEK = kek } }

func withTracer(p trace.TracerProvider) option {
	return func(c *api.Config, _ *admit.Config) { c.Tracer = p }
}

func withClock(now func() time.Time) option {
	return func(c *api.Config, _ *admit.Config) { c.Now = now }
}

// start runs an admin API on loopback until the test ends.
func start(t testing.TB, s *memstore.Store, opts ...option) *plane {
	t.Helper()
	x := storeIndex{s}
	keys := api.NewKeys(x.Holder, x)
	book := &logbook{}
	gateCfg := admit.Config{Set: x, Limits: s.Limits()}
	cfg := api.Config{
		Store: s, Index: x, Fleet: fleet{}, KEK: testKEK(t), Keys: keys.Find, MasterKey: sha256.Sum256([]byte(masterKey)), Version: "1.2.3", Replica: "cp-1",
		Log: slog.New(slog.NewJSONHandler(book, nil)),
	}
	for _, o := range opts {
		o(&cfg, &gateCfg)
	}
	var err error
	if cfg.Gate, err = admit.New(gateCfg); err != nil {
		t.Fatal(err)
	}
	srv, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{TB: t, store: s, log: book, key: masterKey, client: &http.Client{Transport: &http.Transport{}}}
	p.serve(srv)
	return p
}

func (p *plane) serve(srv *api.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	hs := &http.Server{Handler: srv.Handler(), Protocols: &protocols}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Run(ctx); err != nil {
			p.Errorf("run: %v", err)
		}
	})
	wg.Go(func() { _ = hs.Serve(l) })
	p.addr, p.url = l.Addr().String(), "http://"+l.Addr().String()
	p.Cleanup(func() {
		p.client.CloseIdleConnections()
		_ = hs.Close()
		cancel()
		wg.Wait()
	})
}

// as is the same plane with another key.
func (p *plane) as(key string) *plane {
	c := *p
	c.key = key
	return &c
}

// answer of a REST call.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes one REST call; extra are header names and values in turn.
func (p *plane) do(method, path, body string, extra ...string) answer {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	if p.key != "" {
		req.Header.Set("Authorization", "Bearer "+p.key)
	}
	for i := 0; i < len(extra); i += 2 {
		req.Header.Set(extra[i], extra[i+1])
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// must is do with an expected status.
func (p *plane) must(status int, method, path, body string, extra ...string) map[string]any {
	p.Helper()
	a := p.do(method, path, body, extra...)
	if a.status != status {
		p.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.body)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		p.Fatalf("%s %s: body %q: %v", method, path, a.body, err)
	}
	return m
}

// dial returns a gRPC client and a context that carries the key.
func (p *plane) dial() (adminv1.AdminServiceClient, context.Context) {
	p.Helper()
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = conn.Close() })
	ctx := p.Context()
	if p.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.key)
	}
	return adminv1.NewAdminServiceClient(conn), ctx
}

// at follows a path of keys and indexes through decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

func str(v any, path ...any) string {
	s, _ := at(v, path...).(string)
	return s
}

func sum(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

const demo = `{"spec":{"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}]}}`

func demoServer(name string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:3001/mcp"}}}}
}
