package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/netrange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates of test servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
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

// roots is a client's settings that believe the authority.
func (a *authority) roots() *tls.Config {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return &tls.Config{RootCAs: p}
}

func (a *authority) issue(t testing.TB, name string, from, to time.Duration) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// serveTLS is an HTTPS server that proves to be auth.test, and its port.
func (a *authority) serveTLS(t testing.TB, h http.HandlerFunc) (port string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = a.issue(t, "auth.test", -time.Hour, time.Hour)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// listen serves every connection with handle; the test waits for all of them.
func listen(t testing.TB, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { defer stop(); defer c.Close(); handle(c) })
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); wg.Wait() })
	return l.Addr().String()
}

// names is a resolver that knows a few names and counts questions.
type names struct {
	mu    sync.Mutex
	known map[string][]string // each question takes the next answer of a name: addresses joined by blanks
	asked int
}

func (n *names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	answers := n.known[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.known[host] = answers[1:]
	}
	if answers[0] == "silence" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var out []netip.Addr
	for _, a := range strings.Fields(answers[0]) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func resolving(name string, answers ...string) *names {
	return &names{known: map[string][]string{name: answers}}
}

func newClient(t testing.TB, cfg egress.Config) *egress.Client {
	t.Helper()
	c, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func loopback(t testing.TB) netrange.Set {
	t.Helper()
	s, err := netrange.NewSet([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantFault checks phase and kind, that there is something to say, and that neither address nor path is said.
func wantFault(t *testing.T, err error, p fault.Phase, k fault.Kind) *fault.Error {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("error = %v, want a fault", err)
	}
	if f.Hop != fault.AuthServer || f.Phase != p || f.Kind != k {
		t.Fatalf("fault = %v, want authserver/%v/%v", f, p, k)
	}
	if f.Message == "" || f.Hint == "" {
		t.Errorf("message %q, hint %q", f.Message, f.Hint)
	}
	if said := f.Message + f.Hint; strings.Contains(said, "127.0.0.1") || strings.Contains(said, "secret") || strings.Contains(said, "auth.test") {
		t.Errorf("the fault says too much: %q", said)
	}
	if strings.Contains(f.Error(), "/secret") {
		t.Errorf("the cause shows the path: %q", f.Error())
	}
	return f
}
