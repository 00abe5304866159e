package request_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
)

// way is one of the ways to the server "rich": its own endpoint, or one that it shares with others.
type way struct {
	path   string
	prefix string // of names
	server string // wrapped into URIs; "": they aren't wrapped
}

var ways = []way{{"/rich/mcp", "", ""}, {"/mcp", "rich-", "rich"}}

// name is that of a tool or prompt of rich here.
func (w way) name(n string) string { return w.prefix + n }

func (w way) uri(u string) string {
	if w.server == "" {
		return u
	}
	return exposed.WrapURI(w.server, u)
}

// fleet is two data planes that share nothing but config, in front of a server "rich" and a plain one beside it. Requests take turns.
type fleet struct {
	planes []*gateway
	turn   int
	up     *mcptest.Upstream // rich
	beside *mcptest.Upstream
}

func startFleet(t testing.TB, rich http.Handler, more ...func(*settings)) *fleet {
	t.Helper()
	f := &fleet{up: mcptest.Start(t, rich), beside: mcptest.Start(t, mcptest.Stateless())}
	s := settings{servers: map[string]*configv1.ServerSpec{"rich": server(f.up.URL), "beside": server(f.beside.URL)}}
	for _, m := range more {
		m(&s)
	}
	f.planes = []*gateway{start(t, s), start(t, s)}
	return f
}

func (f *fleet) next() *gateway {
	f.turn++
	return f.planes[f.turn%len(f.planes)]
}

// onEveryWay runs a test on each way, each with a fleet and a server of its own.
func onEveryWay(t *testing.T, rich func() http.Handler, test func(t *testing.T, f *fleet, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(strings.ReplaceAll(strings.Trim(w.path, "/"), "/", " "), func(t *testing.T) { test(t, startFleet(t, rich()), w) })
	}
}

// talker is a client with a session.
type talker struct {
	f       *fleet
	way     way
	session string
	heads   []string // on every request
}

const (
	able         = `{"roots":{"listChanged":true},"sampling":{"context":{}},"elicitation":{"form":{}},"experimental":{"n":9007199254740993}}`
	greeting2511 = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":` + able +
		`,"clientInfo":{"name":"édgy","version":"1","title":"9007199254740993"}}}`
)

// join begins a session.
func (f *fleet) join(t testing.TB, w way, heads ...string) *talker {
	t.Helper()
	c := &talker{f: f, way: w, heads: heads}
	a := c.post(t, greeting2511)
	c.session = a.header.Get("Mcp-Session-Id")
	if a.status != 200 || field(a.body, "result") == "" {
		t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	if a := c.post(t, ready); a.status != 202 || a.body != "" {
		t.Fatalf("initialized: %d %q", a.status, a.body)
	}
	return c
}

func (c *talker) with(heads []string) []string {
	all := []string{"Accept", "application/json, text/event-stream"}
	if c.session != "" {
		all = append(all, "Mcp-Session-Id", c.session, "Mcp-Protocol-Version", "2025-11-25")
	}
	return append(append(all, c.heads...), heads...)
}

// post sends a message to the next data plane and takes the whole answer.
func (c *talker) post(t testing.TB, body string, heads ...string) answer {
	t.Helper()
	return c.f.next().send(t, http.MethodPost, c.way.path, body, c.with(heads)...)
}

// stream is an answer under way.
type stream struct {
	*http.Response
	events *bufio.Reader
}

// request is one to a data plane, within the session.
func (c *talker) request(ctx context.Context, g *gateway, method, body string, heads ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.url+c.way.path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	all := append([]string{"Content-Type", "application/json", "X-Litellm-Api-Key", "Bearer " + alice}, c.with(heads)...)
	for i := 0; i+1 < len(all); i += 2 {
		req.Header.Set(all[i], all[i+1])
	}
	return http.DefaultClient.Do(req)
}

// open begins a request whose answer may be a stream; it ends with the test, or after 20 s.
func (c *talker) open(t testing.TB, method, body string, heads ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	res, err := c.request(ctx, c.f.next(), method, body, heads...)
	fatal(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return &stream{res, bufio.NewReader(res.Body)}
}

// later sends a message and hands over the answer, or why there is none, when it comes.
func (c *talker) later(t testing.TB, body string, answer chan<- string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	g := c.f.next()
	go func() {
		res, err := c.request(ctx, g, http.MethodPost, body)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		answer <- (&stream{res, bufio.NewReader(res.Body)}).rest()
	}()
}

// next is the next event that holds a message: its data, and its id.
func (s *stream) next(t testing.TB) (data, id string) {
	t.Helper()
	for {
		line, err := s.events.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream (%s) ended: %v after %q", s.Status, err, data)
		}
		line = strings.TrimRight(line, "\r\n")
		if v, ok := strings.CutPrefix(line, "id:"); ok {
			id = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(line, "data:"); ok {
			data += strings.TrimPrefix(v, " ")
		}
		if line == "" && data != "" {
			return data, id
		}
	}
}

// rest reads a stream to its end.
func (s *stream) rest() string {
	b, err := io.ReadAll(s.events)
	if err != nil {
		return string(b) + " (" + err.Error() + ")"
	}
	return string(b)
}

// tool is a call of rich's tool with raw arguments.
func (c *talker) tool(id, name, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, c.way.name(name), arguments)
}

func rpc(id, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)
}

// field digs a member out of raw JSON by its path; "" when there is none.
func field(raw string, path ...string) string {
	for _, p := range path {
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(raw), &m) != nil {
			return ""
		}
		raw = string(m[p])
	}
	return raw
}

// items are a list's items, raw.
func items(t testing.TB, body, member string) (out []string) {
	t.Helper()
	var list []json.RawMessage
	fatal(t, json.Unmarshal([]byte(field(body, "result", member)), &list))
	for _, item := range list {
		out = append(out, string(item))
	}
	return out
}

// text is a JSON string's text.
func text(raw string) (s string) {
	json.Unmarshal([]byte(raw), &s) //nolint:errcheck // "" then
	return s
}

// heard are the requests to a server with a method, those of lists and calls alike.
func heard(u *mcptest.Upstream, method string) (out []mcptest.Seen) {
	for _, s := range u.Seen() {
		if text(field(string(s.Body), "method")) == method {
			out = append(out, s)
		}
	}
	return out
}

func holds(what string) func(s mcptest.Seen) bool {
	return func(s mcptest.Seen) bool { return bytes.Contains(s.Body, []byte(what)) }
}

func tool(name string) string {
	return fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"}}`, name)
}

// encoded is a text as a mirroring header holds it, where it can't stand there as it is.
func encoded(s string) string {
	for _, r := range s {
		if r < 0x20 || r > 0x7e {
			return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
		}
	}
	if strings.TrimSpace(s) != s || strings.HasPrefix(s, "=?base64?") && strings.HasSuffix(s, "?=") {
		return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	return s
}
