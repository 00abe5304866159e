package listen

import (
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// plain serves a socket without TLS: ordinary HTTP/1.1 requests by the fast way in, everything else (h2c, chunked bodies, unusual heads) by
// net/http, which gets the connection with every byte already read.
type plain struct {
	l     *Listener
	fast  *http1.Server
	queue *queue
	conns sync.WaitGroup
}

func newPlain(l *Listener) (*plain, error) {
	p := &plain{l: l, queue: &queue{conns: make(chan net.Conn), done: make(chan struct{})}}
	var err error
	p.fast, err = http1.New(http1.Config{Handle: p.handle, Fallback: p.handOver, HeaderTimeout: l.cfg.HeaderTimeout, BodyTimeout: l.cfg.BodyTimeout,
		WriteTimeout: l.cfg.WriteTimeout, IdleTimeout: idleTimeout, Log: l.cfg.Log})
	return p, err
}

func (p *plain) handle(in *request.Inbound, sink reply.Sink) {
	p.l.serving.Add(1)
	defer p.l.serving.Add(-1)
	p.l.cfg.Handler.Serve(in, sink)
}

// accept takes connections until the socket is closed, and returns when all of them have ended.
func (p *plain) accept(s net.Listener) error {
	p.conns.Go(func() { p.l.server.Serve(p.queue) }) //nolint:errcheck // ends with the queue or with Shutdown
	var err error
	for {
		var c net.Conn
		if c, err = s.Accept(); err != nil {
			break
		}
		p.l.open.Add(1)
		p.conns.Go(func() {
			defer p.l.open.Add(-1)
			p.fast.Serve(c)
		})
	}
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	p.conns.Wait()
	return nil
}

// handOver gives a connection to net/http. It counts as one of that from here on; its end is seen by ConnState.
func (p *plain) handOver(c net.Conn) {
	p.l.give(p.queue, &unread{Conn: c, log: p.l.cfg.Log})
}

// give hands a connection to net/http, counted, or closes it.
func (l *Listener) give(q *queue, c net.Conn) {
	l.open.Add(1)
	if !q.give(c) {
		l.open.Add(-1)
		c.Close()
	}
}

// queue is a net.Listener whose connections come from inside.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// give waits until somebody accepts the connection; false: nobody will.
func (q *queue) give(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept returns the next connection given.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, http.ErrServerClosed
	}
}

// Close ends Accept and give.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr is nobody's: connections know their own.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
