package operator

import (
	"context"
	"fmt"
	"io"
	"strings"

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
	var layers, origins []string
	for _, l := range e.GetLayers() {
		applies := "no"
		if l.GetApplied() {
			applies = "yes"
		}
		layers = append(layers, cells(l.GetObject(), applies, l.GetWhy()))
	}
	for _, o := range e.GetOrigins() {
		origins = append(origins, cells(o.GetPath(), o.GetOverlay(), or(o.GetBefore(), "-"), or(o.GetAfter(), "-"), list(o.GetOverruled(), "-")))
	}
	if err := printRows(w, "LAYER\tAPPLIES\tWHY", layers); err != nil || len(origins) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printRows(w, "FIELD\tFROM\tBEFORE\tAFTER\tOVERRULED", origins)
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
