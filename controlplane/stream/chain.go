package stream

import (
	"context"
	"crypto/x509"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// RelayOf is which relay a certificate belongs to: its URI SAN is spiffe://<domain>/relay/<region>/<node>. That of an authority confines what
// it signs to the region. ok is false without such a SAN; one that is malformed names no region, and confines to nothing.
func RelayOf(cert *x509.Certificate) (region, node string, ok bool) { return named(cert, "/relay/") }

// viaOf is the relay on whose word home signed a certificate: its URI SAN is spiffe://<domain>/via/<region>/<relay>. Else like RelayOf.
func viaOf(cert *x509.Certificate) (region, relay string, ok bool) { return named(cert, "/via/") }

func named(cert *x509.Certificate, prefix string) (region, node string, ok bool) {
	for _, u := range cert.URIs {
		path, found := strings.CutPrefix(u.Path, prefix)
		if u.Scheme != "spiffe" || !found {
			continue
		}
		if p := strings.Split(path, "/"); len(p) == 2 {
			return p[0], p[1], true
		}
		return "", "", true
	}
	return "", "", false
}

// Chains are the verified certificates of a call, each from the client's own to that of an authority; nil: there are none.
func Chains(ctx context.Context) [][]*x509.Certificate {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return info.State.VerifiedChains
}

// relays calls each relay that a call's certificate comes from, until one answers with an error: with the relay's authority, or with the
// certificate itself if home signed that on the relay's word.
func relays(ctx context.Context, each func(region, node string, cert *x509.Certificate) error) error {
	for _, chain := range Chains(ctx) {
		for i, cert := range chain {
			of := RelayOf
			if i == 0 {
				of = viaOf
			}
			region, node, ok := of(cert)
			if !ok {
				continue
			}
			if err := each(region, node, cert); err != nil {
				return err
			}
		}
	}
	return nil
}

// Via is the relay on whose word alone a call's certificate stands; empty: none.
func Via(ctx context.Context) (relay string) {
	_ = relays(ctx, func(_, node string, _ *x509.Certificate) error { relay = node; return errCut })
	return relay
}

// Confined returns why a certificate doesn't prove an identity although its chain is good: a relay signs for its own region alone.
func Confined(ctx context.Context, id Identity) error {
	return relays(ctx, func(region, node string, _ *x509.Certificate) error {
		if region == id.Region && region != "" {
			return nil
		}
		return status.Errorf(codes.PermissionDenied, "the certificate says region %q, and is signed by relay %q of region %q, which signs for that region alone; join with a token of region %q",
			id.Region, node, region, id.Region)
	})
}

// RefusedBy says why a data plane is shut out, by its own registration or by that of a relay that its certificate comes from; nil: it isn't.
func RefusedBy(ctx context.Context, refused Refused, node string) error {
	if err := refused(node, certificate(ctx)); err != nil {
		return err
	}
	return relays(ctx, func(_, relay string, ca *x509.Certificate) error { return refused(relay, ca) })
}
