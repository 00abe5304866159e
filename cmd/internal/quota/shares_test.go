package quota_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

func hundred() *table.Limit {
	return &table.Limit{ID: "team/core", Subject: "the team core", Rate: 100}
}

// both runs a test with a control plane that can look limits up, and with one that can't.
func both(t *testing.T, f func(t *testing.T, known bool)) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("known=", known), func(t *testing.T) { f(t, known) })
	}
}

func TestUnevenDemandUsesTheWholeLimitAndNoMore(t *testing.T) {
	both(t, func(t *testing.T, known bool) {
		for _, times := range []float64{1, 10} {
			w := newWorld(t, hundred(), known)
			for i, part := range []float64{90, 5, 5} {
				w.add(fmt.Sprint("dp", i), part*times)
			}
			w.run(30 * time.Second)
			t.Logf("%g times the limit: %d in 30 s, %d in the first 3", times, w.between(0, 30*time.Second), w.between(0, 3*time.Second))
			w.windows(3*time.Second, 30*time.Second, 90, 110)
		}
	})
}

func TestWithoutAControlPlaneTheLastSharesStay(t *testing.T) {
	both(t, func(t *testing.T, known bool) {
		w := newWorld(t, hundred(), known)
		for i, rate := range []float64{900, 50, 50} {
			w.add(fmt.Sprint("dp", i), rate)
		}
		w.run(10 * time.Second)
		for _, n := range w.nodes {
			w.cut(n)
		}
		w.ledger = nil
		w.run(10 * time.Second)
		w.nodes[1].rate = 900 // its share stays
		w.run(10 * time.Second)
		w.windows(3*time.Second, 30*time.Second, 90, 110)
	})
}

func TestADataPlaneMayJoinAndLeave(t *testing.T) {
	both(t, func(t *testing.T, known bool) {
		w := newWorld(t, hundred(), known)
		w.add("a", 500)
		w.add("b", 500)
		w.run(5 * time.Second)
		c := w.add("c", 500)
		w.run(10 * time.Second)
		if n := w.between(5*time.Second, 7*time.Second); n > 2*100+20 {
			t.Errorf("%d calls in the two seconds after a data plane joined, want at most 220", n)
		}
		w.windows(7*time.Second, 15*time.Second, 90, 110)

		t.Log("cut off it serves on with its share, then it ends, and two minutes later its share is the others'")
		w.cut(c)
		w.run(time.Minute)
		w.windows(15*time.Second, 75*time.Second, 90, 110)
		c.rate = 0
		w.run(10 * time.Second)
		if n := w.between(80*time.Second, 85*time.Second); n < 300 || n > 370 {
			t.Errorf("%d calls in 5 s while a third is kept, want 333", n)
		}
		w.run(55 * time.Second)
		w.windows(138*time.Second, 140*time.Second, 90, 110)
	})
}

func TestSharesFollowDemandThatMoves(t *testing.T) {
	both(t, func(t *testing.T, known bool) {
		w := newWorld(t, hundred(), known)
		a, b := w.add("a", 90), w.add("b", 5)
		w.add("c", 5)
		w.run(10 * time.Second)
		a.rate, b.rate = 5, 90
		w.run(10 * time.Second)
		t.Logf("seconds after the move: %d %d %d %d", w.between(10*time.Second, 11*time.Second), w.between(11*time.Second, 12*time.Second),
			w.between(12*time.Second, 13*time.Second), w.between(13*time.Second, 14*time.Second))
		w.windows(3*time.Second, 20*time.Second, 0, 110)
		w.windows(13*time.Second, 20*time.Second, 90, 110)
	})
}

func TestALittleDemandIsNeverRefused(t *testing.T) {
	w := newWorld(t, hundred(), true)
	a, b := w.add("a", 20), w.add("b", 0)
	w.run(10 * time.Second)
	b.rate = 20
	w.run(10 * time.Second)
	a.rate = 0
	w.run(10 * time.Second)
	if n := w.between(0, 30*time.Second); n < 10*20+10*40+10*20-5 {
		t.Errorf("%d of 800 calls passed, though half of the limit is free all the time", n)
	}
}

func TestAControlPlaneThatRestartsTakesOver(t *testing.T) {
	both(t, func(t *testing.T, known bool) {
		w := newWorld(t, hundred(), known)
		for i, rate := range []float64{900, 50, 50} {
			w.add(fmt.Sprint("dp", i), rate)
		}
		w.run(10 * time.Second)
		for _, n := range w.nodes {
			w.cut(n)
		}
		w.run(5 * time.Second)
		w.control(3 * time.Second)
		for i, n := range w.nodes { // they come back one after the other
			w.connect(n)
			w.run(time.Duration(i) * 4 * time.Second)
		}
		w.windows(3*time.Second, 27*time.Second, 90, 110)
		w.nodes[0].rate, w.nodes[2].rate = 5, 900
		w.run(10 * time.Second)
		w.windows(30*time.Second, 37*time.Second, 90, 110)
	})
}

func TestALimitThatNobodyUsesGoesBackToTheDefault(t *testing.T) {
	w := newWorld(t, hundred(), false)
	a := w.add("a", 90)
	w.add("b", 0)
	w.run(5 * time.Second)
	a.rate = 0
	w.run(80 * time.Second)
	for _, n := range w.nodes {
		if ds := n.limits.Demand(true); len(ds) != 1 || len(ds[0].GetLimits()) != 1 || ds[0].GetLimits()[0].GetSharePpm() != 500_000 {
			t.Errorf("%s holds %v, want the default only", n.name, ds)
		}
	}
}

func TestSharesInForceNeverExceedTheLimit(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, hundred(), seed%2 == 0)
		for i := range 2 + r.IntN(4) {
			w.add(fmt.Sprint("dp", i), float64(r.IntN(300)))
		}
		for range 120 {
			n := w.nodes[r.IntN(len(w.nodes))]
			switch k := r.IntN(10); {
			case k < 6:
				n.rate = float64(r.IntN(300))
			case k == 6 && n.member != nil:
				w.cut(n)
			case k == 7 && len(w.nodes) < 8:
				w.add(fmt.Sprint("dp", len(w.nodes)), 50)
			case n.member == nil:
				w.connect(n)
			}
			w.run(time.Duration(20+r.IntN(1000)) * time.Millisecond)
			if sum := w.inForce(); sum > 1_000_000 {
				t.Fatalf("seed %d: %d millionths in force at %s", seed, sum, w.age())
			}
			if sum := w.ledger.Outstanding(""); sum > 1_000_000 {
				t.Fatalf("seed %d: %d millionths by default at %s", seed, sum, w.age())
			}
		}
	}
}
