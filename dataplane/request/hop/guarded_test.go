package hop_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

var breaker = table.Resilience{BreakerFailures: 3, BreakerOpen: time.Minute}

// opens makes calls until the breaker opens, or reports that five of them didn't.
func opens(t *testing.T, h *hop.Hop, send func() error) bool {
	t.Helper()
	for range 5 {
		if f := fault.As(send()); f != nil && f.Kind == fault.CircuitOpen {
			return true
		}
	}
	return false
}

func TestOnlyTransportFaultsOpenTheBreaker(t *testing.T) {
	slow := func(s *table.Server) { s.Timeouts.FirstByte = 20 * time.Millisecond }
	soon := func(c *hop.Call) (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 30*time.Millisecond)
	}
	for _, c := range []struct {
		name   string
		url    string
		change func(*table.Server)
		ctx    func(*hop.Call) (context.Context, context.CancelFunc)
		call   bool
		opens  bool
	}{
		{"refused", mcptest.RefusedURL(t), nil, nil, true, true},
		{"no such host", "http://nobody.invalid/mcp", nil, nil, true, true},
		{"no TLS", "https" + strings.TrimPrefix(answers(t).URL, "http"), nil, nil, true, true},
		{"reset before the head", startResetting(t).url, nil, nil, true, true},
		{"no head in time", mcptest.Start(t, mcptest.Silent()).URL, slow, nil, true, true},
		{"a list cut by its deadline", mcptest.Start(t, mcptest.Silent()).URL, func(s *table.Server) { s.Timeouts.List = 30 * time.Millisecond }, soon, false, true},
		{"a list that had no time left", mcptest.Start(t, mcptest.Silent()).URL, nil, soon, false, false},
		{"a call cut by its caller's deadline", mcptest.Start(t, mcptest.Silent()).URL, nil, soon, true, false},
		{"a caller that left", mcptest.Start(t, mcptest.Silent()).URL, nil, func(*hop.Call) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, false, false},
		{"500", mcptest.Start(t, mcptest.Page(500)).URL, nil, nil, true, false},
		{"503", mcptest.Start(t, mcptest.Page(503)).URL, nil, nil, false, false},
		{"an error in JSON-RPC", mcptest.Start(t, mcptest.Status(200, "application/json", noModern)).URL, nil, nil, true, false},
		{"a body that is cut", mcptest.Start(t, mcptest.CutBody(1<<20)).URL, nil, nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, s := newHop(t), instances(t, breaker, c.url)
			if c.change != nil {
				c.change(s)
			}
			got := opens(t, h, func() error {
				q, ctx := listOf(s), context.Background()
				if c.call {
					q = callOf(s)
				}
				if c.ctx != nil {
					var cancel context.CancelFunc
					ctx, cancel = c.ctx(q)
					defer cancel()
				}
				_, _, _, err := outcome(h, ctx, q)
				return err
			})
			if got != c.opens {
				t.Errorf("opens: %v", got)
			}
			if open := h.OpenInstances(s); (len(open) == 1) != c.opens {
				t.Errorf("%v", open)
			}
		})
	}
}

// slowly is a server that answers when it is told.
func slowly(t *testing.T) (url string, go1 chan struct{}, came chan struct{}) {
	go1, came = make(chan struct{}), make(chan struct{}, 100)
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		select {
		case <-go1:
		case <-r.Context().Done():
			return
		}
		mcptest.Result(w, mcptest.Read(r), `{}`)
	}))
	return up.URL, go1, came
}

func TestCallsAtOnceAreLimitedUntilTheirAnswersAreRead(t *testing.T) {
	h := newHop(t)
	s := instances(t, table.Resilience{MaxInFlight: 1}, answers(t).URL)
	var rec telemetry.Record
	a, err := h.Send(t.Context(), callOf(s), &rec)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = outcome(h, t.Context(), callOf(s))
	f := fault.As(err)
	if f == nil || f.Hop != fault.Gateway || f.Phase != fault.Limit || f.Kind != fault.Exhausted || f.HTTPStatus() != 503 || f.RetryAfter != time.Second {
		t.Fatalf("%v", err)
	}
	stream := callOf(s)
	stream.Stream = true
	if _, _, _, err := outcome(h, t.Context(), stream); err != nil {
		t.Errorf("a stream counts: %v", err)
	}
	a.Close()
	a.Close()
	for range 3 {
		if _, _, _, err := outcome(h, t.Context(), callOf(s)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFailedCallGivesItsPlaceBack(t *testing.T) {
	h := newHop(t)
	s := instances(t, table.Resilience{MaxInFlight: 1}, mcptest.RefusedURL(t))
	for range 3 {
		if _, _, _, err := outcome(h, t.Context(), callOf(s)); kindOf(t, err) != fault.Refused {
			t.Fatal(err)
		}
	}
}

func TestWaitingCallsGetTheirTurnAndMetricsTellOfThem(t *testing.T) {
	h := newHop(t)
	url, answer, came := slowly(t)
	s := instances(t, table.Resilience{MaxInFlight: 1, Queue: 1, QueueTimeout: 5 * time.Second}, url)
	done := make(chan error, 2)
	send := func() { _, _, _, err := outcome(h, t.Context(), callOf(s)); done <- err }
	go send()
	<-came
	go send()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(h.Collector("eu"))
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	want := "hopgate_upstream_in_flight region=eu server=up 1\nhopgate_upstream_instance_open instance=" + host + " region=eu server=up 0\n" +
		"hopgate_upstream_queued region=eu server=up 1\n"
	eventually(t, "both are counted: "+want, func() bool { return gathered(t, reg) == want })
	for range 2 {
		answer <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// gathered is what Prometheus sees, one line per series.
func gathered(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			b.WriteString(f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Fprintf(&b, " %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Fprintf(&b, " %v\n", m.GetGauge().GetValue())
		}
	}
	return b.String()
}

// Red when a call that its caller makes last long speaks against a server that answers others.
func TestASlowToolDoesntCloseAServerThatAnswersOthers(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		if m.Method == "tools/call" {
			<-r.Context().Done()
			return
		}
		mcptest.Result(w, m, `{}`)
	}))
	h, s := newHop(t), instances(t, breaker, up.URL)
	s.Timeouts.FirstByte = 300 * time.Millisecond
	var slow sync.WaitGroup
	for range 10 {
		slow.Go(func() {
			if _, _, _, err := outcome(h, context.Background(), callOf(s)); kindOf(t, err) != fault.TimedOut {
				t.Errorf("%v", err)
			}
		})
	}
	if _, _, _, err := outcome(h, context.Background(), listOf(s)); err != nil {
		t.Fatal(err)
	}
	slow.Wait()
	if _, _, _, err := outcome(h, context.Background(), listOf(s)); err != nil {
		t.Errorf("it gets no calls: %v", err)
	}
}
