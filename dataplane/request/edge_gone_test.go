package request_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const wholeGone = "hop=client; phase=session; kind=not_found"

// keepers is a fleet whose servers "rich" and "other" keep sessions, besides the plain one.
func keepers(t testing.TB, more ...func(*settings)) (f *fleet, rich, other *mcptest.Rich, otherUp *mcptest.Upstream) {
	t.Helper()
	rich = &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}
	other = &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}
	otherUp = mcptest.Start(t, other)
	f = startFleet(t, rich, append(more, func(s *settings) { s.servers["other"] = server(otherUp.URL) })...)
	return f, rich, other, otherUp
}

func (c *talker) gone(t testing.TB, what, method, body string) {
	t.Helper()
	a := c.f.next().send(t, method, c.way.path, body, c.with(nil)...)
	if a.status != http.StatusNotFound || a.header.Get("X-Hopgate-Error") != wholeGone || field(a.body, "error", "code") != "-32001" {
		t.Errorf("%s: %d %v %s", what, a.status, a.header["X-Hopgate-Error"], a.body)
	}
}

// A session that its client has ended, or whose servers were restarted, is 404 for all that comes in it, on every data plane.
func TestASessionThatIsGoneIsTold(t *testing.T) {
	for name, end := range map[string]func(c *talker, rich, other *mcptest.Rich){
		"DELETE": func(c *talker, _, _ *mcptest.Rich) {
			if a := c.f.next().send(t, "DELETE", "/mcp", "", c.with(nil)...); a.status != 200 {
				t.Errorf("DELETE: %d %s", a.status, a.body)
			}
		},
		"restart": func(_ *talker, rich, other *mcptest.Rich) { forget(rich); forget(other) },
	} {
		f, rich, other, _ := keepers(t)
		c := f.join(t, ways[1])
		end(c, rich, other)
		begun := rich.Begun() + other.Begun()
		for range 2 {
			c.gone(t, name+", a call", "POST", call("1", "rich-show"))
		}
		c.gone(t, name+", a prompt", "POST", rpc("2", "prompts/get", `{"name":"other-tell"}`))
		c.gone(t, name+", a notification", "POST", `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
		c.gone(t, name+", GET", "GET", "")
		c.gone(t, name+", DELETE", "DELETE", "")
		if now := rich.Begun() + other.Begun(); now != begun {
			t.Errorf("%s: %d sessions begun for it", name, now-begun)
		}
		c.gone(t, name+", a list", "POST", list)
		if c = f.join(t, ways[1]); c.post(t, call("1", "rich-show")).status != 200 {
			t.Errorf("%s: begun anew, it doesn't work", name)
		}
	}
}

// A session that holds but one upstream session is gone with it, and nobody else is asked.
func TestTheOnlySessionIsAllOfIt(t *testing.T) {
	up := &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}
	f := startFleet(t, up)
	c := f.join(t, ways[1])
	forget(up)
	before := len(f.beside.Seen())
	c.gone(t, "a call", "POST", call("1", "rich-show"))
	if n := len(f.beside.Seen()) - before; n != 0 {
		t.Errorf("the server without sessions was asked %d times", n)
	}
	if a := c.post(t, call("1", "beside-echo")); a.status != 200 {
		t.Errorf("a server that has nothing to lose: %d %s", a.status, a.body)
	}
}

// While one part of a session lives, calls to a server that has lost its part go on, and the living one is asked about it once, not for each.
func TestOnePingTellsThatASessionLives(t *testing.T) {
	f, rich, other, otherUp := keepers(t)
	c := f.join(t, ways[1])
	forget(rich)
	g := f.next()
	for i := range 5 {
		if a := g.send(t, "POST", "/mcp", call(fmt.Sprint(i), "rich-show"), c.with(nil)...); a.status != 200 || field(a.body, "result") == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := len(heard(otherUp, "ping")); n != 1 {
		t.Errorf("%d pings for five calls", n)
	}
	forget(other) // who vouched for the session a moment ago
	if a := g.send(t, "POST", "/mcp", call("9", "other-show"), c.with(nil)...); a.status != 404 {
		t.Errorf("the last part is lost: %d %s", a.status, a.body)
	}
}

// A server that can't be asked may still know its part: nobody is sent away for it.
func TestNobodyIsSentAwayOnASuspicion(t *testing.T) {
	rich, other := &mcptest.Rich{Mute: true, Tools: []string{tool("show")}}, &mcptest.Rich{Mute: true}
	f := startFleet(t, rich, func(s *settings) {
		s.servers["other"] = server(mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if mcptest.Peek(r).Method == "ping" {
				panic(http.ErrAbortHandler)
			}
			other.ServeHTTP(w, r)
		})).URL)
	})
	c := f.join(t, ways[1])
	forget(rich)
	if a := c.post(t, call("1", "rich-show")); a.status != 200 || field(a.body, "result") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An open stream ends when the last session is lost, and not before.
func TestAStreamEndsWithTheLastSession(t *testing.T) {
	f, rich, other, _ := keepers(t)
	c := f.join(t, ways[1])
	stream := c.open(t, http.MethodGet, "")
	for _, up := range []*mcptest.Rich{rich, other} {
		up.Push(word)
		stream.next(t)
	}
	forget(rich)
	eventually(t, "the loss is seen", func() bool {
		return strings.Contains(f.planes[0].log.String()+f.planes[1].log.String(), "goes on without a server")
	})
	other.Push(word)
	if data, _ := stream.next(t); !strings.Contains(data, "word") {
		t.Errorf("with one of two lost: %s", data)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, bufio.NewReader(stream.events))
		ended <- err
	}()
	forget(other)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on without any session")
	}
	c.gone(t, "GET", "GET", "")
}

// A server whose GET is refused with 405 is asked for its session in another way: the stream stays while it lives.
func TestServersWithoutAStreamAreAsked(t *testing.T) {
	keeper := &mcptest.Stateful{}
	posts := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		keeper.ServeHTTP(w, r)
	})
	f, rich, other, _ := keepers(t, func(s *settings) {
		s.servers["posts"] = &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: mcptest.Start(t, posts).URL}}}
	})
	c := f.join(t, ways[1])
	forget(rich)
	forget(other)
	if stream := c.open(t, http.MethodGet, ""); stream.StatusCode != http.StatusOK {
		t.Errorf("one session lives: %s", stream.Status)
	}
	c.f.next().send(t, "DELETE", "/mcp", "", c.with(nil)...)
	c.gone(t, "GET", "GET", "")
}
