package main

import (
	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/launch"
)

func newStore() *cobra.Command {
	return newGroup("store", "Back up what control planes keep, and restore it", newStoreSnapshot(), newStoreRestore())
}

// storeFlags say where a store is.
type storeFlags struct {
	etcd etcdFlags
	logs logFlags
}

func (s *storeFlags) add(cmd *cobra.Command, dataDir *string) {
	cmd.Flags().StringVar(dataDir, "data-dir", "./hopgate-data", "`DIR` of up or control with an embedded store; its process must be stopped")
	s.etcd.add(cmd)
	s.logs.add(cmd)
}

func (s *storeFlags) fill(cmd *cobra.Command, a *launch.StoreAccess) (err error) {
	if a.Etcd, err = s.etcd.config(); err != nil {
		return usage{err}
	}
	a.Log, err = s.logs.logger(cmd)
	return err
}

func newStoreSnapshot() *cobra.Command {
	var (
		t     launch.TakeSnapshot
		flags storeFlags
	)
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Copy everything in the store, with its history, into a file",
		Long: "Copy everything in the store, with its history, into a file: what it held at one revision. Secrets and sealing rings stay sealed in it; the\n" +
			"key-encryption key that opens them is not in it. An external etcd is copied while it is in use. An embedded store is locked by its process:\n" +
			"stop that for the moment; data planes of their own go on serving.",
		Example: `  hopgate store snapshot --out hopgate.snapshot --etcd http://10.0.0.1:2379
  hopgate store snapshot --out hopgate.snapshot --data-dir /var/lib/hopgate`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.fill(cmd, &t.StoreAccess); err != nil {
				return err
			}
			return t.Run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&t.File, "out", "", "`FILE` to write (mode 0600); it must not be there yet")
	require(cmd, "out")
	flags.add(cmd, &t.DataDir)
	return cmd
}

func newStoreRestore() *cobra.Command {
	var (
		r     launch.RestoreSnapshot
		flags storeFlags
	)
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put a snapshot into a store",
		Long: "Put a snapshot into a store. The whole file is checked first: that it is intact, and that the key-encryption key opens everything sealed in it.\n" +
			"The store then has a new epoch: data planes compare, and large removals wait for somebody to confirm them. Control planes on an external etcd may run;\n" +
			"they take no changes until it is done.",
		Example: `  hopgate store restore --in hopgate.snapshot --dry-run
  hopgate store restore --in hopgate.snapshot --etcd http://10.0.0.1:2379 --kek-file /etc/hopgate/kek`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.fill(cmd, &r.StoreAccess); err != nil {
				return err
			}
			return r.Run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.File, "in", "", "`FILE` that store snapshot wrote")
	require(cmd, "in")
	f.StringVar(&r.KEKFile, "kek-file", "", "`FILE` with the key-encryption key in use when the snapshot was taken (default: kek in --data-dir)")
	f.BoolVar(&r.Force, "force", false, "replace everything the store holds, its history included")
	f.BoolVar(&r.DryRun, "dry-run", false, "check the file and say what it holds; no store is touched")
	flags.add(cmd, &r.DataDir)
	return cmd
}
