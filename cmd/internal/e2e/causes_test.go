//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cause is one way in which the hop to an upstream fails, and how it must be named everywhere.
type cause struct {
	server, url, phase, kind string
	status                   int
}

func TestEveryFaceNamesTheSameCause(t *testing.T) {
	dead, pages, secure := ownHost()+":3001", ownHost()+":8080", ownHost()+":8443"
	cert, key := selfSigned(t)
	startNginx(t, secure, fmt.Sprintf("server { listen %s; location / { proxy_pass http://%s; } }\nserver { listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; }", pages, dead, secure, cert, key))
	c := startControl(t, "control", nil)
	p := startProxy(t, "proxy", nil, []*control{c})
	causes := []cause{
		{"nobody", "http://" + dead + "/mcp", "connect", "refused", 502},
		{"nowhere", "http://no-such-host.invalid:3001/mcp", "dns", "[a-z_]+", 502},
		{"stranger", "https://" + secure + "/mcp", "tls", "[a-z_]+", 502},
		{"page", "http://" + pages + "/mcp", "intermediary", "[a-z_]+", 502},
	}
	for _, x := range causes {
		c.apply(t, server(x.server, x.url))
	}
	caller := c.key(t, "caller", "*")
	for _, x := range causes {
		t.Run(x.server, func(t *testing.T) { x.check(t, p, caller) })
	}
}

func (x cause) check(t *testing.T, p *proxy, key string) {
	a, err := post(p.url(x.server), key, toolCall("echo", map[string]any{"message": "x"}), "X-Litellm-Mcp-Debug", "true")
	if err != nil {
		t.Fatal(err)
	}
	e := a.rpcError(t)
	word := regexp.MustCompile("^" + x.kind + "$")
	if a.Status != x.status || e.Data.Hop != "upstream" || e.Data.Phase != x.phase || !word.MatchString(e.Data.Kind) || e.Data.Server != x.server {
		t.Errorf("status %d, error %+v; want %+v", a.Status, e, x)
	}
	face := a.Header.Get("X-Hopgate-Error")
	if !strings.HasPrefix(face, fmt.Sprintf("hop=upstream; phase=%s; kind=%s; ", x.phase, e.Data.Kind)) || !strings.HasSuffix(face, "; server="+x.server) {
		t.Errorf("x-hopgate-error is %q beside the error %+v", face, e)
	}
	if hops := a.Header.Get("X-Mcp-Debug-Hops"); !strings.Contains(hops, e.Data.Kind) {
		t.Errorf("x-mcp-debug-hops %q doesn't name %s", hops, e.Data.Kind)
	}
	if e.Data.TraceID == "" || e.Data.TraceID != a.Header.Get("X-Hopgate-Trace-Id") {
		t.Errorf("trace ids differ: %q in the error, %q in the header", e.Data.TraceID, a.Header.Get("X-Hopgate-Trace-Id"))
	}
	slashed := "upstream/" + x.phase + "/" + e.Data.Kind
	eventually(t, shown, "log and metric name "+slashed, func() error {
		lines := 0
		for line := range strings.Lines(p.output()) {
			if strings.Contains(line, slashed) && strings.Contains(line, e.Data.TraceID) {
				lines++
			}
		}
		if lines != 2 { // the error and the access line
			return fmt.Errorf("%d log lines", lines)
		}
		return faultCounted(p, x, e.Data.Kind)
	})
	t.Logf("%s: %s", face, e.Message)
}

// faultCounted is nil when the fault counter has this cause.
func faultCounted(p *proxy, x cause, kind string) error {
	res, err := quick.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "hopgate_faults_total{") && strings.Contains(line, `hop="upstream"`) && strings.Contains(line, `kind="`+kind+`"`) {
			return nil
		}
	}
	return fmt.Errorf("no hopgate_faults_total of hop upstream and kind %s", kind)
}

// selfSigned makes a certificate that nobody trusts, as PEM files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	c, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
