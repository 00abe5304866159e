package gather_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/proto/fault"
)

type left struct{ at fault.Phase }

func (l left) Error() string        { return "left" }
func (l left) Unwrap() error        { return context.DeadlineExceeded }
func (l left) Reached() fault.Phase { return l.at }

// Red when late says headers whatever the error says.
func TestWhoWasTooSlowIsToldWithThePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := []error{left{fault.Connect}, left{fault.Stream}, context.DeadlineExceeded,
			&fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TimedOut}}
		out := gather.Each(t.Context(), members(len(errs), time.Second), func(ctx context.Context, i int) error {
			<-ctx.Done()
			return errs[i]
		})
		for i, want := range []fault.Phase{fault.Connect, fault.Body, fault.Headers, fault.Body} {
			if f := out[i].Err; f == nil || f.Phase != want || f.Kind != fault.TimedOut || out[i].Status != gather.Timeout {
				t.Errorf("%d: %v, want phase %v", i, f, want)
			}
		}
	})
}
