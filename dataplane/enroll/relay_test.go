package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// signed makes a certificate below another.
func signed(t *testing.T, tmpl *x509.Certificate, uri string, pub any, by *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter, tmpl.BasicConstraintsValid = big.NewInt(9), time.Now().Add(-time.Minute), time.Now().Add(time.Hour), true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestATokenOfTheFleetIsntSentToARelay(t *testing.T) {
	h := newHome(t)
	ca, leaf := newKey(t), newKey(t)
	relay := signed(t, &x509.Certificate{IsCA: true, MaxPathLenZero: true}, "spiffe://hopgate/relay/eu/r", ca.Public(), h.cert, h.key)
	server := signed(t, &x509.Certificate{DNSNames: []string{"home"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, "", leaf.Public(), relay, ca)
	shown := []*x509.Certificate{server, relay, h.cert}
	if err := verify(shown, h.pin(), "home", time.Now()); !errors.Is(err, errOtherAuthority) {
		t.Errorf("home's pin: %v", err)
	}
	if err := verify(shown, sha256.Sum256(relay.RawSubjectPublicKeyInfo), "home", time.Now()); err != nil {
		t.Errorf("the relay's pin: %v", err)
	}
	state := tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{shown}}
	if err := ofRegion("eu")(state); err != nil {
		t.Error(err)
	}
	if err := ofRegion("us")(state); err == nil || !strings.Contains(err.Error(), `region "eu"`) {
		t.Errorf("a relay of another region: %v", err)
	}
}

func TestARelayKeepsItsKeySealedAndOverRenewals(t *testing.T) {
	h, dir := newHome(t), t.TempDir()
	var used []crypto.Signer
	mask := func(b []byte) ([]byte, error) { return bytes.Map(func(r rune) rune { return r ^ 1 }, b), nil } // ASCII stays ASCII
	relay := func(c *Config) {
		c.Relay = &Relay{Seal: mask, Open: mask, Use: func(k crypto.Signer, _ *x509.Certificate, _ []*x509.Certificate) error {
			used = append(used, k)
			return nil
		}}
		c.Ask = func(ctx context.Context, a string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
			res, err := h.ask(ctx, a, cfg, r)
			if err != nil {
				return nil, err
			}
			csr, err := x509.ParseCertificateRequest(r.GetAuthorityCsr())
			if err != nil {
				return nil, err
			}
			res.Authority = signed(t, &x509.Certificate{IsCA: true, MaxPathLenZero: true}, "spiffe://hopgate/relay/eu/n1", csr.PublicKey, h.cert, h.key).Raw
			return res, nil
		}
	}
	e := h.enroller(dir, relay)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := h.enroller(dir, func(c *Config) { relay(c); tokenless(c) })
	if err := again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(used) != 3 || !used[0].(*ecdsa.PrivateKey).Equal(used[1]) || !used[0].(*ecdsa.PrivateKey).Equal(used[2]) {
		t.Errorf("%d keys, or others", len(used))
	}
	if raw, err := os.ReadFile(file(dir)); err != nil || bytes.Contains(raw, []byte("KEY")) {
		t.Errorf("the file isn't sealed: %v", err)
	}
	if err := h.enroller(dir, tokenless).Start(t.Context()); err == nil {
		t.Error("a data plane reads it")
	}
}
