package request_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Behind a proxy any name passes where a caller has to show a credential, for one server and for several, with prefixes of paths or without.
func TestNamesBehindAProxyPass(t *testing.T) {
	s := settings{servers: map[string]*configv1.ServerSpec{"rich": server(mcptest.Start(t, linked()).URL)}, open: true}
	g := start(t, s)
	for _, w := range ways {
		for _, host := range []string{"mcp.example.com", "10.0.0.7:8080", "gateway.internal", "xn--bcher-kva.example:443"} {
			a := g.send(t, "POST", w.path, greeting2511, "Host", host, "X-Forwarded-Host", "other.example", "X-Forwarded-Proto", "https")
			if a.status != 200 {
				t.Errorf("%s as %s: %d %s", w.path, host, a.status, a.body)
			}
		}
	}
}

// Streams are marked so that no proxy holds them back, aren't compressed on either side, and each event leaves before the next is there.
func TestNobodyHoldsEventsBack(t *testing.T) {
	next := make(chan struct{})
	up := &mcptest.Rich{Streams: true, Tools: []string{tool("steps")}, Do: map[string]func(c *mcptest.Call){"steps": func(c *mcptest.Call) {
		for i := range 5 {
			c.Send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}`, i))
			<-next
		}
		c.Answer(`{"content":[]}`)
	}}}
	for _, w := range ways {
		f := startFleet(t, up)
		c := f.join(t, w)
		for _, s := range []*stream{c.open(t, "GET", "", "Accept-Encoding", "gzip, br"), c.open(t, "POST", c.tool("1", "steps", "{}"), "Accept-Encoding", "gzip, br")} {
			if s.Header.Get("X-Accel-Buffering") != "no" || s.Header.Get("Content-Encoding") != "" || !strings.Contains(s.Header.Get("Cache-Control"), "no-transform") ||
				s.Header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("%s %s: %v", s.Request.Method, w.path, s.Header)
			}
			if s.Request.Method == http.MethodGet {
				continue
			}
			for i := range 5 {
				if data, _ := s.next(t); !strings.Contains(data, fmt.Sprintf(`"progress":%d`, i)) {
					t.Errorf("%s: %s", w.path, data)
				}
				next <- struct{}{}
			}
			s.next(t)
		}
		for _, s := range f.up.Seen() {
			if got := s.Header.Get("Accept-Encoding"); got != "" && got != "identity" {
				t.Errorf("the server was offered %s", got)
			}
		}
	}
}

// Servers may answer in either form and any manner of HTTP, each in one endpoint with the others: as JSON or events, with a length, in chunks or
// to the end of the connection, after events of their own.
func TestServersAnswerInAnyManner(t *testing.T) {
	manner := func(write func(w http.ResponseWriter, answer string)) string {
		return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m := mcptest.Peek(r)
			if m.Method != "tools/list" && m.Method != "tools/call" {
				mcptest.Stateless().ServeHTTP(w, r)
				return
			}
			answer := mcptest.Answer(m, `{"tools":[`+tool("t")+`],"content":[]}`)
			write(w, answer)
		})).URL
	}
	events := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream; charset=utf-8") }
	servers := map[string]*configv1.ServerSpec{
		"chunks": server(manner(func(w http.ResponseWriter, a string) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			for _, b := range []byte(a) {
				w.Write([]byte{b})       //nolint:errcheck // a test server
				w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
			}
		})),
		"closes": server(manner(func(w http.ResponseWriter, a string) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "\n "+a+"\n")
		})),
		"events":  server(manner(func(w http.ResponseWriter, a string) { events(w); mcptest.Event(w, "1", a) })),
		"returns": server(manner(func(w http.ResponseWriter, a string) { events(w); fmt.Fprint(w, "data:"+a+"\r\n\r\n") })),
		"split": server(manner(func(w http.ResponseWriter, a string) {
			events(w)
			fmt.Fprint(w, "data: "+strings.Replace(a, ",", ",\ndata: ", 3)+"\n\n")
		})),
		"primes": server(manner(func(w http.ResponseWriter, a string) {
			events(w)
			fmt.Fprint(w, "\ufeffid: 1\ndata:\n\nretry: 5\n\n: x\n\nevent: message\ndata: "+a+"\n\n")
		})),
		"unended": server(manner(func(w http.ResponseWriter, a string) { events(w); fmt.Fprint(w, "data: "+a+"\n\n: bye") })),
		"trailers": server(manner(func(w http.ResponseWriter, a string) {
			w.Header().Set("Trailer", "X-After")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, a)
			w.Header().Set("X-After", "all")
		})),
	}
	g := start(t, settings{servers: servers})
	id := g.join(t, "/mcp")
	if got := toolNames(t, g.send(t, "POST", "/mcp", list, "Mcp-Session-Id", id).body); len(got) != len(servers) {
		t.Errorf("listed %v", got)
	}
	for name := range servers {
		for path, tool := range map[string]string{"/mcp": name + "-t", "/" + name + "/mcp": "t"} {
			for _, accept := range []string{"application/json, text/event-stream", "application/json"} {
				heads := []string{"Accept", accept, "Mcp-Protocol-Version", "2025-11-25"}
				if path == "/mcp" {
					heads = append(heads, "Mcp-Session-Id", id)
				}
				a := g.send(t, "POST", path, call(`"a"`, tool), heads...)
				if a.status != 200 || !strings.Contains(a.body, `"content":[]`) || !strings.Contains(a.body, `"id":"a"`) || a.header.Get("X-After") != "" {
					t.Errorf("%s as %s: %d %q", tool, accept, a.status, a.body)
				}
			}
		}
	}
}

// A call that may have run is sent once, however its connection ends.
func TestABrokenCallIsSentOnce(t *testing.T) {
	for _, w := range ways {
		var calls atomic.Int32
		up := &mcptest.Rich{Tools: []string{`{"name":"pay","inputSchema":{"type":"object"}}`}}
		f := startFleet(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if mcptest.Peek(r).Method == "tools/call" {
				calls.Add(1)
				panic(http.ErrAbortHandler)
			}
			up.ServeHTTP(rw, r)
		}))
		c := f.join(t, w)
		c.post(t, list) // what the tool says of itself is known, and connections are warm
		if a := c.post(t, c.tool("1", "pay", "{}")); a.status != 502 || field(a.body, "id") != "1" {
			t.Errorf("%s: %d %s", w.path, a.status, a.body)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%s: it was sent %d times", w.path, n)
		}
	}
}

// Messages that two parsers could read differently aren't passed on, to one server or several.
func TestRepeatedNamesAreRefused(t *testing.T) {
	onEveryWay(t, rich, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		before := len(f.up.Seen())
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + w.name("echo") + `","name":"x"}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + w.name("echo") + `","n\u0061me":"x"}}`,
			`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"` + w.name("echo") + `"}}`,
			`{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"},"params":{"name":"` + w.name("echo") + `"}}`,
		} {
			if a := c.post(t, body); a.status != 400 || field(a.body, "error") == "" {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if len(f.up.Seen()) != before {
			t.Error("it was passed on")
		}
	})
}

