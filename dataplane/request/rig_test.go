package request_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/proto"
)

// net/http waits half a second before it hangs up on a caller whose request it didn't read to its end, and Close doesn't wait for that.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// Two callers: alice may reach everything and sees topology, bob may reach "other" only.
const (
	alice = "sk-alice-0123456789abcdef"
	bob   = "sk-bob-0123456789abcdef99"
)

// gateway is one data plane on a real socket, with its telemetry in reach.
type gateway struct {
	url      string
	holder   *table.Holder
	handler  *request.Handler
	listener *listen.Listener
	spans    *tracetest.InMemoryExporter
	access   *lines
	log      *lines
	reg      *prometheus.Registry
	tokens   *jwt.Tokens
	resolver *credential.Resolver
	outward  *egress.Client
	lore     *catalogue.Catalogue
	drain    func() // begins to stop
	stop     func() // drains and waits
}

type lines struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings are what tests vary.
type settings struct {
	servers   map[string]*configv1.ServerSpec
	keys      map[string]*configv1.ApiKeySpec // beside alice and bob
	more      []confset.Object                // of any kind
	limits    *configv1.Limits
	ratio     string // of sampled traces; empty is 0
	anonymous bool
	public    []string
	open      bool // the listener counts as one that everybody can reach
	ready     func() ([]byte, bool)
	held      int64
	keepAlive time.Duration
	listen    listen.Config // limits and TLS
	empty     bool          // no config has been received
}

func server(url string) *configv1.ServerSpec {
	return &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}
}

// one is the settings with one server, "up".
func one(url string) settings {
	return settings{servers: map[string]*configv1.ServerSpec{"up": server(url)}}
}

// ring is the same for all gateways of a test binary: replicas of one fleet.
var ring = &configv1.SealingRing{Name: "session", Keys: []*configv1.SealingKey{{Id: 1, Secret: []byte("0123456789abcdef0123456789abcdef"), Sealing: true, CreateTime: timestamppb.Now()}}}

