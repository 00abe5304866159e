package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newKey() *cobra.Command {
	return newGroup("key", "Create, list and revoke API keys", newKeyCreate(), newKeyList(), newKeyRevoke())
}

func newKeyCreate() *cobra.Command {
	var (
		admin   adminFlags
		key     operator.NewKey
		expires string
	)
	cmd := &cobra.Command{
		Use:     "create --name NAME --servers a,b",
		Short:   "Make a key and print it, once",
		Example: `  hopgate key create --name ci --servers everything,github --expires 30d`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := key.ExpireIn(expires, time.Now()); err != nil {
				return usage{err}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			secret, err := key.Create(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
			fmt.Fprintln(cmd.ErrOrStderr(), "This is the only time the key is shown.")
			return nil
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVar(&key.Name, "name", "", "`NAME` of the key's record")
	f.StringSliceVar(&key.Servers, "servers", nil, "`SERVERS` it may reach, with commas between; * means all")
	f.StringVar(&key.User, "user", "", "`WHO` holds it; shown in records")
	f.StringSliceVar(&key.Roles, "roles", nil, "`ROLES`: debug (topology in diagnostic headers), admin, viewer")
	f.StringVar(&expires, "expires", "", "how long it is valid, like `12h` or 30d (default: for ever)")
	f.BoolVar(&key.TrustTraceContext, "trust-trace-context", false, "let its trace context become the parent of our spans")
	require(cmd, "name", "servers")
	return cmd
}

func newKeyList() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the records of all keys, never a key",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return show(cmd, &admin, &output, operator.Key, "") },
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

func newKeyRevoke() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Remove a key: every connected data plane refuses it within a second",
		Args:  named(1, 1, "name the key's record: hopgate key revoke NAME (hopgate key list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd, &admin, operator.Deletion{Kind: operator.Key, Name: args[0], Message: "key revoked"}, "revoked")
		},
	}
	admin.add(cmd)
	return cmd
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // the flag isn't defined
		}
	}
}
