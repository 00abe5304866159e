package stream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/controlplane/view"
)

// credentialsOf are those of a server that takes n new streams a second.
func credentialsOf(t *testing.T, n int, cfg *tls.Config) credentials.TransportCredentials {
	t.Helper()
	c := cptest.New(t, cptest.Config{})
	ledger, err := fleet.New(fleet.Config{Current: func(view.Scope) *view.View { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := stream.New(stream.Config{Views: c.Views(), Fleet: ledger, Replica: "r", NewStreams: n})
	if err != nil {
		t.Fatal(err)
	}
	return s.Credentials(cfg).Clone()
}

// from is a connection that comes from an address.
type from struct {
	net.Conn
	ip string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.ip), Port: 1} }

func TestSomeSourcesDontKeepTheOthersFromTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		creds := credentialsOf(t, 20, &tls.Config{})
		var wg sync.WaitGroup
		come := func(ip string) (crowded func() bool) {
			ours, theirs := net.Pipe()
			theirs.Close()
			done, began, after := make(chan struct{}), time.Now(), time.Duration(0)
			wg.Go(func() {
				defer close(done)
				_, _, _ = creds.ServerHandshake(from{ours, ip})
				after = time.Since(began)
			})
			return func() bool { <-done; return after == 0 }
		}
		for range 200 {
			for _, ip := range []string{"10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"} {
				come(ip)
			}
			synctest.Wait()
		}
		if come("10.0.0.1")() {
			t.Log("one of the many is refused")
		} else {
			t.Error("one of the many waits for a turn")
		}
		if come("10.0.0.9")() || come("2001:db8:0:1::9")() {
			t.Error("one who comes alone is refused")
		}
		wg.Wait()
	})
}

func TestAConnectionWithoutACertificateIsBrief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		root, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		own, pool := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}, x509.NewCertPool()
		pool.AddCert(root)
		creds := credentialsOf(t, 100, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: own, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool})
		for name, tc := range map[string]struct {
			shows []tls.Certificate
			least time.Duration
		}{"a stranger": {nil, 0}, "a data plane": {own, time.Minute}} {
			ours, theirs := net.Pipe()
			client := tls.Client(theirs, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true, Certificates: tc.shows}) //nolint:gosec // a test
			var wg sync.WaitGroup
			wg.Go(func() {
				conn, _, err := creds.ServerHandshake(ours)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				time.AfterFunc(2*time.Minute, func() { conn.Close() })
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			})
			began := time.Now()
			_, _ = client.Read(make([]byte, 1))
			if d := time.Since(began); d < tc.least || tc.least == 0 && d > 30*time.Second {
				t.Errorf("%s is there for %s", name, d)
			}
			client.Close()
			wg.Wait()
		}
	})
}
