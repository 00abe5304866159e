package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// region is where all data planes of a run stand.
const region = "local"

// authority is a CA for one run.
type authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	pool   *x509.CertPool
	serial int64
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(1, "fanout")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool(), serial: 1}
	a.pool.AddCert(cert)
	return a, nil
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}

// issue signs a certificate with a key of its own.
func (a *authority) issue(t *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	a.serial++
	t.SerialNumber, t.KeyUsage = big.NewInt(a.serial), x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// client returns a data plane's TLS settings.
func (a *authority) client(node string) (*tls.Config, error) {
	t := template(0, node)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	t.URIs = []*url.URL{{Scheme: "spiffe", Host: "fanout", Path: "/dp/" + region + "/" + node}}
	cert, err := a.issue(t)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.pool, Certificates: []tls.Certificate{cert}, ServerName: syncHost}, err
}

// pems are the files the control plane is started with.
type pems struct{ cert, key, ca string }

// server writes the control plane's certificate, its key and the CA to dir.
func (a *authority) server(dir string) (pems, error) {
	t := template(0, "control")
	t.ExtKeyUsage, t.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.ParseIP(syncHost)}
	cert, err := a.issue(t)
	if err != nil {
		return pems{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return pems{}, err
	}
	p := pems{filepath.Join(dir, "sync.crt"), filepath.Join(dir, "sync.key"), filepath.Join(dir, "ca.crt")}
	for _, f := range []struct {
		path string
		kind string
		der  []byte
	}{{p.cert, "CERTIFICATE", cert.Certificate[0]}, {p.key, "PRIVATE KEY", der}, {p.ca, "CERTIFICATE", a.cert.Raw}} {
		if err := os.WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return pems{}, err
		}
	}
	return p, nil
}
