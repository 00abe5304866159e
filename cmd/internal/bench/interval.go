package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// slice is what one hop did in one slice of a paired measurement.
type slice struct {
	requests int
	cpu      time.Duration // of the hop, until it was quiet again
}

// pair are the same slice of time on two hops: whatever else the machine does meanwhile, it does to both.
type pair struct{ base, other slice }

// interval is an estimate and the bounds between which it lies with 95 % confidence.
type interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func (i interval) String() string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", i.Value, i.Low, i.High)
}

// resamples is how many times pairs are drawn for an interval; with so many its bounds move by less than a tenth of its width from seed to seed.
const resamples = 2000

// seldom is how far from the median the ratio of a pair is that has something in it which other pairs haven't: the collection of a large heap.
const seldom = 3

// stretch is how many slices that follow each other are drawn together: which core a hop is on, and with whom, outlives a slice.
const stretch = 10

// bootstrap estimates what of says of pairs, by the percentiles of what it says of as many pairs drawn from them with replacement. Pairs with
// something seldom are drawn by themselves, as many as there were, or one more or less: how often a heap is collected follows from what is
// allocated and isn't chance, but for where the measurement begins and ends. The draw is the same each time. Without pairs it is zero.
func bootstrap(pairs []pair, of func([]pair) float64) interval {
	if len(pairs) == 0 {
		return interval{}
	}
	usual := usualRatio(pairs)
	var common, rare []pair
	for _, p := range pairs {
		if by := p.ratio(); by > usual*seldom || by < usual/seldom {
			rare = append(rare, p)
		} else {
			common = append(common, p)
		}
	}
	draw, said := rand.New(rand.NewPCG(1, 2)), make([]float64, resamples) //nolint:gosec // no secret
	drawn := make([]pair, 0, len(pairs)+1)
	for i := range said {
		drawn = drawn[:0]
		for len(drawn) < len(common) {
			first := draw.IntN(len(common))
			for j := range min(stretch, len(common)-len(drawn)) {
				drawn = append(drawn, common[(first+j)%len(common)])
			}
		}
		for range len(rare) + [4]int{-1, 0, 0, 1}[draw.IntN(4)]*min(1, len(rare)) {
			drawn = append(drawn, rare[draw.IntN(len(rare))])
		}
		said[i] = of(drawn)
	}
	slices.Sort(said)
	return interval{Value: of(pairs), Low: said[resamples/40], High: said[resamples-1-resamples/40]}
}

// wholeRatio is the CPU per request of the other hop as a multiple of the base's, of all slices together: with every collection that fell into one.
func wholeRatio(pairs []pair) float64 {
	all := sum(pairs)
	return ratio(all[1].perRequest(), all[0].perRequest())
}

// sum is what the base and the other hop did in all pairs.
func sum(pairs []pair) (all [2]slice) {
	for _, p := range pairs {
		all[0].add(p.base)
		all[1].add(p.other)
	}
	return all
}

// usualRatio is the median over the pairs: what a request costs in a slice like most, without what happens seldom.
func usualRatio(pairs []pair) float64 {
	all := make([]float64, 0, len(pairs))
	for _, p := range pairs {
		all = append(all, p.ratio())
	}
	return median(all)
}

func (p pair) ratio() float64 { return ratio(p.other.perRequest(), p.base.perRequest()) }

func (s *slice) add(t slice) { s.requests, s.cpu = s.requests+t.requests, s.cpu+t.cpu }

// perRequest is in microseconds.
func (s *slice) perRequest() float64 {
	return ratio(float64(s.cpu)/float64(time.Microsecond), float64(s.requests))
}
