package credential_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gatewayKey = "sk-gateway-canary-0123456789"
	secret     = "upstream-canary-secret-456"
	second     = "second-canary-secret-789"
	jwt        = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
)

// canaries may never show in an error, a log line or a diagnostic header.
var canaries = []string{gatewayKey, secret, second, jwt, "minted-canary", "description-canary"}

func clean(t *testing.T, where, text string) {
	t.Helper()
	for _, c := range canaries {
		if strings.Contains(text, c) {
			t.Errorf("%s holds the secret %q: %s", where, c, text)
		}
	}
}

// world is a table with one server, the callers' view of it, and a resolver over a token endpoint in memory.
type world struct {
	t        testing.TB
	table    *table.Table
	resolver *credential.Resolver
	endpoint *endpoint
	log      *lines
}

func object(t testing.TB, kind, name string, m proto.Message) confset.Object {
	t.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, body)
}

func newWorld(t testing.TB, spec *configv1.ServerSpec) *world {
	t.Helper()
	key := &table.Principal{ID: "master", Name: "master", Hash: sha256.Sum256([]byte(gatewayKey))}
	w := &world{t: t, table: table.New(table.Config{Static: []*table.Principal{key}}), endpoint: &endpoint{}, log: &lines{}}
	w.configure(spec)
	w.keep("one", secret)
	w.keep("two", second)
	w.keep("leaky", gatewayKey)
	w.resolver = w.newResolver()
	return w
}

func (w *world) newResolver() *credential.Resolver {
	r, err := credential.New(credential.Config{Egress: w.endpoint, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) apply(o confset.Object) {
	w.t.Helper()
	next, outs := w.table.Apply(confset.Delta{Upserts: []confset.Object{o}}, w.table.Version().Revision+1, table.Version{})
	for _, out := range outs {
		if out.Rejected {
			w.t.Fatalf("%s: %s %s", out.Key, out.Field, out.Text)
		}
	}
	w.table = next
}

func (w *world) configure(spec *configv1.ServerSpec) {
	w.t.Helper()
	if spec.Endpoints == nil {
		spec.Endpoints = []*configv1.Endpoint{{Url: "https://mcp.example.com/mcp?x=1"}}
	}
	w.apply(object(w.t, "server", "my_up", &configv1.Server{Name: "my_up", Spec: spec}))
}

// keep stores a secret under a name.
func (w *world) keep(name, value string) {
	w.t.Helper()
	w.apply(object(w.t, "secret", name, &configv1.Secret{Name: name, Spec: &configv1.SecretSpec{Value: value}}))
}

func (w *world) lose(name string) {
	w.table, _ = w.table.Apply(confset.Delta{Removals: []confset.Key{{Kind: "secret", Name: name}}}, w.table.Version().Revision+1, table.Version{})
}

func (w *world) server() *table.Server {
	s, ok := w.table.Server("my_up")
	if !ok {
		w.t.Fatal("the server isn't there")
	}
	return s
}

// ask is a request with headers "name: value".
func (w *world) ask(headers ...string) *credential.Ask {
	h := http.Header{}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	t := w.table
	return &credential.Ask{Table: t, Server: w.server(), Header: h, Single: true, Holds: func(v string) bool { return (&auth.Gate{}).Holds(t, v) }}
}

func (w *world) resolve(a *credential.Ask) (credential.Bound, error) {
	return w.resolver.Resolve(context.Background(), a)
}

// show is a Bound as one line.
func show(b credential.Bound) string {
	var out []string
	for _, f := range b.Fields {
		out = append(out, f.Name+": "+f.Value)
	}
	return strings.Join(append(out, b.Resolution, b.Shown), " | ")
}

// face is what a fault says about itself.
func face(err error) string {
	f := fault.As(err)
	if f == nil {
		return "no fault"
	}
	return strings.TrimSuffix(f.Header(), "; server=my_up")
}

// endpoint is a token endpoint in memory.
type endpoint struct {
	mu      sync.Mutex
	calls   []*egress.Request                                                           // guarded by mu
	respond func(ctx context.Context, n int, r *egress.Request) (*egress.Answer, error) // nil: a token
}

func (e *endpoint) Do(ctx context.Context, r *egress.Request) (*egress.Answer, error) {
	e.mu.Lock()
	e.calls = append(e.calls, r)
	n, respond := len(e.calls), e.respond
	e.mu.Unlock()
	if respond != nil {
		return respond(ctx, n, r)
	}
	return minted(n, 300), nil
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

func (e *endpoint) set(respond func(ctx context.Context, n int, r *egress.Request) (*egress.Answer, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.respond = respond
}

func (e *endpoint) last(t testing.TB) (*egress.Request, url.Values) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) == 0 {
		t.Fatal("the token endpoint wasn't asked")
	}
	r := e.calls[len(e.calls)-1]
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	return r, form
}

func token(n int) string { return "minted-canary-" + strconv.Itoa(n) }

func minted(n int, seconds any) *egress.Answer {
	m := map[string]any{"access_token": token(n), "token_type": "Bearer"}
	if seconds != nil {
		m["expires_in"] = seconds
	}
	b, _ := json.Marshal(m)
	return &egress.Answer{Status: 200, Body: b}
}

func status(code int, body string) *egress.Answer {
	return &egress.Answer{Status: code, Body: []byte(body)}
}

// always answers each request alike.
func always(a *egress.Answer, err error) func(context.Context, int, *egress.Request) (*egress.Answer, error) {
	return func(context.Context, int, *egress.Request) (*egress.Answer, error) { return a, err }
}

// silent doesn't answer until it isn't waited for any more.
func silent(ctx context.Context, _ int, r *egress.Request) (*egress.Answer, error) {
	<-ctx.Done()
	return nil, &fault.Error{Hop: fault.AuthServer, Phase: r.Phase, Kind: fault.TimedOut, Message: "silence", Err: ctx.Err()}
}

// lines is a log.
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

func value(name string) *configv1.Value { return &configv1.Value{Secret: name} }

func machine() *configv1.Auth {
	return &configv1.Auth{Type: "oauth2", Flow: "client_credentials", Value: value("one"), TokenUrl: "https://idp.example.com/token", ClientId: "gate"}
}

func exchange() *configv1.Auth {
	a := machine()
	a.Flow = "token_exchange"
	return a
}
