package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newTools() *cobra.Command {
	var (
		flags  gatewayFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:     "tools SERVER",
		Short:   "List a server's tools through the gateway",
		Example: `  hopgate tools demo`,
		Args:    named(1, 1, "name one server: hopgate tools SERVER (hopgate get servers lists them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			gateway, err := flags.gateway()
			if err != nil {
				return err
			}
			return gateway.Tools(cmd.Context(), args[0], output.format, cmd.OutOrStdout())
		},
	}
	flags.add(cmd)
	output.add(cmd, operator.Table, operator.JSON)
	return cmd
}

func newCall() *cobra.Command {
	var (
		flags  gatewayFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "call SERVER TOOL [KEY=VALUE… | JSON]",
		Short: "Call a tool through the gateway",
		Long: "Call a tool through the gateway. A VALUE that is JSON is sent as such (2, true, [1, 2], \"2\"), anything else as text.\n" +
			"A tool that fails prints what it said; the exit code is 1.",
		Example: `  hopgate call demo echo message=hello
  hopgate call demo add '{"a": 2, "b": 3}'`,
		Args: named(2, -1, "name a server and a tool: hopgate call SERVER TOOL [KEY=VALUE… | JSON]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			arguments, err := operator.Arguments(args[2:])
			if err != nil {
				return usage{err}
			}
			gateway, err := flags.gateway()
			if err != nil {
				return err
			}
			return gateway.Call(cmd.Context(), args[0], args[1], arguments, output.format, cmd.OutOrStdout())
		},
	}
	flags.add(cmd)
	output.add(cmd, "text", operator.JSON)
	return cmd
}

// named is cobra's check of the number of arguments with a sentence that says what they are; most below 0 is no limit.
func named(least, most int, sentence string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return errors.New(sentence)
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%q is too much: %s", args[most], sentence)
		}
		return nil
	}
}
