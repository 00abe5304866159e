package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newApply() *cobra.Command {
	var (
		admin adminFlags
		a     operator.Apply
		files []string
		how   planFlags
		await bool
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Write objects as one change: all or nothing",
		Long: "Write objects as one change: all or nothing. The value of a Secret may be ${NAME} or os.environ/NAME: it is replaced by that environment\n" +
			"variable of this command. Nothing else is.\n\n" +
			"With --set the objects belong to that set from then on, and what belonged to it and isn't in the files any more is deleted in the same\n" +
			"change. Objects of other sets, and those of files that up -f follows, are refused. Without --set nothing is deleted and objects stay in\n" +
			"the set they are in.\n\n" +
			"With --strategy the change is staged: data planes get it step by step, each step only when those before it serve it well. When a data\n" +
			"plane refuses a part of it or crashes, or calls fail more often, everything is as it was before within seconds. hopgate rollout follows it.",
		Example: `  hopgate apply -f servers.yaml --wait
  hopgate apply -f config/ --dry-run
  hopgate apply -f config/ --set prod -m "release 12"
  hopgate apply -f servers.yaml --strategy canary --steps 1,10%,100% --bake 1m
  hopgate apply -f config/ --set prod --strategy regions --steps eu,us --wait --timeout 30m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if a.Documents, err = operator.Documents(files, cmd.InOrStdin(), os.LookupEnv); err != nil {
				return err
			}
			if a.PruneMany && a.Set == "" {
				return usage{errors.New("--prune-many: nothing is pruned without --set")}
			}
			if a.Rollout, err = how.plan(); err != nil {
				return err
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			if await {
				a.Wait = limit
			}
			_, err = a.Run(cmd.Context(), c, cmd.OutOrStdout())
			return err
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringSliceVarP(&files, "file", "f", nil, "YAML or JSON `FILE`, directory, or - for standard input; may be repeated")
	f.StringVarP(&a.Message, "message", "m", "", "why, for the change record")
	f.BoolVar(&a.DryRun, "dry-run", false, "check and show what would change, store nothing")
	f.StringVar(&a.Set, "set", "", "`NAME` of the set that the files are; what belongs to it and isn't in them is deleted")
	f.BoolVar(&a.PruneMany, "prune-many", false, "let --set delete more than 10 objects that are more than a fifth of the set")
	how.add(cmd)
	f.BoolVar(&await, "wait", false, "return when every data plane has answered, or a staged change has ended; fail if one refused or it was taken back")
	f.DurationVar(&limit, "timeout", time.Minute, "how long --wait waits")
	require(cmd, "file")
	return cmd
}
