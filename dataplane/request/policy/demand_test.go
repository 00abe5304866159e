package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// told is everything in messages, by limit.
func told(t *testing.T, ds []*syncv1.Demand) map[string]*syncv1.LimitDemand {
	t.Helper()
	out := map[string]*syncv1.LimitDemand{}
	for _, d := range ds {
		if len(d.GetLimits()) > 1000 {
			t.Errorf("%d limits in a message", len(d.GetLimits()))
		}
		for _, e := range d.GetLimits() {
			out[e.GetLimit()] = e
		}
	}
	return out
}

func TestDemandIsWhatWasOfferedOverAboutASecond(t *testing.T) {
	l, w := limits(1_000_000)
	lim := key(10, 0)
	for range 6 {
		for range 50 {
			w.move(10 * time.Millisecond)
			passed(l, 1, lim)
		}
		w.move(0)
		if e := told(t, l.Demand(false))["key/u1"]; e != nil {
			t.Logf("rate %d", e.GetRateMilli())
		}
	}
	w.move(time.Second)
	e := told(t, l.Demand(true))["key/u1"]
	if r := e.GetRateMilli(); r < 10_000 || r > 20_000 || e.GetInFlight() != 0 || e.GetSharePpm() != 1_000_000 {
		t.Errorf("a second after 100/s ended: %v, want some 13/s and the share in force", e)
	}
	for range 30 {
		w.move(500 * time.Millisecond)
		l.Demand(false)
	}
	if e := told(t, l.Demand(true)); len(e) != 1 || e[""].GetSharePpm() != 1_000_000 {
		t.Errorf("after a pause of 15 s: %v, want the default share only", e)
	}
}

func TestOnlyTheLimitThatRefusesHasDemand(t *testing.T) {
	l, w := limits(1_000_000)
	wide, narrow := key(1000, 0), &table.Limit{ID: "server/s", Concurrency: 2}
	a, _ := l.Acquire([]*table.Limit{wide, narrow})
	b, _ := l.Acquire([]*table.Limit{wide, narrow})
	for range 5 {
		passed(l, 1, wide, narrow)
	}
	w.move(500 * time.Millisecond)
	e := told(t, l.Demand(false))
	if e["key/u1"].GetRateMilli() > 4000 || e["server/s"].GetInFlight() != 7 || e["server/s"].GetRateMilli() != 0 {
		t.Errorf("%v; want two calls of the key, and seven in flight wanted of the server", e)
	}
	a.Release()
	b.Release()
}

func TestNothingIsToldTwice(t *testing.T) {
	l, w := limits(500_000)
	if e := told(t, l.Demand(false)); len(e) != 1 || e[""].GetSharePpm() != 500_000 {
		t.Errorf("first: %v, want the default share", e)
	}
	w.move(time.Second)
	if ds := l.Demand(false); len(ds) != 0 {
		t.Errorf("nothing is new: %v", ds)
	}
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "team/x", SharePpm: 7}}})
	if e := told(t, l.Demand(false)); len(e) != 1 || e["team/x"].GetSharePpm() != 7 {
		t.Errorf("a share is told back: %v", e)
	}
	if ds := l.Demand(false); len(ds) != 0 {
		t.Errorf("nothing is new: %v", ds)
	}
	ds := l.Demand(true)
	if e := told(t, ds); len(e) != 2 || e["team/x"].GetSharePpm() != 7 || ds[len(ds)-1].GetLimits()[1].GetLimit() != "" {
		t.Errorf("everything: %v, want the share and last the default", ds)
	}
	fresh := policy.NewLimits(policy.LimitsConfig{Now: w.Now})
	if e := told(t, fresh.Demand(true)); len(e) != 1 || e[""].GetSharePpm() != -1 {
		t.Errorf("a new process: %v, want that no share was named", e)
	}
}

func TestASmallerShareCountsOnceCallsHaveEnded(t *testing.T) {
	l, w := limits(1_000_000)
	lim := &table.Limit{ID: "team/t", Concurrency: 10}
	var held []*policy.Permit
	for range 9 {
		p, err := l.Acquire([]*table.Limit{lim})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, &p)
	}
	w.move(time.Second)
	l.Demand(false)
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "team/t", SharePpm: 300_000}}})
	for want := int32(900_000); want >= 300_000; want -= 100_000 {
		if e := told(t, l.Demand(false))["team/t"]; e.GetSharePpm() != want {
			t.Errorf("with %d in flight it uses %v, want %d", len(held), e, want)
		}
		held[0].Release()
		held = held[1:]
		w.move(500 * time.Millisecond)
	}
}

func TestManyLimitsAreBoundedAndIdleOnesForgotten(t *testing.T) {
	l, w := limits(1_000_000)
	policy.Remember(l, 10_000)
	for i := range 12_000 {
		if _, err := l.Acquire([]*table.Limit{{ID: fmt.Sprint("jwt/", i), Rate: 10}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := policy.Buckets(l); n != 10_000 {
		t.Errorf("%d limits are remembered, want 10,000", n)
	}
	l.SetShares(&syncv1.Shares{Limits: []*syncv1.LimitShare{{Limit: "team/x", SharePpm: 7}}})
	w.move(time.Second)
	for range 30 {
		l.Demand(false)
		w.move(30 * time.Second)
	}
	if n := policy.Buckets(l); n != 1 {
		t.Errorf("%d limits are remembered after 15 minutes, want the one that has a share of its own", n)
	}
}
