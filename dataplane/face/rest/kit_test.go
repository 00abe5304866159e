package rest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/face/rest"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const carol = "sk-carol-0123456789abcdef"

// depot is a server that says of each call who did what. Its tools are JSON objects.
type depot struct {
	name  string
	tools []string
	down  atomic.Bool
}

func (d *depot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := mcptest.Read(r)
	if d.down.Load() {
		panic(http.ErrAbortHandler)
	}
	switch m.Method {
	case "initialize":
		mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"d","version":"1"}}`)
	case "tools/list":
		mcptest.Result(w, m, `{"tools":[`+strings.Join(d.tools, ",")+`]}`)
	case "tools/call":
		name := named(string(m.Params))
		if !slices.ContainsFunc(d.tools, func(tool string) bool { return named(tool) == name }) {
			mcptest.Refuse(w, m, http.StatusOK, -32602, "null")
			return
		}
		mcptest.Result(w, m, fmt.Sprintf(`{"content":[],"by":%q,"did":%q}`, d.name, name))
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// named reads the name that stands first in a tool, or in the params of a call.
func named(object string) string {
	_, name, _ := strings.Cut(object, `"name":"`)
	name, _, _ = strings.Cut(name, `"`)
	return name
}

// tools are some with those names.
func tools(names ...string) (out []string) {
	for _, name := range names {
		out = append(out, `{"name":"`+name+`","inputSchema":{"type":"object"}}`)
	}
	return out
}

// gateway is a data plane with the REST face on a real socket.
type gateway struct {
	url    string
	holder *table.Holder
	base   *table.Table
}

// start runs a data plane with those objects until the test ends.
func start(t *testing.T, objects ...confset.Object) *gateway {
	t.Helper()
	g := &gateway{holder: new(table.Holder)}
	ring := &configv1.SealingRing{Name: "session", Keys: []*configv1.SealingKey{{Id: 1, Secret: []byte("0123456789abcdef0123456789abcdef"), Sealing: true, CreateTime: timestamppb.Now()}}}
	body, err := proto.Marshal(ring)
	fatal(t, err)
	objects = append(objects, confset.Object{Key: confset.Key{Kind: "sealingring", Name: "session"}, UID: "uid-session", Hash: confset.HashBody(body), Body: body})
	g.base = applied(t, table.New(table.Config{Region: "test"}), objects...)
	g.holder.Store(g.base)
	log := slog.New(slog.DiscardHandler)
	tel, err := telemetry.New(telemetry.Config{Access: io.Discard, Log: log, Registry: prometheus.NewRegistry(), Region: "test", Node: "n1",
		Tracer:      sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator{})),
		SampleRatio: func() float64 { return 0 }})
	fatal(t, err)
	client, err := transport.New(transport.Config{})
	fatal(t, err)
	outward, err := egress.New(egress.Config{})
	fatal(t, err)
	resolver, err := credential.New(credential.Config{Egress: outward, Log: log})
	fatal(t, err)
	handler, err := request.New(request.Config{Table: g.holder, Hop: hop.New(client, "test"), Telemetry: tel, Region: "test", Log: log, Credentials: resolver,
		Limits: policy.NewLimits(policy.LimitsConfig{}), Listener: origin.Listener{Loopback: true}})
	fatal(t, err)
	srv := httptest.NewServer(front(handler))
	g.url = srv.URL
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tel.Run(ctx) })      //nolint:errcheck // ends with its context only
	running.Go(func() { resolver.Run(ctx) }) //nolint:errcheck // ends with its context only
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		running.Wait()
		client.Close()
		outward.Close()
	})
	return g
}

// front hands requests of net/http to the face, and to MCP's own paths.
func front(h *request.Handler) http.Handler {
	f := rest.New(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := &request.Inbound{Context: r.Context(), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr,
			Proto: r.Proto, Header: r.Header, Body: r.Body, Length: r.ContentLength}
		switch endpoint.Parse(in.Path).Kind {
		case endpoint.RestList:
			f.List(in, sink{w})
		case endpoint.RestCall:
			f.Call(in, sink{w})
		default:
			h.Serve(in, sink{w})
		}
	})
}

type sink struct{ http.ResponseWriter }

func (s sink) Flush() error { return http.NewResponseController(s.ResponseWriter).Flush() }
func (s sink) Abort()       { panic(http.ErrAbortHandler) }

// applied is a table with some objects more.
func applied(t testing.TB, to *table.Table, objects ...confset.Object) *table.Table {
	t.Helper()
	revision := to.Version().Revision + 1
	next, outcomes := to.Apply(confset.Delta{Upserts: objects}, revision, table.Version{Revision: revision, Epoch: "test"})
	for _, o := range outcomes {
		if o.Rejected {
			t.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	return next
}

func object(t testing.TB, kind, name string, m proto.Message) confset.Object {
	t.Helper()
	body, err := rules.Body(m)
	fatal(t, err)
	return confset.Object{Key: confset.Key{Kind: kind, Name: name}, UID: "8b6f1c1e-7a52-4c1c-9f0a-" + name, Hash: confset.HashBody(body), Body: body}
}

func server(t testing.TB, name, url string, groups ...string) confset.Object {
	t.Helper()
	return object(t, "server", name, &configv1.Server{Name: name, Spec: spec(url, groups...)})
}

// spec is that of a server that is asked each time, once.
func spec(url string, groups ...string) *configv1.ServerSpec {
	return &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}, AccessGroups: groups, ListTtl: "0s",
		Resilience: &configv1.Resilience{BreakerFailures: -1, Retries: -1}}
}

// key is carol's.
func key(t testing.TB, spec *configv1.ApiKeySpec) confset.Object {
	t.Helper()
	sum := sha256.Sum256([]byte(carol))
	spec.Sha256 = hex.EncodeToString(sum[:])
	return object(t, "apikey", "carol", &configv1.ApiKey{Name: "carol", Spec: spec})
}

func everything() *configv1.ApiKeySpec { return &configv1.ApiKeySpec{Servers: []string{"*"}} }

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

// send makes one request; heads alternate names and values.
func (g *gateway) send(t testing.TB, method, path, body string, heads ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	fatal(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Litellm-Api-Key", "Bearer "+carol)
	for i := 0; i+1 < len(heads); i += 2 {
		if heads[i+1] != "" {
			req.Header.Set(heads[i], heads[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	fatal(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fatal(t, err)
	return answer{res.StatusCode, res.Header, string(b)}
}

func (g *gateway) list(t testing.TB, query string, heads ...string) answer {
	t.Helper()
	return g.send(t, http.MethodGet, "/mcp-rest/tools/list"+query, "", heads...)
}

func (g *gateway) call(t testing.TB, body string, heads ...string) answer {
	t.Helper()
	return g.send(t, http.MethodPost, "/mcp-rest/tools/call", body, heads...)
}
