package follow_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestConfigNamesWhatIsMissing(t *testing.T) {
	_, err := follow.New(follow.Config{Node: "n", Addresses: []string{"a"}, Dir: "d", Table: &table.Holder{}})
	if err == nil || !strings.Contains(err.Error(), "Dial") {
		t.Errorf("error %v doesn't name Dial", err)
	}
	f, err := follow.New(follow.Config{Node: "n", Addresses: []string{"a"}, Dir: "d", Table: &table.Holder{}, Dial: newControl().dial})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err == nil {
		t.Error("it runs without having booted")
	}
}

func TestAnEmptyNodeGetsTheWholeSetInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		if st := n.Status(); st.Loaded || st.Connected {
			t.Errorf("status %+v before anything came", st)
		}
		want := set(t, "a", "b", "c", "d", "e")
		p, h := c.accept(t, want, 7)
		if h.GetNode() != "dp-1" || h.GetRegion() != "eu" || h.GetGroup() != "g" || h.GetVersion() != "v1" || h.GetBootId() == "" ||
			len(h.GetDigest())+len(h.GetSuspectDigest()) != 0 || h.GetFeatureLevel() != follow.FeatureLevel {
			t.Errorf("hello %v", h)
		}
		p.push(nil, want, 7)
		a := p.ack(t)
		d := want.Digest()
		if a.GetRefused() || !bytes.Equal(a.GetDigest(), d[:]) || a.GetRevision() != 7 || a.GetAppliedTime() == nil || len(a.GetOutcomes()) > 0 {
			t.Errorf("answer %v", a)
		}
		serves(t, n, 7, "a", "b", "c", "d", "e")
		if st := n.Status(); !st.Loaded || !st.Connected || st.Address != "one" || st.Version.Epoch != epoch || st.Age(time.Now()) != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestGoodObjectsAreServedBesideBadOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		first := set(t, "a", "b")
		p, _ := c.accept(t, first, 1)
		p.push(nil, first, 1)
		p.ack(t)
		second := with(first, server(t, "a", "ftp://nowhere"), server(t, "c", "http://127.0.0.1/"), object(t, "unheard", "x", &configv1.Server{}))
		p.push(first, second, 2)
		a := p.ack(t)
		d := second.Digest()
		if a.GetRefused() || !bytes.Equal(a.GetDigest(), d[:]) || len(a.GetOutcomes()) != 2 {
			t.Fatalf("answer %v", a)
		}
		if o := a.GetOutcomes()[0]; o.GetName() != "a" || !o.GetRejected() || o.GetField() != "spec.endpoints[0].url" || o.GetText() == "" {
			t.Errorf("outcome %v", o)
		}
		if o := a.GetOutcomes()[1]; o.GetKind() != "unheard" || o.GetRejected() || !strings.Contains(o.GetText(), "not known") {
			t.Errorf("outcome %v", o)
		}
		serves(t, n, 2, "a", "b", "c")
		if s, _ := n.table.Load().Server("a"); s.Target.Addr != "127.0.0.1:3001" {
			t.Errorf("a goes to %s, not where its last good version went", s.Target.Addr)
		}
	})
}

func TestAReconnectWithAnEqualDigestChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		want := set(t, "a")
		p, _ := c.accept(t, want, 1)
		p.push(nil, want, 1)
		p.ack(t)
		p.end()
		began := time.Now()
		p, h := c.accept(t, want, 5)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("came back after %s", took)
		}
		if d := want.Digest(); !bytes.Equal(h.GetDigest(), d[:]) || h.GetEpoch() != epoch || h.GetRevision() != 1 {
			t.Errorf("hello %v", h)
		}
		p.ack(t) // of update 0
		serves(t, n, 5, "a")
	})
}

func TestADeltaThatDoesNotFitIsFollowedByTheWholeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		first, second := set(t, "a"), set(t, "a", "b")
		p, _ := c.accept(t, first, 1)
		p.push(nil, first, 1)
		p.ack(t)
		p.push(first, second, 2, func(u *syncv1.Update) { u.Upserts = nil })
		if a := p.ack(t); !a.GetRefused() || a.GetRevision() != 1 || !strings.Contains(a.GetReason(), "digest") {
			t.Errorf("answer %v", a)
		}
		serves(t, n, 1, "a")
		p.push(nil, second, 2)
		if a := p.ack(t); a.GetRefused() {
			t.Errorf("answer %v", a)
		}
		serves(t, n, 2, "a", "b")
	})
}

