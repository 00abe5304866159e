package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
	exitDiffer = 3
)

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, in io.Reader, out, trouble io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(trouble)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDiffer):
		return exitDiffer
	}
	fmt.Fprintln(trouble, "hopgate:", err)
	if errors.As(err, new(usage)) {
		fmt.Fprintf(trouble, "see: %s --help\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// errDiffer says that a comparison found differences, which were printed.
var errDiffer = errors.New("there are differences")

// usage marks errors of how the command was called.
type usage struct{ error }

// Unwrap returns the cause.
func (u usage) Unwrap() error { return u.error }

func newRoot() *cobra.Command {
	root := newGroup("hopgate", "MCP gateways for a fleet, steered by one control plane",
		newUp(), newControl(), newProxy(), newApply(), newGet(), newDelete(), newHistory(), newDiff(), newRevert(), newRollout(), newStatus(), newWatch(), newRemovals(), newExplain(), newKey(), newSecret(), newToken(), newNode(), newRing(), newStore(), newTools(), newCall(), newVersion())
	root.Long = "Hopgate forwards MCP traffic between clients and servers, and says of every failure which hop failed and why.\n\n" +
		"Every flag can be given as an environment variable: --data-dir is HOPGATE_DATA_DIR."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd); err != nil {
			return err
		}
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return usage{err}
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	finish(root)
	return root
}

// newGroup is a command that only has others below it: alone it shows its help.
func newGroup(name, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, SuggestionsMinimumDistance: 2, DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			text := fmt.Sprintf("there is no command %q in %s", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				text += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return errors.New(text)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(below...)
	return cmd
}

// finish makes wrong arguments of every command usage errors, and lets every flag's help end with its default.
func finish(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage{err}
			}
			return nil
		}
	}
	cmd.Flags().VisitAll(showDefault)
	for _, c := range cmd.Commands() {
		finish(c)
	}
}

// showDefault completes the help of flags whose default the flag package finds too empty to show.
func showDefault(f *pflag.Flag) {
	_, required := f.Annotations[cobra.BashCompOneRequiredFlag]
	switch {
	case required:
		f.Usage += " (required)"
	case strings.Contains(f.Usage, "(default"):
	case f.DefValue == "" || f.DefValue == "[]":
		f.Usage += " (default none)"
	case f.DefValue == "false" || f.DefValue == "0s" || f.DefValue == "0":
		f.Usage += " (default " + f.DefValue + ")"
	}
}

// fromEnvironment gives every flag that wasn't set the value of its variable; an empty one counts as not there.
func fromEnvironment(cmd *cobra.Command) error {
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		v := os.Getenv(name)
		if f.Changed || v == "" || bad != nil || f.Name == "help" {
			return
		}
		if err := cmd.Flags().Set(f.Name, v); err != nil {
			bad = usage{fmt.Errorf("%s: %w", name, err)}
		}
	})
	return bad
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "HOPGATE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
