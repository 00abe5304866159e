package launch_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
)

// patience bounds every wait; nothing should come near it.
const patience = 20 * time.Second

// until polls until ok, which should become true soon.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain until %s", patience, what)
		}
	}
}

// paper is an output that can be read while it is written.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write appends.
func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// String is what was written so far.
func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// machine is a running process.
type machine struct {
	out, log *paper
	stop     context.CancelFunc
	done     chan error
	ended    bool
	err      error
}

func boot(t *testing.T, run func(context.Context) error, out, log *paper) *machine {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	m := &machine{out: out, log: log, stop: stop, done: make(chan error, 1)}
	go func() { m.done <- run(ctx) }()
	t.Cleanup(func() { m.end(t) })
	return m
}

// end stops the process and returns what it ended with.
func (m *machine) end(t *testing.T) error {
	t.Helper()
	m.stop()
	return m.wait(t)
}

// wait returns what the process ended with.
func (m *machine) wait(t *testing.T) error {
	t.Helper()
	if m.ended {
		return m.err
	}
	select {
	case m.err = <-m.done:
		m.ended = true
	case <-time.After(patience):
		t.Fatalf("the process didn't end; its log:\n%s", m.log)
	}
	return m.err
}

// says waits for text that matches, in the output or the log, and returns its groups.
func (m *machine) says(t *testing.T, in *paper, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	until(t, "the process says "+pattern, func() bool {
		select {
		case m.err = <-m.done:
			m.ended = true
			t.Fatalf("the process ended with %v before it said %s; its log:\n%s", m.err, pattern, m.log)
		default:
		}
		found = re.FindStringSubmatch(in.String())
		return found != nil
	})
	return found
}

func logger(p *paper) *slog.Logger {
	return slog.New(slog.NewJSONHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// single is a running `up`.
type single struct {
	*machine
	mcp, admin string
	dir        string
	key        string // the master key
}

// up starts one with what the test sets, on free ports and in a directory of its own unless it has one.
func up(t *testing.T, u launch.Up) *single {
	t.Helper()
	u, m := bootUp(t, u)
	s := &single{machine: m, dir: u.DataDir}
	found := m.says(t, m.out, `Hopgate is up: MCP on (\S+), admin API on (\S+) `)
	s.mcp, s.admin = found[1], found[2]
	key, err := operator.FindKey(u.MasterKey, u.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	return s
}

func bootUp(t *testing.T, u launch.Up) (launch.Up, *machine) {
	t.Helper()
	if u.Listen == "" {
		u.Listen = "127.0.0.1:0"
	}
	if u.Admin == "" {
		u.Admin = "127.0.0.1:0"
	}
	if u.DataDir == "" {
		u.DataDir = t.TempDir()
	}
	if u.Region == "" {
		u.Region = "local"
	}
	if u.DrainTimeout == 0 {
		u.DrainTimeout = 10 * time.Second
	}
	out, log := &paper{}, &paper{}
	u.Out, u.Log, u.Access, u.AccessFormat = out, logger(log), log, "json"
	return u, boot(t, u.Run, out, log)
}

// client is the admin API with the master key.
func (s *single) client(t *testing.T) *operator.Client {
	t.Helper()
	c, err := operator.Connect(operator.Access{API: s.admin, Key: s.key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Revisions of MCP.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

// session is a real MCP client's, at one server of a data plane.
func session(t *testing.T, base, server, key, revision string, options *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	transport := &http.Transport{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: base + "/" + server + "/mcp", HTTPClient: &http.Client{Transport: withKey{key, transport}}, DisableStandaloneSSE: true, MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatalf("connect to %s: %v", server, err)
	}
	t.Cleanup(func() { s.Close(); transport.CloseIdleConnections() })
	return s
}

type withKey struct {
	key  string
	next http.RoundTripper
}

// RoundTrip adds the key.
func (w withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if w.key != "" {
		r.Header.Set("Authorization", "Bearer "+w.key)
	}
	return w.next.RoundTrip(r)
}

// call calls a tool and returns the text of its result and whether that is an error.
func call(t *testing.T, s *mcp.ClientSession, tool string, arguments any) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	var b strings.Builder
	for _, c := range res.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			b.WriteString(text.Text)
		}
	}
	return b.String(), res.IsError
}

// tools asks a server for its tools without any MCP around it, and returns status, fault header and body.
func tools(t *testing.T, base, server, key string) (status int, fault, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, base+"/"+server+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("x-litellm-api-key", "Bearer "+key)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (status int, fault, body string) {
	t.Helper()
	r.Close = true
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("x-hopgate-error"), string(b)
}
