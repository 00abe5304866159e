// Package http1 is the fast way in: HTTP/1.1 connections, plain or in TLS, that carry the ordinary requests of MCP clients.
//
// It promises to read a strict subset of RFC 9112 and to agree with net/http on every request it takes: POST, GET or DELETE of an
// origin-form target, CRLF line ends, one Host, at most one Content-Length, no transfer coding, no expectation, no upgrade. A whole answer
// leaves in one write, an event of a stream as well. The context of a request ends when its caller leaves.
//
// It refuses nothing by itself: whatever is not in the subset is handed over at a request's boundary, with every byte that was read, to a
// server that knows the rest of HTTP (Config.Fallback), which keeps the connection for good. Two parsers never share one connection's future.
package http1

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// Config of a Server.
type Config struct {
	// Handle answers one request. Nothing of in and sink may be used after it returned: both are the next request's. Required.
	Handle func(in *request.Inbound, sink reply.Sink)
	// Fallback takes over a connection that brought something unusual; its first reads give back what was read already. It has to close
	// the connection. Serve returns when Fallback does. Required.
	Fallback func(net.Conn)
	// HeaderBytes is the largest head that is taken here, larger ones are handed over; 0 means 16 KiB.
	HeaderBytes int
	// HeaderTimeout bounds the time a request's head takes, of a new connection from its beginning; 0 means 10 s.
	HeaderTimeout time.Duration
	// BodyTimeout bounds the time a request's body takes from when it is first waited for; 0 means 30 s.
	BodyTimeout time.Duration
	// WriteTimeout bounds the time a caller takes to read what is sent to it, piece by piece: at least half of it, at most all; 0 means 60 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may be quiet between requests: at least three quarters of it, at most all; 0 means 5 min.
	IdleTimeout time.Duration
	// Log receives defects of Handle. Required.
	Log *slog.Logger
}

func (c *Config) fill() error {
	switch {
	case c.Handle == nil:
		return errors.New("http1: Handle is required")
	case c.Fallback == nil:
		return errors.New("http1: Fallback is required")
	case c.Log == nil:
		return errors.New("http1: Log is required")
	case c.HeaderBytes < 0 || c.HeaderTimeout < 0 || c.BodyTimeout < 0 || c.WriteTimeout < 0 || c.IdleTimeout < 0:
		return errors.New("http1: limits can't be negative; leave them 0 for their defaults")
	}
	c.HeaderBytes = max(cmp.Or(c.HeaderBytes, 16<<10), bufferSize)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	return nil
}

// Server serves connections that others accept. Safe for concurrent use.
type Server struct {
	cfg   Config // read-only after New
	clock clock
	wheel wheel

	draining atomic.Bool // no answer keeps its connection any more; set with mu held

	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	empty chan struct{}      // guarded by mu; closed when a drain is over; nil before a drain
}

// New checks cfg; it starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, conns: map[*conn]struct{}{}}, nil
}

// Connections returns how many are being served; those handed over don't count.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Serve serves nc in the calling goroutine until the connection ends or was handed over. A TLS connection comes after its handshake, with
// HTTP/1.1 agreed on.
func (s *Server) Serve(nc net.Conn) {
	c := newConn(s, nc)
	if !s.enter(c) {
		nc.Close()
		return
	}
	over := c.serve()
	s.leave(c)
	if over {
		s.cfg.Fallback(c.handOver())
		return
	}
	nc.Close()
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.empty != nil && len(s.conns) == 0 {
		s.endDrainLocked()
	}
}

func (s *Server) endDrainLocked() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Shutdown closes idle connections at once, lets requests in flight finish with answers that say Connection: close, and returns when no
// connection is left, or with ctx's error when that ends first. Connections that come later are closed.
func (s *Server) Shutdown(ctx context.Context) error {
	conns, empty := s.drain()
	for _, c := range conns {
		c.dismiss()
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close breaks every connection off and ends the contexts of their requests. It doesn't wait for Handle; Shutdown after it does.
func (s *Server) Close() {
	conns, _ := s.drain()
	for _, c := range conns {
		c.kill()
	}
}

// drain lets no connection in any more and returns those that are.
func (s *Server) drain() (conns []*conn, empty <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	if len(s.conns) == 0 {
		s.endDrainLocked()
	}
	conns = make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns, s.empty
}
