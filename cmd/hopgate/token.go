package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newToken() *cobra.Command {
	return newGroup("token", "Create, list and delete tokens with which data planes join", newTokenCreate(), newTokenList(), newTokenDelete())
}

func newTokenCreate() *cobra.Command {
	var (
		admin adminFlags
		token operator.NewJoinToken
		ttl   string
	)
	cmd := &cobra.Command{
		Use:   "create --region REGION",
		Short: "Make a join token and print it, once",
		Example: `  hopgate token create --region eu
  hopgate token create --region eu --group blue --ttl 30d --uses 200 -m "autoscaling group"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if token.TTL, err = operator.Span("--ttl", ttl); err != nil {
				return usage{err}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			secret, info, err := token.Create(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
			fmt.Fprintf(cmd.ErrOrStderr(), "This is the only time the token is shown. Run with it:\n  %s\n", operator.Usage(info))
			return nil
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVar(&token.Region, "region", "", "`REGION` of the data planes that join with it")
	f.StringVar(&token.Group, "group", "", "`GROUP` within the region")
	f.StringVar(&token.Node, "node", "", "`NAME` of the one data plane that may use it (default: any)")
	f.StringVar(&ttl, "ttl", "10m", "how long it is good for, like `12h` or 30d, at most 365d")
	f.Int32Var(&token.Uses, "uses", 1, "how many data planes may join with it, a `NUMBER`; the same one may come again when there may be several")
	f.BoolVar(&token.Relay, "relay", false, "for the relay of a region, which then lets data planes join with tokens of its own, also while home is away: hopgate control --upstream HOST:4002 --join-file FILE")
	f.StringVarP(&token.Message, "message", "m", "", "why, for the change record")
	require(cmd, "region")
	return cmd
}

func newTokenList() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the join tokens that haven't ended, never a token itself",
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
			tokens, err := operator.JoinTokens(cmd.Context(), c)
			if err != nil {
				return err
			}
			return operator.PrintJoinTokens(cmd.OutOrStdout(), output.format, tokens)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

func newTokenDelete() *cobra.Command {
	var (
		admin   adminFlags
		message string
	)
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Make a join token worthless; data planes that joined with it stay",
		Args:  named(1, 1, "name the token: hopgate token delete ID (hopgate token list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			id, err := operator.DeleteJoinToken(cmd.Context(), c, args[0], message)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "token %s deleted\nchange %s\n", args[0], id)
			return nil
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for the change record")
	return cmd
}
