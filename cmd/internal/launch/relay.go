package launch

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/controlplane"
	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/relay"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/dataplane/enroll"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/jointoken"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Home is what the relay of a region follows.
type Home struct {
	// Upstreams are sync addresses of control planes. TLS nil is plaintext, only to loopback.
	Upstreams []string
	TLS       *tls.Config
	// Node is the relay's name, unique in the fleet; Region and Group say where it stands.
	Node, Region, Group string
	// Join is a token for relays, with which it gets its certificates at the first start; Region and Group are then those of the token.
	Join jointoken.Token

	enroller *enroll.Enroller // nil: files, or plaintext
	signs    signs
}

// signs passes on what the relay signs with, before and after there is somebody to take it.
type signs struct {
	mu   sync.Mutex
	last func(*relay.Store, *authority.Authority) error // guarded by mu, as the next two
	s    *relay.Store                                   // nil: nobody takes it yet
	a    *authority.Authority
}

func (x *signs) use(key crypto.Signer, certificate *x509.Certificate, roots []*x509.Certificate) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = func(s *relay.Store, a *authority.Authority) error {
		all := [][]byte{certificate.Raw}
		for _, r := range roots {
			all = append(all, r.Raw)
		}
		return errors.Join(a.Use(key, certificate, roots), s.Certified(all))
	}
	if x.s == nil {
		return nil
	}
	return x.last(x.s, x.a)
}

// sign lets an authority sign with what the relay has, now and after each renewal.
func (h *Home) sign(s controlplane.Store, a *authority.Authority) error {
	x := &h.signs
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s, x.a = s.(*relay.Store), a //nolint:forcetypeassert // a relay's store is one
	return x.last(x.s, x.a)
}

// enroll gets the relay's certificates, from home at the first time, and learns from them where it stands.
func (h *Home) enroll(ctx context.Context, dir string, kek *secret.KEK, log *slog.Logger) (err error) {
	aad := []byte("hopgate relay identity 1/" + h.Node)
	h.enroller, err = enroll.New(enroll.Config{Node: h.Node, Dir: dir, Addresses: h.Upstreams, Token: h.Join, Log: log, Relay: &enroll.Relay{
		Seal: func(plain []byte) ([]byte, error) { return kek.Seal(aad, plain) },
		Open: func(sealed []byte) ([]byte, error) { return kek.Open(aad, sealed) },
		Use:  h.signs.use}})
	if err != nil {
		return err
	}
	if err := h.enroller.Start(ctx); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	e := h.enroller
	for _, place := range []struct{ flag, given, is string }{{"--region", h.Region, e.Region()}, {"--group", h.Group, e.Group()}} {
		if place.given != "" && place.given != place.is {
			return fmt.Errorf("%s %s: the certificate of this relay says %q; leave the flag out, or join with another token and another --data-dir", place.flag, place.given, place.is)
		}
	}
	h.Region, h.Group = e.Region(), e.Group()
	return nil
}

// check names the flag that is wrong.
func (h *Home) check(enrolls bool) error {
	for _, a := range h.Upstreams {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("--upstream %s: give host:port", a)
		}
		if h.TLS == nil && !enrolls && !netrange.Loopback(a) {
			return fmt.Errorf("--upstream %s: plaintext is only for loopback addresses; give --sync-identity auto and --join-file, or --cert, --key and --ca", a)
		}
	}
	if h.Node == "" {
		return errors.New("--node: name this relay, unique in the fleet")
	}
	if !h.Join.Zero() && !enrolls {
		return errors.New("--join-file: only with --sync-identity auto")
	}
	if enrolls && h.Region == "" && h.Group == "" {
		return nil
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
	switch {
	case h.enroller != nil:
		creds = credentials.NewTLS(h.enroller.TLS())
	case h.TLS != nil:
		creds = credentials.NewTLS(h.TLS)
	}
	return grpc.NewClient("passthrough:///"+address, append(follow.DialOptions(), grpc.WithTransportCredentials(creds))...)
}
