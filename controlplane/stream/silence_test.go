package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/cptest"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestADataPlaneThatSaysNothingIsSentAwayAndOneThatReportsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		mute, well := join(t, c, hello("mute")), join(t, c, hello("well"))
		mute.take()
		well.take()
		began, ended := time.Now(), make(chan error, 1)
		go func() { ended <- mute.end() }()
		report := time.NewTicker(time.Minute)
		defer report.Stop()
		for over := false; !over; {
			select {
			case <-report.C:
				well.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: &syncv1.Health{}}})
			case err := <-ended:
				over = true
				if d := time.Since(began); d < 135*time.Second || d > 145*time.Second || status.Code(err) != codes.Aborted {
					t.Errorf("%v after %s", err, d)
				}
			}
		}
		time.Sleep(30 * time.Second)
		for _, n := range c.Fleet().Nodes() {
			if n.GetConnected() != (n.GetNode() == "well") {
				t.Errorf("%v", n)
			}
		}
	})
}
