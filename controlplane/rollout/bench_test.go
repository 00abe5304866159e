package rollout_test

import (
	"testing"

	"github.com/hopgate/hopgate/controlplane/rollout"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func BenchmarkAdmits(b *testing.B) {
	s := state("canary", is(rollout.Rolling), func(m *adminv1.Rollout) { m.Step, m.Threshold = 2, 1<<60 })
	p := rollout.Place{Node: "eu-west-dp-0123", Region: "eu"}
	for b.Loop() {
		s.Admits(p)
	}
}

// BenchmarkNext is one look at a rollout with the reports of five control planes over ten regions.
func BenchmarkNext(b *testing.B) {
	s := rolling()
	var reports []rollout.Report
	for range 5 {
		reports = append(reports, about(func(r *rollout.Report) {
			for range 8 {
				r.Regions = append(r.Regions, rollout.RegionReport{Region: "asia", Nodes: 200})
			}
		}))
	}
	for b.Loop() {
		rollout.Next(s, nil, reports, start)
	}
}
