package main

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func newExplain() *cobra.Command {
	return newGroup("explain", "Say why a caller may do what it may, where data planes think it is, and what overlays make of an object",
		newExplainGrant(), newExplainOrigin(),
		newExplainObject("server"), newExplainObject("toolset"), newExplainObject("ingress"), newExplainObject("settings"))
}

// exampleOf names an object of each kind that overlays change.
var exampleOf = map[string]string{"server": "github", "toolset": "triage", "ingress": "eu-public", "settings": "default"}

// newExplainObject explains the objects of a kind that overlays change.
func newExplainObject(kind string) *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		q      = operator.ObjectQuestion{Kind: kind}
	)
	cmd := &cobra.Command{
		Use:   kind + " NAME --region REGION",
		Short: "Say what data planes of a region make of the object " + kind + ", and which overlays did it",
		Long: "Say what data planes of a region, and of a group in it, make of an object of kind " + kind + ": which overlays apply there and why, and for each\n" +
			"field that one of them sets or clears, which one won.",
		Example: "  hopgate explain " + kind + " " + exampleOf[kind] + " --region eu --group edge -o yaml",
		Args:    named(1, 1, "say which: hopgate explain "+kind+" NAME --region REGION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			q.Name = args[0]
			e, err := q.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			return operator.PrintExplained(cmd.OutOrStdout(), output.format, e)
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.YAML, operator.JSON)
	f := cmd.Flags()
	f.StringVar(&q.Region, "region", "", "`REGION` of the data plane")
	f.StringVar(&q.Group, "group", "", "`GROUP` of the data plane within the region")
	require(cmd, "region")
	return cmd
}

func newExplainGrant() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		q      operator.GrantQuestion
	)
	cmd := &cobra.Command{
		Use:   "grant --key NAME --server SERVER",
		Short: "Say whether a key opens a server or a tool, and by which level",
		Long: "Say whether a key opens a server or a tool, and by which level: the key's own grant and that of its team, with their toolsets and rules.\n" +
			"The data plane's own code decides. The exit code is 0 when it is allowed and 1 when it is denied.",
		Example: `  hopgate explain grant --key ci --server github
  hopgate explain grant --key ci --server github --tool create_issue -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			if strings.HasPrefix(q.Key, "sk-") {
				return usage{errors.New("--key takes the name of the key's record, not the key (hopgate key list shows names)")}
			}
			c, err := admin.connect()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // the command ends
			g, err := q.Run(cmd.Context(), c, time.Now())
			if err != nil {
				return err
			}
			if err := g.Print(cmd.OutOrStdout(), output.format); err != nil {
				return err
			}
			return g.Denied()
		},
	}
	admin.add(cmd)
	output.add(cmd, operator.Table, operator.JSON)
	f := cmd.Flags()
	f.StringVar(&q.Key, "key", "", "`NAME` of the key's record")
	f.StringVar(&q.Server, "server", "", "`SERVER` it wants to use")
	f.StringVar(&q.Tool, "tool", "", "`TOOL` of it, as the server calls it (default: the server as a whole)")
	f.StringVar(&q.Region, "region", "local", "`REGION` of the data plane")
	f.StringVar(&q.Group, "group", "", "`GROUP` of the data plane within the region")
	require(cmd, "key", "server")
	return cmd
}

func newExplainOrigin() *cobra.Command {
	var (
		admin  adminFlags
		output outputFlag
		q      operator.OriginQuestion
		url    string
	)
	cmd := &cobra.Command{
		Use:   "origin --peer ADDRESS | --url URL",
		Short: "Say which client and which public origin data planes make out of a request",
		Long: "Say which client address and which public origin a data plane makes out of a request, step by step: which headers it believes and why.\n" +
			"With --peer the request is made up, and the data plane's own code is asked with the ingresses of the admin API. With --url a data plane\n" +
			"is asked how it sees this machine; the steps come with a key that has the role debug.\n" +
			"What a data plane was started with (--public-origin and its like) is known to itself only.\n" +
			"The exit code is 1 when --redirect-uri is refused.",
		Example: `  hopgate explain origin --peer 10.0.0.5 --host mcp.example.com --header 'X-Forwarded-For: 203.0.113.7' --region eu
  hopgate explain origin --url https://mcp.example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			switch {
			case q.Peer != "":
				return explainOrigin(cmd, &admin, q, output.format)
			case q.Host != "" || q.TLS || len(q.Headers) > 0 || q.RedirectURI != "":
				return usage{errors.New("--host, --tls, --header and --redirect-uri are about a request that is made up: say with --peer where it comes from")}
			case url == "":
				return usage{errors.New("give --peer, to explain a request that is made up, or --url, to ask a data plane")}
			}
			return askPlane(cmd, admin.keyFlags, url)
		},
	}
	admin.add(cmd)
	output.add(cmd, "text", operator.JSON)
	f := cmd.Flags()
	f.StringVar(&url, "url", "", "`URL` of a data plane to ask unless there is a --peer; its answer is JSON")
	f.StringVar(&q.Peer, "peer", "", "`ADDRESS` that connects to the data plane: the client's, or that of the last proxy in front")
	f.StringVar(&q.Host, "host", "", "`HOST` header of the request")
	f.BoolVar(&q.TLS, "tls", false, "the data plane's listener speaks TLS itself")
	f.StringArrayVar(&q.Headers, "header", nil, "`HEADER` of the request, like 'X-Forwarded-For: 203.0.113.7'; may be repeated")
	f.StringVar(&q.Region, "region", "local", "`REGION` of the data plane")
	f.StringVar(&q.Group, "group", "", "`GROUP` of the data plane within the region")
	f.StringVar(&q.RedirectURI, "redirect-uri", "", "`URI` that an OAuth client wants to be sent back to")
	return cmd
}

func explainOrigin(cmd *cobra.Command, admin *adminFlags, q operator.OriginQuestion, format string) error {
	if err := q.Check(); err != nil {
		return usage{err}
	}
	c, err := admin.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the command ends
	o, err := q.Run(cmd.Context(), c)
	if err != nil {
		return err
	}
	if err := o.Print(cmd.OutOrStdout(), format); err != nil {
		return err
	}
	return o.Refused()
}

// askPlane asks a data plane how it sees this machine.
func askPlane(cmd *cobra.Command, key keyFlags, url string) error {
	flags := gatewayFlags{keyFlags: key, url: url}
	g, err := flags.gateway()
	if err != nil {
		return err
	}
	return g.Whereabouts(cmd.Context(), cmd.OutOrStdout())
}
