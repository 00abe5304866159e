package operator

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
)

// ObjectQuestion asks what a data plane of a region and group makes of an object.
type ObjectQuestion struct{ Kind, Name, Region, Group string }

// Run asks the admin API.
func (q ObjectQuestion) Run(ctx context.Context, c adminv1.AdminServiceClient) (*adminv1.ExplainObjectResponse, error) {
	e, err := c.ExplainObject(ctx, &adminv1.ExplainObjectRequest{Kind: q.Kind, Name: q.Name, Region: q.Region, Group: q.Group})
	if err != nil {
		return nil, Explain(err)
	}
	return e, nil
}

// PrintExplained writes the answer: layers and origins as tables, or all of it as YAML or JSON.
func PrintExplained(w io.Writer, format string, e *adminv1.ExplainObjectResponse) error {
	if format != Table {
		return Print(w, format, "", []proto.Message{e})
	}
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tAPPLIES\tWHY")
	for _, l := range e.GetLayers() {
		applies := "no"
		if l.GetApplied() {
			applies = "yes"
		}
		fmt.Fprintln(tw, cells(l.GetObject(), applies, l.GetWhy()))
	}
	if err := tw.Flush(); err != nil || len(e.GetOrigins()) == 0 {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(tw, "FIELD\tFROM\tBEFORE\tAFTER\tOVERRULED")
	for _, o := range e.GetOrigins() {
		fmt.Fprintln(tw, cells(o.GetPath(), o.GetOverlay(), or(o.GetBefore(), "-"), or(o.GetAfter(), "-"), list(o.GetOverruled(), "-")))
	}
	return tw.Flush()
}

// overlayRow says what an overlay changes, and where.
func overlayRow(m *configv1.Overlay) string {
	s := m.GetSpec()
	var sets []string
	for _, t := range overlay.Touches(s)[len(s.GetClear()):] {
		sets = append(sets, t.Path)
	}
	return cells(append([]any{m.GetName(), s.GetKind() + "/" + s.GetTarget(), or(s.GetRegion(), "(any)"), or(s.GetGroup(), "(any)"),
		list(s.GetClear(), "-"), or(strings.Join(sets, ","), "-")}, fleet(m.GetStatus())...)...)
}
