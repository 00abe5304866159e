package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func newWatch() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print changes, and how data planes take them, as they happen, until interrupted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			return operator.Watch(cmd.Context(), c, output.format, cmd.OutOrStdout(), func() { fmt.Fprintln(cmd.ErrOrStderr(), "watching; interrupt to end") })
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Text, operator.JSON)
	return cmd
}

func newRemovals() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := newGroup("removals", "List removals that are held because the store lost objects without a change, and confirm them", newConfirm())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(); err != nil {
			return err
		}
		c, err := admin.connect()
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // the command ends
		info, err := c.GetInfo(cmd.Context(), &adminv1.GetInfoRequest{})
		if err != nil {
			return operator.Explain(err)
		}
		return operator.PrintRemovals(cmd.OutOrStdout(), output.format, info)
	}
	admin.add(cmd)
	output.add(cmd, operator.Text, operator.YAML, operator.JSON)
	return cmd
}

func newConfirm() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:     "confirm COUNT",
		Short:   "Let go of the objects whose removals are held, if exactly COUNT are",
		Example: "  hopgate removals confirm 49",
		Args:    named(1, 1, "give the number of removals that hopgate removals shows: hopgate removals confirm COUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || n <= 0 {
				return usage{fmt.Errorf("%q isn't a number of removals; hopgate removals shows it", args[0])}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			return operator.ConfirmRemovals(cmd.Context(), c, int32(n), cmd.OutOrStdout())
		},
	}
	admin.add(cmd)
	return cmd
}
