package http1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
)

const (
	bufferSize = 4 << 10                // what an idle connection keeps for reading
	linger     = 500 * time.Millisecond // how long a caller who still sends may take to notice the end
	freshGrace = 250 * time.Millisecond // how long a new connection may take to bring its first request once a drain has begun
)

// state is what a drain needs to know of a connection.
type state uint8

const (
	fresh  state = iota // nothing came yet
	busy                // a request is coming or being answered
	idle                // between requests
	closed              // by a drain
)

// conn is one connection and everything that its requests use anew. It belongs to the goroutine of Serve, except for what mu guards and
// while a watcher has the reading side.
type conn struct {
	srv    *Server
	nc     net.Conn
	remote string

	buf    []byte // buf[r:w] is read and not yet used
	r, w   int
	spare  [64]byte  // what buf is while a watcher waits and nothing is buffered
	readBy time.Time // deadline of reads in force; zero: none

	head   head
	in     request.Inbound
	body   body
	sink   sink
	keep   bool        // another request may follow
	lost   bool        // the watcher saw the connection break
	intake atomic.Bool // the body was read to its end: the reading side is free for a watcher

	mu     sync.Mutex
	state  state              // guarded by mu
	visit  uint64             // guarded by mu; number of the request under way, 0: none
	visits uint64             // guarded by mu; requests so far
	cancel context.CancelFunc // guarded by mu; of the request under way
	joined chan struct{}      // guarded by mu; closed when the watcher has ended; nil: there is none
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, remote: nc.RemoteAddr().String(), buf: readers.Get().(*[bufferSize]byte)[:], keep: true}
	c.head.fields = make(http.Header, 16)
	c.sink.header = make(http.Header, 8)
	c.body.c, c.sink.c = c, c
	c.armRead(time.Now().Add(s.cfg.HeaderTimeout))
	return c
}

// serve answers one request after the other. It reports true when the connection is to be handed over.
func (c *conn) serve() (over bool) {
	for c.keep {
		n, err := c.awaitHead()
		if err != nil && !errors.Is(err, errUnusual) || !c.occupy() {
			return false
		}
		if err != nil || !c.head.parse(c.buf[c.r:c.r+n]) {
			return true
		}
		c.r += n
		if !c.answer() {
			return false
		}
	}
	if c.body.left > 0 || c.r < c.w {
		c.linger()
	}
	return false
}

// errUnusual is a reason to hand over.
var errUnusual = errors.New("http1: not in the subset")

var headEnd = []byte("\r\n\r\n")

// awaitHead returns the length of the head at the beginning of what is buffered, once it is complete.
func (c *conn) awaitHead() (int, error) {
	for seen, late := 0, false; ; {
		b := c.buf[c.r:c.w]
		from := max(seen-len(headEnd)+1, 0)
		if i := bytes.Index(b[from:], headEnd); i >= 0 {
			return from + i + len(headEnd), nil
		}
		was := seen
		seen = len(b)
		switch {
		case seen > 0 && (seen >= c.srv.cfg.HeaderBytes || !promising(b, was)):
			return 0, errUnusual
		case seen == 0 && !c.rest():
			return 0, net.ErrClosed
		case seen > 0 && !late:
			late = true
			if !c.hurry() {
				return 0, net.ErrClosed
			}
		}
		if err := c.fill(); err != nil {
			if seen > 0 && errors.Is(err, io.EOF) {
				return 0, errUnusual // whoever knows all of HTTP knows what to say to half a head
			}
			return 0, err
		}
	}
}

// rest marks the connection idle, unless it is still new, and bounds how long it may be.
func (c *conn) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case fresh:
		return true
	case closed:
		return false
	}
	if c.srv.draining.Load() {
		return false
	}
	c.state = idle
	if len(c.buf) > bufferSize && c.r == c.w {
		c.buf = make([]byte, bufferSize)
		c.r, c.w = 0, 0
	}
	limit := c.srv.cfg.IdleTimeout
	if now := time.Now(); c.readBy.Sub(now) < limit-limit/4 || c.readBy.Sub(now) > limit {
		c.armRead(now.Add(limit))
	}
	return true
}

