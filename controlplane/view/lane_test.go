package view

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/proto/confset"
)

// A level that reads nothing turns every object into a removal: that must not copy all of them once per object.
func TestFilteringCostsWhatTheDeltaIsLong(t *testing.T) {
	var d confset.Delta
	for i := range 20_000 {
		d.Upserts = append(d.Upserts, confset.Object{Key: confset.Key{Kind: "server", Name: fmt.Sprint(i)}})
	}
	d.Removals = make([]confset.Key, 1, 100)
	l, all := newTier(everywhere)[0], unlaid().newLeveled(d)
	if allocs := testing.AllocsPerRun(1, func() { l.filter(all, sight{}) }); allocs > 100 {
		t.Errorf("%v allocations for %d objects", allocs, len(d.Upserts))
	}
	if got := l.filter(all, sight{}); len(got.Removals) != 20_001 || len(got.Upserts) != 0 || d.Removals[:2][1] != (confset.Key{}) {
		t.Errorf("%d removals, %d upserts; or the shared delta was written to", len(got.Removals), len(got.Upserts))
	}
}

// unlaid are views without overlays.
func unlaid() *Views {
	v := &Views{}
	v.laid.Store(&map[confset.Key]int32{})
	return v
}
