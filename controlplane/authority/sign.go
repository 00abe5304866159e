package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
)

// mostRequest is more than a signing request with one of our keys has, in bytes.
const mostRequest = 4096

// keyOf returns the key of a signing request that was made with it. Nothing else in the request counts.
func keyOf(csr []byte) (crypto.PublicKey, error) {
	if len(csr) > mostRequest {
		return nil, fmt.Errorf("has %d bytes; at most %d are possible", len(csr), mostRequest)
	}
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, errors.New("isn't a PKCS #10 signing request in DER; make one anew")
	}
	switch k := r.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("has a key on another curve; use P-256 or Ed25519")
		}
	case ed25519.PublicKey:
	default:
		return nil, errors.New("has a key of another kind; use P-256 or Ed25519")
	}
	if r.CheckSignature() != nil {
		return nil, errors.New("isn't signed with its own key; make one anew")
	}
	return r.PublicKey, nil
}

// madeAt is when a certificate counts as made: now, but no earlier than notBefore, since what was made before is worthless.
func (s *signer) madeAt(now, notBefore time.Time) time.Time {
	made := now.Truncate(time.Second)
	if made.Before(notBefore) {
		made = notBefore.Add(time.Second - 1).Truncate(time.Second)
	}
	return made
}

// node makes the certificate of a data plane or a relay, in DER.
func (s *signer) node(pub crypto.PublicKey, g grant, now time.Time) ([]byte, error) {
	id, life := g.Identity, Life
	if g.relay {
		life = RelayLife
	}
	t := s.template(id.Node, s.madeAt(now, g.notBefore), life)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	t.URIs = []*url.URL{{Scheme: "spiffe", Host: "hopgate", Path: path.Join("/dp", id.Region, id.Group, id.Node)}}
	if g.relay {
		t.URIs = append(t.URIs, relayURI(id))
	}
	if g.via != "" {
		t.URIs = append(t.URIs, &url.URL{Scheme: "spiffe", Host: "hopgate", Path: path.Join("/via", id.Region, g.via)})
	}
	return x509.CreateCertificate(rand.Reader, t, s.issuer, pub, s.key)
}

// server makes a certificate for a control plane, with a key of its own.
func (s *signer) server(names []string, now time.Time) (*tls.Certificate, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := s.template("hopgate control plane", now.Truncate(time.Second), Life)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip, err := netip.ParseAddr(n); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, s.issuer, k.Public(), s.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: s.chain(der), PrivateKey: k, Leaf: leaf}, nil
}

// chain is a certificate with those that lead to the authority, and that one.
func (s *signer) chain(der []byte) [][]byte {
	out := [][]byte{der, s.issuer.Raw}
	if s.region != "" {
		out = append(out, s.authorities[0].Raw)
	}
	return out
}

// template is what all certificates have.
func (s *signer) template(name string, made time.Time, life time.Duration) *x509.Certificate {
	end := made.Add(life)
	if last := s.issuer.NotAfter; end.After(last) {
		end = last
	}
	return &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: name[:min(len(name), 64)]}, NotBefore: made.Add(-Skew), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
}

// made is when a certificate was made, to the second and never too late. Those of others begin when they were made.
func made(cert *x509.Certificate) time.Time {
	if strings.HasPrefix(cert.Issuer.CommonName, subject) {
		return cert.NotBefore.Add(Skew)
	}
	return cert.NotBefore
}

// serial is random, of 127 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
