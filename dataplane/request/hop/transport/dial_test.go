package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// resolver answers every lookup with one function.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (r resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return r(ctx, host)
}

func fixed(addrs ...string) resolver {
	return func(context.Context, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

// named is a target with a host name to resolve.
func named(addr string) *table.Target {
	to := targetAt(addr)
	to.Hostname, to.Key = "name.invalid", "http name.invalid"
	return to
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func refusing(err error) dialFunc {
	return func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
}

func hanging(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
}

func TestNameResolutionFaults(t *testing.T) {
	for name, v := range map[string]struct {
		r    resolver
		kind fault.Kind
	}{
		"not found": {func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "secret", IsNotFound: true}
		}, fault.NotFound},
		"no address": {fixed(), fault.NotFound},
		"timeout":    {func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }, fault.TimedOut},
		"resolver's own timeout": {func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}
		}, fault.TimedOut},
		"server failure": {func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
		}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, transport.Config{Resolver: v.r, DialContext: refusing(errors.New("not to be reached"))})
			q := post(ping)
			if v.kind == fault.TimedOut {
				q.Timeouts.Connect = 30 * time.Millisecond
			}
			var tm telemetry.Timing
			_, err := c.Do(context.Background(), named("127.0.0.1:1"), q, &tm)
			wantFault(t, err, fault.DNS, v.kind)
			if tm.DNSStart.IsZero() || tm.DNSDone.IsZero() || tm.End.IsZero() || !tm.ConnStart.IsZero() {
				t.Errorf("timing: %+v", tm)
			}
		})
	}
}

func TestConnectFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for name, v := range map[string]struct {
		dial dialFunc
		kind fault.Kind
	}{
		"refused for real":  {nil, fault.Refused},
		"no route":          {refusing(syscall.EHOSTUNREACH), fault.Unreachable},
		"no network":        {refusing(syscall.ENETUNREACH), fault.Unreachable},
		"timeout":           {hanging, fault.TimedOut},
		"kernel's timeout":  {refusing(syscall.ETIMEDOUT), fault.TimedOut},
		"reset":             {refusing(syscall.ECONNRESET), fault.Reset},
		"out of descriptor": {refusing(syscall.EMFILE), fault.Exhausted},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, transport.Config{DialContext: v.dial})
			q := post(ping)
			if v.kind == fault.TimedOut {
				q.Timeouts.Connect = 30 * time.Millisecond
			}
			_, _, err := call(c, targetAt(closed), q)
			wantFault(t, err, fault.Connect, v.kind)
		})
	}
}

func TestTotalLimitCoversTheConnect(t *testing.T) {
	c := newClient(t, transport.Config{DialContext: hanging})
	q := post(ping)
	q.Timeouts = table.Timeouts{Total: 20 * time.Millisecond}
	_, _, err := call(c, targetAt("127.0.0.1:1"), q)
	if f := wantFault(t, err, fault.Connect, fault.TimedOut); !strings.Contains(f.Message, "total") {
		t.Errorf("message %q", f.Message)
	}
}

func TestOtherAddressesAreTried(t *testing.T) {
	addr := listen(t, answering(ok+"Content-Length: 2\r\n\r\n{}", true))
	real := (&net.Dialer{}).DialContext
	to := func(ctx context.Context, network, a string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(a)
		switch host {
		case "127.0.0.1":
			return real(ctx, network, addr)
		case "::2":
			return hanging(ctx, network, a)
		}
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	for name, addrs := range map[string][]string{
		"same family": {"127.0.0.9", "127.0.0.8", "127.0.0.1"}, "other family refuses": {"::1", "127.0.0.1"}, "other family hangs": {"::2", "127.0.0.1"},
		"mapped address": {"::ffff:127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, transport.Config{Resolver: fixed(addrs...), DialContext: to})
			if _, body, err := call(c, named(addr), post(ping)); err != nil || body != "{}" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	t.Run("the failure that says most wins", func(t *testing.T) {
		c := newClient(t, transport.Config{Resolver: fixed("::1", "127.0.0.9"), DialContext: func(_ context.Context, _, a string) (net.Conn, error) {
			if strings.HasPrefix(a, "[") {
				return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
			}
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}})
		_, _, err := call(c, named(addr), post(ping))
		wantFault(t, err, fault.Connect, fault.Refused)
	})
}

func TestSlowerFamilyIsClosed(t *testing.T) {
	var open atomic.Int32
	addr := listen(t, func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		answering(ok+"Content-Length: 2\r\n\r\n{}", false)(c)
	})
	c := newClient(t, transport.Config{Resolver: fixed("::1", "127.0.0.1"), DialContext: func(ctx context.Context, network, a string) (net.Conn, error) {
		if strings.HasPrefix(a, "[") { // succeeds, but only when the other one has
			<-ctx.Done()
		}
		return (&net.Dialer{}).DialContext(context.WithoutCancel(ctx), network, addr)
	}})
	start := time.Now()
	if _, _, err := call(c, named(addr), post(ping)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > limits.Connect/2 {
		t.Errorf("the faster one had to wait %v for the slower one", took)
	}
	eventually(t, "one connection left", func() bool { return open.Load() == 1 })
}

func TestProxyFromTheEnvironmentIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "{}") })
	if _, _, err := call(c, to, post(ping)); err != nil {
		t.Error(err)
	}
}
