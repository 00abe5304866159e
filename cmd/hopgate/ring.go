package main

import (
	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newRing() *cobra.Command {
	return newGroup("ring", "Give the ring that seals session ids a new key", newRingRotate())
}

func newRingRotate() *cobra.Command {
	var (
		admin adminFlags
		drop  bool
	)
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Start a rotation of the sealing ring now, whatever the age of its key",
		Long: "Start a rotation of the sealing ring now, whatever the age of its key. The new key seals when every data plane has it, ten minutes later at\n" +
			"least; what the old one sealed goes on. With --drop, for a ring that somebody else may have read, the keys of now go as soon as the new one\n" +
			"seals, and clients initialize again.",
		Example: "  hopgate ring rotate\n  hopgate ring rotate --drop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			return operator.RotateRing(cmd.Context(), c, drop, cmd.OutOrStdout())
		},
	}
	admin.add(cmd)
	cmd.Flags().BoolVar(&drop, "drop", false, "drop the keys of now when the new one seals: every session sealed with them ends")
	return cmd
}
