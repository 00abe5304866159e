package request_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Callers come by HTTP/1.1 and HTTP/2, in plain text and TLS, and get the same.
func TestVersionsOfHTTP(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate
	certified.Close()
	trust := x509.NewCertPool()
	trust.AddCert(certified.Certificate())
	servers := map[string]*configv1.ServerSpec{
		"up": server(mcptest.Start(t, mcptest.Stateless()).URL), "cut": server(mcptest.Start(t, mcptest.CutBody(1<<20)).URL),
		"stalls": server(mcptest.Start(t, mcptest.Cut(false)).URL), "big": server(mcptest.Start(t, mcptest.Status(200, "application/json", `{"jsonrpc":"2.0","id":1,"result":{"x":"`+strings.Repeat("x", 3<<20)+`"}}`)).URL),
	}
	for _, secure := range []bool{false, true} {
		s := settings{servers: servers}
		if secure {
			s.listen = listen.Config{TLS: &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}}
		}
		g := start(t, s)
		for _, two := range []bool{false, true} {
			var p http.Protocols
			p.SetHTTP1(!two)
			p.SetHTTP2(two && secure)
			p.SetUnencryptedHTTP2(two && !secure)
			tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{RootCAs: trust, ServerName: "example.com", MinVersion: tls.VersionTLS12}}
			c := &caller{t: t, g: g, client: &http.Client{Transport: tr}, version: map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[two]}
			c.check("up", 200, `"name":"echo"`, "")
			c.check("big", 200, strings.Repeat("x", 3<<20), "")
			c.check("cut", 200, "", "EOF INTERNAL_ERROR")
			c.check("nope", 404, `"kind":"not_found"`, "")
			if trailer := c.check("stalls", 200, `"kind":"reset"`, "").Get("X-Hopgate-Error"); !strings.HasPrefix(trailer, "hop=upstream; phase=stream; kind=reset") {
				t.Errorf("%s, TLS %v: trailer %q", c.version, secure, trailer)
			}
			tr.CloseIdleConnections()
		}
		if log := g.flushed(); strings.Count(log, `HTTP/2.0"`) != 5 || strings.Count(log, `HTTP/1.1"`) != 5 {
			t.Errorf("access log: %s", log)
		}
	}
}

type caller struct {
	t       *testing.T
	g       *gateway
	client  *http.Client
	version string
}

// check makes one call; broken lists the words of which an unfinished answer's error has one. It returns the trailer.
func (c *caller) check(name string, status int, part, broken string) http.Header {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.g.url+"/"+name+"/mcp", strings.NewReader(list))
	fatal(c.t, err)
	req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}, "Accept": {"application/json, text/event-stream"}}
	res, err := c.client.Do(req)
	fatal(c.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.Proto != c.version || res.StatusCode != status || !strings.Contains(string(body), part) || (err != nil) != (broken != "") {
		c.t.Errorf("%s: %s %d, %d bytes, %v: %.200s", name, res.Proto, res.StatusCode, len(body), err, body)
	}
	return res.Trailer
}
