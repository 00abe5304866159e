package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

const small = ok + "Content-Length: 2\r\n\r\n{}"

// reused does one call and tells whether it took an idle connection.
func reused(t *testing.T, c *transport.Client, addr string) bool {
	t.Helper()
	var tm telemetry.Timing
	res, err := c.Do(context.Background(), targetAt(addr), post(ping), &tm)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if _, err := res.ReadAll(nil, 0); err != nil {
		t.Fatal(err)
	}
	return tm.Reused
}

func TestStaleIdleConnections(t *testing.T) {
	gone := make(chan struct{}, 1)
	addr := listen(t, func(c net.Conn) {
		answering(small, true)(c) // hangs up without having said so
		c.Close()
		gone <- struct{}{}
	})
	var last net.Conn
	c := newClient(t, transport.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		var err error
		last, err = d.DialContext(ctx, network, addr)
		return last, err
	}})
	good := 0
	for range 50 {
		if _, body, err := call(c, targetAt(addr), post(ping)); err == nil && body == "{}" {
			good++
		}
		<-gone
		arrived(t, last)
	}
	if good != 50 {
		t.Errorf("%d of 50 calls were answered", good)
	}
}

// arrived waits until the peer's hanging up has reached this end: between two ends of a loopback connection lies a queue.
func arrived(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatKeepsAConnection(t *testing.T) {
	for name, v := range map[string]struct {
		answer string
		keep   bool
	}{
		"length":                   {small, true},
		"chunked":                  {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true},
		"204":                      {"HTTP/1.1 204 No Content\r\n\r\n", true},
		"connection close":         {ok + "Connection: close\r\nContent-Length: 2\r\n\r\n{}", false},
		"close in a list":          {ok + "Connection: x, Close\r\nContent-Length: 2\r\n\r\n{}", false},
		"HTTP/1.0":                 {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", false},
		"HTTP/1.0 keep-alive":      {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n{}", true},
		"bytes behind the answer":  {small + "x", false},
		"a second answer, unasked": {small + small, false},
		"body behind a 204":        {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, addr := newClient(t, transport.Config{}), listen(t, answering(v.answer, false))
			reused(t, c, addr)
			if got := reused(t, c, addr); got != v.keep {
				t.Errorf("kept: %v, want %v", got, v.keep)
			}
		})
	}
}

func TestSpokenOutOfTurnIsNotUsedAgain(t *testing.T) {
	said := make(chan struct{}, 2)
	addr := listen(t, func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		io.WriteString(c, small)
		io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
		said <- struct{}{}
	})
	c := newClient(t, transport.Config{})
	for range 5 {
		if reused(t, c, addr) {
			t.Error("a connection with an unasked answer on it was used")
		}
		<-said
	}
}

func TestCloseDrainsOnlyWhatIsHere(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for _, answer := range []string{
			ok + "Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000),
			ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n",
			ok + "Content-Length: 1000\r\n\r\nx",
		} {
			if readRequest(br) != nil {
				return
			}
			io.WriteString(c, answer)
		}
		<-t.Context().Done()
	})
	c := newClient(t, transport.Config{})
	for i, want := range []bool{false, true, true, false} {
		var tm telemetry.Timing
		res, err := c.Do(context.Background(), targetAt(addr), post(ping), &tm)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		res.Close() // unread
		if tm.Reused != want || time.Since(start) > time.Second {
			t.Errorf("call %d: reused %v after %v", i, tm.Reused, time.Since(start))
		}
	}
}

func TestBytesSentAndNoAnswerIsNeverSentAgain(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"reset": func(c *net.TCPConn) { c.SetLinger(0) }, "closed": func(*net.TCPConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			addr := listen(t, func(c net.Conn) {
				br := bufio.NewReader(c)
				if readRequest(br) != nil {
					return
				}
				requests.Add(1)
				io.WriteString(c, small)
				if readRequest(br) == nil {
					requests.Add(1)
					end(c.(*net.TCPConn))
				}
			})
			c := newClient(t, transport.Config{})
			reused(t, c, addr)
			_, _, err := call(c, targetAt(addr), post(ping))
			wantFault(t, err, fault.Headers, fault.Reset)
			if n := requests.Load(); n != 2 {
				t.Errorf("the server saw %d requests, want 2", n)
			}
		})
	}
}

// failing is a connection of which one write can be made to fail, after the first part of it has left.
type failing struct {
	net.Conn
	now  *atomic.Bool
	part int
}

func (f failing) SyscallConn() (syscall.RawConn, error) { return f.Conn.(syscall.Conn).SyscallConn() }

