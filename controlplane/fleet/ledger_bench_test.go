package fleet_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// crowd is a ledger with 10,000 connected nodes.
func crowd(b *testing.B) (*world, []*fleet.Member) {
	w := newWorld(b, fleet.Config{})
	v := w.to(1, map[string]string{"a": "0"})
	members := make([]*fleet.Member, 10_000)
	for i := range members {
		members[i] = w.join(fmt.Sprintf("node-%d", i))
		members[i].Applied(v, &syncv1.Ack{}, true)
	}
	return w, members
}

// One change answered by 10,000 nodes, one in a hundred of which refuses it.
func BenchmarkAcksOfTenThousandNodes(b *testing.B) {
	w, members := crowd(b)
	revision := int64(1)
	for b.Loop() {
		revision++
		v := w.to(revision, map[string]string{"a": fmt.Sprint(revision)})
		for i, m := range members {
			if i%100 == 0 {
				m.Applied(v, rejects("a", "is broken"), false)
			} else {
				m.Applied(v, &syncv1.Ack{}, false)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(members)), "ns/ack")
}

func BenchmarkObjectStatusOfTenThousandNodes(b *testing.B) {
	w, _ := crowd(b)
	for b.Loop() {
		w.ObjectStatus(server("a", "0"))
	}
}

func BenchmarkDeliveryOfTenThousandNodes(b *testing.B) {
	w, _ := crowd(b)
	for b.Loop() {
		w.Delivery(1, []confset.Key{keyA})
	}
}

func BenchmarkNodesOfTenThousand(b *testing.B) {
	w, _ := crowd(b)
	for b.Loop() {
		w.Nodes()
	}
}

// A report of a canary on 10,000 nodes, a quarter of which have the change.
func BenchmarkReportOfTenThousandNodes(b *testing.B) {
	s := newStage(b, &adminv1.RolloutPlan{Strategy: rollout.Canary, Steps: []string{"25%", "100%"}})
	for i := range 10_000 {
		s.at(fmt.Sprint("node-", i), fmt.Sprint("region-", i%10))
	}
	s.body.Threshold = math.MaxUint64 / 4
	s.turn(6, 1)
	s.report()
	for b.Loop() {
		s.report()
	}
}

// The first report after a step.
func BenchmarkReportAfterAStep(b *testing.B) {
	s := newStage(b, &adminv1.RolloutPlan{Strategy: rollout.Canary, Steps: []string{"25%", "100%"}})
	for i := range 10_000 {
		s.at(fmt.Sprint("node-", i), fmt.Sprint("region-", i%10))
	}
	s.body.Threshold = math.MaxUint64 / 4
	s.turn(6, 1)
	for b.Loop() {
		s.Report(nil, nil, time.Now())
		s.report()
	}
}

func BenchmarkStagedDeliveryOfTenThousandNodes(b *testing.B) {
	s := newStage(b, byRegions("region-1", rollout.Rest))
	for i := range 10_000 {
		s.at(fmt.Sprint("node-", i), fmt.Sprint("region-", i%10))
	}
	s.turn(6, 1)
	for b.Loop() {
		s.StagedDelivery(s.state, 5, []confset.Key{keyA})
	}
}
