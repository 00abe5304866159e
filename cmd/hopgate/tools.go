package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newTools() *cobra.Command {
	var (
		flags  gatewayFlags
		output outputFlag
		pins   bool
	)
	cmd := &cobra.Command{
		Use:   "tools [NAME]",
		Short: "List tools through the gateway, as the key sees them",
		Long: "List tools through the gateway, as the key sees them: those of a server, an access group, a toolset or a comma list of servers and groups, or\n" +
			"of all servers that the key opens. Servers that couldn't be asked are named below the list.\n" +
			"--pins writes the tools of one server as spec.tools of its config takes them, each pinned to the definition that the server gives now.\n" +
			"That takes a key with the role debug that opens all of the server, like the master key.",
		Example: `  hopgate tools
  hopgate tools demo
  hopgate tools demo --pins`,
		Args: named(0, 1, "name one server, access group or toolset: hopgate tools NAME (hopgate get servers lists servers)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			ask := operator.ToolsAsk{Format: output.format, Pins: pins}
			if len(args) > 0 {
				ask.Name = args[0]
			}
			if err := checkPins(ask); err != nil {
				return usage{err}
			}
			gateway, err := flags.gateway()
			if err != nil {
				return err
			}
			return gateway.Tools(cmd.Context(), ask, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.add(cmd)
	output.add(cmd, operator.Table, operator.JSON)
	cmd.Flags().BoolVar(&pins, "pins", false, "print what pins each tool of the server, as YAML")
	return cmd
}

func checkPins(ask operator.ToolsAsk) error {
	switch {
	case !ask.Pins:
		return nil
	case ask.Name == "" || strings.Contains(ask.Name, ","):
		return errors.New("--pins: name one server: hopgate tools SERVER --pins")
	case ask.Format != operator.Table:
		return errors.New("--pins writes YAML: leave --output out")
	}
	return nil
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
