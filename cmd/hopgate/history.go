package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func newHistory() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "history [KIND/NAME]",
		Short: "Show who changed what, when and why, newest first",
		Example: `  hopgate history
  hopgate history server/everything --limit 0 -o yaml`,
		Args: named(0, 2, "name one object or none: hopgate history [KIND/NAME]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := objectOf(args)
			switch {
			case err == nil && limit < 0:
				err = fmt.Errorf("--limit %d: use 0 for all, or how many", limit)
			case err == nil:
				err = output.check()
			}
			if err != nil {
				return usage{err}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			changes, err := operator.History(cmd.Context(), c, object, limit)
			if err != nil {
				return err
			}
			return operator.PrintHistory(cmd.OutOrStdout(), output.format, object, changes)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	cmd.Flags().IntVar(&limit, "limit", 20, "show at most `N` changes; 0 is all")
	return cmd
}

// objectOf reads KIND/NAME or KIND NAME; no arguments are no object.
func objectOf(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	kind, name, err := operator.Target(args)
	switch {
	case err != nil:
		return "", err
	case kind == operator.Change:
		return "", errors.New("changes are the history: hopgate get change/ID shows one")
	case name == "":
		return "", fmt.Errorf("name the object: %s/NAME", kind)
	}
	return kind + "/" + name, nil
}

// comparison is what hopgate diff is asked for.
type comparison struct {
	apply  operator.Apply // of files
	files  []string
	change string
	points []string
}

func newDiff() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		d      comparison
	)
	cmd := &cobra.Command{
		Use:   "diff [A [B]]",
		Short: "Show which fields differ between two points of the history, or what a file would change",
		Long: "Show which fields differ: between the config after change A and after change B, or now; without either, what the newest change did.\n" +
			"With -f, what apply would do. Values of secrets aren't shown. The exit code is 3 when something differs, 0 when nothing does.",
		Example: `  hopgate diff 01M83SBS2TJJ9WVXGNSACC83D9
  hopgate diff --change 01M83SBS2TJJ9WVXGNSACC83D9
  hopgate diff -f config/ --set prod`,
		Args: named(0, 2, "name at most two changes by their ids: hopgate diff [A [B]]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.points = args
			if err := errors.Join(output.check(), d.check()); err != nil {
				return err
			}
			return d.run(cmd, &admin, output.format)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Text, operator.YAML, operator.JSON)
	f := cmd.Flags()
	f.StringVar(&d.change, "change", "", "`ID` of a change: show what it did")
	f.StringSliceVarP(&d.files, "file", "f", nil, "YAML or JSON `FILE`, directory, or - for standard input: show what apply would change; may be repeated")
	f.StringVar(&d.apply.Set, "set", "", "`NAME` of the set that the files are: show also what apply would prune")
	return cmd
}

func (d *comparison) check() error {
	switch {
	case len(d.points) > 0 && (d.change != "" || len(d.files) > 0), d.change != "" && len(d.files) > 0:
		return usage{errors.New("give changes, or --change, or --file")}
	case d.apply.Set != "" && len(d.files) == 0:
		return usage{errors.New("--set: give the files of the set with --file")}
	}
	return nil
}

// run prints what differs, and returns errDiffer when something does.
func (d *comparison) run(cmd *cobra.Command, admin *adminFlags, format string) (err error) {
	if len(d.files) > 0 {
		if d.apply.Documents, err = operator.Documents(d.files, cmd.InOrStdin(), os.LookupEnv); err != nil {
			return err
		}
	}
	c, err := admin.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the command ends
	objects, err := d.ask(cmd.Context(), c)
	if err != nil {
		return err
	}
	if err := operator.PrintDiff(cmd.OutOrStdout(), format, objects); err != nil {
		return err
	}
	if len(objects) > 0 {
		return errDiffer
	}
	return nil
}

func (d *comparison) ask(ctx context.Context, c *operator.Client) ([]*adminv1.ChangedObject, error) {
	switch {
	case len(d.files) > 0:
		return d.apply.Would(ctx, c)
	case len(d.points) == 0:
		return operator.Diff(ctx, c, "", d.change)
	case len(d.points) == 1:
		return operator.Diff(ctx, c, d.points[0], "")
	}
	return operator.Diff(ctx, c, d.points[0], d.points[1])
}

func newRevert() *cobra.Command {
	var (
		admin adminFlags
		r     operator.Revert
		await bool
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "revert ID",
		Short: "Undo a change by a new one: the objects it touched are as they were before it",
		Long: "Undo a change by a new one: the objects it touched, and no others, are as they were before it. It is refused when some of them were\n" +
			"changed since; --force undoes it all the same, and what later changes made of these objects is lost.",
		Example: `  hopgate revert 01M83SBS2TJJ9WVXGNSACC83D9 --dry-run
  hopgate revert 01M83SBS2TJJ9WVXGNSACC83D9 -m "breaks the search" --wait`,
		Args: named(1, 1, "name one change by its id: hopgate revert ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			if r.Change = args[0]; await {
				r.Wait = limit
			}
			return r.Run(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&r.Message, "message", "m", "", "why, for the change record (default: that it is a revert, and of what)")
	f.BoolVar(&r.DryRun, "dry-run", false, "check and show what would change, store nothing")
	f.BoolVar(&r.Force, "force", false, "undo it also where objects were changed since")
	f.BoolVar(&await, "wait", false, "return when every data plane has answered; fail if one refused")
	f.DurationVar(&limit, "timeout", time.Minute, "how long --wait waits")
	return cmd
}
