package operator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// conductor is a control plane with rollouts.
type conductor struct {
	adminv1.AdminServiceClient
	rollouts []*adminv1.Rollout // newest first
	states   []string           // of the next answers to GetRollout; the last one stays
	orders   []string
	sent     *adminv1.CreateChangeRequest
	old      bool
}

func (c *conductor) ListRollouts(_ context.Context, r *adminv1.ListRequest, _ ...grpc.CallOption) (*adminv1.ListRolloutsResponse, error) {
	if c.old {
		return nil, status.Error(codes.Unimplemented, "unknown method")
	}
	from := 0
	fmt.Sscan(r.GetPageToken(), &from) //nolint:errcheck // empty: from the start
	to := min(from+2, len(c.rollouts))
	out := &adminv1.ListRolloutsResponse{Rollouts: c.rollouts[from:to]}
	if to < len(c.rollouts) {
		out.NextPageToken = fmt.Sprint(to)
	}
	return out, nil
}

func (c *conductor) GetRollout(_ context.Context, r *adminv1.GetRolloutRequest, _ ...grpc.CallOption) (*adminv1.Rollout, error) {
	out := staged(r.GetChange(), "done", 2)
	if len(c.states) > 0 {
		if out.State = c.states[0]; len(c.states) > 1 {
			c.states = c.states[1:]
		}
	}
	if out.GetState() == "reverted" {
		out.Reason, out.Node = "a data plane crashed", "dp-2"
	}
	return out, nil
}

func (c *conductor) order(word, change, message, state string) (*adminv1.Rollout, error) {
	c.orders = append(c.orders, word+" "+change+" "+message)
	return staged(change, state, 1), nil
}

func (c *conductor) PauseRollout(_ context.Context, r *adminv1.PauseRolloutRequest, _ ...grpc.CallOption) (*adminv1.Rollout, error) {
	return c.order("pause", r.GetChange(), r.GetMessage(), "paused")
}

func (c *conductor) ResumeRollout(_ context.Context, r *adminv1.ResumeRolloutRequest, _ ...grpc.CallOption) (*adminv1.Rollout, error) {
	return c.order("resume", r.GetChange(), r.GetMessage(), "rolling")
}

func (c *conductor) AbortRollout(_ context.Context, r *adminv1.AbortRolloutRequest, _ ...grpc.CallOption) (*adminv1.Rollout, error) {
	return c.order("abort", r.GetChange(), r.GetMessage(), "aborting")
}

