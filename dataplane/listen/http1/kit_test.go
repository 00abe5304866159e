package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// net/http waits half a second before it hangs up on a caller whose request it didn't read to its end, and Close doesn't wait for that.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

var quiet = slog.New(slog.DiscardHandler)

// handle is the type of Config.Handle.
type handle = func(*request.Inbound, reply.Sink)

// rig is a server on a socket, with net/http behind it for what is unusual.
type rig struct {
	*http1.Server
	addr string
	wg   sync.WaitGroup // connections
}

func serving(t testing.TB, cfg http1.Config) *rig { return servingOver(t, cfg, nil) }

// servingOver wraps accepted connections with secure, if it isn't nil.
func servingOver(t testing.TB, cfg http1.Config, secure func(net.Conn) (net.Conn, error)) *rig {
	t.Helper()
	cfg.Log = quiet
	if cfg.Fallback == nil {
		cfg.Fallback = standard(t).give
	}
	s, err := http1.New(cfg)
	fatal(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	r := &rig{Server: s, addr: l.Addr().String()}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() {
				if secure != nil {
					if c, err = secure(c); err != nil {
						return
					}
				}
				s.Serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Close()
		fatal(t, s.Shutdown(context.Background()))
		r.wg.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return r
}

// standard is a net/http server that says what it got.
func standard(t testing.TB) *queue {
	q := newQueue()
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &p, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), DisableGeneralOptionsHandler: true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			w.Header().Set("X-Server", "net/http")
			w.Header()["Date"] = nil
			io.WriteString(w, strings.Join([]string{r.Proto, r.Method, r.RequestURI, r.Host, string(body)}, " "))
			if err != nil {
				io.WriteString(w, " "+err.Error())
			}
		})}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(q) }()
	t.Cleanup(func() { s.Close(); <-done })
	return q
}

// queue is a listener whose connections are given to it.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

func (q *queue) give(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// caller is a client's connection.
type caller struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (r *rig) dial(t testing.TB) *caller {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	fatal(t, err)
	return called(t, c)
}

func called(t testing.TB, c net.Conn) *caller {
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return &caller{Conn: c, t: t, br: bufio.NewReader(c)}
}

func (c *caller) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.Conn, s)
	fatal(c.t, err)
}

// answer reads one answer whole.
func (c *caller) answer() (heard, string, error) {
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return heard{}, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return heard{res.StatusCode, res.Header, res.Close}, string(b), err
}

// says sends a request and wants an answer of 200 with the given body.
func (c *caller) says(q, want string) heard {
	c.t.Helper()
	c.send(q)
	return c.hears(want)
}

func (c *caller) hears(want string) heard {
	c.t.Helper()
	res, got, err := c.answer()
	if err != nil || res.status != http.StatusOK || got != want {
		c.t.Fatalf("answer %v %q, %v; want %q", res, got, err, want)
	}
	return res
}

// heard is what a test may want to know of an answer beside its body.
type heard struct {
	status int
	header http.Header
	close  bool
}

// ended wants the connection's end, clean or not.
func (c *caller) ended() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); len(b) > 0 || isTimeout(err) {
		c.t.Fatalf("not the end: %q, %v", b, err)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // reads of a connection return it bare
	return ok && t.Timeout()
}

// mirror answers with what the request was.
func mirror(in *request.Inbound, sink reply.Sink) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		sink.WriteHeader(http.StatusBadRequest)
		return
	}
	whole(sink, in.Method+" "+in.Path+" "+string(body))
}

func whole(sink reply.Sink, body string) {
	sink.Header()["Content-Length"] = []string{itoa(len(body))}
	sink.WriteHeader(http.StatusOK)
	io.WriteString(sink, body)
}

// within fails the test when ch brings nothing in time.
func within[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("never happened: %s", what)
	}
	return v
}

// selfSigned is a way to TLS on both sides.
func selfSigned(t testing.TB) (server func(net.Conn) (net.Conn, error), client func(net.Conn) net.Conn) {
	cert := certificate(t)
	server = func(c net.Conn) (net.Conn, error) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
		return tc, tc.HandshakeContext(context.Background())
	}
	return server, func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // nobody is to be recognised here
	}
}
