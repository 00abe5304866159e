package share

import (
	"fmt"
	"testing"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// BenchmarkRound is one round in which every limit of a large fleet has to be looked at.
func BenchmarkRound(b *testing.B) {
	l := New(Config{})
	members := make([]*Member, 10_000)
	for i := range members {
		members[i] = l.Join(fmt.Sprintf("dataplane-%05d", i), func() {})
		members[i].Demand(&syncv1.Demand{Limits: []*syncv1.LimitDemand{{SharePpm: 100}}})
	}
	for i, m := range members {
		for k := range 99 {
			m.Demand(&syncv1.Demand{Limits: []*syncv1.LimitDemand{{Limit: fmt.Sprintf("server/s%d", k), RateMilli: int64(1000 + i), SharePpm: 100}}})
		}
	}
	l.Round()
	b.ResetTimer()
	for b.Loop() {
		l.mu.Lock()
		l.allDirty()
		l.mu.Unlock()
		l.Round()
	}
}