func (c *conductor) CreateChange(_ context.Context, r *adminv1.CreateChangeRequest, _ ...grpc.CallOption) (*adminv1.Change, error) {
	c.sent = r
	out := &adminv1.Change{Objects: []*adminv1.ChangedObject{{Kind: "rollout", Name: "07", Action: "created"}}, Rollout: staged("07", "queued", 0)}
	if !r.GetValidateOnly() {
		out.Id, out.Revision = "07", 12
	}
	return out, nil
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func staged(change, state string, at int32) *adminv1.Rollout {
	r := &adminv1.Rollout{
		Change: change, State: state, Step: at, Author: "master", Message: "try", CreateTime: timestamppb.New(noon),
		Plan:  &adminv1.RolloutPlan{Strategy: "canary", Steps: []string{"1", "100%"}, Bake: "1m"},
		Steps: []*adminv1.RolloutStep{{Name: "1"}, {Name: "100%"}},
	}
	if at > 0 {
		r.Steps[0] = &adminv1.RolloutStep{Name: "1", AdmitTime: timestamppb.New(noon), ConvergeTime: timestamppb.New(noon.Add(80 * time.Millisecond)), Nodes: 1, FirstAckMs: 70, LastAckMs: 71}
	}
	if at > 1 {
		r.Steps[1] = &adminv1.RolloutStep{Name: "100%", AdmitTime: timestamppb.New(noon.Add(time.Minute)), Nodes: 7}
	}
	return r
}

func TestARolloutAsATable(t *testing.T) {
	r := staged("07", "reverted", 1)
	r.Reason, r.Node, r.RevertedBy, r.UpdateTime = "a data plane\ncrashed", "dp-2", "08", timestamppb.New(noon.Add(1500*time.Millisecond))
	r.Regions = []*adminv1.RolloutRegion{{Region: "eu", Nodes: 4, Admitted: 1, Applied: 1, FirstAckMs: 70, LastAckMs: 71}, {Nodes: 2}}
	var b bytes.Buffer
	if err := operator.PrintRollout(&b, operator.Table, r); err != nil {
		t.Fatal(err)
	}
	want := `change      07
author      master
message     try
strategy    canary, each step serves for 1m
state       reverted at step 1 of 2 (1), 1.5 s after it was made
reason      a data plane crashed (data plane dp-2)
undone by   08

STEP   STATE        ADMITTED               NODES   CONVERGED     FIRST ACK   LAST ACK
1      taken back   2026-11-23T12:00:00Z   1       after 80 ms   70 ms       71 ms
100%   never        -                      -       -             -           -

REGION   NODES   ADMITTED   APPLIED   REJECTED   FIRST ACK   LAST ACK
eu       4       1          1         0          70 ms       71 ms
(none)   2       0          0         0          -           -
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := operator.PrintRollouts(&b, operator.Table, []*adminv1.Rollout{r, staged("06", "queued", 0)}); err != nil {
		t.Fatal(err)
	}
	want = `CHANGE   BEGUN                  AUTHOR   STATE      STEP         STRATEGY   MESSAGE
07       2026-11-23T12:00:00Z   master   reverted   1 of 2 (1)   canary     try
06       2026-11-23T12:00:00Z   master   queued     0 of 2       canary     try
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

// tableAt is a rollout's table as it looks some time after noon.
func tableAt(t *testing.T, after time.Duration, r *adminv1.Rollout) (out string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon.Add(after)))
		var b bytes.Buffer
		if err := operator.PrintRollout(&b, operator.Table, r); err != nil {
			t.Fatal(err)
		}
		out = b.String()
	})
	return out
}

func TestARolloutUnderWayTellsWhatItWaitsForAndSinceWhen(t *testing.T) {
	r := staged("07", "rolling", 2)
	r.Reason = "2 data planes don't serve the change yet: us-1, us-2"
	r.Regions = []*adminv1.RolloutRegion{{Region: "eu", Nodes: 1, Admitted: 1, Applied: 1, FirstAckMs: 70, LastAckMs: 71},
		{Region: "us", Nodes: 6, Admitted: 6, Applied: 4, FirstAckMs: 81, LastAckMs: 11_300}}
	want := `change      07
author      master
message     try
strategy    canary, each step serves for 1m
state       rolling at step 2 of 2 (100%), for 12.4 s (since 2026-11-23T12:01:00Z)
waits for   2 data planes don't serve the change yet: us-1, us-2

STEP   STATE       ADMITTED               NODES    CONVERGED     FIRST ACK   LAST ACK
1      done        2026-11-23T12:00:00Z   1        after 80 ms   70 ms       71 ms
100%   under way   2026-11-23T12:01:00Z   5 of 7   -             -           -

REGION   NODES   ADMITTED   APPLIED   REJECTED   FIRST ACK   LAST ACK
eu       1       1          1         0          70 ms       71 ms
us       6       6          4         0          81 ms       11.3 s
`
	if got := tableAt(t, time.Minute+12400*time.Millisecond, r); got != want {
		t.Errorf("got\n%s", got)
	}
	at := func(after time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(after)) }
	for _, c := range []struct {
		name string
		edit func(*adminv1.Rollout)
		want []string
	}{
		{"serving", func(r *adminv1.Rollout) {
			r.Reason, r.Steps[1].ConvergeTime, r.Steps[1].LastAckMs = "", at(time.Minute+500*time.Millisecond), 90
		}, []string{
			"waits for   100% to have served for 1m: until 2026-11-23T12:02:00Z, 56.5 s to go\n", "100%   serving ", " after 500 ms "}},
		{"nobody in it", func(r *adminv1.Rollout) { r.Reason, r.Steps[1].ConvergeTime = "", r.Steps[1].AdmitTime }, []string{"100%   nobody in it "}},
		{"paused", func(r *adminv1.Rollout) {
			r.State, r.Reason, r.UpdateTime = "paused", "paused by master", at(-10*time.Minute)
		}, []string{
			"state      paused at step 2 of 2 (100%), for 11m4s (since 2026-11-23T11:50:00Z)\n", "reason     paused by master\n"}},
		{"queued", func(r *adminv1.Rollout) {
			r.State, r.Step, r.Steps[0], r.Steps[1] = "queued", 0, &adminv1.RolloutStep{Name: "1"}, &adminv1.RolloutStep{Name: "100%"}
			r.Reason, r.UpdateTime, r.Regions = "the staged change 06 comes first and is rolling", at(time.Minute), nil
		}, []string{"state       queued, for 4.0 s (since 2026-11-23T12:01:00Z)\n", "waits for   the staged change 06 comes first and is rolling\n", "1      to come "}},
	} {
		r := staged("07", "rolling", 2)
		c.edit(r)
		got := tableAt(t, time.Minute+4*time.Second, r)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, got)
			}
		}
	}
}

