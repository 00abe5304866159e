package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/proto/rules"
)

// Variables that give LiteLLM its public origin and the places OAuth clients may be sent back to.
const (
	baseURL         = "PROXY_BASE_URL"
	redirectOrigins = "MCP_TRUSTED_REDIRECT_ORIGINS"
	nativeURIs      = "MCP_TRUSTED_NATIVE_REDIRECT_URIS"
)

func newUp() *cobra.Command {
	var (
		u    launch.Up
		logs logFlags
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process: store, control plane, one data plane",
		Long: "Run everything in one process: store, control plane, one data plane. PROXY_BASE_URL, MCP_TRUSTED_REDIRECT_ORIGINS and\n" +
			"MCP_TRUSTED_NATIVE_REDIRECT_URIS are what holds as long as no Ingress says otherwise; lists have commas or blanks between.",
		Example: `  hopgate up --demo
  hopgate up -f servers.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			u.Log, u.Out, u.Access, u.AccessFormat, u.MasterKey = log, cmd.OutOrStdout(), cmd.ErrOrStderr(), logs.access(), masterKey()
			given := "--public-origin"
			if v := os.Getenv(baseURL); v != "" && len(u.PublicOrigins) == 0 {
				given, u.PublicOrigins = baseURL, []string{v}
			}
			if err := checkOrigins(given, u.PublicOrigins); err != nil {
				return err
			}
			if err := redirects(&u); err != nil {
				return usage{err}
			}
			if err := u.Check(); err != nil {
				return usage{err}
			}
			return u.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.Listen, "listen", "127.0.0.1:4000", "`ADDRESS` for MCP clients")
	f.StringVar(&u.Admin, "admin", "127.0.0.1:4001", "`ADDRESS` of the admin API; loopback only, since it is plaintext")
	f.StringVar(&u.DataDir, "data-dir", "./hopgate-data", "`DIR` that keeps the store, keys and last good config")
	f.StringVar(&u.Region, "region", "local", "`REGION` this process stands in")
	f.StringSliceVarP(&u.Files, "file", "f", nil, "config `FILE` or directory applied at start and on change; its objects are read-only by API; may be repeated")
	f.BoolVar(&u.Demo, "demo", false, "add the built-in demo server and a key for it, and print a curl")
	f.BoolVar(&u.Anonymous, "anonymous", false, "take MCP callers without a key; only on a loopback address")
	addOrigins(cmd, &u.PublicOrigins, ": "+baseURL+", else none")
	addDrain(cmd, &u.DrainDelay, &u.DrainTimeout, 0)
	logs.add(cmd)
	return cmd
}

// redirects reads where OAuth clients may be sent back to, as long as no Ingress says so; the error names the variable.
func redirects(u *launch.Up) (err error) {
	if u.RedirectOrigins, err = words(redirectOrigins, rules.RedirectOrigin); err != nil {
		return err
	}
	u.NativeURIs, err = words(nativeURIs, rules.NativeURI)
	return err
}

// words are the entries of a variable, with commas or blanks between.
func words(variable string, check func(string) error) ([]string, error) {
	list := strings.FieldsFunc(os.Getenv(variable), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
	for i, w := range list {
		if err := check(w); err != nil {
			return nil, fmt.Errorf("%s: %s %w", variable, entry(i, list), err)
		}
	}
	return list, nil
}
