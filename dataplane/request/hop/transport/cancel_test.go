package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
)

func TestCallerLeavesAtAnyStep(t *testing.T) {
	ca := newAuthority(t)
	hear := func(reached chan<- struct{}, begin string) func(net.Conn) {
		return func(c net.Conn) {
			br := bufio.NewReader(c)
			if readRequest(br) != nil {
				return
			}
			io.WriteString(c, begin)
			reached <- struct{}{}
			br.ReadByte()
		}
	}
	silent := func(reached chan<- struct{}) string {
		return listen(t, func(c net.Conn) {
			one := make([]byte, 1)
			c.Read(one)
			reached <- struct{}{}
			<-t.Context().Done()
		})
	}
	type world struct {
		cfg transport.Config
		to  *table.Target
		q   *transport.Request
	}
	for name, build := range map[string]func(reached chan<- struct{}) world{
		"name resolution": func(reached chan<- struct{}) world {
			return world{transport.Config{Resolver: resolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
				reached <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			})}, named("127.0.0.1:1"), post(ping)}
		},
		"connect": func(reached chan<- struct{}) world {
			return world{transport.Config{DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
				reached <- struct{}{}
				return hanging(ctx, n, a)
			}}, targetAt("127.0.0.1:1"), post(ping)}
		},
		"TLS": func(reached chan<- struct{}) world {
			return world{transport.Config{}, secureAt(silent(reached), ca.pool()), post(ping)}
		},
		"large request": func(reached chan<- struct{}) world {
			return world{transport.Config{}, targetAt(silent(reached)), post(strings.Repeat("x", 16<<20))}
		},
		"head": func(reached chan<- struct{}) world {
			return world{transport.Config{}, targetAt(listen(t, hear(reached, "HTTP/1.1"))), post(ping)}
		},
		"body": func(reached chan<- struct{}) world {
			return world{transport.Config{}, targetAt(listen(t, hear(reached, ok+"Content-Length: 5\r\n\r\n{"))), post(ping)}
		},
		"stream": func(reached chan<- struct{}) world {
			q := post(ping)
			q.Stream = true
			return world{transport.Config{}, targetAt(listen(t, hear(reached, sse+"\r\ndata: 1\n\ndata: 2\n"))), q}
		},
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{}, 1)
			w := build(reached)
			c := newClient(t, w.cfg)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				res, err := c.Do(ctx, w.to, w.q, nil)
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
			wantGone(t, <-ended, context.Canceled)
			took := time.Since(start)
			if t.Logf("ended after %v", took); took > 40*time.Millisecond {
				t.Errorf("took %v", took)
			}
		})
	}
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
