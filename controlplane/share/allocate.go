package share

import "slices"

// reserve is the part of every limit that is split evenly whatever the demand, in millionths: so that a data plane whose callers begin isn't
// without anything until its demand is known.
const reserve = 20_000

// allocate splits budget (millionths) by demand: max-min fair. Nobody gets more than it asks for as long as somebody else lacks, those who lack
// get the same, and what nobody asks for is split evenly. Of a limit of which isn't known what it allows, everyone gets its part of all
// demand. Rates and calls in flight are different units: of both the larger part of its kind counts.
func allocate(x *limit, parts []*part, budget int64) []int64 {
	out := make([]int64, len(parts))
	if len(parts) == 0 || budget <= 0 {
		return out
	}
	weights, sum := weigh(x, parts, float64(budget)/whole)
	even := budget
	if sum > 0 {
		even = budget * reserve / whole
	}
	for i := range parts {
		out[i] = even / int64(len(parts))
		if sum > 0 {
			out[i] += int64(float64(budget-even) * weights[i] / sum)
		}
	}
	return out
}

// weigh returns what each is to have of what is split by demand, as numbers without a unit, and their sum; 0 when there is no demand.
func weigh(x *limit, parts []*part, portion float64) (weights []float64, sum float64) {
	rates, flights := make([]float64, len(parts)), make([]float64, len(parts))
	for i, p := range parts {
		rates[i], flights[i] = float64(p.rate), float64(p.flying)
	}
	weights = fill(rates, x.rate*portion)
	for i, w := range fill(flights, x.flying*portion) {
		weights[i] = max(weights[i], w)
		sum += weights[i]
	}
	return weights, sum
}

// fill splits what there is among demands and returns everyone's fraction; all are 0 when there is no demand. there 0: as much as is asked for.
func fill(demands []float64, there float64) []float64 {
	out := make([]float64, len(demands))
	var sum float64
	for _, d := range demands {
		sum += d
	}
	if sum == 0 {
		return out
	}
	if there == 0 {
		there = sum
	}
	rest, level := max(0, there-sum)/float64(len(demands)), sum // as much as anybody asks for
	if there < sum {
		level = water(demands, there)
	}
	for i, d := range demands {
		out[i] = (min(d, level) + rest) / there
	}
	return out
}

// water is the level up to which every demand can be met with what there is.
func water(demands []float64, there float64) float64 {
	sorted := slices.Sorted(slices.Values(demands))
	for i, d := range sorted {
		if level := there / float64(len(sorted)-i); d >= level {
			return level
		}
		there -= d
	}
	return sorted[len(sorted)-1]
}

// worth reports whether a change is worth a message: one percent of the limit, or a tenth of what there is.
func worth(from, to int64) bool {
	d := max(from-to, to-from)
	return d >= whole/100 || d > 0 && d*10 >= max(from, 1000)
}
