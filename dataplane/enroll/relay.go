package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Types of the further blocks in a relay's file.
const (
	blockRelayKey = "RELAY PRIVATE KEY"
	blockRelay    = "RELAY CERTIFICATE"
)

// Relay is what makes an Enroller that of a region's relay, which also gets a certificate to sign with.
type Relay struct {
	// Seal and Open protect what is stored; the file then isn't PEM. Required.
	Seal, Open func([]byte) ([]byte, error)
	// Use is called with what it signs with, at the start and after each renewal. The key stays the same as long as the file does. Required.
	Use func(key crypto.Signer, certificate *x509.Certificate, roots []*x509.Certificate) error
}

// signing is the key and the certificate with which a relay signs.
type signing struct {
	key         key
	certificate *x509.Certificate
}

// asks adds the request for a relay's signing certificate, with the key of before if there is one.
func (e *Enroller) asks(r *syncv1.EnrollRequest) (k key, err error) {
	if e.cfg.Relay == nil {
		return nil, nil
	}
	if id := e.current.Load(); id != nil && id.signing != nil {
		k = id.signing.key
	}
	k, r.AuthorityCsr, err = request(e.cfg.Node, k)
	return k, err
}

// empowered adds to an identity what a relay signs with.
func (id *identity) empowered(k key, der []byte) error {
	if k == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the relay's certificate that came: %w", err)
	}
	return id.signs(&signing{k, cert})
}

// signs checks what a relay signs with.
func (id *identity) signs(s *signing) error {
	if s.key == nil || s.certificate == nil {
		return errors.New("it has only one of the key and the certificate of a relay")
	}
	pub, ok := s.certificate.PublicKey.(*ecdsa.PublicKey)
	if region, _ := relayOf(s.certificate); !ok || !s.key.PublicKey.Equal(pub) || !s.certificate.IsCA || region != id.region {
		return errors.New("the relay's certificate in it is for another key or region")
	}
	id.signing = s
	return nil
}

// use hands a relay what it signs with.
func (e *Enroller) use(id *identity) error {
	if e.cfg.Relay == nil {
		return nil
	}
	if id.signing == nil {
		return fmt.Errorf("%s holds the certificate of a data plane, not of a relay; give the relay its own --data-dir", file(e.cfg.Dir))
	}
	return e.cfg.Relay.Use(id.signing.key, id.signing.certificate, id.authorities)
}

// relayOf is the region of a relay's authority; found is false when it is none.
func relayOf(cert *x509.Certificate) (region string, found bool) {
	for _, u := range cert.URIs {
		if path, ok := strings.CutPrefix(u.Path, "/relay/"); ok && u.Scheme == "spiffe" {
			region, _, _ = strings.Cut(path, "/")
			return region, true
		}
	}
	return "", false
}

// ofRegion refuses control planes whose certificate a relay of another region signed.
func ofRegion(region string) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		for _, chain := range s.VerifiedChains {
			for _, ca := range chain[1:] {
				if of, ok := relayOf(ca); ok && of != region {
					return fmt.Errorf("the certificate of the control plane is signed by the relay of region %q, and this data plane is in region %q", of, region)
				}
			}
		}
		return nil
	}
}