// Servers are always offered both forms of an answer, whatever the client takes.
func TestServersAreOfferedBothForms(t *testing.T) {
	onEveryWay(t, func() http.Handler { return linked() }, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w, "Accept", "application/json")
		for _, body := range []string{list, c.tool("1", "show", "{}"), rpc("1", "logging/setLevel", `{"level":"info"}`),
			`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`} {
			c.post(t, body)
		}
		for _, s := range f.up.Seen() {
			if got := s.Header.Get("Accept"); s.Method == http.MethodPost && got != "application/json, text/event-stream" {
				t.Errorf("%s was offered %q", s.Body, got)
			}
		}
	})
}

// Streams that stay open leave room for calls, over HTTP/1.1 to the server as well.
func TestManyStreamsLeaveRoomForCalls(t *testing.T) {
	up := &mcptest.RichModern{}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(mcptest.Start(t, up).URL)}, limits: &configv1.Limits{StreamsPerPrincipal: 500}})
	for _, w := range ways {
		c := &talker{f: &fleet{planes: []*gateway{g}}, way: w}
		for range 60 {
			c.open(t, "POST", modernCall("subscriptions/listen", `"notifications":{"toolsListChanged":true}`), modernHeads("subscriptions/listen", "")...).next(t)
		}
		for range 20 {
			if a := g.send(t, "POST", w.path, modernCall("tools/call", `"name":"`+w.name("x")+`"`), modernHeads("tools/call", w.name("x"))...); a.status != 200 {
				t.Fatalf("%s: %d %s", w.path, a.status, a.body)
			}
		}
	}
}

// A stream that breaks is resumed behind the last event that came, on another data plane.
func TestBrokenStreamsAreResumed(t *testing.T) {
	for _, w := range ways {
		cut := make(chan struct{})
		up := &mcptest.Rich{Streams: true, EventIDs: true, Tools: []string{tool("long")}, Do: map[string]func(c *mcptest.Call){"long": func(c *mcptest.Call) {
			c.Send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"first"}}`)
			<-cut
			c.Cut()
			c.Send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"second"}}`)
			c.Answer(mcptest.Text("done"))
		}}}
		f := startFleet(t, up)
		c := f.join(t, w)
		first := c.open(t, "POST", c.tool("9", "long", "{}"))
		data, id := first.next(t)
		if id == "" || !strings.Contains(data, "first") {
			t.Fatalf("%s: %q %s", w.path, id, data)
		}
		close(cut)
		if rest := first.rest(); strings.Contains(rest, "second") || strings.Contains(rest, `"error"`) {
			t.Errorf("%s: it didn't break: %s", w.path, rest)
		}
		again := c.open(t, "GET", "", "Last-Event-Id", id)
		for _, want := range []string{"second", `"id":9`} {
			if data, _ := again.next(t); !strings.Contains(data, want) || strings.Contains(data, "first") {
				t.Errorf("%s: %s instead of %s", w.path, data, want)
			}
		}
	}
}
