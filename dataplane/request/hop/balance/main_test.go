package balance

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

// newBalance has no jitter: windows are as long as they can be, and the first of those that are well is taken.
func newBalance(c *clock) *Balance {
	b := New(c.now)
	b.random = func() float64 { return 0 }
	return b
}

func target(host string, id uint32) *table.Target {
	return &table.Target{Host: host, Path: "/mcp", Key: "http " + host, ID: id, Masked: "http://" + host + "/mcp"}
}

// server has an instance per host, with ids from 1, and a breaker of three failures and a second.
func server(hosts ...string) *table.Server {
	s := &table.Server{Name: "up", Resilience: table.Resilience{BreakerFailures: 3, BreakerOpen: time.Second, HealthTimeout: time.Second}}
	for i, h := range hosts {
		s.Instances = append(s.Instances, target(h, uint32(i+1)))
	}
	s.Target = s.Instances[0]
	return s
}

// must leases an instance.
func must(t testing.TB, v *Server, only uint32) Lease {
	t.Helper()
	l, err := v.Pick(only, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l Lease) over(verdict Verdict) {
	l.Settle(verdict)
	l.Release()
}

func (l Lease) judged(verdict Verdict, began, answered time.Time) {
	l.Judge(verdict, began, answered)
	l.Release()
}

// refused is the fault of a call that gets no instance.
func refused(t testing.TB, v *Server, only uint32) *fault.Error {
	t.Helper()
	l, err := v.Pick(only, nil)
	if err == nil {
		t.Fatalf("%s was called", l.Target.Host)
	}
	f := fault.As(err)
	if f == nil || f.Server != "up" || f.Hint == "" {
		t.Fatalf("%v", err)
	}
	return f
}

// broken opens the breaker of an instance.
func broken(t testing.TB, v *Server, id uint32) {
	t.Helper()
	for range v.Config.Resilience.BreakerFailures {
		must(t, v, id).over(Failed)
	}
}

func faultOf(t testing.TB, err error) *fault.Error {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("no fault: %v", err)
	}
	return f
}

var errLeft = errors.New("left")

func leaving() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(context.Background())
}
