//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Three data planes behind a balancer that sends each request to the next one, whatever session it belongs to, and passes one on only if the
// data plane never got it.

// roundRobin is such a gateway in front of three real servers, each behind a witness.
type roundRobin struct {
	*three
	addr      string // of the balancer
	replicas  []*proxy
	balancer  *running
	witnesses map[string]*witness
}

// rrBalancer is what nginx does: strictly in turn (one worker, no server put aside), a new connection for each request, nothing held back. A
// POST that was sent is never sent again: nginx does that only with non_idempotent.
const rrBalancer = `	log_format turns escape=json '{"end":$msec,"took":$request_time,"to":"$upstream_addr","upstream":"$upstream_status","status":$status,'
		'"method":"$request_method","uri":"$request_uri","client":"$http_x_e2e_client","resumes":"$http_last_event_id","body":"$request_body"}';
	upstream gateways { %s }
	server {
		listen %s;
		client_body_buffer_size 256k;
		access_log DIR/turns.log turns;
		location / {
			proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
			proxy_buffering off; proxy_read_timeout 1h; proxy_next_upstream error timeout;
		}
	}`

func startRoundRobin(t *testing.T) *roundRobin {
	t.Helper()
	g := &roundRobin{three: &three{control: startControl(t, "control", nil)}, addr: ownHost() + ":8080", witnesses: map[string]*witness{}}
	g.direct = map[string]string{npmServer: npmEverything(t), stateful: sdkEverything(t, false, ownHost()+":3001"),
		stateless: sdkEverything(t, true, ownHost()+":3001")}
	servers := []string{}
	for i := range 3 {
		p := startProxy(t, fmt.Sprintf("proxy-%d", i+1), nil, []*control{g.control}, "--log-format", "json")
		g.replicas = append(g.replicas, p)
		servers = append(servers, "server "+p.Listen+" max_fails=0;")
	}
	for name, url := range g.direct {
		g.witnesses[name] = startWitness(t, url)
		g.control.apply(t, server(name, g.witnesses[name].URL))
	}
	g.key = g.control.key(t, "clients", "*")
	g.balancer = startNginx(t, g.addr, fmt.Sprintf(rrBalancer, strings.Join(servers, " "), g.addr))
	return g
}

// rrTurn is a request as the balancer tells it.
type rrTurn struct {
	End, Took float64 // seconds
	To        string  // the data plane; with ", " between when some refused the connection
	Upstream  string
	Status    int
	Method    string
	URI       string
	Client    string
	Resumes   string
	Body      string
}

func (x rrTurn) began() time.Time { return moment(x.End - x.Took) }
func (x rrTurn) ended() time.Time { return moment(x.End) }

// at is the data plane that took the request, the last one that was tried.
func (x rrTurn) at() string { return x.To[strings.LastIndex(x.To, " ")+1:] }

func moment(seconds float64) time.Time { return time.UnixMicro(int64(seconds * 1e6)) }

// turns are all requests that are over.
func (g *roundRobin) turns(t *testing.T) []rrTurn {
	t.Helper()
	return jsonLines[rrTurn](t, filepath.Join(g.balancer.Dir, "turns.log"), "")
}

// rrAccess is an access line of a data plane.
type rrAccess struct {
	Time             time.Time
	HTTPMethod       string `json:"http_method"`
	Path             string
	Status           int
	Method, Tool     string
	Session, Outcome string
	Hop, Phase, Kind string
	Total            float64 `json:"total_ms"` // 0 for the end of a stream
	replica          string
}

// began is when the request came, of the end of a stream when that was.
func (a rrAccess) began() time.Time {
	return a.Time.Add(-time.Duration(a.Total * float64(time.Millisecond)))
}

// accesses are the access lines of all data planes, by time.
func (g *roundRobin) accesses(t *testing.T) []rrAccess {
	t.Helper()
	var out []rrAccess
	for _, p := range g.replicas {
		for _, a := range jsonLines[rrAccess](t, p.log, `"msg":"access"`) {
			a.replica = p.Name
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b rrAccess) int { return a.Time.Compare(b.Time) })
	return out
}

// jsonLines are the whole lines of a file that hold the text.
func jsonLines[T any](t *testing.T, file, with string) []T {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) || !bytes.Contains(line, []byte(with)) {
			continue
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v: %s", file, err, line)
		}
		out = append(out, v)
	}
	return out
}

// witness stands before a server, relays everything, and remembers which messages came.
type witness struct {
	URL  string
	mu   sync.Mutex
	seen []rrSight
}

// rrSight is a message that reached the server.
type rrSight struct {
	At        time.Time
	HTTP      string
	Session   string // the server's own
	Resumes   string
	ID        json.RawMessage
	Method    string
	Cancelled json.RawMessage // requestId of notifications/cancelled
	Tool      string
	Token     string // what our clients put into _meta
}

// tokenKey is the member of _meta in which our clients name each call.
const tokenKey = "e2e/token"

func startWitness(t *testing.T, upstream string) *witness {
	t.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ownHost()+":3002")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{URL: "http://" + l.Addr().String() + to.Path}
	relay := &httputil.ReverseProxy{FlushInterval: -1, Transport: &http.Transport{}, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
	}, ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }}
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.note(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		relay.ServeHTTP(rw, r)
	}), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close() //nolint:errcheck // the test is over
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

func (w *witness) note(r *http.Request, body []byte) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			RequestID json.RawMessage
			Name      string
			Meta      map[string]json.RawMessage `json:"_meta"`
		}
	}
	if len(body) > 0 && json.Unmarshal(body, &m) != nil {
		m.Method = "unreadable"
	}
	s := rrSight{At: time.Now(), HTTP: r.Method, Session: r.Header.Get("Mcp-Session-Id"), Resumes: r.Header.Get("Last-Event-Id"), ID: m.ID, Method: m.Method,
		Cancelled: m.Params.RequestID, Tool: m.Params.Name, Token: strings.Trim(string(m.Params.Meta[tokenKey]), `"`)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

// sights are the messages that came so far.
func (w *witness) sights() []rrSight {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}
