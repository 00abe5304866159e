package sse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 10 * time.Second

// server speaks HTTP+SSE of MCP 2024-11-05. What it does with a message but initialize is up to the test.
type server struct {
	url      string
	endpoint func(id string) string // what the endpoint event says; nil: a relative URL
	on       func(v *visit, m mcptest.Message) (status int)

	mu     sync.Mutex
	visits map[string]*visit // guarded by mu
	seen   []mcptest.Message // guarded by mu
	ended  int               // guarded by mu
}

// visit is one session as its server sees it.
type visit struct {
	id  string
	out chan string // raw events
	cut chan struct{}
}

// say puts a message on the stream.
func (v *visit) say(format string, args ...any) {
	v.out <- "event: message\ndata: " + fmt.Sprintf(format, args...) + "\n\n"
}

func start(t testing.TB, on func(v *visit, m mcptest.Message) int) *server {
	t.Helper()
	s := &server{on: on, visits: map[string]*visit{}}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	s.url = h.URL
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.stream(w, r)
		return
	}
	s.mu.Lock()
	v := s.visits[r.URL.Query().Get("sid")]
	s.mu.Unlock()
	if v == nil || r.URL.Path != "/messages" {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	m := mcptest.Read(r)
	s.mu.Lock()
	s.seen = append(s.seen, m)
	s.mu.Unlock()
	if m.Method == "initialize" {
		v.say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}`, m.ID)
	} else if status := s.on(v, m); status != 0 {
		http.Error(w, "refused by the test", status)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "Accepted")
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	v := &visit{id: "v" + strconv.Itoa(len(s.visits)+s.ended), out: make(chan string, 1000), cut: make(chan struct{})}
	s.visits[v.id] = v
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.visits, v.id)
		s.ended++
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	where := "/messages?sid=" + v.id
	if s.endpoint != nil {
		where = s.endpoint(v.id)
	}
	if where != "" {
		io.WriteString(w, ": hello\n\nevent: endpoint\ndata: "+where+"\n\n")
	}
	for {
		if w.(http.Flusher).Flush(); r.Context().Err() != nil {
			return
		}
		select {
		case e := <-v.out:
			io.WriteString(w, e)
		case <-v.cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// only returns the one session there is.
func (s *server) only(t testing.TB) *visit {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.visits {
		return v
	}
	t.Fatal("no session")
	return nil
}

func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.visits)
}

// await returns the first message that matches.
func (s *server) await(t testing.TB, method string) (found mcptest.Message) {
	t.Helper()
	eventually(t, "the server gets "+method, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.seen {
			if m.Method == method {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// way makes exchanges as the hop does, with one instance.
type way struct {
	client *transport.Client
	target *table.Target
	limits table.Timeouts
}

func (w *way) Get(ctx context.Context) (sse.Reply, error) {
	return w.do(ctx, w.target, &transport.Request{Method: "GET", Fields: []byte("Accept: text/event-stream\r\n"), Stream: true, Timeouts: w.limits})
}

func (w *way) Post(ctx context.Context, _ uint32, to *table.Target, body []byte) (sse.Reply, error) {
	return w.do(ctx, to, &transport.Request{Method: "POST", Body: body, Timeouts: w.limits})
}

func (w *way) do(ctx context.Context, to *table.Target, q *transport.Request) (sse.Reply, error) {
	tm := &telemetry.Timing{}
	res, err := w.client.Do(ctx, to, q, tm)
	if err != nil {
		return sse.Reply{Timing: *tm, Attempts: 1}, err
	}
	return sse.Reply{Status: res.Status, Header: res.Header, Type: res.ContentType(), Body: res, Timing: *tm, Attempts: 1, Target: w.target,
		Done: func() {}}, nil
}

// caller calls one server through a hub.
type caller struct {
	hub     *sse.Hub
	way     *way
	config  *table.Server
	who     string
	session string
}

func newCaller(t testing.TB, url string, cfg sse.Config) *caller {
	t.Helper()
	client, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	hub := sse.New(cfg)
	t.Cleanup(func() {
		hub.Close()
		client.Close()
	})
	return &caller{hub: hub, way: &way{client: client, target: target(t, url), limits: limits},
		config: &table.Server{Name: "up", Transport: "sse", Timeouts: limits}}
}

var limits = table.Timeouts{Connect: patience, FirstByte: patience, Idle: patience}

func target(t testing.TB, url string) *table.Target {
	t.Helper()
	authority, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	host, p, err := net.SplitHostPort(authority)
	port, err2 := strconv.Atoi(p)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return &table.Target{Scheme: "http", Host: authority, Addr: authority, Hostname: host, Port: port, Path: "/" + path, Origin: "http://" + authority,
		Key: "http " + authority, ID: 7}
}

// another is a second caller of the same server through the same hub.
func (c *caller) another() *caller {
	other := *c
	other.session = ""
	return &other
}

func (c *caller) send(ctx context.Context, method, body string) (sse.Answer, error) {
	return c.hub.Send(ctx, &sse.Call{Server: c.config, Principal: c.who, Method: method, Body: []byte(body), Session: c.session,
		EventLimit: 8 << 20, Timing: &telemetry.Timing{}}, c.way)
}

const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05",` +
	`"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`

// begin initializes.
func (c *caller) begin(t testing.TB) {
	t.Helper()
	a, err := c.send(context.Background(), "POST", hello)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	body, err := a.ReadAll(nil, 0)
	if err != nil || a.Status != 200 || a.Type != transport.JSON || a.Session == "" || a.Instance != 7 {
		t.Fatalf("%+v %s %v", a, body, err)
	}
	if _, ok := message.InitializeResult(body); !ok {
		t.Fatalf("%s", body)
	}
	c.session = a.Session
}

// ask sends a request in the background.
func (c *caller) ask(ctx context.Context, body string) <-chan outcome {
	out := make(chan outcome, 1)
	go func() { out <- c.do(ctx, body) }()
	return out
}

// outcome is a whole answer.
type outcome struct {
	status int
	ctype  transport.ContentType
	data   []string // JSON bodies, or the messages of an event stream
	err    error
}

func (c *caller) do(ctx context.Context, body string) outcome {
	a, err := c.send(ctx, "POST", body)
	if err != nil {
		return outcome{err: err}
	}
	defer a.Close()
	return read(&a)
}

func read(a *sse.Answer) outcome {
	o := outcome{status: a.Status, ctype: a.Type}
	if a.Type != transport.SSE {
		b, err := a.ReadAll(nil, 0)
		o.data, o.err = []string{string(b)}, err
		return o
	}
	for {
		d, err := event(a)
		if errors.Is(err, io.EOF) {
			return o
		}
		if err != nil {
			o.err = err
			return o
		}
		o.data = append(o.data, d)
	}
}

// event reads the next message of a stream.
func event(a *sse.Answer) (string, error) {
	e, err := a.NextEvent(nil, 0)
	if err != nil {
		return "", err
	}
	data, _ := message.Data(nil, e)
	return string(data), nil
}

func wait(t testing.TB, c <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-c:
		return o
	case <-time.After(patience):
		t.Fatal("no answer")
		return outcome{}
	}
}

func wantFault(t testing.TB, err error, hop fault.Hop, phase fault.Phase, kind fault.Kind) *fault.Error {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Hop != hop || f.Phase != phase || f.Kind != kind || f.Server != "up" || f.Message == "" || f.Hint == "" {
		t.Fatalf("%v (%+v), want %v/%v/%v", err, f, hop, phase, kind)
	}
	return f
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(2*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

// tokenOf is the progress token of a request.
func tokenOf(m mcptest.Message) string {
	var p struct {
		Meta struct {
			Token json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	}
	json.Unmarshal(m.Params, &p)
	return string(p.Meta.Token)
}
