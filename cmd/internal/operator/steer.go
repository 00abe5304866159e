package operator

import (
	"context"
	"errors"
	"fmt"
	"io"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Steering is what an operator wants of a rollout.
type Steering struct {
	// Change is its id; empty: the open one.
	Change string
	// Message says why, for the change record.
	Message string
}

// Pause keeps a rollout where it is.
func (s Steering) Pause(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer) error {
	return s.steer(ctx, c, out, func(change string) (*adminv1.Rollout, error) {
		return c.PauseRollout(ctx, &adminv1.PauseRolloutRequest{Change: change, Message: s.Message})
	})
}

// Resume lets a paused rollout go on.
func (s Steering) Resume(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer) error {
	return s.steer(ctx, c, out, func(change string) (*adminv1.Rollout, error) {
		return c.ResumeRollout(ctx, &adminv1.ResumeRolloutRequest{Change: change, Message: s.Message})
	})
}

// Abort takes a staged change back.
func (s Steering) Abort(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer) error {
	return s.steer(ctx, c, out, func(change string) (*adminv1.Rollout, error) {
		return c.AbortRollout(ctx, &adminv1.AbortRolloutRequest{Change: change, Message: s.Message})
	})
}

func (s Steering) steer(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer, order func(change string) (*adminv1.Rollout, error)) error {
	change := s.Change
	if change == "" {
		r, err := openRollout(ctx, c)
		switch {
		case err != nil:
			return err
		case r == nil:
			return errors.New("no staged change is under way; hopgate rollout list shows those that ended")
		}
		change = r.GetChange()
	}
	r, err := order(change)
	if err != nil {
		return Explain(err)
	}
	_, err = fmt.Fprintf(out, "rollout of %s is %s\n", change, progress(r))
	return err
}

// openRollout returns the rollout under way, else the one that waits longest; nil: every change has ended. Those that are open are among the
// newest.
func openRollout(ctx context.Context, c adminv1.AdminServiceClient) (*adminv1.Rollout, error) {
	all, err := Rollouts(ctx, c, rolloutPage)
	return underWay(all), err
}