func TestAWholeSetThatDoesNotComeIsAskedForOnANewStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir())
		first := set(t, "a")
		p, _ := c.accept(t, first, 1)
		p.push(nil, first, 1)
		p.ack(t)
		p.push(first, set(t, "a", "b"), 2, func(u *syncv1.Update) { u.Upserts = nil })
		p.ack(t)
		began := time.Now()
		_, h := c.accept(t, first, 2)
		if d := time.Since(began); len(h.GetDigest()) != 0 || d != 30*time.Second {
			t.Errorf("hello %v after %s; want one without a digest after 30s", h, d)
		}
	})
}

func TestAWaitThatTheControlPlaneAsksForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir())
		busy, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(40 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		p := <-c.peers
		began := time.Now()
		p.cancel(busy.Err())
		<-c.peers
		if d := time.Since(began); d != 40*time.Second {
			t.Errorf("came back after %s", d)
		}
	})
}

func TestAnEqualDigestIsAnsweredWithWhatStandsAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir())
		want := with(set(t, "a"), server(t, "b", "nowhere"))
		p, _ := c.accept(t, want, 1)
		p.push(nil, want, 1)
		p.ack(t)
		p.end()
		p, _ = c.accept(t, want, 2)
		a := p.ack(t) // of update 0
		if d := want.Digest(); a.GetRefused() || !bytes.Equal(a.GetDigest(), d[:]) || len(a.GetOutcomes()) != 1 || a.GetOutcomes()[0].GetName() != "b" || a.GetRevision() != 2 {
			t.Errorf("answer %v", a)
		}
	})
}

func TestADamagedBodyAsksForTheWholeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir())
		want, began := set(t, "a"), time.Now()
		for i := range 10 {
			p, h := c.accept(t, want, 1)
			if len(h.GetDigest()) != 0 {
				t.Errorf("stream %d says it holds %x", i, h.GetDigest())
			}
			p.push(nil, want, 1, func(u *syncv1.Update) { u.Upserts[0].Body = append([]byte{}, u.Upserts[0].Body[1:]...) })
		}
		if took := time.Since(began); took < time.Second { // nine pauses of 0 to 5 s each
			t.Errorf("ten streams within %s", took)
		}
	})
}

func TestAnOlderRevisionOfTheSameStoreIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		newer, older := set(t, "a", "b"), set(t, "a")
		p, _ := c.accept(t, newer, 9)
		p.push(nil, newer, 9)
		p.ack(t)
		p.push(newer, older, 8)
		if a := p.ack(t); !a.GetRefused() || a.GetRevision() != 9 {
			t.Errorf("answer %v", a)
		}
		p, _ = c.accept(t, older, 3)
		t.Log("another epoch starts its revisions anew")
		p.push(newer, older, 3, func(u *syncv1.Update) { u.Epoch = "02EPOCH" })
		if a := p.ack(t); a.GetRefused() {
			t.Errorf("answer %v", a)
		}
		serves(t, n, 3, "a")
	})
}

func TestAnOversizeUpdateEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir(), func(cfg *follow.Config) { cfg.MaxUpdate = 300 })
		want := set(t, "a", "b", "c", "d", "e")
		p, _ := c.accept(t, want, 1)
		p.push(nil, want, 1)
		c.accept(t, want, 1)
		if st := n.Status(); st.Loaded {
			t.Errorf("status %+v", st)
		}
	})
}

func TestHealthIsReportedOnChangeAndOtherwiseEveryTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		var inFlight atomic.Int32
		inFlight.Store(3)
		n := start(t, c, t.TempDir(), func(cfg *follow.Config) {
			cfg.Health = func() *syncv1.Health { return &syncv1.Health{Draining: true, InFlight: inFlight.Load()} }
		})
		p, _ := c.accept(t, confset.Empty(), 0)
		p.health(t)
		began := time.Now()
		n.Changed()
		p.health(t)
		if d := time.Since(began); d > 0 {
			t.Errorf("a change was reported after %s", d)
		}
		h := p.health(t)
		if d := time.Since(began); d < 110*time.Second || d > 130*time.Second || !h.GetDraining() || h.GetInFlight() != 3 || len(h.GetDigest()) == 0 {
			t.Errorf("%v again after %s", h, d)
		}
		began = time.Now()
		inFlight.Store(4)
		if h := p.health(t); time.Since(began) > 10*time.Second || h.GetInFlight() != 4 {
			t.Errorf("%v after %s", h, time.Since(began))
		}
	})
}

