package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"

	"github.com/hopgate/hopgate/proto/fault"
)

// secure serves a socket with TLS. The handshakes are made here and not by net/http, so that it gets connections of HTTP/1.1 as unread ones.
type secure struct {
	l     *Listener
	cfg   *tls.Config
	queue *queue
	conns sync.WaitGroup // handshakes, and net/http
	ctx   context.Context
	stop  context.CancelFunc // of handshakes
}

func newSecure(l *Listener) *secure {
	s := &secure{l: l, cfg: l.cfg.TLS.Clone(), queue: &queue{conns: make(chan net.Conn), done: make(chan struct{})}}
	for _, proto := range []string{"h2", "http/1.1"} {
		if !slices.Contains(s.cfg.NextProtos, proto) {
			s.cfg.NextProtos = append(s.cfg.NextProtos, proto)
		}
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// accept takes connections until the socket is closed, and returns when all of them have ended.
func (s *secure) accept(socket net.Listener) error {
	s.conns.Go(func() { s.l.server.Serve(s.queue) }) //nolint:errcheck // ends with the queue or with Shutdown
	var err error
	for {
		var c net.Conn
		if c, err = socket.Accept(); err != nil {
			break
		}
		s.l.open.Add(1)
		s.conns.Go(func() {
			defer s.l.open.Add(-1)
			s.shake(c)
		})
	}
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	s.conns.Wait()
	return nil
}

// shake makes the handshake of a connection and hands it over.
func (s *secure) shake(c net.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, s.l.cfg.HeaderTimeout)
	defer cancel()
	t := tls.Server(c, s.cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		s.l.cfg.Log.Debug("TLS handshake failed", "remote", c.RemoteAddr().String(), "error", err)
		if r := new(tls.RecordHeaderError); errors.As(err, r) && r.Conn != nil && plainHTTP(r.RecordHeader) {
			c.Write(told(withoutTLS)) //nolint:errcheck // the connection is closed next in any case
		}
		c.Close()
		return
	}
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		s.l.give(s.queue, t)
		return
	}
	s.l.give(s.queue, &unreadTLS{unread: &unread{Conn: t, log: s.l.cfg.Log}, tls: t})
}

// unreadTLS is an unread connection in TLS.
type unreadTLS struct {
	*unread
	tls *tls.Conn
}

// ConnectionState is where net/http learns that the connection is in TLS.
func (u *unreadTLS) ConnectionState() tls.ConnectionState { return u.tls.ConnectionState() }

// plainHTTP reports whether somebody speaks HTTP to a socket with TLS.
func plainHTTP(head [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}, string(head[:]))
}

var withoutTLS = &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: 400,
	Message: "the request came without TLS to a socket with TLS", Hint: "use https"}
