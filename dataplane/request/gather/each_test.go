package gather_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// members are n servers with that time for their part.
func members(n int, limit time.Duration) (out []route.Member) {
	for i := range n {
		out = append(out, route.Member{Server: &table.Server{Name: fmt.Sprintf("s%03d", i), Timeouts: table.Timeouts{List: limit}}})
	}
	return out
}

func hang(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestOutcomesComeInTheOrderOfMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := gather.Each(t.Context(), members(100, time.Second), func(ctx context.Context, i int) error {
			select {
			case <-time.After(time.Duration(100-i) * time.Millisecond):
			case <-ctx.Done():
			}
			if i%2 == 1 {
				return &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused}
			}
			return nil
		})
		for i, o := range out {
			want := gather.OK
			if i%2 == 1 {
				want = gather.Unreachable
			}
			if o.Server != fmt.Sprintf("s%03d", i) || o.Status != want || (o.Err == nil) != (want == gather.OK) || o.Took != time.Duration(100-i)*time.Millisecond {
				t.Errorf("%d: %+v", i, o)
			}
			if o.Err != nil && o.Err.Server != o.Server {
				t.Errorf("the fault is of %q", o.Err.Server)
			}
		}
	})
}

func TestAHangingServerCostsItsOwnTimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := members(20, 3*time.Second)
		all[4].Server.Timeouts.List = 0
		began := time.Now()
		out := gather.Each(t.Context(), all, func(ctx context.Context, i int) error {
			if i == 4 || i == 7 {
				return hang(ctx, i)
			}
			return nil
		})
		if took := time.Since(began); took != gather.DefaultLimit {
			t.Errorf("all took %v", took)
		}
		for i, o := range out {
			want, took := gather.OK, time.Duration(0)
			switch i {
			case 4:
				want, took = gather.Timeout, gather.DefaultLimit
			case 7:
				want, took = gather.Timeout, 3*time.Second
			}
			if o.Status != want || o.Took != took {
				t.Errorf("%+v", o)
			}
		}
		f := out[7].Err
		if f.Hop != fault.Upstream || f.Phase != fault.Headers || f.Kind != fault.TimedOut || f.Server != "s007" ||
			!strings.Contains(f.Message, "s007") || !strings.Contains(f.Message, "3s") || !strings.Contains(f.Hint, "spec.timeouts.list") {
			t.Errorf("%+v", f)
		}
		if !errors.Is(f, context.DeadlineExceeded) {
			t.Error("the cause is lost")
		}
	})
}

func TestHangingServersDontStarveTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var most, now atomic.Int64
		out := gather.Each(t.Context(), members(100, time.Second), func(ctx context.Context, i int) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if i < gather.AtOnce {
				return hang(ctx, i)
			}
			return nil
		})
		if took := time.Since(began); took != time.Second || most.Load() != gather.AtOnce {
			t.Errorf("took %v, %d at once", took, most.Load())
		}
		for i, o := range out {
			if (o.Status == gather.OK) != (i >= gather.AtOnce) {
				t.Errorf("%+v", o)
			}
		}
	})
}

func TestWaitingForAPlaceHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asked := atomic.Int64{}
		out := gather.Each(t.Context(), members(100, time.Second), func(ctx context.Context, i int) error {
			asked.Add(1)
			return hang(ctx, i)
		})
		if took := time.Since(began); took != 2*time.Second || asked.Load() != 2*gather.AtOnce {
			t.Errorf("took %v, %d were asked", took, asked.Load())
		}
		for i, o := range out {
			if o.Status != gather.Timeout || (i >= 2*gather.AtOnce) != strings.Contains(o.Err.Message, "wasn't asked") {
				t.Errorf("%d: %+v %v", i, o, o.Err)
			}
		}
	})
}

func TestTheEndOfTheRequestEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		began, asked := time.Now(), atomic.Int64{}
		out := gather.Each(ctx, members(100, time.Second), func(ctx context.Context, i int) error {
			asked.Add(1)
			return hang(ctx, i)
		})
		if took := time.Since(began); took != time.Millisecond || asked.Load() != gather.AtOnce {
			t.Errorf("took %v, %d were asked", took, asked.Load())
		}
		for _, o := range out {
			if o.Err == nil || o.Err.Hop != fault.Client || o.Err.Kind != fault.Reset {
				t.Errorf("%+v", o)
			}
		}
	})
}

func TestTheCauseOfTheEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated}
		cancel(why)
		if out := gather.Each(ctx, members(1, 0), hang); out[0].Err != why {
			t.Errorf("%v", out[0].Err)
		}
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if out := gather.Each(short, members(2, 0), hang); out[1].Status != gather.Timeout || out[1].Err.Hop != fault.Gateway {
			t.Errorf("%v", out[1].Err)
		}
	})
}

// What a server said or how the way to it broke before its time was over isn't called a timeout, and the phase of one that was is kept.
func TestWhatHappenedAtTheDeadline(t *testing.T) {
	torn := &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.Reset}
	said := &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Unauthenticated, Remote: true, UpstreamStatus: 401}
	waited := &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.TimedOut, Remote: true, UpstreamStatus: 504}
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err   error
			late  bool
			phase fault.Phase
			kind  fault.Kind
		}{
			{torn, true, fault.Body, fault.TimedOut},
			{torn, false, fault.Body, fault.Reset},
			{said, true, fault.Headers, fault.Unauthenticated},
			{waited, true, fault.Headers, fault.TimedOut},
			{fmt.Errorf("read: %w", context.DeadlineExceeded), true, fault.Headers, fault.TimedOut},
			{errors.New("what"), false, fault.Request, fault.Internal},
		} {
			out := gather.Each(t.Context(), members(2, time.Second), func(ctx context.Context, _ int) error {
				if c.late {
					<-ctx.Done()
				}
				return c.err
			})
			f, said := out[1].Err, fault.As(c.err)
			if f.Phase != c.phase || f.Kind != c.kind || f.Server != "s001" || said != nil && f.UpstreamStatus != said.UpstreamStatus {
				t.Errorf("%v late=%t: %+v", c.err, c.late, f)
			}
		}
	})
	if torn.Server != "" || said.Server != "" {
		t.Error("a fault that others may hold, too, was changed")
	}
}

func TestSuccessAfterTheDeadlineIsSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := gather.Each(t.Context(), members(1, time.Second), func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return nil
		})
		if out[0].Status != gather.OK {
			t.Errorf("%+v", out[0])
		}
	})
}

func TestAPanicIsAFaultOfTheGateway(t *testing.T) {
	out := gather.Each(t.Context(), members(3, time.Second), func(_ context.Context, i int) error {
		if i == 1 {
			panic("sk-secret")
		}
		return nil
	})
	f := out[1].Err
	if out[0].Status != gather.OK || out[2].Status != gather.OK || f == nil || f.Hop != fault.Gateway || f.Kind != fault.Internal {
		t.Fatalf("%+v", out)
	}
	if strings.Contains(f.Message+f.Hint, "sk-secret") || !strings.Contains(f.Err.Error(), "each_test.go") {
		t.Errorf("%+v", f)
	}
}

func TestNobodyToAsk(t *testing.T) {
	if out := gather.Each(t.Context(), nil, hang); len(out) != 0 {
		t.Errorf("%v", out)
	}
}
