package stream_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// quiet lets a second pass, in which everything that is under way ends.
func quiet() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestANewDataPlaneGetsTheWholeSetAndThenDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"), server("b"))
		quiet()
		p := join(t, c, hello("n1"))
		u, upserts, _ := p.update()
		if !u.GetFull() || upserts != 2 || u.GetNonce() != 1 || p.welcome.GetReplica() != "test" || p.welcome.GetEpoch() != c.Store.Epoch() {
			t.Errorf("first update: full %v, %d upserts, nonce %d; welcome %v", u.GetFull(), upserts, u.GetNonce(), p.welcome)
		}
		if string(p.welcome.GetDigest()) != string(u.GetDigest()) || p.welcome.GetRevision() != u.GetRevision() {
			t.Errorf("welcome says %x at %d, the update %x at %d", p.welcome.GetDigest(), p.welcome.GetRevision(), u.GetDigest(), u.GetRevision())
		}
		p.ack(u)
		ch := c.Commit(cptest.Change{Puts: nil, Deletes: []confset.Key{{Kind: "server", Name: "a"}}})
		u, upserts, removals := p.update()
		if u.GetFull() || upserts != 0 || removals != 1 || u.GetNonce() != 2 || len(u.GetChanges()) != 1 || u.GetChanges()[0] != ch.ID {
			t.Errorf("second update: %v; want a delta with one removal and change %s", u, ch.ID)
		}
	})
}

func TestADataPlaneThatHoldsTheSetGetsOnlyTheWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		c.Restart()
		p = rejoin(t, c, p)
		quiet()
		n := c.Fleet().Nodes()[0]
		if !n.GetInSync() || n.GetAppliedTime() != nil {
			t.Errorf("the node after the control plane's restart: %v; want in sync without an update", n)
		}
		rev := c.Put(server("b"))
		if u := p.take(); u.GetFull() || u.GetNonce() != 1 || u.GetRevision() != rev {
			t.Errorf("the next message is %v, want a delta to %d with nonce 1", u, rev)
		}
	})
}

// rejoin opens another stream with what a plane holds.
func rejoin(t *testing.T, c *cptest.Control, p *plane) *plane {
	t.Helper()
	next := join(t, c, p.again("n1"))
	next.set, next.epoch, next.revision = p.set, p.epoch, p.revision
	return next
}

func TestADataPlaneWithAKnownOlderSetGetsADelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"), server("b"), server("c"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		p.cancel()
		for i := range 3 {
			c.Put(server(fmt.Sprintf("d%d", i)))
			quiet()
		}
		p = rejoin(t, c, p)
		u, upserts, _ := p.update()
		if u.GetFull() || upserts != 3 || len(u.GetChanges()) != 3 {
			t.Errorf("after three missed changes: full %v, %d upserts, %d changes; want a delta of 3 and 3", u.GetFull(), upserts, len(u.GetChanges()))
		}
	})
}

func TestADataPlaneThatWasAwayForManyChangesGetsADelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		away := p.again("n1")
		for i := range 20 { // more than the sets a view remembers
			c.Put(server(fmt.Sprint("late", i)))
			quiet()
		}
		p2 := join(t, c, away)
		p2.set = p.set
		if u, upserts, _ := p2.update(); u.GetFull() || upserts != 20 {
			t.Errorf("whole set: %v, %d objects; want the 20 that are new", u.GetFull(), upserts)
		}

		t.Log("what it says it held isn't what stood at that revision")
		away.Digest = make([]byte, 32)
		p3 := join(t, c, away)
		p3.set = p.set
		u, _, _ := p3.update()
		p3.refuse(u, confset.Digest{}, "digest mismatch")
		if u, upserts, _ := p3.update(); !u.GetFull() || upserts != 21 {
			t.Errorf("afterwards: whole set: %v, %d objects; want all 21", u.GetFull(), upserts)
		}
	})
}

func TestNewestViewWinsWhileAnUpdateIsUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		p.take()
		c.Put(server("first"))
		u, _, _ := p.update()
		var last int64
		for i := range 5 {
			last = c.Put(server(fmt.Sprintf("s%d", i)))
			quiet()
		}
		p.ack(u)
		u, upserts, _ := p.update()
		if upserts != 5 || u.GetRevision() != last || len(u.GetChanges()) != 5 {
			t.Errorf("one update holds %d objects of %d changes up to %d; want 5 of 5 up to %d", upserts, len(u.GetChanges()), u.GetRevision(), last)
		}
	})
}

func TestAnotherDigestCausesOneResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		rev := c.Put(server("b"))
		u, _, _ := p.update()
		p.refuse(u, confset.Digest{7}, "digest mismatch")
		u, upserts, _ := p.update()
		if !u.GetFull() || upserts != 2 {
			t.Fatalf("after a mismatch: full %v with %d objects; want everything", u.GetFull(), upserts)
		}
		p.refuse(u, confset.Digest{7}, "still another")
		quiet()
		if d := c.Fleet().Delivery(rev, nil); d.GetRejected() != 1 || d.GetRefusals()[0].GetText() != "still another" {
			t.Errorf("delivery after a failed resync: %v", d)
		}
		if got := metric(t, c.Registry(), "hopgate_resyncs_total", ""); got != 1 {
			t.Errorf("%v resyncs were counted, want 1", got)
		}
		c.Put(server("c"))
		if u := p.take(); !u.GetFull() {
			t.Errorf("the next update starts from a set that is not known: %v", u)
		}
		quiet()
		if !c.Fleet().Nodes()[0].GetInSync() {
			t.Error("the node is not in sync after it took the next update")
		}
	})
}