func TestARolloutThatEndedTellsHowItsRegionsStood(t *testing.T) {
	r := staged("07", "done", 2)
	r.UpdateTime = timestamppb.New(noon.Add(3 * time.Minute))
	r.Steps[0].Regions = []*adminv1.RolloutRegion{{Region: "us", Nodes: 3, Admitted: 1, Applied: 1, FirstAckMs: 70, LastAckMs: 71}}
	r.Steps[1].Regions = []*adminv1.RolloutRegion{{Region: "us", Nodes: 3, Admitted: 3, Applied: 3, FirstAckMs: 80, LastAckMs: 99}, {Region: "eu", Nodes: 2, Admitted: 2, Applied: 2, FirstAckMs: 5, LastAckMs: 7}}
	got := tableAt(t, time.Hour, r)
	for _, want := range []string{"state      done at step 2 of 2 (100%), 3m0s after it was made\n",
		"eu       2       2          2         0          5 ms        7 ms\nus       3       3          3         0          80 ms       99 ms\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestTheRolloutThatIsMeant(t *testing.T) {
	for _, c := range []struct{ rollouts, open, shown string }{
		{"06 queued,05 queued,04 rolling,03 done", "04", "04"},
		{"06 queued,05 queued,04 done", "05", "05"},
		{"06 aborted,05 aborting", "05", "05"},
		{"06 done,05 reverted", "", "06"},
		{"", "", ""},
	} {
		x := &conductor{}
		for word := range strings.SplitSeq(c.rollouts, ",") {
			if id, state, ok := strings.Cut(word, " "); ok {
				x.rollouts = append(x.rollouts, staged(id, state, 1))
			}
		}
		var out bytes.Buffer
		err := operator.Steering{Message: "why"}.Pause(t.Context(), x, &out)
		if c.open == "" {
			if err == nil || err.Error() != "no staged change is under way; hopgate rollout list shows those that ended" || len(x.orders) > 0 {
				t.Errorf("%s: %v %v", c.rollouts, err, x.orders)
			}
		} else if err != nil || fmt.Sprint(x.orders) != "[pause "+c.open+" why]" || out.String() != "rollout of "+c.open+" is paused at step 1 of 2 (1)\n" {
			t.Errorf("%s: %v %v %s", c.rollouts, err, x.orders, out.String())
		}
		r, err := operator.FindRollout(t.Context(), x, "")
		if c.shown == "" {
			if err == nil || !strings.Contains(err.Error(), "no change was staged") {
				t.Errorf("none: %v", err)
			}
		} else if err != nil || r.GetChange() != c.shown {
			t.Errorf("%s: %v %v", c.rollouts, r, err)
		}
		out.Reset()
		if err := operator.PrintOpenRollout(t.Context(), x, &out); err != nil || strings.Contains(out.String(), "the staged change "+c.open+" by master is ") != (c.open != "") {
			t.Errorf("%s: %v %q", c.rollouts, err, out.String())
		}
	}
	x := &conductor{}
	err := errors.Join(operator.Steering{Change: "03"}.Resume(t.Context(), x, &bytes.Buffer{}), operator.Steering{Change: "02"}.Abort(t.Context(), x, &bytes.Buffer{}))
	if err != nil || fmt.Sprint(x.orders) != "[resume 03  abort 02 ]" {
		t.Errorf("%v %v", x.orders, err)
	}
	var out bytes.Buffer
	if err := operator.PrintOpenRollout(t.Context(), &conductor{old: true}, &out); err != nil || out.Len() > 0 {
		t.Errorf("an older control plane: %v %q", err, out.String())
	}
}

func TestARolloutIsWatchedUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		x := &conductor{states: []string{"rolling", "rolling", "paused", "done"}}
		if err := operator.WatchRollout(t.Context(), x, "07", operator.Table, &out); err != nil {
			t.Error(err)
		}
		if n := strings.Count(out.String(), "\nstate "); n != 3 {
			t.Errorf("printed %d times:\n%s", n, out.String())
		}
		x = &conductor{states: []string{"rolling", "reverted"}}
		err := operator.WatchRollout(t.Context(), x, "07", operator.JSON, &out)
		if err == nil || err.Error() != "the change 07 was reverted: a data plane crashed (data plane dp-2); everything is as it was before" {
			t.Errorf("reverted: %v", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		if err := operator.WatchRollout(ctx, &conductor{states: []string{"rolling"}}, "07", operator.Table, &out); err != nil {
			t.Errorf("interrupted: %v", err)
		}
	})
}

