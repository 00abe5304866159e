package launch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/controlplane/relay"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Home is what the relay of a region follows.
type Home struct {
	// Upstreams are sync addresses of control planes. TLS nil is plaintext, only to loopback.
	Upstreams []string
	TLS       *tls.Config
	// Node is the relay's name, unique in the fleet; Region and Group say where it stands.
	Node, Region, Group string
}

// check names the flag that is wrong.
func (h *Home) check() error {
	for _, a := range h.Upstreams {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("--upstream %s: give host:port", a)
		}
		if h.TLS == nil && !netrange.Loopback(a) {
			return fmt.Errorf("--upstream %s: plaintext is only for loopback addresses; give --cert, --key and --ca", a)
		}
	}
	if h.Node == "" {
		return errors.New("--node: name this relay, unique in the fleet")
	}
	if err := checkPlace("--region", h.Region); err != nil {
		return err
	}
	if h.Group == "" {
		return nil
	}
	return checkPlace("--group", h.Group)
}

// relay makes the store that follows home and keeps its copy in file.
func (h *Home) relay(file string, kek *secret.KEK, reg *prometheus.Registry, log *slog.Logger) (*relay.Store, error) {
	return relay.New(relay.Config{Upstreams: h.Upstreams, Dial: h.dial, Node: h.Node, Region: h.Region, Group: h.Group, Version: process.ThisBuild().Version,
		File: file, KEK: kek, Registerer: reg, Log: log})
}

func (h *Home) dial(address string) (relay.Conn, error) {
	creds := insecure.NewCredentials()
	if h.TLS != nil {
		creds = credentials.NewTLS(h.TLS)
	}
	return grpc.NewClient("passthrough:///"+address, append(follow.DialOptions(), grpc.WithTransportCredentials(creds))...)
}
