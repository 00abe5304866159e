package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// historyPage is how many changes are asked for at a time.
const historyPage = 500

// History returns the newest changes first, at most limit, or all when it is 0. An object, kind/name, leaves those that touched it.
func History(ctx context.Context, c adminv1.AdminServiceClient, object string, limit int) ([]*adminv1.Change, error) {
	var out []*adminv1.Change
	for token := ""; ; {
		n := historyPage
		if limit > 0 {
			n = min(n, limit-len(out))
		}
		r, err := c.ListChanges(ctx, &adminv1.ListRequest{PageSize: int32(n), PageToken: token, Object: object}) //nolint:gosec // at most historyPage
		if err != nil {
			return nil, Explain(err)
		}
		out = append(out, r.GetChanges()...)
		if token = r.GetNextPageToken(); token == "" || limit > 0 && len(out) >= limit {
			return out, nil
		}
	}
}

// PrintHistory writes changes in the format. The table says what each did to its objects, the one that was asked for first.
func PrintHistory(w io.Writer, format, object string, changes []*adminv1.Change) error {
	if format != Table {
		return Print(w, format, "", messages(changes))
	}
	rows := make([]string, len(changes))
	for i, c := range changes {
		rows[i] = cells(c.GetId(), clock(c.GetTime()), c.GetAuthor(), deedsOf(c, object), or(c.GetMessage(), "-"))
	}
	return printRows(w, "ID\tTIME\tAUTHOR\tCHANGED\tMESSAGE", rows)
}

// deedsOf is what a change did; of one that is staged the rollout isn't an object of its own.
func deedsOf(c *adminv1.Change, first string) string {
	begun := func(o *adminv1.ChangedObject) bool { return o.GetKind() == "rollout" && o.GetName() == c.GetId() }
	if !slices.ContainsFunc(c.GetObjects(), begun) {
		return deeds(c.GetObjects(), first)
	}
	return deeds(slices.DeleteFunc(slices.Clone(c.GetObjects()), begun), first) + " (staged)"
}

// mostDeeds of a change are shown in a table.
const mostDeeds = 3

// deeds is what a change did to its objects.
func deeds(objects []*adminv1.ChangedObject, first string) string {
	asked := func(o *adminv1.ChangedObject) bool { return o.GetKind()+"/"+o.GetName() == first }
	if i := slices.IndexFunc(objects, asked); i > 0 {
		objects = slices.Concat(objects[i:i+1], objects[:i], objects[i+1:])
	}
	var words []string
	for i, o := range objects {
		if i == mostDeeds {
			words = append(words, fmt.Sprintf("and %d more", len(objects)-i))
			break
		}
		words = append(words, deed(o))
	}
	return list(words, "-")
}

// deed is what happened to an object: server/a updated.
func deed(o *adminv1.ChangedObject) string {
	word := o.GetAction()
	if o.GetPruned() {
		word = "pruned"
	}
	return o.GetKind() + "/" + o.GetName() + " " + word
}

// Diff compares two points of the history; empty names are what DiffChangesRequest says.
func Diff(ctx context.Context, c adminv1.AdminServiceClient, from, to string) ([]*adminv1.ChangedObject, error) {
	var out []*adminv1.ChangedObject
	for token := ""; ; {
		r, err := c.DiffChanges(ctx, &adminv1.DiffChangesRequest{From: from, To: to, PageToken: token})
		if err != nil {
			return nil, Explain(err)
		}
		out = append(out, r.GetObjects()...)
		if token = r.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// Would returns what the change would do to each object, with the fields that differ; nothing is stored.
func (a *Apply) Would(ctx context.Context, c adminv1.AdminServiceClient) ([]*adminv1.ChangedObject, error) {
	dry := *a
	dry.DryRun, dry.PruneMany = true, a.Set != ""
	change, err := dry.send(ctx, c)
	return change.GetObjects(), err
}

// PrintDiff writes what differs in the format: by object and field, or the objects as the API tells them.
func PrintDiff(w io.Writer, format string, objects []*adminv1.ChangedObject) error {
	if format != Text {
		return Print(w, format, "", messages(objects))
	}
	for _, o := range objects {
		fmt.Fprintln(w, clean(deed(o)))
		printFields(w, o)
	}
	return nil
}

func printFields(w io.Writer, o *adminv1.ChangedObject) {
	for _, f := range o.GetFields() {
		fmt.Fprintln(w, "  "+clean(difference(f)))
	}
	if o.GetFieldsOmitted() {
		fmt.Fprintln(w, "  (fields are left out: the whole is too large)")
	}
}

// difference is a field that differs: + came, - went, ~ changed.
func difference(f *adminv1.ChangedField) string {
	switch {
	case f.GetHidden() && f.GetPath() == "*":
		return "~ changed in fields that only a newer version knows"
	case f.GetHidden():
		return "~ " + f.GetPath() + ": changed"
	case f.GetBefore() == "":
		return "+ " + f.GetPath() + ": " + f.GetAfter()
	case f.GetAfter() == "":
		return "- " + f.GetPath() + ": " + f.GetBefore()
	}
	return "~ " + f.GetPath() + ": " + f.GetBefore() + " -> " + f.GetAfter()
}

// Revert undoes one change.
type Revert struct {
	// Change is its id.
	Change string
	// Message says why, for the change record.
	Message string
	// Force undoes it also where objects were changed since.
	Force bool
	// DryRun checks, says what would happen, and stores nothing.
	DryRun bool
	// Wait is as in Apply.
	Wait time.Duration
}

// Run makes the change that undoes the other and says on out what it did.
func (r *Revert) Run(ctx context.Context, c adminv1.AdminServiceClient, out io.Writer) error {
	if r.Change == "" {
		return errors.New("name the change by its id; hopgate history lists them")
	}
	change, err := c.RevertChange(ctx, &adminv1.RevertChangeRequest{Id: r.Change, Message: r.Message, Force: r.Force, ValidateOnly: r.DryRun})
	if err != nil {
		return explainForce(err)
	}
	if len(change.GetObjects()) == 0 {
		fmt.Fprintln(out, "nothing to do: everything is as it was before that change")
		return nil
	}
	for _, o := range change.GetObjects() {
		if r.DryRun {
			fmt.Fprintln(out, clean(deed(o))+" (dry run)")
			printFields(out, o)
			continue
		}
		fmt.Fprintln(out, clean(deed(o)))
	}
	if r.DryRun {
		return nil
	}
	fmt.Fprintf(out, "change %s at revision %d\n", change.GetId(), change.GetRevision())
	if r.Wait == 0 {
		return nil
	}
	return wait(ctx, c, change.GetId(), r.Wait, out)
}

// explainForce is Explain with the flag that a refused revert needs.
func explainForce(err error) error {
	if told := Explain(err); strings.Contains(told.Error(), "force it") {
		return fmt.Errorf("%w (--force)", told)
	}
	return Explain(err)
}
