package sse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestStreamsAreLimited(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{Most: 3, MostPerServer: 2})
	c.begin(t)
	c.another().begin(t)
	third := c.another()
	f := wantFault(t, third.do(context.Background(), hello).err, fault.Gateway, fault.Limit, fault.Exhausted)
	if f.RetryAfter == 0 || !strings.Contains(f.Message, "2 event streams of the server up") {
		t.Error(f)
	}
	elsewhere := c.another()
	config := *c.config
	config.Name = "other"
	elsewhere.config = &config
	elsewhere.begin(t)
	config2 := config
	config2.Name = "third"
	elsewhere = elsewhere.another()
	elsewhere.config = &config2
	if f := fault.As(elsewhere.do(context.Background(), hello).err); f == nil || f.Phase != fault.Limit || !strings.Contains(f.Message, "3 event streams in all") {
		t.Error(f)
	}
	a, err := c.send(context.Background(), "DELETE", "")
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	third.begin(t)
}

// Red when one caller can take all the sessions there may be.
func TestSessionsOfOneCallerAreLimited(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{MostPerPrincipal: 2})
	c.who = "greedy"
	c.begin(t)
	second := c.another()
	config := *c.config
	config.Name = "other" // it is one share for all servers
	second.config = &config
	second.begin(t)
	third := c.another()
	f := wantFault(t, third.do(context.Background(), hello).err, fault.Client, fault.Limit, fault.Exhausted)
	if f.HTTPStatus() != 429 || !strings.Contains(f.Message, "already holds 2 sessions") {
		t.Error(f.HTTPStatus(), f)
	}
	other := c.another()
	other.who = "modest"
	other.begin(t)
	a, err := second.send(context.Background(), "DELETE", "")
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	third.begin(t)
}

func TestIdleSessionsEnd(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{Idle: 150 * time.Millisecond})
	held := c.another()
	held.begin(t)
	get, err := held.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	c.begin(t)
	eventually(t, "the idle one ends", func() bool { return c.hub.Sessions() == 1 })
	if o := held.do(context.Background(), `{"jsonrpc":"2.0","method":"notifications/initialized"}`); o.status != 202 {
		t.Fatalf("a session with a stream ended: %+v", o)
	}
	if o := c.do(context.Background(), callOne); o.status != 404 {
		t.Fatalf("%+v", o)
	}
	get.Close()
	eventually(t, "the other ends", func() bool { return c.hub.Sessions() == 0 })
}

func TestAReaderThatStopsEndsTheSession(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{Stall: 50 * time.Millisecond})
	c.begin(t)
	get, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	for n := range 65 {
		s.only(t).say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`, n)
	}
	eventually(t, "the session ends", func() bool { return c.hub.Sessions() == 0 })
	for n := range 64 {
		if d, err := event(&get); !strings.Contains(d, fmt.Sprintf(`"n":%d}`, n)) || err != nil {
			t.Fatal(n, d, err)
		}
	}
	_, err = event(&get)
	wantFault(t, err, fault.Gateway, fault.Stream, fault.Exhausted)
}

func TestAReaderThatKeepsUpLosesNothing(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	const many = 900
	get, err := c.send(context.Background(), "GET", "")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	for n := range many {
		s.only(t).say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`, n)
	}
	for n := range many {
		if d, err := event(&get); !strings.Contains(d, fmt.Sprintf(`"n":%d}`, n)) || err != nil {
			t.Fatal(n, d, err)
		}
	}
}

func TestOneMessageMayBeLargerThanWhatMayWait(t *testing.T) {
	large := strings.Repeat("x", 5<<20)
	s := start(t, func(v *visit, m mcptest.Message) int {
		v.say(`{"jsonrpc":"2.0","id":%s,"result":{"x":"%s"}}`, m.ID, large)
		return 0
	})
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	if o := c.do(context.Background(), callOne); o.err != nil || len(o.data[0]) < len(large) {
		t.Fatalf("%v", o.err)
	}
}

func TestServersThatAskInVainAreLeft(t *testing.T) {
	s := start(t, silent)
	c := newCaller(t, s.url+"/sse", sse.Config{})
	c.begin(t)
	for n := range 65 {
		s.only(t).say(`{"jsonrpc":"2.0","id":%d,"method":"roots/list"}`, n)
	}
	eventually(t, "the session ends", func() bool { return c.hub.Sessions() == 0 })
}
