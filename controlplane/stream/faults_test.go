package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// The short forms of what many data planes at once do to a control plane; the long ones run against real processes.

func TestACrowdThatComesBackAtOnceIsInSyncAndSentNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 200
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"), server("b"))
		quiet()
		planes := make([]*plane, crowd)
		for i := range planes {
			planes[i] = join(t, c, hello(fmt.Sprintf("n%03d", i)))
			planes[i].take()
		}
		c.Restart()
		began := time.Now()
		for i, p := range planes {
			next := join(t, c, p.again(fmt.Sprintf("n%03d", i)))
			next.set, next.epoch, next.revision = p.set, p.epoch, p.revision
			planes[i] = next
		}
		quiet()
		if d := time.Since(began); d > time.Minute {
			t.Errorf("back after %s", d)
		}
		nodes := c.Fleet().Nodes()
		for _, n := range nodes {
			if !n.GetConnected() || !n.GetInSync() || n.GetAppliedTime() != nil {
				t.Fatalf("%v; want it in sync without an update", n)
			}
		}
		if len(nodes) != crowd {
			t.Errorf("%d data planes, want %d", len(nodes), crowd)
		}
		rev := c.Put(server("c"))
		for _, p := range planes {
			if u := p.take(); u.GetFull() || u.GetNonce() != 1 || u.GetRevision() != rev {
				t.Fatalf("the first update after the restart is %v, want a delta to %d", u, rev)
			}
		}
	})
}

func TestAHundredThatStopReadingDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		for i := range 100 {
			join(t, c, hello(fmt.Sprintf("stuck%02d", i)), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10)).take()
		}
		var good []*plane
		for i := range 10 {
			p := join(t, c, hello(fmt.Sprintf("good%d", i)))
			p.take()
			good = append(good, p)
		}
		quiet()
		for round := range 3 {
			body := make([]byte, 900<<10)
			body[0] = byte(round)
			o := confset.NewObject(confset.Key{Kind: "server", Name: "big"}, "u", body)
			began := time.Now()
			c.Commit(cptest.Change{Raw: []confset.Object{o}})
			for _, p := range good {
				p.take()
			}
			if wait := time.Since(began); wait > time.Second {
				t.Errorf("round %d: those that read waited %s", round, wait)
			}
			quiet()
		}
		time.Sleep(31 * time.Second) // closed for what they never answered
		synctest.Wait()
		for _, n := range c.Fleet().Nodes() {
			if reads := n.GetNode()[0] == 'g'; n.GetConnected() != reads || reads && !n.GetInSync() {
				t.Errorf("%s: connected %v, in sync %v", n.GetNode(), n.GetConnected(), n.GetInSync())
			}
		}
	})
}

// What a control plane's clock says never decides which config is newer.
func TestChangesOfAControlPlaneWithAClockADayOffAreTaken(t *testing.T) {
	for name, off := range map[string]time.Duration{"a day behind": -24 * time.Hour, "a day ahead": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cptest.New(t, cptest.Config{})
				p := join(t, c, hello("n1"))
				p.take()
				c.Put(server("a"))
				p.take()
				rev := c.Commit(cptest.Change{Puts: []proto.Message{server("b")}, At: time.Now().Add(off)}).Revision
				if u := p.take(); u.GetRevision() != rev || p.set.Len() != 2 {
					t.Errorf("update %v, %d objects", u, p.set.Len())
				}
				rev = c.Put(server("c"))
				if u := p.take(); u.GetRevision() != rev || p.set.Len() != 3 {
					t.Errorf("the change after it: update %v, %d objects", u, p.set.Len())
				}
				quiet()
				if n := c.Fleet().Nodes()[0]; !n.GetInSync() {
					t.Errorf("node %v", n)
				}
			})
		})
	}
}

func TestAMessageThatIsTooLargeIsRefusedWithTheNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		p.take()
		p.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Reason: strings.Repeat("x", 1<<20)}}})
		if err := p.end(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "1048576") {
			t.Errorf("the stream ended with %v, want RESOURCE_EXHAUSTED with 1048576", err)
		}
	})
}