func TestFailedCallsAreReportedWithinTwoSecondsAndOthersWithTheNextTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		var calls, failed atomic.Int64
		start(t, c, t.TempDir(), func(cfg *follow.Config) {
			cfg.Failing = func() bool { return failed.Load() > 0 }
			cfg.Health = func() *syncv1.Health {
				if n := calls.Swap(0); n > 0 {
					return &syncv1.Health{Calls: []*syncv1.ServerCalls{{Server: "s", Calls: n, Failed: failed.Swap(0)}}}
				}
				return &syncv1.Health{}
			}
		})
		p, _ := c.accept(t, confset.Empty(), 0)
		said := func() *syncv1.Health { // one without calls may be on its way: that there are none any more is news
			for h := p.health(t); ; h = p.health(t) {
				if len(h.GetCalls()) > 0 {
					return h
				}
			}
		}
		for range 3 {
			began := time.Now()
			calls.Add(5)
			failed.Add(1)
			h := said()
			if d := time.Since(began); d > 2*time.Second || len(h.GetCalls()) != 1 || h.GetCalls()[0].GetFailed() != 1 || h.GetCalls()[0].GetCalls() != 5 {
				t.Errorf("%v after %s", h, d)
			}
		}
		for range 2 {
			calls.Add(1)
			began := time.Now()
			h := said()
			if time.Since(began) > 10*time.Second || len(h.GetCalls()) != 1 {
				t.Errorf("%v after %s", h, time.Since(began))
			}
		}
	})
}

func TestAStopIsToldToTheControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		p, _ := c.accept(t, confset.Empty(), 0)
		if h := p.health(t); h.GetDraining() {
			t.Errorf("draining before the stop: %v", h)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
		if h := p.health(t); !h.GetDraining() || len(h.GetDigest()) == 0 {
			t.Errorf("the last report is %v", h)
		}
	})
}

func TestAControlPlaneThatHangsDoesNotKeepADataPlaneFromStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		p, _ := c.accept(t, confset.Empty(), 0)
		p.deaf = true
		began := time.Now()
		if err := n.stop(); err != nil || time.Since(began) > time.Second {
			t.Errorf("stopped with %v after %s", err, time.Since(began))
		}
	})
}

func TestMoveGoesToTheNextAddressAfterItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		start(t, c, t.TempDir(), func(cfg *follow.Config) { cfg.Addresses = []string{"one", "two"} })
		p, _ := c.accept(t, confset.Empty(), 0)
		began := time.Now()
		p.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Move{Move: &syncv1.Move{Reason: "drain", DelayMs: 1500}}})
		c.accept(t, confset.Empty(), 0)
		if d := time.Since(began); d != 1500*time.Millisecond {
			t.Errorf("moved after %s", d)
		}
		if a, b := <-c.dials, <-c.dials; a != "one" || b != "two" {
			t.Errorf("dialled %s, %s", a, b)
		}
	})
}

func TestASilentControlPlaneIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		began := time.Now()
		<-c.peers
		<-c.peers
		if d := time.Since(began); d < 10*time.Second || d > 13*time.Second {
			t.Errorf("left after %s", d)
		}
		if err := n.Status().LastError; err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("last error %v", err)
		}
	})
}

func TestAttemptsThatFailArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		c.down = errors.New("no route")
		began := time.Now()
		n := start(t, c, t.TempDir())
		<-c.dials
		if d := time.Since(began); d > 0 {
			t.Errorf("the first attempt waited %s", d)
		}
		for range 50 {
			last := time.Now()
			<-c.dials
			if d := time.Since(last); d < 500*time.Millisecond || d > 15*time.Second {
				t.Errorf("%s between two attempts", d)
			}
		}
		if d := time.Since(began); d < 50*2*time.Second {
			t.Errorf("50 attempts in %s: they don't slow down", d)
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStatusTellsHowOldTheConfigIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		if a := n.Status().Age(time.Now()); a != -1 {
			t.Errorf("age %s before any contact", a)
		}
		p, _ := c.accept(t, confset.Empty(), 0)
		p.health(t)
		c.down = errors.New("gone")
		p.end()
		time.Sleep(time.Hour)
		if a := n.Status().Age(time.Now()); a < time.Hour || a > time.Hour+time.Minute || n.Status().Connected {
			t.Errorf("age %s, status %+v", a, n.Status())
		}
	})
}
