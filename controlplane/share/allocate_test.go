package share

import (
	"math/rand/v2"
	"testing"
)

func TestSharesByDemand(t *testing.T) {
	for name, c := range map[string]struct {
		limit  limit
		parts  []part
		budget int64
		want   []int64 // percent
	}{
		"nobody asks":                     {limit{rate: 100}, []part{{}, {}, {}, {}}, whole, []int64{25, 25, 25, 25}},
		"all is asked for":                {limit{rate: 100}, []part{{rate: 90}, {rate: 5}, {rate: 5}}, whole, []int64{88, 5, 5}},
		"half is free":                    {limit{rate: 200}, []part{{rate: 90}, {rate: 5}, {rate: 5}}, whole, []int64{61, 19, 19}},
		"the largest takes what is left":  {limit{rate: 100}, []part{{rate: 900}, {rate: 5}, {rate: 5}}, whole, []int64{88, 5, 5}},
		"all lack":                        {limit{rate: 100}, []part{{rate: 900}, {rate: 50}, {rate: 50}}, whole, []int64{33, 33, 33}},
		"nothing is known of the limit":   {limit{}, []part{{rate: 900}, {rate: 50}, {rate: 50}}, whole, []int64{88, 5, 5}},
		"calls in flight":                 {limit{flying: 10}, []part{{flying: 30}, {flying: 1}}, whole, []int64{89, 10}},
		"half of it is another replica's": {limit{rate: 100}, []part{{rate: 45}, {rate: 5}}, whole / 2, []int64{44, 5}},
		"nothing is left":                 {limit{rate: 100}, []part{{rate: 45}}, -1, []int64{0}},
		"nobody is there":                 {limit{}, nil, whole, nil},
	} {
		var parts []*part
		for i := range c.parts {
			parts = append(parts, &c.parts[i])
		}
		for i, got := range allocate(&c.limit, parts, c.budget) {
			if got/10_000 != c.want[i] {
				t.Errorf("%s: %d of %d gets %d, want %d %%", name, i, len(parts), got, c.want[i])
			}
		}
	}
}

func TestSharesNeverAddUpToMoreThanThereIs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		x := limit{rate: float64(r.IntN(3) * r.IntN(100_000)), flying: float64(r.IntN(3) * r.IntN(100))}
		parts := make([]*part, 1+r.IntN(20))
		for i := range parts {
			parts[i] = &part{rate: int64(r.IntN(2) * r.IntN(100_000)), flying: int64(r.IntN(2) * r.IntN(50))}
		}
		budget, sum := int64(r.IntN(whole+1)), int64(0)
		for _, s := range allocate(&x, parts, budget) {
			sum += s
		}
		if sum > budget || sum < budget-2*int64(len(parts))-2 {
			t.Fatalf("%d of %d are given to %d", sum, budget, len(parts))
		}
	}
}
