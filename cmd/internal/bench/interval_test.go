package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// noisy makes pairs as a busy machine gives them: what both feel makes a slice up to four times as dear, what one alone feels is a tenth, and every
// seventh slice of each has a collection in it.
func noisy(draw *rand.Rand, n int, times float64) []pair {
	one := func(us float64) slice {
		us *= 1 + 0.1*draw.NormFloat64()
		if draw.IntN(7) == 0 {
			us *= 1.3
		}
		requests := 200 + draw.IntN(200)
		return slice{requests: requests, cpu: time.Duration(us * float64(requests) * float64(time.Microsecond))}
	}
	out := make([]pair, n)
	for i := range out {
		both := math.Exp(draw.Float64() * math.Log(4))
		out[i] = pair{base: one(30 * both), other: one(30 * both * times)}
	}
	return out
}

func TestIntervalsHoldTheRatioThatThePairsWereMadeWith(t *testing.T) {
	draw := rand.New(rand.NewPCG(3, 4))
	for name, of := range map[string]func([]pair) float64{"whole": wholeRatio, "usual": usualRatio} {
		const runs, times = 40, 1.1
		held, without, width := 0, 0, 0.0
		for range runs {
			i := bootstrap(noisy(draw, 200, times), of)
			if i.Low <= times && times <= i.High {
				held++
			}
			if i.Low > 1 {
				without++
			}
			width += (i.High - i.Low) / runs
		}
		if held < 34 || width > 0.09 || without < 35 {
			t.Errorf("%s: %d of %d intervals hold %.2f (95 should), %d lie above 1, mean width %.3f", name, held, runs, times, without, width)
		}
	}
}

func TestWhatIsSeldomCountsInTheWholeOnly(t *testing.T) {
	pairs := make([]pair, 100)
	for i := range pairs {
		same := slice{requests: 1000, cpu: 30 * time.Millisecond}
		pairs[i] = pair{base: same, other: same}
		if i%20 == 0 {
			pairs[i].other.cpu *= 5
		}
	}
	if whole := bootstrap(pairs, wholeRatio); math.Abs(whole.Value-1.2) > 1e-9 || math.Abs(whole.Low-1.16) > 0.01 || math.Abs(whole.High-1.24) > 0.01 {
		t.Errorf("whole %v, want 1.2 and one of the five more or less", whole)
	}
	if usual := bootstrap(pairs, usualRatio); usual != (interval{1, 1, 1}) {
		t.Errorf("usual %v", usual)
	}
}

func TestSlicesWeighByTheirRequests(t *testing.T) {
	pairs := []pair{
		{base: slice{10, time.Millisecond}, other: slice{10, 2 * time.Millisecond}},
		{base: slice{990, 99 * time.Millisecond}, other: slice{990, 99 * time.Millisecond}},
	}
	if got := wholeRatio(pairs); math.Abs(got-1.01) > 1e-9 {
		t.Errorf("%v, want 1.01", got)
	}
}

func TestNothingMeasuredIsNothingTold(t *testing.T) {
	if got := bootstrap(nil, wholeRatio); got != (interval{}) {
		t.Error(got)
	}
	if got := wholeRatio([]pair{{}}); got != 0 {
		t.Error(got)
	}
}
