package process_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

type pairFiles struct {
	cert, key string
	version   int
}

// renew writes a new pair with the given common name, dated one second after the one before.
func (p *pairFiles) renew(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.put(t, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	p.put(t, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func (p *pairFiles) put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p.version++
	at := time.Unix(1_700_000_000+int64(p.version), 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func newPair(t *testing.T) *pairFiles {
	dir := t.TempDir()
	p := &pairFiles{cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	p.renew(t, "first")
	return p
}

func name(t *testing.T, c *process.Certificate) string {
	t.Helper()
	pair, err := c.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := c.GetClientCertificate(nil)
	if err != nil || client != pair {
		t.Errorf("client certificate %v, %v", client, err)
	}
	return pair.Leaf.Subject.CommonName
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	files := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		log, out := newLog(t)
		c, err := process.LoadCertificate(process.CertificateConfig{CertFile: files.cert, KeyFile: files.key, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		files.renew(t, "second")
		if got := name(t, c); got != "first" {
			t.Errorf("looked at the files within ten seconds: %s", got)
		}
		time.Sleep(11 * time.Second) // of the bubble's clock
		if got := name(t, c); got != "second" || !strings.Contains(out.String(), "certificate reloaded") {
			t.Errorf("%s: %s", got, out)
		}

		files.put(t, files.cert, []byte("garbage"))
		time.Sleep(11 * time.Second)
		if got := name(t, c); got != "second" || !strings.Contains(out.String(), "the old one stays in use") {
			t.Errorf("%s: %s", got, out)
		}
		time.Sleep(11 * time.Second)
		name(t, c)
		if n := strings.Count(out.String(), "stays in use"); n != 1 {
			t.Errorf("told %d times", n)
		}

		if err := os.Remove(files.key); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(11 * time.Second)
			if got := name(t, c); got != "second" {
				t.Error(got)
			}
		}
		if n := strings.Count(out.String(), "stays in use"); n != 2 {
			t.Errorf("told %d times", n)
		}

		files.renew(t, "third")
		time.Sleep(11 * time.Second)
		if got := name(t, c); got != "third" {
			t.Error(got)
		}
	})
}

func TestFirstCertificateMustBeGood(t *testing.T) {
	log, _ := newLog(t)
	files := newPair(t)
	files.put(t, files.key, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
	_, err := process.LoadCertificate(process.CertificateConfig{CertFile: files.cert, KeyFile: files.key, Log: log})
	if err == nil || !strings.Contains(err.Error(), files.cert) || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Error(err)
	}
	if _, err := process.LoadCertificate(process.CertificateConfig{}); err == nil {
		t.Error("no files were named")
	}
}