func (f failing) Write(b []byte) (int, error) {
	if f.now.CompareAndSwap(true, false) {
		n, _ := f.Conn.Write(b[:f.part])
		return n, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	return f.Conn.Write(b)
}

func TestKeptConnectionThatDiesBeforeTheFirstByteIsReplacedOnce(t *testing.T) {
	var fail atomic.Bool
	var dials atomic.Int32
	addr := listen(t, answering(small, false))
	c := newClient(t, transport.Config{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
		dials.Add(1)
		nc, err := (&net.Dialer{}).DialContext(ctx, n, a)
		if err != nil {
			return nil, err
		}
		return failing{nc, &fail, 0}, nil
	}})
	for _, body := range []string{ping, strings.Repeat("x", 100_000)} {
		if _, _, err := call(c, targetAt(addr), post(ping)); err != nil {
			t.Fatal(err)
		}
		before := dials.Load()
		fail.Store(true)
		if _, got, err := call(c, targetAt(addr), post(body)); err != nil || got != "{}" || dials.Load() != before+1 {
			t.Errorf("%q, %v, %d dials", got, err, dials.Load()-before)
		}
	}
	fail.Store(true) // a new connection is not replaced
	c.Close()
	_, _, err := call(c, targetAt(addr), post(ping))
	wantFault(t, err, fault.Headers, fault.Reset)
}

func TestKeptConnectionThatDiesBehindTheFirstByteIsNotReplaced(t *testing.T) {
	var fail atomic.Bool
	var dials atomic.Int32
	addr := listen(t, answering(small, false))
	c := newClient(t, transport.Config{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
		dials.Add(1)
		nc, err := (&net.Dialer{}).DialContext(ctx, n, a)
		return failing{nc, &fail, 1}, err
	}})
	for i, body := range []string{ping, strings.Repeat("x", 100_000)} {
		if _, _, err := call(c, targetAt(addr), post(ping)); err != nil {
			t.Fatal(err)
		}
		fail.Store(true)
		_, _, err := call(c, targetAt(addr), post(body))
		if wantFault(t, err, fault.Headers, fault.Reset); dials.Load() != int32(i+1) {
			t.Errorf("%d dials, want %d", dials.Load(), i+1)
		}
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	var open atomic.Int32
	var turn sync.WaitGroup
	addr := listen(t, func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		br := bufio.NewReader(c)
		for readRequest(br) == nil {
			turn.Done()
			turn.Wait() // all ten at the same time
			io.WriteString(c, small)
		}
	})
	c := newClient(t, transport.Config{MaxIdlePerTarget: 3})
	turn.Add(10)
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, _, err := call(c, targetAt(addr), post(ping)); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	eventually(t, "three idle connections", func() bool { return open.Load() == 3 })
	c.Close()
	eventually(t, "none after Close", func() bool { return open.Load() == 0 })
	turn.Add(1)
	if _, _, err := call(c, targetAt(addr), post(ping)); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing kept after Close", func() bool { return open.Load() == 0 })
}

func TestOldIdleConnectionIsNotUsed(t *testing.T) {
	c, addr := newClient(t, transport.Config{IdleTimeout: time.Nanosecond}), listen(t, answering(small, false))
	reused(t, c, addr)
	if reused(t, c, addr) {
		t.Error("a connection older than IdleTimeout was used")
	}
}

func TestRunClosesOldIdleConnections(t *testing.T) {
	var open atomic.Int32
	addr := listen(t, func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		answering(small, false)(c)
	})
	c := newClient(t, transport.Config{IdleTimeout: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	reused(t, c, addr)
	eventually(t, "closed by Run", func() bool { return open.Load() == 0 })
	reused(t, c, addr) // a forgotten target works again
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTargetsDoNotShareConnections(t *testing.T) {
	c, addr := newClient(t, transport.Config{}), listen(t, answering(small, false))
	reused(t, c, addr)
	other := targetAt(addr)
	other.Key = "http other"
	var tm telemetry.Timing
	res, err := c.Do(context.Background(), other, post(ping), &tm)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	if tm.Reused {
		t.Error("another key's connection was used")
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	c, addr := newClient(t, transport.Config{}), listen(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			q, err := readBody(br)
			if err != nil {
				return
			}
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n"+chunks(q, 7))
		}
	})
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
			for j := range 50 {
				body := strings.Repeat(string(rune('a'+i)), 1+j*20)
				ctx, cancel := context.WithCancel(context.Background())
				if j%10 == 0 {
					time.AfterFunc(100*time.Microsecond, cancel)
				}
				res, err := c.Do(ctx, targetAt(addr), post(body), nil)
				var got []byte
				if err == nil {
					got, err = res.ReadAll(nil, 0)
					res.Close()
				}
				cancel()
				if err == nil && string(got) != body || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("sent %.5q, got %.5q, %v", body, got, err)
				}
			}
		})
	}
	calls.Wait()
}
