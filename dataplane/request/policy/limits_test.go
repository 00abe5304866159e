package policy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// watch is a clock that tests move.
type watch struct {
	mu  sync.Mutex
	now time.Time
}

func (w *watch) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// limits has the whole of every limit.
func limits(defaultPpm int32) (*policy.Limits, *watch) {
	w := &watch{now: time.Unix(1_000_000, 0)}
	l := policy.NewLimits(policy.LimitsConfig{Now: w.Now})
	if defaultPpm > 0 {
		l.SetShares(&syncv1.Shares{DefaultPpm: defaultPpm})
	}
	return l, w
}

func key(rate float64, concurrency int) *table.Limit {
	return &table.Limit{ID: "key/u1", Subject: "the key ci", Rate: rate, Concurrency: concurrency}
}

// passed is how many of n calls are let pass.
func passed(l *policy.Limits, n int, list ...*table.Limit) (got int) {
	for range n {
		if p, err := l.Acquire(list); err == nil {
			got++
			p.Release()
		}
	}
	return got
}

func TestARateIsKeptWithBurstsOfASecond(t *testing.T) {
	l, w := limits(1_000_000)
	if n := passed(l, 500, key(100, 0)); n != 100 {
		t.Errorf("%d of 500 calls at once passed, want a second's worth: 100", n)
	}
	var n int
	for range 1000 {
		w.move(time.Millisecond)
		n += passed(l, 2, key(100, 0))
	}
	if n < 99 || n > 101 {
		t.Errorf("%d calls passed in the second after, want 100", n)
	}
}

func TestASlowRateLetsOneCallPassAtATime(t *testing.T) {
	l, w := limits(500_000)
	slow := key(1.0/60, 0) // half of it: one in two minutes
	if n := passed(l, 5, slow); n != 1 {
		t.Errorf("%d calls passed at once, want 1", n)
	}
	_, err := l.Acquire([]*table.Limit{slow})
	if f := fault.As(err); f == nil || f.RetryAfter.Round(time.Second) != 2*time.Minute {
		t.Errorf("refused with %+v, want to be told to wait for 2m", f)
	}
	w.move(2 * time.Minute)
	if n := passed(l, 5, slow); n != 1 {
		t.Errorf("%d calls passed after the wait, want 1", n)
	}
}

func TestCallsInFlightAreBoundedAndAtLeastOne(t *testing.T) {
	l, _ := limits(500_000)
	for _, x := range []struct{ limit, want int }{{10, 5}, {3, 1}, {1, 1}} {
		lim := &table.Limit{ID: fmt.Sprint("team/", x.limit), Subject: "the team core", Concurrency: x.limit}
		var held []*policy.Permit
		for {
			p, err := l.Acquire([]*table.Limit{lim})
			if err != nil {
				break
			}
			held = append(held, &p)
		}
		if len(held) != x.want {
			t.Errorf("half of %d: %d in flight, want %d", x.limit, len(held), x.want)
		}
		held[0].Release()
		held[0].Release() // once more does nothing
		if p, err := l.Acquire([]*table.Limit{lim}); err != nil {
			t.Errorf("a released place isn't free: %v", err)
		} else {
			held[0] = &p
		}
		if _, err := l.Acquire([]*table.Limit{lim}); err == nil {
			t.Error("a place was given back twice")
		}
	}
}

func TestARefusedCallCostsNothingOfAnyLimit(t *testing.T) {
	l, _ := limits(1_000_000)
	wide := &table.Limit{ID: "key/u1", Subject: "the key ci", Rate: 10, Concurrency: 10}
	narrow := &table.Limit{ID: "server/github", Subject: "the server github", Rate: 1}
	if n := passed(l, 1000, wide, narrow); n != 1 {
		t.Errorf("%d calls passed both limits, want 1", n)
	}
	if n := passed(l, 1000, wide); n != 9 {
		t.Errorf("%d calls left of the wide limit, want 9: 999 refused ones cost nothing", n)
	}
}

