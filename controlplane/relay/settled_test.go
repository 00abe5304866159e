package relay_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/rollout"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// A step of a staged change waits for its relays: that nobody in the region is behind any more has to be told soon, not with the next health.
func TestHomeHearsSoonThatTheRegionServesAChange(t *testing.T) {
	home := cptest.New(t, cptest.Config{})
	fill(home, 1)
	v := viewing(t, open(t, home, newPlace(t), nil))
	until(t, "the first set", func() bool { return same(home, v) })
	step := rollout.Of(&adminv1.Rollout{Change: "01", State: rollout.Rolling, Step: 1,
		Plan: &adminv1.RolloutPlan{Strategy: rollout.Regions, Steps: []string{"eu"}}, Steps: []*adminv1.RolloutStep{{Name: "eu", AdmitTime: timestamppb.Now()}}}, 0)
	for n := 2; n < 5; n++ {
		fill(home, n)
		began := time.Now()
		until(t, "the change in the region", func() bool {
			r := home.Fleet().Report(step, nil, time.Now()).Regions
			return same(home, v) && len(r) == 1 && r[0].Nodes == 1 && r[0].Applied == 1
		})
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it was heard after %s", took)
		}
	}
}
