package main

import (
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
		await bool
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Write objects as one change: all or nothing",
		Long: "Write objects as one change: all or nothing. The value of a Secret may be ${NAME} or os.environ/NAME: it is replaced by that environment\n" +
			"variable of this command. Nothing else is.",
		Example: `  hopgate apply -f servers.yaml --wait
  hopgate apply -f config/ --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if a.Documents, err = operator.Documents(files, cmd.InOrStdin(), os.LookupEnv); err != nil {
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
	f.BoolVar(&await, "wait", false, "return when every data plane has answered; fail if one refused")
	f.DurationVar(&limit, "timeout", time.Minute, "how long --wait waits")
	require(cmd, "file")
	return cmd
}
