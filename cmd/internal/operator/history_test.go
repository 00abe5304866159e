package operator_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// archive is a control plane with a long history.
type archive struct {
	adminv1.AdminServiceClient
	changes []*adminv1.Change // newest first
	asked   []string
}

// ListChanges answers a page; its tokens are offsets. Pages of one object are only half full.
func (a *archive) ListChanges(_ context.Context, r *adminv1.ListRequest, _ ...grpc.CallOption) (*adminv1.ListChangesResponse, error) {
	a.asked = append(a.asked, fmt.Sprintf("%d%s", r.GetPageSize(), r.GetObject()))
	from := 0
	fmt.Sscan(r.GetPageToken(), &from) //nolint:errcheck // empty: from the start
	n := int(r.GetPageSize())
	if r.GetObject() != "" {
		n = (n + 1) / 2
	}
	to := min(from+n, len(a.changes))
	out := &adminv1.ListChangesResponse{Changes: a.changes[from:to]}
	if to < len(a.changes) {
		out.NextPageToken = fmt.Sprint(to)
	}
	return out, nil
}

// DiffChanges answers one object per page.
func (a *archive) DiffChanges(_ context.Context, r *adminv1.DiffChangesRequest, _ ...grpc.CallOption) (*adminv1.DiffChangesResponse, error) {
	a.asked = append(a.asked, r.GetFrom()+".."+r.GetTo())
	if r.GetPageToken() == "" {
		return &adminv1.DiffChangesResponse{Objects: []*adminv1.ChangedObject{{Name: "a"}}, NextPageToken: "1"}, nil
	}
	return &adminv1.DiffChangesResponse{Objects: []*adminv1.ChangedObject{{Name: "b"}}}, nil
}

func TestTheHistoryIsReadAsFarAsAsked(t *testing.T) {
	for _, c := range []struct {
		object      string
		limit, want int
		asked       string
	}{
		{"", 20, 20, "[20]"},
		{"", 700, 700, "[500 200]"},
		{"", 0, 1100, "[500 500 500]"},
		{"server/a", 3, 3, "[3server/a 1server/a]"},
	} {
		a := &archive{changes: make([]*adminv1.Change, 1100)}
		got, err := operator.History(t.Context(), a, c.object, c.limit)
		if err != nil || len(got) != c.want || fmt.Sprint(a.asked) != c.asked {
			t.Errorf("limit %d of %q: %d changes, asked %v: %v", c.limit, c.object, len(got), a.asked, err)
		}
	}
	a := &archive{}
	if got, err := operator.Diff(t.Context(), a, "x", "y"); err != nil || len(got) != 2 || fmt.Sprint(a.asked) != "[x..y x..y]" {
		t.Errorf("diff: %v %v %v", got, a.asked, err)
	}
}

func TestTheHistoryShowsTheObjectThatWasAskedForFirst(t *testing.T) {
	object := func(name, action string) *adminv1.ChangedObject {
		return &adminv1.ChangedObject{Kind: "server", Name: name, Action: action, Pruned: action == "deleted"}
	}
	changes := []*adminv1.Change{
		{Id: "02", Time: timestamppb.New(time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)), Author: "master", Message: "line\nbreak\x1b[31m",
			Objects: []*adminv1.ChangedObject{object("a", "created"), object("b", "updated"), object("c", "updated"), object("d", "deleted"), object("e", "updated")}},
		{Id: "01", Author: "ci"},
	}
	for asked, want := range map[string]string{
		"": `
ID   TIME                   AUTHOR   CHANGED                                                   MESSAGE
02   2026-11-23T05:00:00Z   master   server/a created,server/b updated,server/c updated,and 2 more   line break [31m
01   -                      ci       -                                                         -
`,
		"server/d": `
ID   TIME                   AUTHOR   CHANGED                                                   MESSAGE
02   2026-11-23T05:00:00Z   master   server/d pruned,server/a created,server/b updated,and 2 more   line break [31m
01   -                      ci       -                                                         -
`,
	} {
		var b bytes.Buffer
		err := operator.PrintHistory(&b, operator.Table, asked, changes)
		if got, want := strings.Fields(b.String()), strings.Fields(want); err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("asked for %q: %v\n%s", asked, err, b.String())
		}
	}
}

func TestADiffReadsByObjectAndField(t *testing.T) {
	objects := []*adminv1.ChangedObject{
		{Kind: "server", Name: "a", Action: "updated", Fields: []*adminv1.ChangedField{
			{Path: "spec.x", Before: "1", After: "2"}, {Path: "spec.y", Before: "1"}, {Path: "labels.z", After: `"\u001b` + "\u0085\""}, {Path: "*", Hidden: true}}},
		{Kind: "secret", Name: "t", Action: "created", Fields: []*adminv1.ChangedField{{Path: "spec.value", Hidden: true}}},
		{Kind: "team", Name: "big", Action: "deleted", Pruned: true, FieldsOmitted: true},
	}
	want := `server/a updated
  ~ spec.x: 1 -> 2
  - spec.y: 1
  + labels.z: "\u001b "
  ~ changed in fields that only a newer version knows
secret/t created
  ~ spec.value: changed
team/big pruned
  (fields are left out: the whole is too large)
`
	var b bytes.Buffer
	if err := operator.PrintDiff(&b, operator.Text, objects); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := operator.PrintDiff(&b, operator.JSON, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing: %v %q", err, b.String())
	}
}
