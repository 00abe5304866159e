package listen_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// net/http waits half a second before it hangs up on a caller whose request it didn't read to its end, and Close doesn't wait for that.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

var quiet = slog.New(slog.DiscardHandler)

// handler answers /healthz with 200 and everything else with a refusal.
func handler(t *testing.T) *request.Handler {
	t.Helper()
	tel, err := telemetry.New(telemetry.Config{Registry: prometheus.NewRegistry()})
	fatal(t, err)
	client, err := transport.New(transport.Config{})
	fatal(t, err)
	away, err := egress.New(egress.Config{})
	fatal(t, err)
	t.Cleanup(away.Close)
	credentials, err := credential.New(credential.Config{Egress: away, Log: quiet})
	fatal(t, err)
	h, err := request.New(request.Config{Table: new(table.Holder), Hop: hop.New(client, "test"), Telemetry: tel, Log: quiet, Credentials: credentials,
		Limits: policy.NewLimits(policy.LimitsConfig{}), Listener: origin.Listener{Loopback: true}})
	fatal(t, err)
	return h
}

// running is a listener that serves until stop, which returns what Run did.
func running(t *testing.T, cfg listen.Config) (l *listen.Listener, stop func() error) {
	t.Helper()
	cfg.Addr, cfg.Handler, cfg.Log = "127.0.0.1:0", handler(t), quiet
	l, err := listen.New(cfg)
	fatal(t, err)
	fatal(t, l.Open(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return l, stop
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, l *listen.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// alive makes a request over c and reports whether it was answered.
func alive(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, res.Body) //nolint:errcheck // read to its end
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func TestConnectionsAreLimited(t *testing.T) {
	l, _ := running(t, listen.Config{MaxConnections: 2})
	first, second := dial(t, l), dial(t, l)
	if !alive(first) || !alive(second) {
		t.Fatal("connections within the limit aren't served")
	}
	if alive(dial(t, l)) {
		t.Error("a third was served")
	}
	first.Close()
	for by := time.Now().Add(5 * time.Second); l.Connections() > 1 && time.Now().Before(by); {
		alive(second)
	}
	if !alive(dial(t, l)) {
		t.Error("after one went, the next isn't served")
	}
}

func TestSlowHeadsEnd(t *testing.T) {
	l, _ := running(t, listen.Config{HeaderTimeout: 50 * time.Millisecond})
	for name, sent := range map[string]string{"nothing": "", "half a head": "GET /healthz HTTP/1.1\r\nHost: loc"} {
		c, began := dial(t, l), time.Now()
		fmt.Fprint(c, sent)
		if answer, _ := io.ReadAll(c); strings.Contains(string(answer), " 200 ") || time.Since(began) > 5*time.Second { //nolint:errcheck // what came is what counts
			t.Errorf("%s: %q after %v", name, answer, time.Since(began))
		}
	}
}

func TestAddressesThatAreTaken(t *testing.T) {
	l, _ := running(t, listen.Config{})
	other, err := listen.New(listen.Config{Addr: l.Addr().String(), Handler: handler(t), Log: quiet})
	fatal(t, err)
	if err := other.Open(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestIdleConnectionsDontHoldTheDrain(t *testing.T) {
	l, stop := running(t, listen.Config{DrainTimeout: 20 * time.Second})
	c := dial(t, l)
	if !alive(c) {
		t.Fatal("not served")
	}
	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection: %v", err)
	}
}

func TestConfigsThatCantWork(t *testing.T) {
	if _, err := listen.New(listen.Config{Log: quiet}); err == nil {
		t.Error("without a handler")
	}
	if _, err := listen.New(listen.Config{Handler: handler(t)}); err == nil {
		t.Error("without a log")
	}
}
