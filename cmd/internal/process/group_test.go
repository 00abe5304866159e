package process_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

// journal notes what happened in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

func newGroup(t *testing.T, deadline time.Duration) (*process.Group, *buffer) {
	t.Helper()
	log, out := newLog(t)
	g, err := process.NewGroup(process.GroupConfig{Log: log, Deadline: deadline})
	if err != nil {
		t.Fatal(err)
	}
	return g, out
}

// waiter ends drain after it was told to.
func waiter(j *journal, name string, drain time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		j.add("-" + name)
		time.Sleep(drain) // of the bubble's clock
		j.add(name + ".")
		return nil
	}
}

func TestActorsStopInReverseOrderOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, out := newGroup(t, 0)
		var j journal
		for _, name := range []string{"traces", "follow", "listen"} {
			g.Add(name, waiter(&j, name, time.Second))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := j.String(); got != "-listen listen. -follow follow. -traces traces." {
			t.Error(got)
		}
		if n := strings.Count(out.String(), "part stopped part="); n != 3 {
			t.Error(out.String())
		}
	})
}

func TestFirstErrorStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGroup(t, 0)
		var j journal
		boom, late := errors.New("boom"), errors.New("late")
		g.Add("traces", waiter(&j, "traces", 0))
		g.Add("follow", func(ctx context.Context) error { <-ctx.Done(); return late })
		g.Add("listen", func(context.Context) error { time.Sleep(time.Second); return boom })
		g.Add("admin", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		err := g.Run(t.Context())
		if !errors.Is(err, boom) || !errors.Is(err, late) || errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "listen: boom") {
			t.Error(err)
		}
		if j.String() != "-traces traces." {
			t.Error(j.String())
		}
	})
}

func TestAFinishedActorStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGroup(t, 0)
		var j journal
		g.Add("once", func(context.Context) error { return nil })
		g.Add("listen", waiter(&j, "listen", 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(begin) != time.Hour {
			t.Error(err, time.Since(begin))
		}
	})
}

func TestGroupEndsWhenAllHave(t *testing.T) {
	g, _ := newGroup(t, 0)
	g.Add("a", func(context.Context) error { return nil })
	g.Add("b", func(context.Context) error { return nil })
	if err := g.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStuckActorsAreNamedAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, out := newGroup(t, 10*time.Second)
		var j journal
		release := make(chan struct{})
		g.Add("traces", waiter(&j, "traces", 0))
		g.Add("stuck", func(context.Context) error { <-release; return nil })
		g.Add("listen", waiter(&j, "listen", 2*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		err := g.Run(ctx)
		if !errors.Is(err, process.ErrDeadline) || err.Error() != "stuck: did not stop in time" {
			t.Error(err)
		}
		if took := time.Since(begin); took != 11*time.Second {
			t.Errorf("took %v", took)
		}
		if got := j.String(); got != "-listen listen. -traces traces." {
			t.Error(got)
		}
		if !strings.Contains(out.String(), "parts=stuck") {
			t.Error(out.String())
		}
		close(release)
	})
}
