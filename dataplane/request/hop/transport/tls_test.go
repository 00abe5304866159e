package transport_test

import (
	"bufio"
	"context"
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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// authority signs certificates of test servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a server certificate for name, valid from now+from to now+to.
func (a *authority) issue(t *testing.T, name string, from, to time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureAt is a target whose server must prove the name mcp.test to an authority in roots.
func secureAt(addr string, roots *x509.CertPool) *table.Target {
	to := targetAt(addr)
	to.Scheme, to.Key, to.TLS = "https", "https "+addr, &tls.Config{RootCAs: roots, ServerName: "mcp.test"}
	return to
}

func listenTLS(t *testing.T, cfg *tls.Config, handle func(net.Conn)) string {
	return listen(t, func(c net.Conn) {
		tc := tls.Server(c, cfg)
		if tc.HandshakeContext(context.Background()) == nil {
			handle(tc)
		}
	})
}

func TestTLSCallsAndReuse(t *testing.T) {
	ca := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "mcp.test", -time.Hour, time.Hour)}, NextProtos: []string{"h2", "http/1.1"}}
	addr := listenTLS(t, cfg, answering(ok+"Content-Length: 2\r\n\r\n{}", false))
	c := newClient(t, transport.Config{})
	to := secureAt(addr, ca.pool())
	for i := range 20 {
		var tm telemetry.Timing
		res, err := c.Do(context.Background(), to, post(ping), &tm)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := res.ReadAll(nil, 0); err != nil || string(b) != "{}" {
			t.Fatalf("%q, %v", b, err)
		}
		res.Close()
		if tm.Reused != (i > 0) || tm.TLSDone.IsZero() != (i > 0) {
			t.Errorf("call %d: %+v", i, tm)
		}
	}
}

func TestTLSFaults(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	certOf := func(name string, from, to time.Duration) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(t, name, from, to)}}
	}
	good := certOf("mcp.test", -time.Hour, time.Hour)
	wantsClient, oldClient := good.Clone(), good.Clone()
	wantsClient.ClientAuth = tls.RequireAnyClientCert
	oldClient.ClientAuth, oldClient.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	otherVersion := good.Clone()
	otherVersion.MaxVersion = tls.VersionTLS11
	fine := answering(ok+"Content-Length: 2\r\n\r\n{}", false)
	for name, v := range map[string]struct {
		addr   string
		roots  *x509.CertPool
		kind   fault.Kind
		says   string
		remote bool
	}{
		"expired":                             {listenTLS(t, certOf("mcp.test", -2*time.Hour, -time.Hour), fine), ca.pool(), fault.Expired, "has expired", false},
		"not yet valid":                       {listenTLS(t, certOf("mcp.test", time.Hour, 2*time.Hour), fine), ca.pool(), fault.Expired, "isn't valid yet", false},
		"wrong name":                          {listenTLS(t, certOf("secret.test", -time.Hour, time.Hour), fine), ca.pool(), fault.Mismatch, "another host name", false},
		"unknown authority":                   {listenTLS(t, good, fine), stranger.pool(), fault.Unauthenticated, "unknown authority", false},
		"plain server":                        {listen(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), ca.pool(), fault.Malformed, "doesn't speak TLS", false},
		"hangs up":                            {listen(t, func(c net.Conn) { bufio.NewReader(c).ReadByte() }), ca.pool(), fault.Reset, "hung up", false},
		"wants a client certificate, TLS 1.3": {listenTLS(t, wantsClient, fine), ca.pool(), fault.Refused, "refused", true},
		"wants a client certificate, TLS 1.2": {listenTLS(t, oldClient, fine), ca.pool(), fault.Refused, "refused", true},
		"too old":                             {listenTLS(t, otherVersion, fine), ca.pool(), fault.Refused, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, transport.Config{})
			_, _, err := call(c, secureAt(v.addr, v.roots), post(ping))
			f := wantFault(t, err, fault.TLS, v.kind)
			if !strings.Contains(f.Message, v.says) || f.Remote != v.remote {
				t.Errorf("message %q, remote %v", f.Message, f.Remote)
			}
		})
	}
}

func TestTLSHandshakeTimeout(t *testing.T) {
	addr := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	q := post(ping)
	q.Timeouts.Connect = 300 * time.Millisecond
	_, _, err := call(newClient(t, transport.Config{}), secureAt(addr, nil), q)
	wantFault(t, err, fault.TLS, fault.TimedOut)
}

func TestPlainRequestToTLSServer(t *testing.T) {
	ca := newAuthority(t)
	srv := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "mcp.test", -time.Hour, time.Hour)}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); srv.ServeTLS(l, "", "") }()
	defer func() { srv.Close(); <-done }()
	c := newClient(t, transport.Config{})
	if status, _, err := call(c, targetAt(l.Addr().String()), post(ping)); err != nil || status != 400 { // net/http answers in plain text
		t.Errorf("status %d, %v", status, err)
	}
	alert := listen(t, func(c net.Conn) { // others answer with an alert
		bufio.NewReader(c).ReadByte()
		io.WriteString(c, "\x15\x03\x03\x00\x02\x02\x46")
	})
	_, _, err = call(c, targetAt(alert), post(ping))
	if f := wantFault(t, err, fault.Headers, fault.Malformed); !strings.Contains(f.Hint, "https://") {
		t.Errorf("hint %q", f.Hint)
	}
}

func TestTLSBodyCutShort(t *testing.T) {
	ca := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "mcp.test", -time.Hour, time.Hour)}}
	addr := listen(t, func(nc net.Conn) {
		tc := tls.Server(nc, cfg)
		if readRequest(bufio.NewReader(tc)) == nil {
			io.WriteString(tc, ok+"Content-Length: 100\r\n\r\nhalf of the ans")
		}
	})
	_, _, err := call(newClient(t, transport.Config{}), secureAt(addr, ca.pool()), post(ping))
	wantFault(t, err, fault.Body, fault.Reset)
}

// What an upstream sends behind its answer may lie decrypted or in TLS's own buffer, where a look at the socket doesn't find it: it must not
// become the next call's answer.
func TestTLSSurplusIsNoAnswer(t *testing.T) {
	a := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "mcp.test", -time.Hour, time.Hour)}}
	for _, size := range []int{0, 1, 100, 4000, 5000, 20_000, 100_000} {
		good := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n" + strings.Repeat("x", size)
		surplus := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
		addr := listenTLS(t, cfg, answering(good+surplus, false))
		c, to := newClient(t, transport.Config{}), secureAt(addr, a.pool())
		for i := range 3 {
			if _, body, err := call(c, to, post("{}")); err != nil || len(body) != size {
				t.Errorf("%d bytes, call %d: %.20q %v", size, i, body, err)
			}
		}
	}
}
