// Package listen owns the sockets towards clients: HTTP/1.1 and HTTP/2, in TLS or plain, with limits and a graceful drain.
//
// It promises that a drain first says so (readyz), then ends long-lived streams properly, then waits for calls in flight, and only then
// breaks what is left. It refuses connections above its limit and clients that trickle headers or bodies or don't read.
package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// Limits of a listener that aren't configurable: each bounds what one client can hold.
const (
	headerBytes = 32 << 10
	idleTimeout = 5 * time.Minute
	streams     = 250 // of one HTTP/2 connection at once
)

// Handler answers requests and takes part in a drain; *request.Handler is one.
type Handler interface {
	// Serve answers one request. Nothing of in and sink is used after it returns.
	Serve(in *request.Inbound, sink reply.Sink)
	// Unready makes /readyz answer 503 while requests are still served.
	Unready()
	// EndStreams ends long-lived streams properly.
	EndStreams()
}

// Config of a Listener.
type Config struct {
	// Addr to listen on, host:port.
	Addr string
	// TLS makes the listener speak TLS; nil is plain HTTP/1.1 and h2c.
	TLS *tls.Config
	// Handler answers requests.
	Handler Handler
	// MaxConnections open at once; 0 means 10,000. Further ones are closed at once.
	MaxConnections int
	// DrainDelay is how long requests are still taken after readyz says 503, so that balancers notice; 0 means none.
	DrainDelay time.Duration
	// DrainTimeout is how long calls in flight may take after that; 0 means 30 s.
	DrainTimeout time.Duration
	// HeaderTimeout bounds the time a request's head takes; 0 means 10 s. The TLS handshake has as much.
	HeaderTimeout time.Duration
	// BodyTimeout bounds the time a request's body takes; 0 means 30 s.
	BodyTimeout time.Duration
	// WriteTimeout bounds the time a caller takes to read what is sent to it, piece by piece; 0 means 60 s.
	WriteTimeout time.Duration
	// Log receives state changes. Required.
	Log *slog.Logger
}

func (c *Config) fill() error {
	if c.Handler == nil || c.Log == nil {
		return errors.New("listen: Handler and Log are required")
	}
	c.MaxConnections = cmp.Or(c.MaxConnections, 10_000)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	return nil
}

// Listener is one socket. Open it, then Run it.
type Listener struct {
	cfg     Config
	server  *http.Server
	socket  net.Listener
	open    atomic.Int64 // connections
	over    atomic.Int64 // connections refused so far
	starved atomic.Int64 // times that no descriptor was free for one
	serving atomic.Int64 // requests in the handler
	plain   *plain       // nil with TLS
	secure  *secure      // nil without
}

// New checks cfg; it opens nothing.
func New(cfg Config) (*Listener, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(cfg.TLS != nil)
	p.SetUnencryptedHTTP2(cfg.TLS == nil)
	l.server = &http.Server{
		Handler:                      http.HandlerFunc(l.serve),
		Protocols:                    &p,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: streams},
		ReadHeaderTimeout:            cfg.HeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               headerBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnState:                    l.state,
		ConnContext:                  noted,
	}
	if cfg.TLS != nil {
		l.secure = newSecure(l)
		return l, nil
	}
	var err error
	l.plain, err = newPlain(l)
	return l, err
}

// Open binds the socket, so that Addr is known and connections queue.
func (l *Listener) Open(ctx context.Context) error {
	var lc net.ListenConfig
	s, err := lc.Listen(ctx, "tcp", l.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.cfg.Addr, err)
	}
	l.socket = s
	return nil
}

// Addr is the bound address; only after Open.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Connections returns how many are open.
func (l *Listener) Connections() int { return int(l.open.Load()) }

// Run serves until ctx ends, then drains. It returns when no request is left.
func (l *Listener) Run(ctx context.Context) error {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = l.accept()
	}()
	select {
	case <-done: // the socket failed
	case <-ctx.Done():
	}
	l.drain(done)
	<-done
	return err
}

func (l *Listener) accept() error {
	s := &capped{Listener: l.socket, l: l}
	if l.plain != nil {
		return l.plain.accept(s)
	}
	return l.secure.accept(s)
}

// drain says that this data plane goes, gives balancers time to notice, ends long-lived streams, and waits for calls in flight.
func (l *Listener) drain(failed <-chan struct{}) {
	l.cfg.Handler.Unready()
	l.cfg.Log.Info("draining", "delay", l.cfg.DrainDelay, "timeout", l.cfg.DrainTimeout, "connections", l.Connections())
	delay := time.NewTimer(l.cfg.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-failed: // nobody can come any more
	}
	l.cfg.Handler.EndStreams()
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.DrainTimeout)
	defer cancel()
	if err := l.shutdown(ctx); err != nil {
		l.cfg.Log.Warn("calls were still in flight when the drain ended", "calls", l.serving.Load(), "timeout", l.cfg.DrainTimeout)
		l.cut()
	}
}

// shutdown takes no more connections and waits for requests in flight.
func (l *Listener) shutdown(ctx context.Context) error {
	l.socket.Close()
	if l.plain == nil {
		l.secure.stop()
		return l.server.Shutdown(ctx)
	}
	fast := make(chan error, 1)
	go func() { fast <- l.plain.fast.Shutdown(ctx) }()
	err := l.server.Shutdown(ctx)
	return errors.Join(err, <-fast)
}

// cut breaks what is left and waits until the handler has noticed, so that its records are told.
func (l *Listener) cut() {
	l.server.Close() //nolint:errcheck // nothing is left to do about it
	if l.plain != nil {
		l.plain.fast.Close()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for by := time.Now().Add(cutGrace); l.serving.Load() > 0 && time.Now().Before(by); {
		<-tick.C
	}
}

// cutGrace is more than any call needs to notice that its connection is gone, unless it waits for a one-shot session's end.
const cutGrace = 5 * time.Second

// state counts connections, and marks on those of net/http that a head comes next.
func (l *Listener) state(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateIdle:
		if h, ok := c.(headed); ok {
			h.heads().understood.Store(false)
		}
	case http.StateClosed, http.StateHijacked: // it was counted when it was handed over
		l.open.Add(-1)
	}
}

// maxAcceptWait is how long it may take until connections are taken again after descriptors ran out.
const maxAcceptWait = 100 * time.Millisecond

// passing reports whether an error of Accept says nothing about the socket: no descriptor is free, or a caller left while waiting.
func passing(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// capped closes connections above the limit as they come, and waits when there are no descriptors for more.
type capped struct {
	net.Listener
	l *Listener
}

// Accept returns the next connection within the limit.
func (c *capped) Accept() (net.Conn, error) {
	for wait := time.Duration(0); ; {
		conn, err := c.Listener.Accept()
		if passing(err) {
			if c.l.starved.Add(1)%1000 == 1 {
				c.l.cfg.Log.Warn("can't take connections at the moment", "error", err, "times_so_far", c.l.starved.Load())
			}
			wait = min(max(2*wait, 5*time.Millisecond), maxAcceptWait)
			<-time.After(wait)
			continue
		}
		if err != nil || c.l.open.Load() < int64(c.l.cfg.MaxConnections) {
			return conn, err
		}
		wait = 0
		conn.Close()
		if c.l.over.Add(1)%1000 == 1 {
			c.l.cfg.Log.Warn("connection closed: too many are open", "limit", c.l.cfg.MaxConnections, "closed_so_far", c.l.over.Load())
		}
	}
}
