package launch_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// certificates writes what the handbook's recipe makes, without openssl: a CA, the control plane's pair, and one of data plane eu-1.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	spiffe, err := url.Parse("spiffe://example.com/dp/eu/eu-1")
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "hopgate ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	control := &x509.Certificate{Subject: pkix.Name{CommonName: "control"}, DNSNames: []string{"control.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	node := &x509.Certificate{Subject: pkix.Name{CommonName: "eu-1"}, URIs: []*url.URL{spiffe}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	caKey := issue(t, dir, "ca", ca, ca, nil)
	issue(t, dir, "control", control, ca, caKey)
	issue(t, dir, "eu-1", node, ca, caKey)
	return dir
}

// issue writes a certificate and a new key; by nil signs itself.
func issue(t *testing.T, dir, name string, cert, parent *x509.Certificate, by crypto.Signer) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

var recipe = regexp.MustCompile("(?s)```sh\n(# a CA, .*?)\nbin/hopgate control ")

// TestTheHandbooksRecipe runs the handbook's openssl commands as they are printed, where there is an openssl; what they must yield is tested
// without it by TestMutualTLS.
func TestTheHandbooksRecipe(t *testing.T) {
	handbook, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "handbook", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := recipe.FindSubmatch(handbook)
	if commands == nil {
		t.Fatal("the handbook has no recipe for certificates")
	}
	for _, tool := range []string{"openssl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("not run: %v", err)
			return
		}
	}
	dir := t.TempDir()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", string(commands[1]))
	shell.Dir = dir
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mutual(t, dir)
}
