package sse_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

// answering answers every request with its own params.
func answering(v *visit, m mcptest.Message) int {
	if len(m.ID) > 0 && m.Method != "" {
		v.say(`{"jsonrpc":"2.0","id":%s,"result":{"of":"%s","x":1.50}}`, m.ID, m.Method)
	}
	return 0
}

func TestASessionIsOneOfStreamableHTTPToItsCaller(t *testing.T) {
	s := start(t, answering)
	for name, where := range map[string]func(string) string{
		"relative to the origin": nil,
		"absolute":               func(id string) string { return s.url + "/messages?sid=" + id },
		"relative to the path":   func(id string) string { return "../messages?sid=" + id },
		"query alone":            func(id string) string { return "/messages?sid=" + id + "#here" },
	} {
		t.Run(name, func(t *testing.T) {
			s.endpoint = where
			c := newCaller(t, s.url+"/deep/sse?key=1", sse.Config{})
			c.begin(t)
			if o := c.do(context.Background(), `{"jsonrpc":"2.0","method":"notifications/initialized"}`); o.status != 202 || o.err != nil {
				t.Fatalf("%+v", o)
			}
			o := c.do(context.Background(), `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`)
			if want := `{"jsonrpc":"2.0","id":"a","result":{"of":"tools/list","x":1.50}}`; o.ctype != transport.JSON || !slices.Equal(o.data, []string{want}) {
				t.Fatalf("%+v", o)
			}
			a, err := c.send(context.Background(), "DELETE", "")
			if err != nil || a.Status != 200 {
				t.Fatalf("%+v %v", a, err)
			}
			a.Close()
			eventually(t, "the stream is closed", func() bool { return s.open() == 0 })
			if o := c.do(context.Background(), `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`); o.status != 404 ||
				o.data[0] != `{"jsonrpc":"2.0","id":"a","error":{"code":-32001,"message":"Session not found"}}` {
				t.Fatalf("%+v", o)
			}
			if n := c.hub.Sessions(); n != 0 {
				t.Fatal(n)
			}
		})
	}
}

func TestWhatNamesNoEndpointOpensNoSession(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint string
		kind     fault.Kind
	}{
		"another host":   {"http://elsewhere.invalid/messages", fault.Mismatch},
		"another port":   {"http://127.0.0.1:1/messages", fault.Mismatch},
		"another scheme": {"https://127.0.0.1/messages", fault.Mismatch},
		"no scheme":      {"//elsewhere.invalid/messages", fault.Mismatch},
		"a user":         {"http://me@127.0.0.1/messages", fault.Mismatch},
		"opaque":         {"mailto:me", fault.Mismatch},
		"no URL":         {"http://[::1/", fault.Malformed},
		"too long":       {"/" + strings.Repeat("x", 9000), fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, answering)
			s.endpoint = func(string) string { return c.endpoint }
			who := newCaller(t, s.url+"/sse", sse.Config{})
			_, err := who.send(context.Background(), "POST", hello)
			f := wantFault(t, err, fault.Upstream, fault.Protocol, c.kind)
			if strings.Contains(f.Message+f.Hint, "invalid") {
				t.Errorf("the fault says too much: %v", f)
			}
			eventually(t, "the stream is closed", func() bool { return s.open() == 0 && who.hub.Sessions() == 0 })
		})
	}
}

func TestAServerOfAnotherTransportIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		up    http.Handler
		kind  fault.Kind
		short bool
	}{
		"JSON to GET":    {mcptest.Status(200, "application/json", "{}"), fault.Mismatch, false},
		"no GET at all":  {mcptest.Status(405, "application/json", "{}"), fault.Mismatch, false},
		"stateless":      {mcptest.Status(400, "application/json", "{}"), fault.Mismatch, false},
		"a mute stream":  {mcptest.Stalls(), fault.TimedOut, true},
		"an empty reply": {mcptest.Status(200, "text/event-stream", ": nothing\n\n"), fault.Mismatch, false},
	} {
		t.Run(name, func(t *testing.T) {
			who := newCaller(t, mcptest.Start(t, c.up).URL, sse.Config{})
			if c.short {
				s := start(t, answering)
				s.endpoint = func(string) string { return "" }
				who = newCaller(t, s.url+"/sse", sse.Config{})
				who.config.Timeouts.FirstByte = 30e6
			}
			_, err := who.send(context.Background(), "POST", hello)
			f := wantFault(t, err, fault.Upstream, fault.Protocol, c.kind)
			if !strings.Contains(f.Hint, "streamable_http") || !strings.Contains(f.Hint, "/sse") {
				t.Error(f.Hint)
			}
			if n := who.hub.Sessions(); n != 0 {
				t.Fatal(n)
			}
		})
	}
}

func TestARefusalToOpenIsTheCallersToSee(t *testing.T) {
	up := mcptest.Start(t, mcptest.Status(401, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}`))
	who := newCaller(t, up.URL, sse.Config{})
	o := who.do(context.Background(), hello)
	if o.status != 401 || o.ctype != transport.JSON || !strings.Contains(o.data[0], `"code":-1`) || who.hub.Sessions() != 0 {
		t.Fatalf("%+v", o)
	}
}

func TestProgressReachesTheRequestThatNamedItsToken(t *testing.T) {
	s := start(t, func(v *visit, m mcptest.Message) int {
		if m.Method == "tools/call" {
			v.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":%s}}`, tokenOf(m))
		}
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	one := c.ask(context.Background(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":1}}}`)
	s.await(t, "tools/call")
	two := c.ask(context.Background(), `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"b","_meta":{"progressToken":"1"}}}`)
	eventually(t, "both are there", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.seen) == 3 })
	v := s.only(t)
	v.say(`{"jsonrpc":"2.0","id":2,"result":{}}`)
	v.say(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	for _, want := range []struct {
		got <-chan outcome
		id  string
		tok string
	}{{one, "1", "1"}, {two, "2", `"1"`}} {
		o := wait(t, want.got)
		if o.ctype != transport.SSE || len(o.data) != 2 || !strings.Contains(o.data[0], `"progressToken":`+want.tok+`}`) ||
			o.data[1] != `{"jsonrpc":"2.0","id":`+want.id+`,"result":{}}` {
			t.Errorf("%+v", o)
		}
	}
}

