package operator

import (
	"fmt"
	"io"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Heads of the parts of a rollout.
const (
	stepHead   = "STEP\tADMITTED\tCONVERGED\tNODES\tFIRST ACK\tLAST ACK"
	regionHead = "REGION\tNODES\tADMITTED\tAPPLIED\tREJECTED\tFIRST ACK\tLAST ACK"
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
	return printRows(w, RolloutHead, rows)
}

// PrintRollout writes one rollout in the format: what it is, then a line for each step, then one for each region.
func PrintRollout(w io.Writer, format string, r *adminv1.Rollout) error {
	if format != Table {
		return Print(w, format, "", []proto.Message{r})
	}
	about := []string{
		cells("change", r.GetChange()), cells("author", r.GetAuthor()), cells("message", or(r.GetMessage(), "-")),
		cells("strategy", r.GetPlan().GetStrategy()+", each step serves for "+or(r.GetPlan().GetBake(), "0s")), cells("state", progress(r)),
	}
	if r.GetReason() != "" {
		about = append(about, cells("reason", why(r)))
	}
	if r.GetRevertedBy() != "" {
		about = append(about, cells("undone by", r.GetRevertedBy()))
	}
	if err := printRows(w, "", about); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := printRows(w, stepHead, stepRows(r)); err != nil || len(r.GetRegions()) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printRows(w, regionHead, regionRows(r.GetRegions()))
}

func stepRows(r *adminv1.Rollout) (rows []string) {
	for _, s := range r.GetSteps() {
		converged := "-"
		if s.GetConvergeTime() != nil {
			converged = "after " + millis(s.GetConvergeTime().AsTime().Sub(s.GetAdmitTime().AsTime()).Milliseconds())
		}
		nodes := "-"
		if s.GetAdmitTime() != nil {
			nodes = fmt.Sprint(s.GetNodes())
		}
		rows = append(rows, cells(s.GetName(), clock(s.GetAdmitTime()), converged, nodes, millis(s.GetFirstAckMs()), millis(s.GetLastAckMs())))
	}
	return rows
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
	return fmt.Sprintf("%d ms", n)
}

// printRows writes a table; without a head when that is empty.
func printRows(w io.Writer, head string, rows []string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	if head != "" {
		fmt.Fprintln(tw, head)
	}
	for _, r := range rows {
		fmt.Fprintln(tw, r)
	}
	return tw.Flush()
}
