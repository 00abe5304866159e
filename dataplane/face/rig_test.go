package face_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/face"
	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
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

// Two callers: alice may reach everything, bob the server "up" without its tool "secret".
const (
	alice = "sk-alice-0123456789abcdef"
	bob   = "sk-bob-0123456789abcdef99"
)

// replica is one data plane on a real socket.
type replica struct {
	url     string
	holder  *table.Holder
	handler *request.Handler
	access  *lines
	stop    func()
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
	servers   map[string]string // name and URL
	limits    *configv1.Limits
	keepAlive time.Duration
	hidden    bool   // it advertises no address
	at        string // host and port; empty: any
	without   string
}

func one(url string) settings { return settings{servers: map[string]string{"up": url}} }

// start runs a data plane until the test ends. All have one ring: they are one fleet.
func start(t testing.TB, s settings) *replica {
	t.Helper()
	r := &replica{holder: new(table.Holder), access: new(lines)}
	r.holder.Store(compiled(t, s))
	log := slog.New(slog.DiscardHandler)
	tel, err := telemetry.New(telemetry.Config{Access: r.access, Log: log, Registry: prometheus.NewRegistry(),
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator{})), Region: "test", Node: "n1", SampleRatio: func() float64 { return 0 }})
	fatal(t, err)
	client, err := transport.New(transport.Config{})
	fatal(t, err)
	outward, err := egress.New(egress.Config{})
	fatal(t, err)
	resolver, err := credential.New(credential.Config{Egress: outward, Log: log})
	fatal(t, err)
	r.handler, err = request.New(request.Config{Table: r.holder, Hop: hop.New(client, "test"), Telemetry: tel, Region: "test", Log: log, Credentials: resolver,
		Limits: policy.NewLimits(policy.LimitsConfig{}), KeepAlive: s.keepAlive, Listener: origin.Listener{Loopback: true}})
	fatal(t, err)
	l, err := net.Listen("tcp", cmp.Or(s.at, "127.0.0.1:0"))
	fatal(t, err)
	r.url = "http://" + l.Addr().String()
	advertise := r.url
	if s.hidden {
		advertise = ""
	}
	peers, err := peer.New(peer.Config{Advertise: advertise, Table: r.holder})
	fatal(t, err)
	faces, err := face.New(r.handler, peers)
	fatal(t, err)
	srv := httptest.NewUnstartedServer(front(faces))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tel.Run(ctx) })      //nolint:errcheck // ends with its context only
	running.Go(func() { resolver.Run(ctx) }) //nolint:errcheck // ends with its context only
	r.stop = sync.OnceFunc(func() {
		r.handler.EndStreams()
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		running.Wait()
		peers.Close()
		client.Close()
		outward.Close()
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		r.stop()
	})
	return r
}

// front hands requests of net/http to the faces.
func front(f *face.Faces) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &sink{ResponseWriter: w}
		f.Serve(&request.Inbound{Context: r.Context(), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr,
			Proto: r.Proto, Header: r.Header, Body: r.Body, Length: r.ContentLength}, s)
		if s.aborted {
			panic(http.ErrAbortHandler)
		}
	})
}

type sink struct {
	http.ResponseWriter
	aborted bool
}

func (s *sink) Flush() error { return http.NewResponseController(s.ResponseWriter).Flush() }
func (s *sink) Abort()       { s.aborted = true }

func compiled(t testing.TB, s settings) *table.Table {
	t.Helper()
	ring := &configv1.SealingRing{Name: "session", Keys: []*configv1.SealingKey{{Id: 1, Secret: []byte("0123456789abcdef0123456789abcdef"), Sealing: true, CreateTime: timestamppb.Now()}}}
	body, err := proto.Marshal(ring)
	fatal(t, err)
	d := confset.Delta{Upserts: []confset.Object{
		{Key: confset.Key{Kind: "sealingring", Name: "session"}, UID: "uid-session", Hash: confset.HashBody(body), Body: body},
		object(t, "settings", "default", &configv1.Settings{Name: "default", Spec: &configv1.SettingsSpec{Limits: s.limits}}),
		object(t, "apikey", "bob", &configv1.ApiKey{Name: "bob", Spec: &configv1.ApiKeySpec{Sha256: digest(bob), Servers: []string{"up"},
			Tools: []*configv1.ToolRule{{Server: "up", Deny: []string{"secret"}}}}}),
	}}
	if s.without != "alice" {
		d.Upserts = append(d.Upserts, object(t, "apikey", "alice", &configv1.ApiKey{Name: "alice", Spec: &configv1.ApiKeySpec{Sha256: digest(alice), Servers: []string{"*"}}}))
	}
	for name, url := range s.servers {
		d.Upserts = append(d.Upserts, object(t, "server", name, &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}))
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
	return confset.Object{Key: confset.Key{Kind: kind, Name: name}, UID: "8b6f1c1e-7a52-4c1c-9f0a-" + name, Hash: confset.HashBody(body), Body: body}
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

// send makes one request; heads alternate names and values.
func (r *replica) send(t testing.TB, method, path, body string, heads ...string) answer {
	t.Helper()
	res := r.open(context.Background(), t, method, path, body, heads...)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fatal(t, err)
	return answer{res.StatusCode, res.Header, string(b)}
}

func (r *replica) open(ctx context.Context, t testing.TB, method, path, body string, heads ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	fatal(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Litellm-Api-Key", "Bearer "+alice)
	for i := 0; i+1 < len(heads); i += 2 {
		req.Header.Set(heads[i], heads[i+1])
		if heads[i+1] == "" {
			req.Header.Del(heads[i])
		}
	}
	res, err := http.DefaultClient.Do(req)
	fatal(t, err)
	return res
}

// listener is a client's end of a stream of the old transport.
type listener struct {
	post   string // where messages go
	events *bufio.Reader
	leave  func()
}

// listen opens a stream and reads where messages go.
func (r *replica) listen(t testing.TB, path string, heads ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	res := r.open(ctx, t, "GET", path, "", heads...) //nolint:bodyclose // the stream's cleanup does
	l := &listener{events: bufio.NewReader(res.Body), leave: func() { cancel(); res.Body.Close() }}
	t.Cleanup(l.leave)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %d %v", path, res.StatusCode, res.Header)
	}
	kind, data := l.next(t)
	if kind != "endpoint" {
		t.Fatalf("the first event is %s %s", kind, data)
	}
	l.post = data
	return l
}

// next reads one event.
func (l *listener) next(t testing.TB) (kind, data string) {
	t.Helper()
	for {
		line, err := l.events.ReadString('\n')
		fatal(t, err)
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "" && data != "":
			return kind, data
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:]
		}
	}
}

// want reads the next event, which holds a text.
func (l *listener) want(t testing.TB, text string) string {
	t.Helper()
	kind, data := l.next(t)
	if kind != "message" || !strings.Contains(data, text) {
		t.Fatalf("%s %s, wanted %s", kind, data, text)
	}
	return data
}

// ended waits until the stream is over.
func (l *listener) ended(t testing.TB) {
	t.Helper()
	if _, err := io.ReadAll(l.events); err != nil {
		t.Errorf("the stream broke: %v", err)
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