func TestAStagedApplySaysHowToFollowIt(t *testing.T) {
	plan := &adminv1.RolloutPlan{Strategy: "canary"}
	for _, c := range []struct {
		apply  operator.Apply
		states []string
		out    string
		err    string
	}{
		{apply: operator.Apply{DryRun: true}, out: "staged by canary in 2 steps: 1, 100% (dry run)\n"},
		{out: "change 07 at revision 12\nstaged by canary in 2 steps: 1, 100%\nfollow it: hopgate rollout status 07 --watch; take it back: hopgate rollout abort 07\n"},
		{operator.Apply{Wait: time.Hour}, []string{"queued", "rolling", "done"}, "change 07 at revision 12\nstaged by canary in 2 steps: 1, 100%\nthe change is done: 7 data planes have it\n", ""},
		{operator.Apply{Wait: time.Hour}, []string{"rolling", "reverted"}, "change 07 at revision 12\nstaged by canary in 2 steps: 1, 100%\n",
			"the change 07 was reverted: a data plane crashed (data plane dp-2); everything is as it was before"},
		{operator.Apply{Wait: time.Minute}, []string{"paused"}, "change 07 at revision 12\nstaged by canary in 2 steps: 1, 100%\n",
			"after 1m0s the change 07 is paused at step 2 of 2 (100%); it goes on: hopgate rollout status 07 --watch"},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := &conductor{states: c.states}
			c.apply.Rollout = plan
			var out bytes.Buffer
			_, err := c.apply.Run(t.Context(), x, &out)
			if out.String() != c.out || x.sent.GetRollout() != plan || c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

func TestTheHistoryMarksStagedChangesAndTheirSteps(t *testing.T) {
	changes := []*adminv1.Change{
		{Id: "08", Time: timestamppb.New(noon), Author: "hopgate", Message: "step 1 of 2", Objects: []*adminv1.ChangedObject{{Kind: "rollout", Name: "07", Action: "updated"}}},
		{Id: "07", Time: timestamppb.New(noon), Author: "master", Objects: []*adminv1.ChangedObject{{Kind: "server", Name: "a", Action: "updated"}, {Kind: "rollout", Name: "07", Action: "created"}}},
	}
	var b bytes.Buffer
	if err := operator.PrintHistory(&b, operator.Table, "", changes); err != nil {
		t.Fatal(err)
	}
	want := `ID   TIME                   AUTHOR    CHANGED                     MESSAGE
08   2026-11-23T12:00:00Z   hopgate   rollout/07 updated          step 1 of 2
07   2026-11-23T12:00:00Z   master    server/a updated (staged)   -
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
