package listen_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen"
)

// pair is a certificate for that name, of by, or of its own when by is nil.
func pair(t *testing.T, name string, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	fatal(t, err)
	leaf, err := x509.ParseCertificate(der)
	fatal(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// shake makes a TLS connection and a request over it; the error is that of the handshake.
func shake(t *testing.T, l *listen.Listener, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	cfg.InsecureSkipVerify = true
	c := tls.Client(dial(t, l), cfg)
	if err := c.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	if !alive(c) { // TLS 1.3 tells a refusal after the handshake
		return nil, net.ErrClosed
	}
	return c, nil
}

// A renewed certificate is used for new connections; those that are open go on.
func TestRenewedCertificatesServeNewConnections(t *testing.T) {
	var now atomic.Pointer[tls.Certificate]
	first, second := pair(t, "first", nil), pair(t, "second", nil)
	now.Store(&first)
	l, _ := running(t, listen.Config{TLS: &tls.Config{MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil }}})
	before, err := shake(t, l, &tls.Config{})
	fatal(t, err)
	now.Store(&second)
	after, err := shake(t, l, &tls.Config{})
	fatal(t, err)
	for name, c := range map[string]*tls.Conn{"first": before, "second": after} {
		if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name || !alive(c) {
			t.Errorf("the connection made under %s shows %s", name, got)
		}
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	cert := pair(t, "gateway", nil)
	l, _ := running(t, listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	for version, served := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if _, err := shake(t, l, &tls.Config{MinVersion: version, MaxVersion: version}); (err == nil) != served {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

// A client certificate is asked for and must be of a known CA; without one a caller is served all the same.
func TestClientCertificatesMustBeOfAKnownCA(t *testing.T) {
	ca, other := pair(t, "ca", nil), pair(t, "other", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	l, _ := running(t, listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca}, MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}})
	for name, c := range map[string]struct {
		cert   *tls.Certificate
		served bool
	}{"none": {nil, true}, "known": {ptr(pair(t, "caller", &ca)), true}, "of another CA": {ptr(pair(t, "caller", &other)), false}, "of nobody": {ptr(pair(t, "caller", nil)), false}} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			cfg := &tls.Config{MinVersion: version, MaxVersion: version}
			if c.cert != nil { // also where the server doesn't name its CA
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			}
			if _, err := shake(t, l, cfg); (err == nil) != c.served {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// Somebody who speaks HTTP to a socket with TLS is told so.
func TestHTTPWithoutTLSIsTold(t *testing.T) {
	cert := pair(t, "gateway", nil)
	l, _ := running(t, listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	c := dial(t, l)
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if text := string(said); err != nil || !strings.HasPrefix(text, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(text, "X-Hopgate-Error: hop=client; phase=request; kind=malformed\r\n") || !strings.Contains(text, "use https") {
		t.Errorf("%q, %v", said, err)
	}
}

// A drain waits for calls, not for those who haven't even finished their handshake, and counts nobody who has left.
func TestHandshakesDontHoldTheDrain(t *testing.T) {
	cert := pair(t, "gateway", nil)
	l, stop := running(t, listen.Config{DrainTimeout: 20 * time.Second, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	silent, idle := dial(t, l), tls.Client(dial(t, l), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nobody is to be recognised here
	if _, err := silent.Write([]byte{22, 3, 1}); err != nil || !alive(idle) {
		t.Fatalf("not served: %v", err)
	}
	two := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // nobody is to be recognised here
	defer two.CloseIdleConnections()
	res, err := (&http.Client{Transport: two}).Get("https://" + l.Addr().String() + "/healthz")
	fatal(t, err)
	res.Body.Close()
	if n := l.Connections(); res.ProtoMajor != 2 || n != 3 {
		t.Errorf("%s, %d connections", res.Proto, n)
	}
	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > 8*time.Second { // net/http takes a second or so over those of HTTP/2
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if n := l.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func ptr[T any](v T) *T { return &v }
