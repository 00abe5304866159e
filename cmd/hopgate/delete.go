package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newDelete() *cobra.Command {
	var (
		admin adminFlags
		d     operator.Deletion
	)
	cmd := &cobra.Command{
		Use:     "delete KIND/NAME",
		Short:   "Remove an object",
		Example: `  hopgate delete server/everything -m "moved to another gateway"`,
		Args:    named(1, 2, "name the object: hopgate delete KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			d.Kind, d.Name, err = operator.Target(args)
			switch {
			case err == nil && d.Name == "":
				err = errors.New("name the object: KIND/NAME")
			case d.Kind == operator.Change:
				err = errors.New("changes are history: they can't be deleted")
			}
			if err != nil {
				return usage{err}
			}
			return remove(cmd, &admin, d, "deleted")
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVarP(&d.Message, "message", "m", "", "why, for the change record")
	cmd.Flags().StringVar(&d.Owner, "owner", "", "delete in the name of the `FILE` that owns the object, as the refusal spells it; for files that are gone")
	return cmd
}

// remove deletes an object and says which change that was.
func remove(cmd *cobra.Command, admin *adminFlags, d operator.Deletion, word string) error {
	c, err := admin.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the command ends
	id, err := d.Run(cmd.Context(), c)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s/%s %s\nchange %s\n", d.Kind, d.Name, word, id)
	return nil
}