func start(t testing.TB, s settings) *gateway {
	t.Helper()
	g := &gateway{holder: new(table.Holder), spans: tracetest.NewInMemoryExporter(), access: new(lines), log: new(lines), reg: prometheus.NewRegistry()}
	if !s.empty {
		g.holder.Store(compiled(t, s))
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(g.spans), sdktrace.WithIDGenerator(telemetry.IDGenerator{}), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	log := slog.New(slog.NewTextHandler(g.log, nil))
	tel, err := telemetry.New(telemetry.Config{Access: g.access, Log: log, Registry: g.reg, Tracer: provider, Region: "test", Node: "n1", SampleRatio: func() float64 { return g.holder.Load().Settings().SampleRatio }})
	fatal(t, err)
	client, err := transport.New(transport.Config{Resolver: nobody{}})
	fatal(t, err)
	g.trust(t, log)
	g.lore = catalogue.New(catalogue.Config{Log: log})
	gate := auth.Gate{Tokens: g.tokens}
	if s.anonymous {
		gate.Anonymous = &table.Principal{ID: "anonymous", Name: "anonymous", Grants: []*table.Grant{table.Everything}}
	}
	g.handler, err = request.New(request.Config{Table: g.holder, Hop: hop.New(client, "test"), Telemetry: tel, Gate: gate, Region: "test", Log: log,
		Credentials: g.resolver, Lore: g.lore, Limits: policy.NewLimits(policy.LimitsConfig{}), Ready: s.ready, HeldBytes: s.held, KeepAlive: s.keepAlive,
		Listener: origin.Listener{Loopback: !s.open, Public: s.public, Anonymous: s.anonymous}})
	fatal(t, err)
	cfg := s.listen
	cfg.Addr, cfg.Handler, cfg.Log, cfg.DrainTimeout = "127.0.0.1:0", g.handler, log, cmp.Or(cfg.DrainTimeout, 5*time.Second)
	g.listener, err = listen.New(cfg)
	fatal(t, err)
	fatal(t, g.listener.Open(context.Background()))
	g.url = "http://" + g.listener.Addr().String()
	if cfg.TLS != nil {
		g.url = "https://" + g.listener.Addr().String()
	}
	g.run(t, tel, client)
	return g
}

// trust makes what finds out who callers are and what servers want.
func (g *gateway) trust(t testing.TB, log *slog.Logger) {
	var err error
	g.outward, err = egress.New(egress.Config{})
	fatal(t, err)
	g.tokens, err = jwt.New(jwt.Config{Egress: g.outward, Issuers: func() jwt.Issuers { return g.holder.Load() }, Log: log})
	fatal(t, err)
	g.resolver, err = credential.New(credential.Config{Egress: g.outward, Log: log})
	fatal(t, err)
}

// nobody is a resolver that knows no name, so that tests ask no network.
type nobody struct{}

func (nobody) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// run starts the gateway; stop drains it, then ends its telemetry, and waits for both.
func (g *gateway) run(t testing.TB, tel *telemetry.Telemetry, client *transport.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	tctx, tcancel := context.WithCancel(context.Background())
	var listening, serving sync.WaitGroup
	listening.Go(func() {
		if err := g.listener.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	serving.Go(func() {
		if err := tel.Run(tctx); err != nil {
			t.Error(err)
		}
	})
	serving.Go(func() { g.lore.Run(tctx) })
	serving.Go(func() { g.tokens.Run(tctx) })   //nolint:errcheck // ends with its context only
	serving.Go(func() { g.resolver.Run(tctx) }) //nolint:errcheck // ends with its context only
	g.drain = cancel
	g.stop = sync.OnceFunc(func() {
		cancel()
		listening.Wait()
		tcancel()
		serving.Wait()
		client.Close()
		g.outward.Close()
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		g.stop()
	})
}

func compiled(t testing.TB, s settings) *table.Table {
	t.Helper()
	ratio := &configv1.Settings{Name: "default", Spec: &configv1.SettingsSpec{Limits: s.limits, Tracing: &configv1.Tracing{SampleRatio: cmp.Or(s.ratio, "0")}}}
	d := confset.Delta{Upserts: []confset.Object{
		object(t, "apikey", "alice", &configv1.ApiKey{Name: "alice", Spec: &configv1.ApiKeySpec{Sha256: digest(alice), Servers: []string{"*"}, Roles: []string{"debug"}, TrustTraceContext: true}}),
		object(t, "apikey", "bob", &configv1.ApiKey{Name: "bob", Spec: &configv1.ApiKeySpec{Sha256: digest(bob), Servers: []string{"other"}}}),
		raw("sealingring", "session", ring),
		object(t, "settings", "default", ratio),
	}}
	for name, spec := range s.keys {
		d.Upserts = append(d.Upserts, object(t, "apikey", name, &configv1.ApiKey{Name: name, Spec: spec}))
	}
	d.Upserts = append(d.Upserts, s.more...)
	for name, spec := range s.servers {
		d.Upserts = append(d.Upserts, object(t, "server", name, &configv1.Server{Name: name, Spec: spec}))
	}
	tb, outcomes := table.New(table.Config{Region: "test"}).Apply(d, 7, table.Version{Revision: 7, Epoch: "test"})
	for _, o := range outcomes {
		if o.Rejected {
			t.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	return tb
}

func object(t testing.TB, kind, name string, m proto.Message) confset.Object {
	t.Helper()
	body, err := rules.Body(m)
	fatal(t, err)
	return confset.Object{Key: confset.Key{Kind: kind, Name: name}, UID: "uid-" + name, Hash: confset.HashBody(body), Body: body}
}

func raw(kind, name string, m proto.Message) confset.Object {
	body, _ := proto.Marshal(m)
	return confset.Object{Key: confset.Key{Kind: kind, Name: name}, UID: "uid-" + name, Hash: confset.HashBody(body), Body: body}
}

func digest(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   string
}

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// send makes one request; heads alternate names and values.
func (g *gateway) send(t testing.TB, method, path, body string, heads ...string) answer {
	t.Helper()
	res := g.open(t, method, path, body, heads...)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		b = append(b, fmt.Sprintf(" (body: %v)", err)...)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// open makes one request and returns its answer with the body still to read.
func (g *gateway) open(t testing.TB, method, path, body string, heads ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, g.url+path, strings.NewReader(body))
	fatal(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Litellm-Api-Key", "Bearer "+alice)
	for i := 0; i+1 < len(heads); i += 2 {
		if heads[i] == "Host" {
			req.Host = heads[i+1]
		}
		req.Header.Set(heads[i], heads[i+1])
		if heads[i+1] == "" {
			req.Header.Del(heads[i])
		}
	}
	res, err := http.DefaultClient.Do(req)
	fatal(t, err)
	return res
}
