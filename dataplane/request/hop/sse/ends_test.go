package sse_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

const callOne = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`

func silent(*visit, mcptest.Message) int { return 0 }

func TestAServerMayAnswerTheRequestBeforeItsPOST(t *testing.T) {
	release := make(chan struct{})
	s := start(t, func(v *visit, m mcptest.Message) int {
		if m.Method == "tools/call" {
			v.say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}`)
			<-release
		}
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	a, err := c.send(context.Background(), "POST", callOne)
	if err != nil || a.Type != transport.SSE {
		t.Fatalf("%+v %v", a, err)
	}
	defer a.Close()
	if d, err := event(&a); !strings.Contains(d, "elicitation") || err != nil {
		t.Fatal(d, err)
	}
	s.only(t).say(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	if d, err := event(&a); !strings.Contains(d, "result") || err != nil {
		t.Fatal(d, err)
	}
	a.Close()
	close(release)
}

func TestARequestEndsWithItsStream(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	answer := c.ask(context.Background(), callOne)
	s.await(t, "tools/call")
	close(s.only(t).cut)
	wantFault(t, wait(t, answer).err, fault.Upstream, fault.Stream, fault.Reset)
	if o := c.do(context.Background(), callOne); o.status != 404 {
		t.Fatalf("%+v", o)
	}
	if o := c.do(context.Background(), `{"jsonrpc":"2.0","method":"notifications/initialized"}`); o.status != 404 || !strings.Contains(o.data[0], `"id":null`) {
		t.Fatalf("%+v", o)
	}
}

