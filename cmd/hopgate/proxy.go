package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/enroll"
	"github.com/hopgate/hopgate/proto/jointoken"
)

func newProxy() *cobra.Command {
	var (
		p                launch.Proxy
		logs             logFlags
		clients, control pemFlags
		join             joinFlags
		peers            string
	)
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Run a data plane",
		Example: `  hopgate proxy --control 127.0.0.1:4002 --region eu --listen 0.0.0.0:4000 --state-dir /var/lib/hopgate
  hopgate proxy --control home:4002 --join-file token --listen 0.0.0.0:4000 --state-dir /var/lib/hopgate`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			p.Log, p.Access, p.AccessFormat = log, cmd.ErrOrStderr(), logs.access()
			if p.ListenTLS, err = launch.CallerTLS(clients.cert, clients.key, clients.ca, log); err != nil {
				return usage{fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)}
			}
			if control != (pemFlags{}) {
				if p.ControlTLS, err = launch.ClientTLS(control.ca, control.cert, control.key, log); err != nil {
					return usage{fmt.Errorf("--cert, --key, --ca: %w", err)}
				}
			}
			if peers != "" {
				if p.PeerTLS, err = launch.ClientTLS(peers, "", "", log); err != nil {
					return usage{fmt.Errorf("--peer-ca: %w", err)}
				}
			}
			if p.Join, err = join.token(); err != nil {
				return usage{err}
			}
			if (!p.Join.Zero() || p.ControlTLS == nil && enroll.Stored(p.StateDir)) && !cmd.Flags().Changed("region") {
				p.Region = "" // the certificate says it
			}
			if err := checkOrigins("--public-origin", p.PublicOrigins); err != nil {
				return err
			}
			if err := p.Check(); err != nil {
				return usage{err}
			}
			return p.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&p.Control, "control", []string{"127.0.0.1:4002"}, "sync `ADDRESS` of a control plane; several are tried in turn")
	f.StringVar(&p.Node, "node", hostname(), "`NAME` of this data plane, unique in the fleet")
	f.StringVar(&p.Region, "region", "local", "`REGION` it stands in")
	f.StringVar(&p.Group, "group", "", "`GROUP` within the region")
	f.StringVar(&p.Listen, "listen", "127.0.0.1:4000", "`ADDRESS` for MCP clients")
	f.StringVar(&clients.cert, "tls-cert", "", "`FILE` with the certificate for clients, PEM; followed when it changes")
	f.StringVar(&clients.key, "tls-key", "", "`FILE` with its private key, PEM")
	f.StringVar(&clients.ca, "tls-client-ca", "", "`FILE` with the CA of clients' certificates, PEM; a certificate is asked for and verified if given (API keys' certificate_name admits its holder); followed when it changes")
	f.StringVar(&p.Advertise, "advertise", "", "`URL` where the other data planes reach --listen, like http://10.0.0.5:4000: sessions that live in one process (HTTP+SSE) are then served wherever a request arrives (default: --listen, if that is one address without TLS and not on loopback)")
	f.StringVar(&peers, "peer-ca", "", "`FILE` with the CA of the other data planes' certificates, PEM; for https in --advertise (default: the system's)")
	f.StringVar(&p.Admin, "admin", "127.0.0.1:4003", "`ADDRESS` of /metrics, /debug and health")
	f.StringVar(&p.StateDir, "state-dir", "./hopgate-state", "`DIR` that keeps the last good config; for this data plane alone")
	f.StringVar(&control.cert, "cert", "", "`FILE` with this data plane's certificate, PEM (URI SAN spiffe://<domain>/dp/<region>/[<group>/]<node>)")
	f.StringVar(&control.key, "key", "", "`FILE` with its private key, PEM")
	f.StringVar(&control.ca, "ca", "", "`FILE` with the CA of the control planes' certificates, PEM")
	join.add(cmd)
	addOrigins(cmd, &p.PublicOrigins, " none")
	addDrain(cmd, &p.DrainDelay, &p.DrainTimeout, 5*time.Second)
	logs.add(cmd)
	return cmd
}

// pemFlags name files of one end of a TLS connection.
type pemFlags struct{ cert, key, ca string }

// joinFlags name a join token.
type joinFlags struct{ text, file string }

func (j *joinFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&j.text, "join", "", "join `TOKEN`, used once: the certificate is kept in --state-dir and renewed; others on this machine can read the command line, so better give HOPGATE_JOIN or --join-file")
	f.StringVar(&j.file, "join-file", "", "`FILE` with the join token; may be gone once --state-dir has a certificate")
}

// token doesn't quote what was given.
func (j *joinFlags) token() (jointoken.Token, error) {
	flag, text := "--join", j.text
	switch {
	case j.text != "" && j.file != "":
		return jointoken.Token{}, errors.New("--join and --join-file: give one of both")
	case j.text == "" && j.file == "":
		return jointoken.Token{}, nil
	case j.file != "":
		value, err := operator.ReadValue(j.file, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return jointoken.Token{}, nil // a stored certificate does; without one the start says what is missing
		}
		if err != nil {
			return jointoken.Token{}, fmt.Errorf("--join-file: %w", err)
		}
		flag, text = "--join-file", value.Reveal()
	}
	t, err := jointoken.Parse(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", flag, err)
	}
	return t, err
}

// hostname is a default; without one the flag has to be given.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