func TestADataPlaneHearsThatItsSuspectIsNotWantedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		good := p.again("n1")
		set, held := p.set, p.set.Digest()
		c.Put(server("bad"))
		u, _, _ := p.update()
		good.SuspectDigest = u.GetDigest()
		p = join(t, c, good)
		u = p.next().GetUpdate()
		p.refuse(u, held, "crashed under it")
		p.set = set
		rev := c.Delete(confset.Key{Kind: "server", Name: "bad"})
		u, upserts, removals := p.update()
		if u.GetFull() || upserts+removals != 0 || u.GetRevision() != rev || string(u.GetDigest()) != string(held[:]) {
			t.Errorf("got %v, want an empty delta to revision %d", u, rev)
		}
		p.ack(u)
		quiet()
		if n := c.Fleet().Nodes()[0]; n.GetSuspect() || !n.GetInSync() {
			t.Errorf("after the suspect is gone: %v", n)
		}
	})
}

func TestASuspectIsRecordedAndNotResynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		good := p.again("n1")
		held := p.set.Digest()
		rev := c.Put(server("bad"))
		u, _, _ := p.update()
		good.SuspectDigest = u.GetDigest()
		p = join(t, c, good)
		u = p.next().GetUpdate()
		p.refuse(u, held, "crashed under it")
		quiet()
		n, d := c.Fleet().Nodes()[0], c.Fleet().Delivery(rev, nil)
		if !n.GetSuspect() || n.GetInSync() || d.GetRejected() != 1 || d.GetPending() != 0 {
			t.Errorf("suspect %v, in sync %v, delivery %v", n.GetSuspect(), n.GetInSync(), d)
		}
		p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Nonce: u.GetNonce(), Digest: u.GetDigest(), Revision: rev}}})
		quiet()
		if n := c.Fleet().Nodes()[0]; n.GetSuspect() || !n.GetInSync() {
			t.Errorf("after a retry that worked: %v", n)
		}
		if got := metric(t, c.Registry(), "hopgate_resyncs_total", ""); got != 0 {
			t.Errorf("%v resyncs, want none", got)
		}
	})
}

func TestAReplicaThatIsBehindSendsNothingOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		c := cptest.New(t, cptest.Config{Store: mem})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		ahead := p.again("n1")
		ahead.Digest, ahead.Revision = make([]byte, 32), p.revision+1
		p2 := join(t, c, ahead)
		quiet()
		rev := c.Put(server("b"))
		if u, _, _ := p2.update(); u.GetRevision() != rev {
			t.Errorf("the first update goes to %d, want nothing before %d", u.GetRevision(), rev)
		}
	})
}

func TestOutcomesOfWhatADataPlaneBroughtAlongAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		p := join(t, c, hello("n1"))
		p.take()
		c.Restart()
		p = rejoin(t, c, p)
		p.ack(&syncv1.Update{}, &syncv1.Outcome{Kind: "server", Name: "a", Rejected: true, Field: "spec.tls", Text: "is broken"})
		quiet()
		o, _ := c.Views().Get("server", "a")
		if st := c.Fleet().ObjectStatus(o.Object); st.GetRejected() != 1 || st.GetRefusals()[0].GetField() != "spec.tls" {
			t.Errorf("status %v, want one rejection of spec.tls", st)
		}
	})
}

// metric returns the value of a counter or gauge with that label value, if one is named.
func metric(t *testing.T, r prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || hasLabel(m, label)) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func hasLabel(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

func TestANewEpochIsToldWithoutSendingWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		c := cptest.New(t, cptest.Config{Store: mem})
		c.Put(server("a"))
		quiet()
		connected, away := join(t, c, hello("n1")), join(t, c, hello("n2"))
		connected.take()
		away.take()
		away.cancel()
		mem.NewEpoch()
		u, upserts, removals := connected.update()
		if u.GetFull() || upserts+removals != 0 || u.GetEpoch() != mem.Epoch() {
			t.Errorf("the connected data plane got %v, want an empty delta to the epoch %s", u, mem.Epoch())
		}
		connected.ack(u)
		back := join(t, c, away.again("n2"))
		back.set = away.set
		if u, upserts, _ := back.update(); u.GetFull() || upserts != 0 || u.GetEpoch() != mem.Epoch() {
			t.Errorf("the one that came back got %v, want an empty delta to the epoch", u)
		}
		quiet()
		if n := c.Fleet().Nodes()[0]; !n.GetInSync() {
			t.Errorf("%v is not in sync", n)
		}
	})
}
