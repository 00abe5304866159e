package http1_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// waiting handles requests to /wait until their context ends, mirrors others, and tells of both.
type waiting struct {
	began chan struct{}
	ended chan error
}

func newWaiting() *waiting {
	return &waiting{began: make(chan struct{}, 1), ended: make(chan error, 1)}
}

func (w *waiting) handle(in *request.Inbound, sink reply.Sink) {
	if in.Path != "/wait" && in.Path != "/stream" {
		mirror(in, sink)
		return
	}
	io.Copy(io.Discard, in.Body)
	if in.Path == "/stream" {
		sink.Flush()
	}
	w.began <- struct{}{}
	<-in.Context.Done()
	w.ended <- in.Context.Err()
}

func TestACallersLeavingEndsTheContext(t *testing.T) {
	for name, q := range map[string]string{
		"a call":             "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"a stream":           "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
		"with more to come":  "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
		"with much to come":  "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat("x", 3<<10),
		"in the middle of a": "GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /ne",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWaiting()
			r := serving(t, http1.Config{Handle: w.handle})
			c := r.dial(t)
			c.send(q)
			within(t, "the call", w.began)
			left := time.Now()
			c.Close()
			if err := within(t, "the end of the context", w.ended); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			t.Logf("noticed after %v", time.Since(left))
		})
	}
}

func TestWhatComesDuringALongCallIsAnsweredAfterIt(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/long" {
			sink.Flush() // a watcher reads ahead from here on
			began <- struct{}{}
			<-goOn
			if err := in.Context.Err(); err != nil {
				t.Error(err)
			}
		}
		mirror(in, sink)
	}})
	c := r.dial(t)
	body := strings.Repeat("b", 20_000) // more than is read ahead
	for range 20 {
		c.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
		within(t, "the long call", began)
		c.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + body)
		goOn <- struct{}{}
		c.hears("GET /long ")
		c.hears("POST /a ab")
		c.hears("POST /b " + body)
	}
}

func TestWhatWasAskedBeforeAnOrderlyEndIsAnswered(t *testing.T) {
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/wait" {
			<-in.Context.Done()
		}
		mirror(in, sink)
	}})
	c := r.dial(t)
	c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	fatal(t, c.Conn.(*net.TCPConn).CloseWrite())
	c.hears("GET /wait ")
	c.hears("GET /next ")
	c.ended()
}

func TestTheContextEndsWithTheRequest(t *testing.T) {
	contexts := make(chan context.Context, 1)
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) { contexts <- in.Context; mirror(in, sink) }})
	c := r.dial(t)
	for range 2 {
		c.says(get+"\r\n", "GET /echo/mcp ")
		within(t, "the end", within(t, "the request", contexts).Done())
	}
}

func TestWhoDoesntReadIsGone(t *testing.T) {
	failed := make(chan error, 1)
	r := serving(t, http1.Config{WriteTimeout: 50 * time.Millisecond, Handle: func(in *request.Inbound, sink reply.Sink) {
		p := make([]byte, 1<<20)
		for {
			if _, err := sink.Write(p); err != nil {
				<-in.Context.Done()
				failed <- err
				return
			}
		}
	}})
	c := r.dial(t)
	c.send(get + "\r\n")
	if err := within(t, "a failing write", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestSlowCallersEnd(t *testing.T) {
	const short = 500 * time.Millisecond
	for name, tt := range map[string]struct {
		cfg       http1.Config
		send, say string
	}{
		"nothing":          {http1.Config{HeaderTimeout: short}, "", ""},
		"half a head":      {http1.Config{HeaderTimeout: short}, "GET / HTTP/1.1\r\nHos", ""},
		"half a next head": {http1.Config{HeaderTimeout: short}, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP", "GET / "},
		"no next head":     {http1.Config{IdleTimeout: short}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / "},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Handle = mirror
			c := serving(t, tt.cfg).dial(t)
			c.send(tt.send)
			if tt.say != "" {
				c.hears(tt.say)
			}
			c.ended()
		})
	}
}

func TestSlowBodiesEnd(t *testing.T) {
	failed := make(chan error, 1)
	r := serving(t, http1.Config{BodyTimeout: 50 * time.Millisecond, Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/unread" {
			whole(sink, "early")
			return
		}
		_, err := io.ReadAll(in.Body)
		failed <- err
		whole(sink, "slow")
	}})
	c := r.dial(t)
	c.says(post+"Content-Length: 3\r\n\r\nab", "slow")
	if err := within(t, "a failing read", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	c.ended()
	c = r.dial(t)
	c.says("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "early")
	c.ended()
}

func TestAnIdleLimitDoesntEndALongCall(t *testing.T) {
	goOn, w := make(chan struct{}), newWaiting()
	r := serving(t, http1.Config{IdleTimeout: 500 * time.Millisecond, HeaderTimeout: 500 * time.Millisecond, Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/echo/mcp" {
			select {
			case <-goOn:
			case <-in.Context.Done():
				t.Error("it did")
			}
		}
		w.handle(in, sink)
	}})
	c := r.dial(t)
	for range 2 {
		c.send(get + "\r\n")
		r.dial(t).ended() // that takes as long as the limit
		r.dial(t).ended()
		goOn <- struct{}{}
		c.hears("GET /echo/mcp ")
	}
	c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "the call", w.began)
	r.dial(t).ended()
	r.dial(t).ended()
	c.Close() // still watched for
	within(t, "the end of the context", w.ended)
}

func TestACallerWhoseBodyIsReadLateIsWatched(t *testing.T) {
	goOn, w := make(chan struct{}), newWaiting()
	r := serving(t, http1.Config{HeaderTimeout: 500 * time.Millisecond, Handle: func(in *request.Inbound, sink reply.Sink) {
		<-goOn
		w.handle(in, sink)
	}})
	c := r.dial(t)
	c.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
	r.dial(t).ended() // meanwhile the call becomes a long one
	goOn <- struct{}{}
	c.send("bc")
	within(t, "the body", w.began)
	c.Close()
	within(t, "the end of the context", w.ended)
}

func TestHalfABody(t *testing.T) {
	failed := make(chan error, 1)
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, _ reply.Sink) {
		_, err := io.ReadAll(in.Body)
		failed <- err
	}})
	c := r.dial(t)
	c.send(post + "Content-Length: 3\r\n\r\nab")
	fatal(t, c.Conn.(*net.TCPConn).CloseWrite())
	if err := within(t, "a failing read", failed); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
