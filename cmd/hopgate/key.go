package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/proto/redact"
)

func newKey() *cobra.Command {
	return newGroup("key", "Create, list, rotate and revoke API keys", newKeyCreate(), newKeyList(), newKeyRotate(), newKeyRevoke())
}

func newKeyCreate() *cobra.Command {
	var (
		admin   adminFlags
		key     operator.NewKey
		expires string
	)
	cmd := &cobra.Command{
		Use:   "create --name NAME --servers a,b",
		Short: "Make a key and print it, once",
		Example: `  hopgate key create --name ci --servers everything,github --expires 30d
  hopgate key create --name bot --toolsets triage --team platform --rate 10/s --concurrency 4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(key.Check(), key.ExpireIn(expires, time.Now())); err != nil {
				return usage{err}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			secret, err := key.Create(cmd.Context(), c)
			if err != nil {
				return err
			}
			tellKey(cmd, secret)
			return nil
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVar(&key.Name, "name", "", "`NAME` of the key's record")
	f.StringSliceVar(&key.Servers, "servers", nil, "`SERVERS` it may reach, with commas between; * means all")
	f.StringSliceVar(&key.Groups, "groups", nil, "access `GROUPS` whose servers it may reach, with commas between")
	f.StringSliceVar(&key.Toolsets, "toolsets", nil, "`TOOLSETS` it may use, with commas between: just their tools")
	f.StringVar(&key.Team, "team", "", "`TEAM` that bounds what it may reach")
	f.StringVar(&key.User, "user", "", "`WHO` holds it; shown in records")
	f.StringSliceVar(&key.Roles, "roles", nil, "`ROLES`: debug (topology in diagnostic headers), admin, viewer")
	f.StringVar(&expires, "expires", "", "how long it is valid, like `12h` or 30d (default: for ever)")
	f.StringVar(&key.Rate, "rate", "", "requests it may make over the whole fleet, like `100/s`, 6000/m or 1000/h (default: no limit)")
	f.Int32Var(&key.Concurrency, "concurrency", 0, "requests it may have in flight over the whole fleet, a `NUMBER` (default: no limit)")
	f.StringVar(&key.CertificateName, "certificate-name", "", "DNS or URI `NAME` in a client certificate that also admits its holder, without the key")
	f.BoolVar(&key.MayAssertEndUser, "may-assert-end-user", false, "let callers name an end user with x-hopgate-end-user-id")
	f.BoolVar(&key.TrustTraceContext, "trust-trace-context", false, "let its trace context become the parent of our spans")
	require(cmd, "name")
	return cmd
}

// tellKey prints a key, and what goes with it where it doesn't get into a pipe.
func tellKey(cmd *cobra.Command, key redact.Secret, more ...string) {
	fmt.Fprintln(cmd.OutOrStdout(), key.Reveal())
	fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(append([]string{"This is the only time the key is shown."}, more...), "\n"))
}

func newKeyRotate() *cobra.Command {
	var (
		admin   adminFlags
		overlap string
	)
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Replace a key by a new one with the same rights and print it, once",
		Long: "Replace a key by a new one with the same rights and print it, once. The old key is accepted beside it for a while.\n" +
			"A key that had been replaced before ends at once: there are never more than two.",
		Example: `  hopgate key rotate ci
  hopgate key rotate ci --overlap 0`,
		Args: named(1, 1, "name the key's record: hopgate key rotate NAME (hopgate key list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := operator.Rotation{Name: args[0]}
			if overlap != "0" && overlap != "0s" {
				var err error
				if r.Overlap, err = operator.Span("--overlap", overlap); err != nil {
					return usage{err}
				}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			done, err := r.Run(cmd.Context(), c, time.Now())
			if err != nil {
				return err
			}
			tellKey(cmd, done.Key, endings(done)...)
			return nil
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the old key is accepted, like `12h` or 30d; 0 ends it at once")
	return cmd
}

// endings says what becomes of older keys.
func endings(r operator.Rotated) []string {
	out := []string{"The old key ends now."}
	if !r.Until.IsZero() {
		out[0] = "The old key is accepted until " + r.Until.Format(time.RFC3339) + "."
	}
	if !r.Dropped.IsZero() {
		out = append(out, "The key before that, which was to be accepted until "+r.Dropped.UTC().Format(time.RFC3339)+", ends now.")
	}
	return out
}

func newKeyList() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the records of all keys, never a key",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return show(cmd, &admin, &output, operator.Key, "") },
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	return cmd
}

func newKeyRevoke() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Remove a key: every connected data plane refuses it within a second",
		Args:  named(1, 1, "name the key's record: hopgate key revoke NAME (hopgate key list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd, &admin, operator.Deletion{Kind: operator.Key, Name: args[0], Message: "key revoked"}, "revoked")
		},
	}
	admin.add(cmd)
	return cmd
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // the flag isn't defined
		}
	}
}