// hurry bounds the rest of a head of which some has come. The time of a new connection began with it.
func (c *conn) hurry() bool {
	c.mu.Lock()
	was := c.state
	if was != closed {
		c.state = busy
	}
	c.mu.Unlock()
	if was != fresh {
		c.armRead(time.Now().Add(c.srv.cfg.HeaderTimeout))
	}
	return was != closed
}

// occupy marks the connection busy; it fails when a drain was quicker.
func (c *conn) occupy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == closed {
		return false
	}
	c.state = busy
	return true
}

// answer lets the request in c.head be answered and reports whether all of the answer went out.
func (c *conn) answer() bool {
	h := &c.head
	c.keep = !h.close
	c.body.left, c.body.armed = h.length, false
	c.intake.Store(h.length == 0)
	c.sink.begin()
	c.in = request.Inbound{Context: c.begin(), Method: h.method, Path: h.path, Query: h.query, Host: h.host, Remote: c.remote, Proto: "HTTP/1.1",
		Header: h.fields, Body: http.NoBody, Length: h.length}
	if h.length > 0 {
		c.in.Body = &c.body
	}
	c.handle()
	whole := c.sink.finish()
	c.end()
	switch {
	case !whole:
		hard(c.nc).Close()
		return false
	case c.lost:
		return false
	case c.keep && c.body.left > 0:
		return c.body.discard() == nil
	}
	return true
}

// handle calls Handle. A panic breaks the connection off, as net/http does it.
func (c *conn) handle() {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		c.sink.Abort()
		if p != http.ErrAbortHandler { //nolint:errorlint // it is a panic's value
			c.srv.cfg.Log.Error("a request made its handler panic", "panic", p, "path", c.in.Path, "stack", string(debug.Stack()))
		}
	}()
	c.srv.cfg.Handle(&c.in, &c.sink)
}

// dismiss asks the connection to end: at once when it is idle, soon when it is new, else with its answer.
func (c *conn) dismiss() {
	c.mu.Lock()
	was := c.state
	switch was {
	case idle:
		c.state = closed
	case fresh:
		c.nc.SetReadDeadline(time.Now().Add(freshGrace)) //nolint:errcheck // the header timeout holds
	}
	c.mu.Unlock()
	if was == idle {
		c.nc.Close()
	}
}

// kill breaks the connection off, then ends the request's context: no answer gets out in between.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = closed
	hard(c.nc).Close()
	if c.visit != 0 {
		c.cancel()
	}
}

// hard is what to close when TLS's farewell would be a lie, or could block behind a peer who doesn't read.
func hard(nc net.Conn) net.Conn {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return nc
}

// linger says the end and waits for a caller who still sends to notice: closing on unread bytes could take the answer from them.
func (c *conn) linger() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.armRead(time.Now().Add(linger))
		io.Copy(io.Discard, c.nc) //nolint:errcheck // it ends with the deadline at the latest
	}
}

// fill reads once, behind what is there, making room for it first.
func (c *conn) fill() error {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		bigger := make([]byte, min(2*len(c.buf), c.srv.cfg.HeaderBytes))
		c.w = copy(bigger, c.buf)
		c.buf = bigger
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	switch {
	case n > 0:
		return nil // an error beside data comes again
	case err != nil:
		return err
	}
	return io.ErrNoProgress
}

// past is a deadline that has always been missed.
var past = time.Unix(1, 0)

// armRead sets the deadline of reads; zero is none.
func (c *conn) armRead(by time.Time) {
	c.readBy = by
	c.nc.SetReadDeadline(by) //nolint:errcheck // without a deadline the connection limit still holds
}
