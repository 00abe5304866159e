package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// place is where the upstream of a test is: connections made with the config to the address are handled.
type place func(t testing.TB, handle func(net.Conn)) (cfg transport.Config, addr string)

func TestCallerLeavesAtAnyStep(t *testing.T) {
	ca := newAuthority(t)
	sockets := func(t testing.TB, handle func(net.Conn)) (transport.Config, string) {
		return transport.Config{}, listen(t, handle)
	}
	pipes := func(t testing.TB, handle func(net.Conn)) (transport.Config, string) {
		return piped(t, handle), "127.0.0.1:1"
	}
	for name, step := range leavings(ca) {
		t.Run(name, func(t *testing.T) {
			leave(t, step, sockets, wheres[name])
			synctest.Test(t, func(t *testing.T) {
				if took := leave(t, step, pipes, wheres[name]); took != 0 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// leaving is a call whose upstream tells when it has reached its step.
type leaving func(t testing.TB, at place, reached chan<- struct{}) (transport.Config, *table.Target, *transport.Request)

func leavings(ca *authority) map[string]leaving {
	hears := func(begin string, q *transport.Request) leaving {
		return func(t testing.TB, at place, reached chan<- struct{}) (transport.Config, *table.Target, *transport.Request) {
			cfg, addr := at(t, func(c net.Conn) {
				br := bufio.NewReader(c)
				if readRequest(br) != nil {
					return
				}
				io.WriteString(c, begin)
				reached <- struct{}{}
				br.ReadByte()
			})
			return cfg, targetAt(addr), q
		}
	}
	silent := func(to func(addr string) *table.Target, q *transport.Request) leaving {
		return func(t testing.TB, at place, reached chan<- struct{}) (transport.Config, *table.Target, *transport.Request) {
			cfg, addr := at(t, func(c net.Conn) {
				one := make([]byte, 1)
				c.Read(one)
				reached <- struct{}{}
				<-t.Context().Done()
			})
			return cfg, to(addr), q
		}
	}
	stream := post(ping)
	stream.Stream = true
	return map[string]leaving{
		"name resolution": func(_ testing.TB, _ place, reached chan<- struct{}) (transport.Config, *table.Target, *transport.Request) {
			return transport.Config{Resolver: resolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
				reached <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			})}, named("127.0.0.1:1"), post(ping)
		},
		"connect": func(_ testing.TB, _ place, reached chan<- struct{}) (transport.Config, *table.Target, *transport.Request) {
			return transport.Config{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
				reached <- struct{}{}
				return hanging(ctx, n, a)
			}}, targetAt("127.0.0.1:1"), post(ping)
		},
		"TLS":           silent(func(addr string) *table.Target { return secureAt(addr, ca.pool()) }, post(ping)),
		"large request": silent(targetAt, post(strings.Repeat("x", 16<<20))),
		"head":          hears("HTTP/1.1", post(ping)),
		"body":          hears(ok+"Content-Length: 5\r\n\r\n{", post(ping)),
		"stream":        hears(sse+"\r\ndata: 1\n\ndata: 2\n", stream),
	}
}

// wheres is in which phase a caller may have left. An answer that begins may not have been heard yet.
var wheres = map[string][]fault.Phase{
	"name resolution": {fault.DNS}, "connect": {fault.Connect}, "TLS": {fault.TLS}, "large request": {fault.Headers}, "head": {fault.Headers},
	"body": {fault.Headers, fault.Body}, "stream": {fault.Headers, fault.Stream},
}

// leave has the caller leave and returns how long the call went on.
func leave(t *testing.T, step leaving, at place, wheres []fault.Phase) time.Duration {
	t.Helper()
	reached := make(chan struct{}, 1)
	cfg, to, q := step(t, at, reached)
	q.Timeouts = table.Timeouts{} // nothing else ends it
	c := newClient(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		res, err := c.Do(ctx, to, q, nil)
		for err == nil {
			_, err = res.NextEvent(nil, 0)
		}
		if res != nil {
			res.Close()
		}
		ended <- err
	}()
	<-reached
	start := time.Now()
	cancel()
	err := <-ended
	took := time.Since(start)
	wantGone(t, err, context.Canceled)
	var left interface{ Reached() fault.Phase }
	if !errors.As(err, &left) || !slices.Contains(wheres, left.Reached()) {
		t.Errorf("%v, want it to have ended in %v", err, wheres)
	}
	return took
}

func TestDeadlineOfTheCallerIsNoFault(t *testing.T) {
	addr := listen(t, silentAfter(""))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := newClient(t, transport.Config{}).Do(ctx, targetAt(addr), post(ping), nil)
	wantGone(t, err, context.DeadlineExceeded)
}

func TestEndedContextSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := newClient(t, transport.Config{DialContext: refusing(errors.New("not to be reached"))})
	_, err := c.Do(ctx, targetAt("127.0.0.1:1"), post(ping), nil)
	wantGone(t, err, context.Canceled)
}

func TestSeveredConnectionIsNotUsedAgain(t *testing.T) {
	closed := make(chan struct{}, 1)
	addr := listen(t, func(c net.Conn) {
		answering(ok+"Content-Length: 2\r\n\r\n{}", false)(c)
		closed <- struct{}{}
	})
	c := newClient(t, transport.Config{})
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		res, err := c.Do(ctx, targetAt(addr), post(ping), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := res.ReadAll(nil, 0); err != nil || string(b) != "{}" { // it is complete, so it counts
			t.Fatal(string(b), err)
		}
		cancel() // but from now on the deadlines are gone
		res.Close()
		<-closed
		if _, body, err := call(c, targetAt(addr), post(ping)); err != nil || body != "{}" {
			t.Fatal(body, err)
		}
		res, err = c.Do(context.Background(), targetAt(addr), post(ping), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Close()
	}
}