func TestServersAskOnTheStreamIfThereIsOneElseInACall(t *testing.T) {
	const question = `{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}`
	s := start(t, func(v *visit, m mcptest.Message) int {
		switch {
		case m.Method == "tools/call":
			v.say(question)
		case m.Method == "" && string(m.ID) == `"q"`:
			v.say(`{"jsonrpc":"2.0","id":5,"result":{"asked":true}}`)
		}
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	const call, reply = `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"a"}}`, `{"jsonrpc":"2.0","id":"q","result":{}}`

	a, err := c.send(context.Background(), "POST", call)
	if err != nil || a.Type != transport.SSE {
		t.Fatalf("%+v %v", a, err)
	}
	if d, err := event(&a); d != question || err != nil {
		t.Fatal(d, err)
	}
	if o := c.do(context.Background(), reply); o.status != 202 {
		t.Fatalf("%+v", o)
	}
	if o := read(&a); len(o.data) != 1 || !strings.Contains(o.data[0], `"asked":true`) {
		t.Fatalf("%+v", o)
	}
	a.Close()

	get, err := c.send(context.Background(), "GET", "")
	if err != nil || get.Status != 200 || get.Type != transport.SSE {
		t.Fatalf("%+v %v", get, err)
	}
	defer get.Close()
	answer := c.ask(context.Background(), call)
	if d, err := event(&get); d != question || err != nil {
		t.Fatal(d, err)
	}
	if o := c.do(context.Background(), reply); o.status != 202 {
		t.Fatalf("%+v", o)
	}
	if o := wait(t, answer); o.ctype != transport.JSON || len(o.data) != 1 {
		t.Fatalf("%+v", o)
	}
}

func TestWhatNobodyHearsYetWaits(t *testing.T) {
	s := start(t, answering)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	v := s.only(t)
	v.say(`{"jsonrpc":"2.0","id":"roots","method":"roots/list"}`)
	for range 200 {
		v.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`)
	}
	if o := c.do(context.Background(), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); o.ctype != transport.JSON || o.err != nil {
		t.Fatalf("a list brings the list alone: %+v", o)
	}
	get, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	if d, err := event(&get); !strings.Contains(d, "roots/list") || err != nil {
		t.Fatal("a request of the server is lost", d, err)
	}
	for range 63 {
		if d, err := event(&get); !strings.Contains(d, "notifications/message") || err != nil {
			t.Fatal(d, err)
		}
	}
}

func TestANewStreamTakesThePlaceOfTheOld(t *testing.T) {
	s := start(t, answering)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	old, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	ended := make(chan error, 1)
	go func() { _, err := event(&old); ended <- err }()
	now, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	s.only(t).say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	if d, err := event(&now); !strings.Contains(d, "list_changed") || err != nil {
		t.Fatal(d, err)
	}
	s.only(t).cut <- struct{}{}
	if d, err := event(&now); !errors.Is(err, io.EOF) {
		t.Fatal(d, err)
	}
}

func TestSessionsAreApart(t *testing.T) {
	s := start(t, func(v *visit, m mcptest.Message) int {
		v.say(`{"jsonrpc":"2.0","id":%s,"result":{"visit":"%s"}}`, m.ID, v.id)
		return 0
	})
	one := newCaller(t, s.url+"/sse", sse.Config{})
	one.begin(t)
	two := one.another()
	two.begin(t)
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`
	for range 20 {
		a, b := one.ask(context.Background(), call), two.ask(context.Background(), call)
		if x, y := wait(t, a), wait(t, b); !strings.Contains(x.data[0], `"v0"`) || !strings.Contains(y.data[0], `"v1"`) {
			t.Fatalf("%+v %+v", x, y)
		}
	}
	stranger := *one
	other := *one.config
	other.Name = "another"
	stranger.config = &other
	if o := stranger.do(context.Background(), call); o.status != 404 {
		t.Fatalf("a session of another server was used: %+v", o)
	}
}

func TestRequestsWithOneIDGetTheirOwnAnswers(t *testing.T) {
	calls := make(chan mcptest.Message, 8)
	s := start(t, func(_ *visit, m mcptest.Message) int { calls <- m; return 0 })
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	first := c.ask(context.Background(), `{"jsonrpc":"2.0","id":"l","method":"tools/list","params":{}}`)
	<-calls
	second := c.ask(context.Background(), `{"jsonrpc":"2.0", "id":"l","method":"prompts/list"}`)
	m := <-calls
	if string(m.ID) == `"l"` || !strings.HasPrefix(m.Raw, `{"jsonrpc":"2.0", "id":"hopgate-`) {
		t.Fatal(m.Raw)
	}
	s.only(t).say(`{"jsonrpc":"2.0","id":%s,"result":{"n":2}}`, m.ID)
	s.only(t).say(`{"jsonrpc":"2.0","id":"\u006c","result":{"n":1}}`)
	if a, b := wait(t, first), wait(t, second); !strings.Contains(a.data[0], `"n":1`) || b.data[0] != `{"jsonrpc":"2.0","id":"l","result":{"n":2}}` {
		t.Fatalf("%+v %+v", a, b)
	}
}
