package follow_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/follow"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestDemandIsToldAndSharesAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		var shares []*syncv1.Shares
		start(t, c, t.TempDir(), func(cfg *follow.Config) {
			cfg.Shares = func(s *syncv1.Shares) { shares = append(shares, s) }
			cfg.Demand = func(all bool) []*syncv1.Demand {
				d := &syncv1.Demand{Limits: []*syncv1.LimitDemand{{Limit: "team/x", RateMilli: int64(len(shares))}}}
				if all {
					return []*syncv1.Demand{d, {Limits: []*syncv1.LimitDemand{{SharePpm: -1}}}}
				}
				return []*syncv1.Demand{d}
			}
		})
		first := set(t, "a")
		for range 2 { // on each stream anew
			p, _ := c.accept(t, first, 1)
			began := time.Now()
			if a, b := p.next(t).GetDemand(), p.next(t).GetDemand(); a.GetLimits()[0].GetLimit() != "team/x" || b.GetLimits()[0].GetSharePpm() != -1 {
				t.Errorf("after the welcome: %v, %v; want everything", a, b)
			}
			for p.next(t).GetDemand() == nil {
			}
			if d := time.Since(began); d > 500*time.Millisecond {
				t.Errorf("the next report came after %s, want 500ms", d)
			}
			n := len(shares)
			p.say(&syncv1.SyncResponse{}) // of a newer version
			p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Shares{Shares: &syncv1.Shares{DefaultPpm: 7}}})
			if d := p.next(t).GetDemand(); d.GetLimits()[0].GetRateMilli() != int64(n+1) || shares[n].GetDefaultPpm() != 7 {
				t.Errorf("after shares: %v, want them told back at once", d)
			}
			p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Move{Move: &syncv1.Move{Reason: "drain"}}})
		}
	})
}
