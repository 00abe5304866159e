package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// planFlags say how a change reaches the fleet.
type planFlags struct {
	strategy, bake, margin string
	steps                  []string
}

func (p *planFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.strategy, "strategy", "",
		"`HOW` the change reaches the fleet: immediate, canary (some data planes first) or regions (one after another) (default immediate)")
	f.StringSliceVar(&p.steps, "steps", nil,
		"`STEPS` of the strategy: shares like 1,10%,100% for canary, names of regions in order for regions (default for canary 1,5%,25%,100%)")
	f.StringVar(&p.bake, "bake", "", "how `LONG` each step has to serve before the next (default 30s)")
	f.StringVar(&p.margin, "error-margin", "", "`POINTS` by which calls may fail more with the change than without; 100% turns that gate off (default 5%)")
}

// plan is what the flags say; nil: at once.
func (p *planFlags) plan() (*adminv1.RolloutPlan, error) {
	if p.strategy == "" {
		if len(p.steps) > 0 || p.bake != "" || p.margin != "" {
			return nil, usage{errors.New("--steps, --bake and --error-margin are of a staged change: give --strategy canary or regions")}
		}
		return nil, nil
	}
	return &adminv1.RolloutPlan{Strategy: p.strategy, Steps: p.steps, Bake: p.bake, ErrorMargin: p.margin}, nil
}

func newRollout() *cobra.Command {
	return newGroup("rollout", "Follow staged changes, pause them and take them back",
		newRolloutStatus(), newRolloutList(),
		newSteer("pause", "Keep a staged change where it is: the data planes that have it keep it", operator.Steering.Pause),
		newSteer("resume", "Let a paused change go on", operator.Steering.Resume),
		newSteer("abort", "Take a staged change back: everything is as it was before, everywhere", operator.Steering.Abort))
}

func newRolloutStatus() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		watch  bool
	)
	cmd := &cobra.Command{
		Use:   "status [CHANGE]",
		Short: "Show how far a staged change is: the one under way, else the newest",
		Long: "Show how far a staged change is: each step with the time it was admitted and how long its data planes took, and each region.\n" +
			"With --watch it is printed again whenever it has got on, until it has ended; the exit code is 1 when it didn't get through.",
		Example: `  hopgate rollout status
  hopgate rollout status 01M83SBS2TJJ9WVXGNSACC83D9 --watch`,
		Args: named(0, 1, "name one change by its id or none: hopgate rollout status [CHANGE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			if watch {
				return operator.WatchRollout(cmd.Context(), c, optional(args), output.format, cmd.OutOrStdout())
			}
			r, err := operator.FindRollout(cmd.Context(), c, optional(args))
			if err != nil {
				return err
			}
			return operator.PrintRollout(cmd.OutOrStdout(), output.format, r)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	cmd.Flags().BoolVar(&watch, "watch", false, "print it whenever it gets on, until it has ended")
	return cmd
}

// optional is the one argument that may be left out.
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newRolloutList() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List staged changes, newest first: those under way and the last that ended",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := output.check()
			if err == nil && limit < 0 {
				err = usage{fmt.Errorf("--limit %d: use 0 for all, or how many", limit)}
			}
			if err != nil {
				return err
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			all, err := operator.Rollouts(cmd.Context(), c, limit)
			if err != nil {
				return err
			}
			return operator.PrintRollouts(cmd.OutOrStdout(), output.format, all)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	cmd.Flags().IntVar(&limit, "limit", 20, "show at most `N`; 0 is all")
	return cmd
}

// newSteer is a command that an operator steers a rollout with.
func newSteer(word, short string, steer func(operator.Steering, context.Context, adminv1.AdminServiceClient, io.Writer) error) *cobra.Command {
	var (
		admin adminFlags
		s     operator.Steering
	)
	cmd := &cobra.Command{
		Use:     word + " [CHANGE]",
		Short:   short,
		Example: fmt.Sprintf("  hopgate rollout %s\n  hopgate rollout %s 01M83SBS2TJJ9WVXGNSACC83D9 -m \"errors went up\"", word, word),
		Args:    named(0, 1, "name one change by its id or none: hopgate rollout "+word+" [CHANGE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			s.Change = optional(args)
			return steer(s, cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVarP(&s.Message, "message", "m", "", "why, for the change record")
	return cmd
}
