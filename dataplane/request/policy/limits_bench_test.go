package policy_test

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/table"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func BenchmarkAcquire(b *testing.B) {
	for _, n := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := policy.NewLimits(policy.LimitsConfig{})
			l.SetShares(&syncv1.Shares{DefaultPpm: 1_000_000})
			var list []*table.Limit
			for i := range n {
				list = append(list, &table.Limit{ID: fmt.Sprint("key/018f3c1e-7c00-7000-8000-00000000000", i), Rate: 1e9, Concurrency: 1 << 20})
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := l.Acquire(list)
					if err != nil {
						b.Error(err)
						return
					}
					p.Release()
				}
			})
		})
	}
}
