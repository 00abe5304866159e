package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newSecret() *cobra.Command {
	return newGroup("secret", "Set, list and delete credentials that servers want", newSecretSet(), newSecretList(), newSecretDelete())
}

func newSecretSet() *cobra.Command {
	var (
		admin adminFlags
		file  string
	)
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Give a secret its value, from standard input or a file",
		Long: "Give a secret its value, from standard input or a file, never from the command line, which others on this machine can read.\n" +
			"One line end at its end doesn't count. The value is stored encrypted and never shown again.",
		Example: `  hopgate secret set github-token --value-file token.txt
  pass show github | hopgate secret set github-token`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("name the secret: hopgate secret set NAME")
			case len(args) > 1:
				return errors.New("give the value on standard input or with --value-file, not on the command line, which others can read; change it if it is a real one")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			value, err := operator.ReadValue(file, cmd.InOrStdin())
			if err != nil {
				return usage{err}
			}
			word, change, err := operator.SetSecret(cmd.Context(), c, args[0], value)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "secret/%s %s\n", args[0], word)
			if change != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "change %s\n", change)
			}
			return nil
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVar(&file, "value-file", "", "`FILE` with the value (default: standard input)")
	return cmd
}

func newSecretList() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show all secrets, never a value",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return show(cmd, &admin, &output, operator.Credential, "") },
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

func newSecretDelete() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a secret that no server refers to",
		Args:  named(1, 1, "name the secret: hopgate secret delete NAME (hopgate secret list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd, &admin, operator.Deletion{Kind: operator.Credential, Name: args[0], Message: "secret deleted"}, "deleted")
		},
	}
	admin.add(cmd)
	return cmd
}
