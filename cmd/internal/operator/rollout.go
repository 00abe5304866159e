package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// rolloutPage is how many rollouts are asked for at a time.
const rolloutPage = 100

// ended says whether nothing more becomes of a rollout.
func ended(r *adminv1.Rollout) bool {
	switch r.GetState() {
	case "done", "reverted", "aborted":
		return true
	}
	return false
}

// Rollouts returns the newest rollouts first, at most limit, or all when it is 0.
func Rollouts(ctx context.Context, c adminv1.AdminServiceClient, limit int) ([]*adminv1.Rollout, error) {
	out, err := rollouts(ctx, c, limit)
	if err != nil {
		return nil, Explain(err)
	}
	return out, nil
}

func rollouts(ctx context.Context, c adminv1.AdminServiceClient, limit int) ([]*adminv1.Rollout, error) {
	var out []*adminv1.Rollout
	for token := ""; ; {
		r, err := c.ListRollouts(ctx, &adminv1.ListRequest{PageSize: rolloutPage, PageToken: token})
		if err != nil {
			return nil, err
		}
		if out = append(out, r.GetRollouts()...); limit > 0 && len(out) >= limit {
			return out[:limit], nil
		}
		if token = r.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// underWay picks the one that moves, else the oldest that waits.
func underWay(newestFirst []*adminv1.Rollout) (found *adminv1.Rollout) {
	for _, r := range newestFirst {
		switch {
		case ended(r):
		case r.GetState() != "queued":
			return r
		default:
			found = r
		}
	}
	return found
}

// FindRollout returns the rollout of a change; without one the open one, else the newest.
func FindRollout(ctx context.Context, c adminv1.AdminServiceClient, change string) (*adminv1.Rollout, error) {
	if change == "" {
		all, err := Rollouts(ctx, c, rolloutPage)
		switch r := underWay(all); {
		case err != nil:
			return nil, err
		case r != nil:
			change = r.GetChange()
		case len(all) == 0:
			return nil, errors.New("no change was staged; hopgate apply --strategy canary stages one")
		default:
			change = all[0].GetChange()
		}
	}
	r, err := c.GetRollout(ctx, &adminv1.GetRolloutRequest{Change: change})
	if err != nil {
		return nil, Explain(err)
	}
	return r, nil
}

// watchEach is how often a rollout is asked for while it is watched.
const watchEach = time.Second

// WatchRollout prints a rollout now and whenever it has got on, until it has ended; one that didn't get through is an error then. It returns nil
// when ctx ends.
func WatchRollout(ctx context.Context, c adminv1.AdminServiceClient, change, format string, w io.Writer) error {
	var last *adminv1.Rollout
	for {
		r, err := FindRollout(ctx, c, change)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // that is how it ends
		case err != nil:
			return err
		case !proto.Equal(last, r):
			if last != nil && format == Table {
				fmt.Fprintln(w)
			}
			if err := PrintRollout(w, format, r); err != nil {
				return err
			}
		}
		if last, change = r, r.GetChange(); ended(r) {
			return outcome(r)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEach):
		}
	}
}

// outcome is nil for a rollout that got through.
func outcome(r *adminv1.Rollout) error {
	if r.GetState() == "done" {
		return nil
	}
	return errors.New(clean(fmt.Sprintf("the change %s was %s: %s; everything is as it was before", r.GetChange(), r.GetState(), why(r))))
}

// why is the reason of a rollout's state, with the data plane that gave it.
func why(r *adminv1.Rollout) string {
	text := or(r.GetReason(), "no reason is told")
	if n := r.GetNode(); n != "" && !strings.Contains(text, n) {
		text += " (data plane " + n + ")"
	}
	return text
}

// waitRollout waits until a rollout has ended.
func waitRollout(ctx context.Context, c adminv1.AdminServiceClient, change string, limit time.Duration, out io.Writer) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last *adminv1.Rollout
	for pause := askFirst; ; pause = min(2*pause, askLast) {
		r, err := c.GetRollout(bounded, &adminv1.GetRolloutRequest{Change: change})
		switch {
		case err == nil:
			last = r
		case bounded.Err() == nil:
			return Explain(err)
		}
		if err == nil && ended(r) {
			if err := outcome(r); err != nil {
				return err
			}
			fmt.Fprintf(out, "the change is done: %s\n", reached(r))
			return nil
		}
		select {
		case <-bounded.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("stopped waiting; the change %s goes on", change)
			}
			return fmt.Errorf("after %s the change %s is %s; it goes on: hopgate rollout status %s --watch", limit, change, progress(last), change)
		case <-time.After(pause):
		}
	}
}

// reached says how many data planes have a change after its last step.
func reached(r *adminv1.Rollout) string {
	n := int32(0)
	if steps := r.GetSteps(); len(steps) > 0 {
		n = steps[len(steps)-1].GetNodes()
	}
	return fmt.Sprintf("%d data planes have it", n)
}

// progress is how far a rollout is, in words.
func progress(r *adminv1.Rollout) string {
	if r.GetStep() == 0 {
		return or(r.GetState(), "unknown")
	}
	return fmt.Sprintf("%s at step %s", r.GetState(), step(r))
}

// step is where a rollout is: 2 of 4 (25%).
func step(r *adminv1.Rollout) string {
	at, steps := int(r.GetStep()), r.GetSteps()
	if at < 1 || at > len(steps) {
		return fmt.Sprintf("%d of %d", at, len(steps))
	}
	return fmt.Sprintf("%d of %d (%s)", at, len(steps), steps[at-1].GetName())
}

// PrintOpenRollout writes one line about the rollout under way; nothing without one, or when the control plane is too old to know of any.
func PrintOpenRollout(ctx context.Context, c adminv1.AdminServiceClient, w io.Writer) error {
	all, err := rollouts(ctx, c, rolloutPage)
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	if err != nil {
		return Explain(err)
	}
	if open := underWay(all); open != nil {
		line := fmt.Sprintf("the staged change %s by %s is %s", open.GetChange(), open.GetAuthor(), progress(open))
		if open.GetReason() != "" {
			line += ": " + why(open)
		}
		fmt.Fprintln(w, clean(line+"; follow it: hopgate rollout status"))
	}
	return nil
}
