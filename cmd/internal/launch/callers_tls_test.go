package launch_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// authority is a CA that has just been made, as name.pem in dir.
func authority(t *testing.T, dir, name string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return ca, issue(t, dir, name, ca, ca, nil)
}

// pairOf is a certificate of a CA for a DNS name.
func pairOf(t *testing.T, dir, name string, ca *x509.Certificate, by crypto.Signer) {
	t.Helper()
	issue(t, dir, name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example.com"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, ca, by)
}

// handshake returns what the listener knows of a caller who shows that certificate; empty: none.
func handshake(t *testing.T, serving *tls.Config, dir, cert string) (tls.ConnectionState, error) {
	t.Helper()
	caller := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, cert+".pem"), filepath.Join(dir, cert+".key"))
		if err != nil {
			t.Fatal(err)
		}
		caller.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := tls.Client(near, caller)
	told := make(chan error, 1)
	go func() {
		err := client.HandshakeContext(ctx)
		if err == nil {
			_, err = client.Read(make([]byte, 1)) // TLS 1.3 tells a refusal after the handshake
		}
		told <- err
	}()
	server := tls.Server(far, serving)
	err := server.HandshakeContext(ctx)
	far.Close()
	<-told
	return server.ConnectionState(), err
}

// rewritten replaces a file, dated as told: tests are faster than a file system's clock.
func rewritten(t *testing.T, path string, content []byte, at int64) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestCallersMayShowACertificate(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	content := func(name string) []byte {
		b, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		ca, by := authority(t, dir, "ca")
		other, byOther := authority(t, dir, "other")
		pairOf(t, dir, "gateway", ca, by)
		pairOf(t, dir, "caller", ca, by)
		pairOf(t, dir, "stranger", other, byOther)
		rewritten(t, file("known.pem"), content("ca.pem"), 1_700_000_000)
		out := &paper{}
		cfg, err := launch.CallerTLS(file("gateway.pem"), file("gateway.key"), file("known.pem"), logger(out))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(cert string, known bool, refused bool) {
			t.Helper()
			state, err := handshake(t, cfg, dir, cert)
			if (err != nil) != refused || !refused && (len(state.VerifiedChains) > 0) != known {
				t.Errorf("%q: %v, %d chains", cert, err, len(state.VerifiedChains))
			}
			if err == nil && state.NegotiatedProtocol != "h2" {
				t.Errorf("%q speaks %q", cert, state.NegotiatedProtocol)
			}
			if bad := new(tls.CertificateVerificationError); refused && !errors.As(err, &bad) {
				t.Errorf("%q: %v", cert, err)
			}
		}
		expect("", false, false)
		expect("caller", true, false)
		expect("stranger", false, true)

		// Another CA is known from the next look at the file on, for new connections.
		rewritten(t, file("known.pem"), content("other.pem"), 1_700_000_001)
		time.Sleep(11 * time.Second) // of the bubble's clock
		expect("caller", false, true)
		expect("stranger", true, false)

		// A broken file leaves the old one in use.
		rewritten(t, file("known.pem"), []byte("garbage"), 1_700_000_002)
		time.Sleep(11 * time.Second)
		expect("stranger", true, false)
		if !strings.Contains(out.String(), "client CA can't be reloaded, the old one stays in use") {
			t.Errorf("the log: %s", out)
		}
	})
}

func TestRotatedCertificatesServeNewConnections(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	synctest.Test(t, func(t *testing.T) {
		ca, by := authority(t, dir, "ca")
		serve := func(from string, at int64) {
			for _, end := range []string{".pem", ".key"} {
				b, err := os.ReadFile(file(from + end))
				if err != nil {
					t.Fatal(err)
				}
				rewritten(t, file("serving"+end), b, at)
			}
		}
		pairOf(t, dir, "first", ca, by)
		pairOf(t, dir, "second", ca, by)
		serve("first", 1_700_000_000)
		out := &paper{}
		cfg, err := launch.CallerTLS(file("serving.pem"), file("serving.key"), "", logger(out))
		if err != nil {
			t.Fatal(err)
		}
		shown := func() string { return commonName(t, cfg) }
		if got := shown(); got != "first" {
			t.Errorf("at first: %s", got)
		}
		serve("second", 1_700_000_001)
		time.Sleep(11 * time.Second)
		if got := shown(); got != "second" {
			t.Errorf("after the files were replaced: %s", got)
		}
		rewritten(t, file("serving.key"), []byte("garbage"), 1_700_000_002)
		time.Sleep(11 * time.Second)
		if got := shown(); got != "second" || !strings.Contains(out.String(), "the old one stays in use") || strings.Contains(out.String(), "garbage") {
			t.Errorf("with a broken key: %s, %s", got, out)
		}
	})
}

// commonName is that of the certificate which a new connection gets.
func commonName(t *testing.T, serving *tls.Config) string {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(far, serving).HandshakeContext(t.Context()) }()
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	err := client.HandshakeContext(t.Context())
	near.Close()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestACertificateAdmitsItsHolder(t *testing.T) {
	dir := certificates(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	serving, err := launch.CallerTLS(file("control.pem"), file("control.key"), file("ca.pem"), logger(&paper{}))
	if err != nil {
		t.Fatal(err)
	}
	upstream := mcptest.Start(t, mcptest.Stateless())
	c := startControl(t, launch.Control{})
	p := startProxy(t, launch.Proxy{Control: []string{c.sync}, ListenTLS: serving})
	c.apply(t, nil, upstream.URL, 1)
	client, err := operator.Connect(operator.Access{API: "http://" + c.admin, Key: c.key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := (&operator.NewKey{Name: "certified", Servers: []string{"one"}, CertificateName: "spiffe://example.com/dp/eu/eu-1"}).Create(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	for _, h2 := range []bool{false, true} {
		status := func(cert, key string) int {
			trust, err := launch.ClientTLS(file("ca.pem"), cert, key, nil)
			if err != nil {
				t.Fatal(err)
			}
			way := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: h2}
			defer way.CloseIdleConnections()
			r, err := http.NewRequest(http.MethodPost, p.mcp+"/one/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			res, err := way.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if (res.ProtoMajor == 2) != h2 {
				t.Errorf("HTTP/2 %t: %s", h2, res.Proto)
			}
			return res.StatusCode
		}
		until(t, "the certificate's holder is admitted", func() bool { return status(file("eu-1.pem"), file("eu-1.key")) == http.StatusOK })
		if got := status("", ""); got != http.StatusUnauthorized {
			t.Errorf("HTTP/2 %t: without a certificate: %d", h2, got)
		}
	}
}

func TestCallersCAsThatCantBeUsed(t *testing.T) {
	dir := certificates(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct{ cert, key, ca, want string }{
		"without a certificate": {"", "", file("ca.pem"), "without a certificate of our own"},
		"no file":               {file("control.pem"), file("control.key"), file("none.pem"), "none.pem"},
		"no certificate":        {file("control.pem"), file("control.key"), file("ca.key"), "holds no PEM certificate"},
	} {
		if _, err := launch.CallerTLS(c.cert, c.key, c.ca, logger(&paper{})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
