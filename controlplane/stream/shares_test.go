package stream_test

import (
	"testing"
	"testing/synctest"

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
