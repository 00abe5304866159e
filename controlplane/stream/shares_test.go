package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/stream"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func demand(entries ...*syncv1.LimitDemand) *syncv1.SyncRequest {
	return &syncv1.SyncRequest{Message: &syncv1.SyncRequest_Demand{Demand: &syncv1.Demand{Limits: entries}}}
}

func TestSharesAnswerDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := share.New(share.Config{})
		c := cptest.New(t, cptest.Config{Stream: func(cfg *stream.Config) { cfg.Shares = ledger }})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		p.send(demand(&syncv1.LimitDemand{SharePpm: -1}))
		synctest.Wait()
		ledger.Round()
		if s := p.next().GetShares(); s.GetDefaultPpm() != 1_000_000 {
			t.Errorf("told %v, want everything", s)
		}
		c.Put(server("b"))
		if u := p.take(); u.GetFull() {
			t.Error("an update after shares starts anew")
		}
	})
}

func TestSharesForAStreamThatIsBusyAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Unix(1_000_000, 0)
		ledger := share.New(share.Config{Now: func() time.Time { return now }})
		c := cptest.New(t, cptest.Config{Stream: func(cfg *stream.Config) { cfg.Shares = ledger }})
		for i := range 8 { // more than a connection holds
			c.Put(serverAt(fmt.Sprintf("a%d", i), "http://127.0.0.1/"+strings.Repeat("x", 1<<19)))
		}
		quiet()
		p := join(t, c, hello("n1"))
		p.send(demand(&syncv1.LimitDemand{SharePpm: -1}))
		synctest.Wait()
		other := ledger.Join("n2", func() {})
		other.Demand(&syncv1.Demand{Limits: []*syncv1.LimitDemand{{SharePpm: -1}}})
		for i := range 20 {
			now = now.Add(time.Second / 4)
			ledger.Round()
			other.Demand(&syncv1.Demand{Limits: []*syncv1.LimitDemand{{Limit: "team/x", RateMilli: int64(i%2) * 9000}}})
			for range other.Take() {
			}
			synctest.Wait()
		}
		p.take()
		synctest.Wait()
		n := 0
		for p.next().GetShares() != nil {
			if n++; n == 1 {
				c.Put(server("last"))
			}
		}
		if n != 1 {
			t.Errorf("%d messages with shares waited, want one", n)
		}
	})
}

func TestDemandAndUnknownMessagesAreLeftAloneWithoutALedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		p.send(demand(&syncv1.LimitDemand{SharePpm: -1}))
		p.send(&syncv1.SyncRequest{})
		quiet()
		c.Put(server("b"))
		p.take()
	})
}
