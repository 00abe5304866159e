//go:build e2e && linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// expiredShort and expiredLong are how long certificates stay expired, without and with SOAK.
const expiredShort, expiredLong = 15 * time.Second, 2 * time.Minute

// expiring are the certificates that do, with the URIs of the data planes.
var expiring = map[string]string{"control": "", "proxy": "spiffe://e2e/dp/local/proxy", "other": "spiffe://e2e/dp/local/other"}

// TestExpiredCertificatesStopChangesAndNoCall lets the certificates of a control plane and of a data plane expire under traffic, restarts both
// meanwhile, and renews them in place.
func TestExpiredCertificatesStopChangesAndNoCall(t *testing.T) {
	t.Parallel() // most of it is waiting
	a := newAuthorityOf(t)
	now := time.Now()
	for name, uri := range expiring {
		a.writes(t, name, uri, now.Add(time.Hour))
	}
	c := startControl(t, "control", nil, "--sync-cert", a.file("control.crt"), "--sync-key", a.file("control.key"), "--sync-client-ca", a.file("ca.crt"))
	with := func(name string) []string {
		return []string{"--cert", a.file(name + ".crt"), "--key", a.file(name + ".key"), "--ca", a.file("ca.crt")}
	}
	p, q := startProxy(t, "proxy", nil, []*control{c}, with("proxy")...), startProxy(t, "other", nil, []*control{c}, with("other")...)
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")
	firstAnswer(t, p, key)
	flow := startTraffic(t, p, "demo", key)

	for name, uri := range expiring {
		a.writes(t, name, uri, now.Add(-time.Minute))
	}
	c.stop(t) // streams that stand outlive a certificate: new ones are what expires
	c.again(t)
	expired := time.Now()
	q.stop(t)
	began := time.Now()
	q.again(t)
	boot := firstAnswer(t, q, key).Sub(began)
	staleness(t, p, true)
	<-time.After(time.Until(expired.Add(soakFor(t, expiredShort, expiredLong))))
	if nodes := c.nodes(t); nodes["proxy"].GetConnected() || nodes["other"].GetConnected() {
		t.Errorf("streams under expired certificates: %v", nodes)
	}

	for name, uri := range expiring {
		a.writes(t, name, uri, now.Add(time.Hour))
	}
	renewed := time.Now()
	eventually(t, backWithin, "both follow with the renewed certificates", func() error { return twoInSync(t, c, "proxy", "other") })
	t.Logf("expired for %s: a data plane served %s after its start; in sync %s after the files were renewed", renewed.Sub(expired).Round(time.Second),
		boot.Round(time.Millisecond), time.Since(renewed).Round(time.Millisecond))
	flow.spotless(t, "under expired certificates")
}

func twoInSync(t *testing.T, c *control, names ...string) error {
	t.Helper()
	nodes := c.nodes(t)
	for _, n := range names {
		if !nodes[n].GetConnected() || !nodes[n].GetInSync() {
			return errBehind(n)
		}
	}
	return nil
}

type errBehind string

func (e errBehind) Error() string { return string(e) + " is not there or behind" }

// authorityOf issues certificates of any age.
type authorityOf struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthorityOf(t *testing.T) *authorityOf {
	t.Helper()
	w := &world{files: t.TempDir()}
	w.found(t)
	return &authorityOf{w.files, w.key, w.cert}
}

func (a *authorityOf) file(name string) string { return filepath.Join(a.dir, name) }

// writes issues name.crt and name.key, of a node when there is a URI and of a server otherwise; the file is there whole or not at all.
func (a *authorityOf) writes(t *testing.T, name, uri string, until time.Time) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	serial, err := rand.Int(rand.Reader, a.key.X)
	ok(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for i := range 1000 { // as ownHost counts
		template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 83, byte(os.Getpid()%200+i/250), byte(i%250+1)))
	}
	if uri != "" {
		u, err := url.Parse(uri)
		ok(t, err)
		template.URIs, template.IPAddresses, template.ExtKeyUsage = []*url.URL{u}, nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	ok(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	ok(t, err)
	for file, block := range map[string]*pem.Block{name + ".key": {Type: "PRIVATE KEY", Bytes: private}, name + ".crt": {Type: "CERTIFICATE", Bytes: der}} {
		ok(t, os.WriteFile(a.file(file+".new"), pem.EncodeToMemory(block), 0o600))
		ok(t, os.Rename(a.file(file+".new"), a.file(file)))
	}
}
