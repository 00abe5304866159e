package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/cmd/internal/process"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func newStatus() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the fleet: data planes, what they serve, what they refused, how their upstreams do",
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
			fleet, err := c.ListNodes(cmd.Context(), &adminv1.ListRequest{})
			if err != nil {
				return operator.Explain(err)
			}
			info, err := c.GetInfo(cmd.Context(), &adminv1.GetInfoRequest{})
			if err != nil {
				return operator.Explain(err)
			}
			if output.format == operator.Table {
				if err := operator.PrintFleet(cmd.OutOrStdout(), fleet); err != nil {
					return err
				}
				operator.PrintCondition(cmd.OutOrStdout(), info)
				if info.GetUpstream() != "" {
					return nil // a relay knows of no rollouts
				}
				return operator.PrintOpenRollout(cmd.Context(), c, cmd.OutOrStdout())
			}
			return operator.PrintStatus(cmd.OutOrStdout(), output.format, fleet, info)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), process.ThisBuild())
		},
	}
}
