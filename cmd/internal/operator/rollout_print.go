package operator

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Heads of the table of rollouts, and of the parts of one. NODES of a step are the data planes that have the change after it.
const (
	rolloutHead = "CHANGE\tBEGUN\tAUTHOR\tSTATE\tSTEP\tSTRATEGY\tMESSAGE"
	stepHead    = "STEP\tSTATE\tADMITTED\tNODES\tCONVERGED\tFIRST ACK\tLAST ACK"
	regionHead  = "REGION\tNODES\tADMITTED\tAPPLIED\tREJECTED\tFIRST ACK\tLAST ACK"
)

// PrintRollouts writes rollouts in the format, the table with a row for each.
func PrintRollouts(w io.Writer, format string, rollouts []*adminv1.Rollout) error {
	if format != Table {
		return Print(w, format, "", messages(rollouts))
	}
	rows := make([]string, len(rollouts))
	for i, r := range rollouts {
		rows[i] = cells(r.GetChange(), clock(r.GetCreateTime()), r.GetAuthor(), r.GetState(), step(r), r.GetPlan().GetStrategy(), or(r.GetMessage(), "-"))
	}
	return printRows(w, rolloutHead, rows)
}

// PrintRollout writes one rollout in the format: what it is and waits for, then a line for each step, then one for each region.
func PrintRollout(w io.Writer, format string, r *adminv1.Rollout) error {
	if format != Table {
		return Print(w, format, "", []proto.Message{r})
	}
	about := []string{
		cells("change", r.GetChange()), cells("author", r.GetAuthor()), cells("message", or(r.GetMessage(), "-")),
		cells("strategy", r.GetPlan().GetStrategy()+", each step serves for "+or(r.GetPlan().GetBake(), "0s")), cells("state", progress(r)+since(r)),
	}
	if name, text := reason(r); text != "" {
		about = append(about, cells(name, text))
	}
	if r.GetRevertedBy() != "" {
		about = append(about, cells("undone by", r.GetRevertedBy()))
	}
	if err := printRows(w, "", about); err != nil {
		return err
	}
	fmt.Fprintln(w)
	regions := regionsOf(r)
	if err := printRows(w, stepHead, stepRows(r)); err != nil || len(regions) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printRows(w, regionHead, regionRows(regions))
}

// since is for how long a rollout has been as it is; of one that ended, how long it took.
func since(r *adminv1.Rollout) string {
	if ended(r) {
		if r.GetUpdateTime() == nil {
			return ""
		}
		return ", " + between(r.GetCreateTime(), r.GetUpdateTime()) + " after it was made"
	}
	from := r.GetUpdateTime()
	if s := current(r); r.GetState() == "rolling" && s.GetAdmitTime() != nil {
		from = s.GetAdmitTime()
	}
	if from == nil {
		return ""
	}
	return fmt.Sprintf(", for %s (since %s)", between(from, timestamppb.Now()), clock(from))
}

// reason is why a rollout is as it is, or what it waits for before it goes on.
func reason(r *adminv1.Rollout) (name, text string) {
	s := current(r)
	switch {
	case ended(r) || r.GetState() == "paused" || r.GetState() == "aborting":
		if r.GetReason() != "" {
			return "reason", why(r)
		}
		return "", ""
	case r.GetReason() != "":
		return "waits for", why(r)
	case s.GetConvergeTime() == nil:
		return "", ""
	}
	bake, err := time.ParseDuration(r.GetPlan().GetBake())
	if err != nil {
		return "", ""
	}
	until := timestamppb.New(s.GetConvergeTime().AsTime().Add(bake))
	left := between(timestamppb.Now(), until)
	return "waits for", fmt.Sprintf("%s to have served for %s: until %s, %s to go", s.GetName(), r.GetPlan().GetBake(), clock(until), left)
}

// current is the step under way; nil before the first.
func current(r *adminv1.Rollout) *adminv1.RolloutStep {
	if at := int(r.GetStep()); at >= 1 && at <= len(r.GetSteps()) {
		return r.GetSteps()[at-1]
	}
	return nil
}

func stepRows(r *adminv1.Rollout) (rows []string) {
	for i, s := range r.GetSteps() {
		converged, nodes := "-", "-"
		switch {
		case s.GetConvergeTime() != nil && s.GetLastAckMs() > 0:
			nodes, converged = fmt.Sprint(s.GetNodes()), "after "+between(s.GetAdmitTime(), s.GetConvergeTime())
		case s.GetConvergeTime() != nil:
			nodes = fmt.Sprint(s.GetNodes())
		case s == current(r) && len(r.GetRegions()) > 0:
			applied, admitted := tally(r.GetRegions())
			nodes = fmt.Sprintf("%d of %d", applied, admitted)
		}
		rows = append(rows, cells(s.GetName(), stepState(r, i+1), clock(s.GetAdmitTime()), nodes, converged, millis(s.GetFirstAckMs()), millis(s.GetLastAckMs())))
	}
	return rows
}

// stepState is how a step, from 1, stands.
func stepState(r *adminv1.Rollout, n int) string {
	s := r.GetSteps()[n-1]
	undone := r.GetState() == "reverted" || r.GetState() == "aborted"
	switch {
	case s.GetAdmitTime() == nil && ended(r):
		return "never"
	case s.GetAdmitTime() == nil:
		return "to come"
	case undone:
		return "taken back"
	case s.GetConvergeTime() == nil:
		return "under way"
	case s.GetLastAckMs() == 0:
		return "nobody in it"
	case n == int(r.GetStep()) && !ended(r):
		return "serving"
	}
	return "done"
}

func tally(regions []*adminv1.RolloutRegion) (applied, admitted int32) {
	for _, x := range regions {
		applied, admitted = applied+x.GetApplied(), admitted+x.GetAdmitted()
	}
	return applied, admitted
}

// regionsOf is how the regions stand; of a rollout that ended, how they stood when their last step had converged.
func regionsOf(r *adminv1.Rollout) []*adminv1.RolloutRegion {
	if len(r.GetRegions()) > 0 {
		return r.GetRegions()
	}
	var out []*adminv1.RolloutRegion
	for _, s := range slices.Backward(r.GetSteps()) {
		for _, x := range s.GetRegions() {
			if !slices.ContainsFunc(out, func(o *adminv1.RolloutRegion) bool { return o.GetRegion() == x.GetRegion() }) {
				out = append(out, x)
			}
		}
	}
	slices.SortFunc(out, func(a, b *adminv1.RolloutRegion) int { return cmp.Compare(a.GetRegion(), b.GetRegion()) })
	return out
}

func regionRows(regions []*adminv1.RolloutRegion) (rows []string) {
	for _, x := range regions {
		rows = append(rows, cells(or(x.GetRegion(), "(none)"), x.GetNodes(), x.GetAdmitted(), x.GetApplied(), x.GetRejected(),
			millis(x.GetFirstAckMs()), millis(x.GetLastAckMs())))
	}
	return rows
}

// millis is a time in milliseconds; 0 is none.
func millis(n int64) string {
	if n <= 0 {
		return "-"
	}
	return span(time.Duration(n) * time.Millisecond)
}

// between is the time from one moment to a later one.
func between(from, to *timestamppb.Timestamp) string {
	return span(max(0, to.AsTime().Sub(from.AsTime())))
}

// span is a time in the unit that fits it: 180 ms, 12.3 s, 4m10s.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
