package api

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/hopgate/hopgate/controlplane/view"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// heldMost bounds the held objects that Info names.
const heldMost = 100

// ConfirmRemovals lets held removals pass, if the caller has seen how many they are.
func (s *service) ConfirmRemovals(ctx context.Context, r *adminv1.ConfirmRemovalsRequest) (*adminv1.ConfirmRemovalsResponse, error) {
	if r.GetCount() <= 0 {
		return nil, invalidField("count", fmt.Sprintf("is %d", r.GetCount()), "send held_removals of the info as it was read")
	}
	trailOf(ctx).note(s.cfg.State.Status().Held)
	held, ok := s.cfg.State.ConfirmCount(int(r.GetCount()))
	if !ok {
		msg := fmt.Sprintf("%d removals are held, not %d; look at them again and confirm the number that is held", held, r.GetCount())
		return nil, withDetails(codes.FailedPrecondition, msg, &errdetails.ErrorInfo{Reason: reasonHeld, Domain: domain,
			Metadata: map[string]string{"held": fmt.Sprint(held), "count": fmt.Sprint(r.GetCount())}})
	}
	return &adminv1.ConfirmRemovalsResponse{Confirmed: r.GetCount()}, nil
}

// condition fills in how the index stands to the store, or a relay to its home.
func (c *Config) condition(info *adminv1.Info) {
	st := c.State.Status()
	stale := st.Stale
	if c.Home != nil {
		info.Upstream, stale = c.Home()
	}
	info.StaleSeconds = int64(math.Ceil(stale.Seconds()))
	info.HeldRemovals = int32(min(len(st.Held), math.MaxInt32)) //nolint:gosec // bounded
	for _, key := range st.Held[:min(len(st.Held), heldMost)] {
		info.Held = append(info.Held, &adminv1.ObjectName{Kind: key.Kind, Name: key.Name})
	}
}

// stateless is the State of an index that has none.
type stateless struct{}

func (stateless) Status() view.Status                  { return view.Status{} }
func (stateless) ConfirmCount(n int) (int, bool)       { return 0, n == 0 }
func (stateless) Listen(func(view.Told)) (stop func()) { return func() {} }
