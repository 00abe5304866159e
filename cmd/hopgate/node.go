package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newNode() *cobra.Command {
	return newGroup("node", "Shut data planes out, and let them come back", newNodeRevoke())
}

func newNodeRevoke() *cobra.Command {
	var (
		admin   adminFlags
		message string
		readmit bool
	)
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Shut a data plane out: its streams end within a second, and its certificates are worthless",
		Long: "Shut a data plane out: its streams end within a second, and its certificates are worthless. What it has of the config it keeps; rotate the\n" +
			"credentials in it if they may be in wrong hands. With --readmit it may join again, with certificates made from now on.",
		Example: `  hopgate node revoke rack-7 -m "disk stolen"
  hopgate node revoke rack-7 --readmit -m "set up anew"`,
		Args: named(1, 1, "name the data plane: hopgate node revoke NAME (hopgate status shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			id, err := operator.RevokeNode(cmd.Context(), c, args[0], readmit, message)
			if err != nil {
				return err
			}
			word := "revoked"
			if readmit {
				word = "readmitted"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node %s %s\nchange %s\n", args[0], word, id)
			return nil
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for the change record")
	cmd.Flags().BoolVar(&readmit, "readmit", false, "let it come back, or free its name: certificates made before stay worthless")
	return cmd
}