func TestWhatCameBeforeTheEndIsDelivered(t *testing.T) {
	s := start(t, func(v *visit, m mcptest.Message) int {
		v.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		v.say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	a, err := c.send(context.Background(), "POST", callOne)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	close(s.only(t).cut)
	eventually(t, "the session ends", func() bool { return c.hub.Sessions() == 0 })
	if o := read(&a); o.err != nil || len(o.data) == 0 {
		t.Fatalf("%+v", o)
	}
}

func TestASlowServerIsAFaultOfTime(t *testing.T) {
	s := start(t, func(v *visit, m mcptest.Message) int {
		if m.Method == "prompts/get" {
			v.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		}
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	c.config.Timeouts.FirstByte, c.config.Timeouts.Idle = 40*time.Millisecond, 50*time.Millisecond
	f := wantFault(t, c.do(context.Background(), callOne).err, fault.Upstream, fault.Headers, fault.TimedOut)
	if !strings.Contains(f.Message, "40ms") || !strings.Contains(f.Hint, "first_byte") {
		t.Error(f)
	}
	c.config.Timeouts.FirstByte = patience
	f = wantFault(t, c.do(context.Background(), `{"jsonrpc":"2.0","id":2,"method":"prompts/get"}`).err, fault.Upstream, fault.Stream, fault.TimedOut)
	if !strings.Contains(f.Message, "50ms") || !strings.Contains(f.Hint, "idle") {
		t.Error(f)
	}
	c.config.Timeouts.Total = 30 * time.Millisecond
	f = wantFault(t, c.do(context.Background(), callOne).err, fault.Upstream, fault.Headers, fault.TimedOut)
	if !strings.Contains(f.Hint, "total") {
		t.Error(f)
	}
}

func TestACallerThatLeavesIsNoFault(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	ctx, cancel := context.WithCancel(context.Background())
	answer := c.ask(ctx, callOne)
	s.await(t, "tools/call")
	cancel()
	if o := wait(t, answer); !errors.Is(o.err, context.Canceled) || fault.As(o.err) != nil {
		t.Fatalf("%+v", o)
	}
	s.only(t).say(`{"jsonrpc":"2.0","id":1,"result":{"late":true}}`)
	again := c.ask(context.Background(), strings.Replace(callOne, "1,", "2,", 1))
	eventually(t, "the second call", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.seen) == 3 })
	s.only(t).say(`{"jsonrpc":"2.0","id":2,"result":{}}`)
	if o := wait(t, again); o.ctype != transport.JSON || strings.Contains(o.data[0], "late") {
		t.Fatalf("%+v", o)
	}
}

func TestAnOpeningEndsWithItsCaller(t *testing.T) {
	s := start(t, silent)
	s.endpoint = func(string) string { return "" }
	c := newCaller(t, s.url+"/sse", sse.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	answer := c.ask(ctx, hello)
	eventually(t, "the stream", func() bool { return s.open() == 1 })
	cancel()
	if o := wait(t, answer); !errors.Is(o.err, context.Canceled) || c.hub.Sessions() != 0 {
		t.Fatalf("%+v", o)
	}
	eventually(t, "its end", func() bool { return s.open() == 0 })
}

func TestARefusedPOSTIsTheAnswer(t *testing.T) {
	s := start(t, func(_ *visit, m mcptest.Message) int {
		switch m.Method {
		case "tools/call":
			return 413
		case "tools/list":
			return 404
		}
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	if o := c.do(context.Background(), callOne); o.status != 413 || !strings.Contains(o.data[0], "refused by the test") {
		t.Fatalf("%+v", o)
	}
	if o := c.do(context.Background(), `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); o.status != 404 {
		t.Fatalf("%+v", o)
	}
	eventually(t, "a session that the server forgot is over", func() bool { return c.hub.Sessions() == 0 })
}

func TestBatchesAndBrokenEventsOnTheStream(t *testing.T) {
	calls := make(chan struct{}, 4)
	s := start(t, func(*visit, mcptest.Message) int { calls <- struct{}{}; return 0 })
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	answer := c.ask(context.Background(), callOne)
	<-calls
	s.only(t).say(`[{"jsonrpc":"2.0","method":"notifications/message","params":{}},{"jsonrpc":"2.0","id":1,"result":{}}]`)
	if o := wait(t, answer); o.ctype != transport.SSE || len(o.data) != 2 || o.data[1] != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Fatalf("%+v", o)
	}
	answer = c.ask(context.Background(), callOne)
	<-calls
	s.only(t).out <- "event: other\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\nid: 5\nretry: 1\ndata: {\"jsonrpc\"\n\n"
	wantFault(t, wait(t, answer).err, fault.Upstream, fault.Protocol, fault.Malformed)
	answer = c.ask(context.Background(), callOne)
	<-calls
	s.only(t).say(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}`)
	if o := wait(t, answer); o.ctype != transport.JSON || !strings.Contains(o.data[0], "-32700") {
		t.Fatalf("%+v", o)
	}
}

func TestEventIDsAreNotPassedOn(t *testing.T) {
	calls := make(chan struct{}, 1)
	s := start(t, func(*visit, mcptest.Message) int { calls <- struct{}{}; return 0 })
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	get, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	s.only(t).out <- "id: 7\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n"
	e, err := get.NextEvent(nil, 0)
	if err != nil || strings.Contains(string(e), "7") || !strings.Contains(string(e), `"method":"x"`) {
		t.Fatalf("%q %v", e, err)
	}
}

func TestCancellationsNameTheRequestAsTheServerKnowsIt(t *testing.T) {
	calls := make(chan mcptest.Message, 4)
	s := start(t, func(_ *visit, m mcptest.Message) int { calls <- m; return 0 })
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := c.ask(ctx, callOne)
	<-calls
	second := c.ask(context.Background(), callOne)
	renamed := <-calls
	const take = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	c.do(context.Background(), take)
	if m := <-calls; m.Raw != take {
		t.Fatal("the older of the two is meant", m.Raw)
	}
	cancel()
	wait(t, first)
	c.do(context.Background(), take)
	if m := <-calls; !strings.Contains(m.Raw, `"requestId":`+string(renamed.ID)+"}") {
		t.Fatal(m.Raw, string(renamed.ID))
	}
	s.only(t).say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, renamed.ID)
	wait(t, second)
}

func TestCloseEndsEverything(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	answer := c.ask(context.Background(), callOne)
	s.await(t, "tools/call")
	c.hub.Close()
	wantFault(t, wait(t, answer).err, fault.Gateway, fault.Session, fault.Unavailable)
	wantFault(t, c.another().do(context.Background(), hello).err, fault.Gateway, fault.Session, fault.Unavailable)
	c.hub.Close()
}

func TestWithoutASessionThereIsOnlyInitialize(t *testing.T) {
	c := newCaller(t, "http://127.0.0.1:1/sse", sse.Config{})
	if o := c.do(context.Background(), callOne); o.status != 400 || !strings.HasPrefix(o.data[0], `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,`) {
		t.Fatalf("%+v", o)
	}
	if o := c.do(context.Background(), `{"jsonrpc":`); o.status != 400 {
		t.Fatalf("%+v", o)
	}
	a, err := c.send(context.Background(), "GET", "")
	if err != nil || a.Status != 405 {
		t.Fatalf("%+v %v", a, err)
	}
	a.Close()
	if f := fault.As(c.do(context.Background(), hello).err); f == nil || f.Phase != fault.Connect || f.Kind != fault.Refused || c.hub.Sessions() != 0 {
		t.Fatal(f)
	}
}

func TestIDsTellTheirOwner(t *testing.T) {
	owner := "http://10.0.0.5:4000"
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{Owner: func() string { return owner }})
	c.begin(t)
	if got, ok := sse.OwnerOf(c.session); !ok || got != owner || strings.ContainsAny(c.session, "/+= ") || len(c.session) > 100 {
		t.Fatal(c.session, got)
	}
	if _, elsewhere := c.hub.Elsewhere(c.session); elsewhere {
		t.Error("it is here")
	}
	owner = "http://10.0.0.6:4000"
	if got, elsewhere := c.hub.Elsewhere(c.session); !elsewhere || got != "http://10.0.0.5:4000" {
		t.Error(got, elsewhere)
	}
	for _, id := range []string{"", "x", "aHR0cDovL3g.abc", sse.Prefix, sse.Prefix + "aHR0cDovL3g", sse.Prefix + "?.abc", sse.Prefix + ".abc"} {
		if got, elsewhere := c.hub.Elsewhere(id); elsewhere {
			t.Error(id, got)
		}
	}
}

func TestPingsThatNobodyHearsAreAnswered(t *testing.T) {
	answers := make(chan mcptest.Message, 4)
	s := start(t, func(_ *visit, m mcptest.Message) int { answers <- m; return 0 })
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	for _, id := range []string{`"a"`, `7`} {
		s.only(t).say(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id)
		if m := <-answers; m.Raw != `{"jsonrpc":"2.0","id":`+id+`,"result":{}}` {
			t.Fatal(m.Raw)
		}
	}
	get, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	s.only(t).say(`{"jsonrpc":"2.0","id":8,"method":"ping"}`)
	if d, err := event(&get); !strings.Contains(d, "ping") || err != nil {
		t.Fatal("who listens answers", d, err)
	}
}

func BenchmarkCall(b *testing.B) {
	s := start(b, answering)
	c := newCaller(b, s.url+"/sse", sse.Config{})
	c.begin(b)
	b.ReportAllocs()
	for b.Loop() {
		if o := c.do(context.Background(), callOne); o.err != nil {
			b.Fatal(o.err)
		}
		s.mu.Lock()
		s.seen = s.seen[:0]
		s.mu.Unlock()
	}
}
