package main

import (
	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newGet() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "get KIND[/NAME]",
		Short: "Show objects of a kind, or one of them",
		Long: "Show objects of a kind, or one of them. Kinds are servers, apikeys, teams, toolsets, ingresses, identityproviders, secrets (without their\n" +
			"values), settings, overlays and changes.",
		Example: `  hopgate get servers
  hopgate get server/everything -o yaml`,
		Args: named(1, 2, "say what: hopgate get KIND[/NAME], KIND being servers, apikeys, teams, toolsets, ingresses, identityproviders, secrets, settings, overlays or changes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := operator.Target(args)
			if err != nil {
				return usage{err}
			}
			return show(cmd, &admin, &output, kind, name)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

// show prints one object, or all of a kind when name is empty.
func show(cmd *cobra.Command, admin *adminFlags, output *outputFlag, kind, name string) error {
	if err := output.check(); err != nil {
		return err
	}
	c, err := admin.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the command ends
	head, rows, err := operator.Get(cmd.Context(), c, kind, name)
	if err != nil {
		return err
	}
	return operator.Print(cmd.OutOrStdout(), output.format, head, rows)
}
