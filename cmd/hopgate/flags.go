package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/proto/rules"
)

// logFlags are the flags of every process that logs.
type logFlags struct{ format, level string }

func (l *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "log-format", "human", "`FORMAT` of log and access lines: human or json")
	cmd.Flags().StringVar(&l.level, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
}

func (l *logFlags) logger(cmd *cobra.Command) (*slog.Logger, error) {
	log, err := process.NewLogger(process.LogConfig{Format: l.format, Level: l.level, Out: cmd.ErrOrStderr()})
	if err != nil {
		return nil, usage{err}
	}
	return log, nil
}

// access is the format of access lines that goes with the one of logs.
func (l *logFlags) access() string {
	if strings.EqualFold(l.format, "json") {
		return "json"
	}
	return "human"
}

// masterKey is the key of the environment, under either name; empty when there is none.
func masterKey() string {
	for _, name := range []string{"HOPGATE_MASTER_KEY", "LITELLM_MASTER_KEY"} {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v
		}
	}
	return ""
}

// keyFlags say by which key a command is known, and whom it trusts.
type keyFlags struct{ key, dataDir, ca string }

func (k *keyFlags) add(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringVar(&k.key, "api-key", "", what+" `KEY` (default: HOPGATE_MASTER_KEY, else the key in --data-dir)")
	f.StringVar(&k.dataDir, "data-dir", "./hopgate-data", "`DIR` where up or control keeps the master key it made")
	f.StringVar(&k.ca, "ca", "", "`FILE` with the CA of an https URL's certificate, PEM (default: the system's)")
}

func (k *keyFlags) find() (string, error) {
	if k.key == "" {
		k.key = masterKey()
	}
	return operator.FindKey(k.key, k.dataDir)
}

func (k *keyFlags) tls() (*tls.Config, error) {
	cfg, err := launch.ClientTLS(k.ca, "", "", nil)
	if err != nil {
		return nil, usage{fmt.Errorf("--ca: %w", err)}
	}
	return cfg, nil
}

// adminFlags are the flags of commands that talk to the admin API.
type adminFlags struct {
	keyFlags
	api string
}

func (a *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.api, "api", "http://127.0.0.1:4001", "`URL` of the admin API")
	a.keyFlags.add(cmd, "admin or viewer")
}

func (a *adminFlags) connect() (*operator.Client, error) {
	key, err := a.find()
	if err != nil {
		return nil, usage{err}
	}
	trust, err := a.tls()
	if err != nil {
		return nil, err
	}
	c, err := operator.Connect(operator.Access{API: a.api, Key: key, TLS: trust})
	if err != nil {
		return nil, usage{err}
	}
	return c, nil
}

// gatewayFlags are the flags of commands that act as MCP clients.
type gatewayFlags struct {
	keyFlags
	url string
}

func (g *gatewayFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.url, "url", "http://127.0.0.1:4000", "`URL` of the data plane")
	g.keyFlags.add(cmd, "gateway")
}

// gateway takes no key when there is none: a data plane may take callers without.
func (g *gatewayFlags) gateway() (operator.Gateway, error) {
	out := operator.Gateway{URL: g.url, Version: process.ThisBuild().Version}
	if err := out.Check(); err != nil {
		return out, usage{err}
	}
	var err error
	if out.Key, err = g.find(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, usage{err}
	}
	out.TLS, err = g.tls()
	return out, err
}

// outputFlag is the format of what a command prints.
type outputFlag struct {
	format string
	of     []string
}

func (o *outputFlag) add(cmd *cobra.Command, formats ...string) {
	o.of = formats
	last := len(formats) - 1
	cmd.Flags().StringVarP(&o.format, "output", "o", formats[0], "`FORMAT`: "+strings.Join(formats[:last], ", ")+" or "+formats[last])
}

func (o *outputFlag) check() error {
	if slices.Contains(o.of, o.format) {
		return nil
	}
	return usage{fmt.Errorf("--output %q: use one of %s", o.format, strings.Join(o.of, ", "))}
}

func addOrigins(cmd *cobra.Command, origins *[]string, byDefault string) {
	cmd.Flags().StringSliceVar(origins, "public-origin", nil, "`ORIGIN` (scheme://host[:port]) under which clients know the listener; may be repeated (default"+byDefault+")")
}

// checkOrigins doesn't quote an origin that is wrong: it may be a URL with a password.
func checkOrigins(given string, origins []string) error {
	for i, o := range origins {
		if _, err := rules.Origin(o); err != nil {
			return usage{fmt.Errorf("%s: %s %w", given, entry(i, origins), err)}
		}
	}
	return nil
}

// entry names one of several by its place.
func entry(i int, of []string) string {
	if len(of) == 1 {
		return "it"
	}
	return fmt.Sprintf("entry %d", i+1)
}

func addDrain(cmd *cobra.Command, delay, timeout *time.Duration, byDefault time.Duration) {
	cmd.Flags().DurationVar(delay, "drain-delay", byDefault, "how long requests are still taken after /readyz says 503")
	cmd.Flags().DurationVar(timeout, "drain-timeout", 30*time.Second, "how long calls in flight may take after that")
}
