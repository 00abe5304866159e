package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"path"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/stream"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// RelayLife is how long a relay's certificates are good for, its own and the one with which it signs: as long as home may be away.
const RelayLife = 30 * 24 * time.Hour

// Use takes a relay's authority into use: the certificate that home gave for key, and the authorities that data planes trust. Instead of Open.
func (a *Authority) Use(key crypto.Signer, certificate *x509.Certificate, roots []*x509.Certificate) error {
	region, _, ok := stream.RelayOf(certificate)
	if !ok || region == "" || !certificate.IsCA || len(roots) == 0 {
		return errors.New("authority: the certificate isn't that of a relay's authority")
	}
	a.mu.Lock()
	a.own = nil // it is to come from the new one
	a.mu.Unlock()
	a.signer.Store(&signer{key: key, issuer: certificate, authorities: roots, region: region})
	_, err := a.certificate()
	return err
}

// relayURI says in a certificate that it is a relay's, or signed by it.
func relayURI(id stream.Identity) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: "hopgate", Path: path.Join("/relay", id.Region, id.Node)}
}

// intermediate makes the certificate with which a relay signs: for leaves alone, of its region alone.
func (s *signer) intermediate(pub crypto.PublicKey, id stream.Identity, now, notBefore time.Time) ([]byte, error) {
	t := s.template("", s.madeAt(now, notBefore), RelayLife)
	t.Subject = pkix.Name{CommonName: subject + "of relay " + id.Node[:min(len(id.Node), 24)]} // at most 64 characters
	t.URIs = []*url.URL{relayURI(id)}
	t.KeyUsage, t.IsCA, t.MaxPathLenZero = x509.KeyUsageCertSign, true, true
	return x509.CreateCertificate(rand.Reader, t, s.issuer, pub, s.key)
}

// empower adds to an answer what a relay signs with.
func (s *signer) empower(out *syncv1.EnrollResponse, csr []byte, g grant, now time.Time) error {
	if !g.relay {
		return nil
	}
	pub, err := keyOf(csr)
	if err != nil {
		return status.Error(codes.InvalidArgument, "authority_csr: "+err.Error())
	}
	out.Authority, err = s.intermediate(pub, g.Identity, now, g.notBefore)
	return err
}

// suits refuses a token, or a certificate, of a relay for a data plane and the other way round.
func suits(relay bool, r *syncv1.EnrollRequest) error {
	switch asked := len(r.GetAuthorityCsr()) > 0; {
	case relay && !asked:
		return status.Error(codes.FailedPrecondition, "this is the token or certificate of a relay; a data plane joins with one of its own: hopgate token create without --relay")
	case !relay && asked:
		return status.Error(codes.FailedPrecondition, "this is the token or certificate of a data plane; a relay joins with one of its own: hopgate token create --relay")
	}
	return nil
}

// within refuses to sign for another region than a relay's own, and at a relay for relays: what such a one would sign is worthless.
func (s *signer) within(g grant) error {
	id := g.Identity
	if s.region != "" && g.relay {
		return status.Errorf(codes.PermissionDenied, "this is the relay of region %q; a relay renews its certificates at home", s.region)
	}
	if s.region == "" || s.region == id.Region {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "this is the relay of region %q, which signs for that region alone; renew the certificate of region %q at home or at the relay there", s.region, id.Region)
}