func TestARefusalNamesWhoseLimitAndWhatToRaise(t *testing.T) {
	l, _ := limits(1_000_000)
	for _, x := range []struct {
		limit         table.Limit
		message, hint string
	}{
		{table.Limit{ID: "key/u1", Subject: "the key ci", Rate: 1}, "too many calls: the key ci may make 1/s over the whole fleet", "spec.limits.rate of the API key"},
		{table.Limit{ID: "team/core", Subject: "the team core", Rate: 100.0 / 60}, "too many calls: the team core may make 1.667/s over the whole fleet", "spec.limits.rate of the Team"},
		{table.Limit{ID: "jwt/00", Subject: "the caller a", Rate: 0.5}, "too many calls: the caller a may make 30/m over the whole fleet", "spec.limits.rate of the IdentityProvider"},
		{table.Limit{ID: "server/s", Subject: "the server s", Rate: 1.0 / 3600}, "too many calls: the server s may make 1/h over the whole fleet", "spec.limits.rate of the Server"},
		{table.Limit{ID: "tool/s/t", Subject: "the tool t of the server s", Concurrency: 1},
			"too many calls in flight: the tool t of the server s may have 1 over the whole fleet", "spec.tool_limits[].limits.concurrency of the Server"},
	} {
		list := []*table.Limit{&x.limit}
		var err error
		for range 3 {
			_, err = l.Acquire(list)
		}
		f := fault.As(err)
		if f == nil || f.HTTPStatus() != 429 || f.Header() != "hop=client; phase=limit; kind=exhausted" || f.RetryAfter <= 0 {
			t.Fatalf("%s: %+v", x.limit.ID, f)
		}
		if f.Message != x.message || !strings.HasSuffix(f.Hint, "raise "+x.hint) {
			t.Errorf("%s: %q, hint %q", x.limit.ID, f.Message, f.Hint)
		}
	}
}

func TestAChangedLimitOrShareActsAtOnceAndMakesNoCredit(t *testing.T) {
	l, w := limits(1_000_000)
	if n := passed(l, 100, key(10, 0)); n != 10 {
		t.Fatalf("%d passed, want 10", n)
	}
	if n := passed(l, 100, key(1000, 0)); n != 0 {
		t.Errorf("%d passed right after the rate was raised: the burst was used up", n)
	}
	w.move(100 * time.Millisecond)
	if n := passed(l, 1000, key(1000, 0)); n != 100 {
		t.Errorf("%d passed in 0.1 s at 1000/s, want 100", n)
	}
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "key/u1", SharePpm: 100_000}}})
	w.move(100 * time.Millisecond)
	if n := passed(l, 1000, key(1000, 0)); n != 10 {
		t.Errorf("%d passed in 0.1 s at a tenth of 1000/s, want 10", n)
	}
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "key/u1", SharePpm: 0}}})
	w.move(time.Hour)
	if n := passed(l, 10, key(1000, 0)); n != 0 {
		t.Errorf("%d passed without any share", n)
	}
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "key/u1", SharePpm: -1}}})
	if n := passed(l, 2000, key(1000, 0)); n != 1000 {
		t.Errorf("%d passed back at the default share, want 1000", n)
	}
}

func TestBeforeAnyShareATenthIsInForce(t *testing.T) {
	l, _ := limits(0)
	if n := passed(l, 1000, key(100, 0)); n != 10 {
		t.Errorf("%d passed, want 10", n)
	}
}

func TestConcurrentCallsNeverExceedALimit(t *testing.T) {
	l, _ := limits(1_000_000)
	lim := []*table.Limit{{ID: "key/a", Rate: 5000, Concurrency: 3}, {ID: "team/t", Rate: 400}}
	var got, most, flying int
	var mu sync.Mutex
	count := func(d int) {
		mu.Lock()
		defer mu.Unlock()
		flying += d
		most = max(most, flying)
		if d > 0 {
			got++
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				if p, err := l.Acquire(lim); err == nil {
					count(1)
					count(-1)
					p.Release()
				}
			}
		})
	}
	wg.Wait()
	if got > 400 || got < 390 || most > 3 {
		t.Errorf("%d passed with %d in flight, want 400 with 3", got, most)
	}
}

func TestNoLimitsCostNoAllocationAndSomeNoneEither(t *testing.T) {
	l, _ := limits(1_000_000)
	four := []*table.Limit{{ID: "key/a", Rate: 1e9}, {ID: "team/t", Concurrency: 10}, {ID: "server/s", Rate: 1e9, Concurrency: 10}, {ID: "tool/s/t", Rate: 1e9}}
	for _, list := range [][]*table.Limit{nil, four} {
		if n := testing.AllocsPerRun(100, func() {
			p, err := l.Acquire(list)
			if err != nil {
				t.Fatal(err)
			}
			p.Release()
		}); n != 0 {
			t.Errorf("%d limits: %v allocations", len(list), n)
		}
	}
}
