package quota_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// fleet is data planes that follow a control plane over gRPC, in a bubble.
type fleet struct {
	t       *testing.T
	control *cptest.Control
	ctx     context.Context
	all     sync.WaitGroup
	limit   *table.Limit
	passed  atomic.Int64
}

func newFleet(t *testing.T) *fleet {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{t: t, ctx: ctx, limit: hundred()}
	f.control = cptest.New(t, cptest.Config{Stream: func(c *stream.Config) {
		c.Shares = share.New(share.Config{Allows: share.Allows(c.Views)})
		f.all.Go(func() { _ = c.Shares.Run(ctx) })
	}})
	f.control.Put(&configv1.Team{Name: "core", Spec: &configv1.TeamSpec{Limits: &configv1.CallLimits{Rate: "100/s"}}})
	t.Cleanup(func() {
		cancel()
		f.all.Wait()
	})
	return f
}

// add starts a data plane whose callers make so many calls a second.
func (f *fleet) add(name string, rate int) *policy.Limits {
	limits := policy.NewLimits(policy.LimitsConfig{})
	held := &table.Holder{}
	held.Store(table.New(table.Config{Region: "eu"}))
	follower, err := follow.New(follow.Config{Node: name, Region: "eu", Addresses: []string{"one"}, Table: held, Dir: f.t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Demand: limits.Demand, Shares: limits.SetShares,
		Dial: func(string) (follow.Conn, error) {
			return grpc.NewClient("passthrough:control", append(follow.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.control.Dial(ctx) }))...)
		}})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := follower.Boot(); err != nil {
		f.t.Fatal(err)
	}
	f.all.Go(func() { _ = follower.Run(f.ctx) })
	if rate > 0 {
		f.all.Go(func() { f.call(limits, rate) })
	}
	return limits
}

func (f *fleet) call(limits *policy.Limits, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
			if p, err := limits.Acquire([]*table.Limit{f.limit}); err == nil {
				f.passed.Add(1)
				p.Release()
			}
		}
	}
}

// during is how many calls pass in a while.
func (f *fleet) during(d time.Duration) int64 {
	before := f.passed.Load()
	<-time.After(d)
	return f.passed.Load() - before
}

func TestLimitsAreSharedOverRealStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		for i, rate := range []int{900, 50, 50} {
			f.add(fmt.Sprint("dp", i), rate)
		}
		f.during(3 * time.Second)
		for range 7 {
			if n := f.during(time.Second); n < 90 || n > 110 {
				t.Errorf("%d calls passed in a second, want 90 to 110", n)
			}
		}
		f.control.Stop()
		for range 20 {
			if n := f.during(time.Second); n > 110 {
				t.Errorf("%d calls passed in a second without a control plane, want at most 110", n)
			}
		}
		f.control.Restart()
		f.during(20 * time.Second)
		if n := f.during(time.Second); n < 90 || n > 110 {
			t.Errorf("%d calls passed in a second after the control plane came back, want 90 to 110", n)
		}
	})
}

func TestASingleDataPlaneHasEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		limits := f.add("dp", 0)
		<-time.After(50 * time.Millisecond)
		synctest.Wait()
		n := 0
		for range 200 {
			if _, err := limits.Acquire([]*table.Limit{f.limit}); err == nil {
				n++
			}
		}
		if n != 100 {
			t.Errorf("%d calls of a burst passed 50 ms after the start, want a second's worth: 100", n)
		}
	})
}
