package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

// limits are generous: a test that hits one by accident is broken.
var limits = table.Timeouts{Connect: 5 * time.Second, FirstByte: 5 * time.Second, Idle: 5 * time.Second, Total: 20 * time.Second}

func newClient(t testing.TB, cfg transport.Config) *transport.Client {
	t.Helper()
	c, err := transport.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// targetAt is a plain HTTP target at host:port.
func targetAt(addr string) *table.Target {
	host, p, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(p)
	return &table.Target{Scheme: "http", Host: addr, Addr: addr, Hostname: host, Port: port, Path: "/mcp", Origin: "http://" + addr, Key: "http " + addr}
}

func post(body string) *transport.Request {
	return &transport.Request{
		Method: "POST", Fields: []byte("Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"),
		Body: []byte(body), Timeouts: limits,
	}
}

// listen serves every connection to addr with handle; the test waits for all of them.
func listen(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		open []net.Conn
		done bool
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if open = append(open, c); done {
				c.Close()
			}
			mu.Unlock()
			wg.Go(func() { defer c.Close(); handle(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		done = true
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// piped connects to handle without sockets, for tests by the clock of a bubble; the test waits for handle.
func piped(t testing.TB, handle func(net.Conn)) transport.Config {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return transport.Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		wg.Go(func() { defer far.Close(); handle(far) })
		return near, nil
	}}
}

// answering reads one request after the other and answers each with the same bytes; then it hangs up if once is set.
func answering(answer string, once bool) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			if readRequest(br) != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil || once {
				return
			}
		}
	}
}

func readRequest(br *bufio.Reader) error {
	q, err := http.ReadRequest(br)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, q.Body)
	return err
}

// serve is a net/http server with a client for it.
func serve(t testing.TB, h http.HandlerFunc) (*transport.Client, *table.Target) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(t, transport.Config{}), targetAt(strings.TrimPrefix(s.URL, "http://"))
}

// call does one exchange and reads the whole body.
func call(c *transport.Client, t *table.Target, q *transport.Request) (int, string, error) {
	res, err := c.Do(context.Background(), t, q, nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Close()
	b, err := res.ReadAll(nil, 0)
	return res.Status, string(b), err
}

// wantFault checks hop, phase and kind, that there is something to say, and that neither address nor peer text is said.
func wantFault(t *testing.T, err error, p fault.Phase, k fault.Kind) *fault.Error {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("error = %v, want a fault", err)
	}
	if f.Hop != fault.Upstream || f.Phase != p || f.Kind != k {
		t.Fatalf("fault = %v, want upstream/%v/%v", f, p, k)
	}
	if f.Message == "" || f.Hint == "" || f.Server != "" {
		t.Errorf("message %q, hint %q, server %q", f.Message, f.Hint, f.Server)
	}
	if said := f.Message + f.Hint; strings.Contains(said, "127.0.0.1") || strings.Contains(said, "secret") {
		t.Errorf("the fault says too much: %q", said)
	}
	return f
}

// wantGone checks that the caller's end is told apart from a fault.
func wantGone(t *testing.T, err error, cause error) {
	t.Helper()
	if !errors.Is(err, cause) || fault.As(err) != nil {
		t.Fatalf("error = %v, want %v and no fault", err, cause)
	}
}

// eventually polls for what another goroutine will bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
