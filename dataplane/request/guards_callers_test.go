package request_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// holder says what stands in a certificate.
type holder struct {
	common string
	dns    []string
	uri    string
	past   bool
}

// issued is a certificate of by, or of its own when by is nil.
func issued(t *testing.T, h holder, by *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: h.common}, DNSNames: h.dns, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if h.past {
		c.NotAfter = time.Now().Add(-time.Hour)
	}
	if h.uri != "" {
		u, err := url.Parse(h.uri)
		fatal(t, err)
		c.URIs = []*url.URL{u}
	}
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	fatal(t, err)
	leaf, err := x509.ParseCertificate(der)
	fatal(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// certified is a gateway in TLS that knows one CA, whose keys app and build have certificate names.
func certified(t *testing.T) (g *gateway, up *mcptest.Upstream, ca *tls.Certificate, app *configv1.ApiKeySpec) {
	t.Helper()
	ca, up = issued(t, holder{common: "ca"}, nil), mcptest.Start(t, mcptest.Stateless())
	known := x509.NewCertPool()
	known.AddCert(ca.Leaf)
	s := one(up.URL)
	app = &configv1.ApiKeySpec{Sha256: digest(carol), Servers: []string{"up"}, CertificateName: "app.example.com"}
	s.keys = map[string]*configv1.ApiKeySpec{"app": app, "build": {Sha256: digest(dave), Servers: []string{"up"}, CertificateName: "spiffe://example.com/build"}}
	s.listen = listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{*ca}, MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: known}}
	return start(t, s), up, ca, app
}

// as is a client that shows a certificate, or none.
func as(t *testing.T, cert *tls.Certificate, two bool) *http.Client {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the gateway isn't who is looked at here
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	var p http.Protocols
	p.SetHTTP1(!two)
	p.SetHTTP2(two)
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// ask lists tools; heads alternate names and values. An error means that there was no connection.
func (g *gateway) ask(t *testing.T, c *http.Client, heads ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.url+"/up/mcp", strings.NewReader(list))
	fatal(t, err)
	req.Header = http.Header{"Content-Type": {"application/json"}, "Mcp-Protocol-Version": {"2025-11-25"}}
	for i := 0; i+1 < len(heads); i += 2 {
		req.Header.Set(heads[i], heads[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// Who a certificate admits: the holder of a name that a key has, if the CA is known. It counts as a credential beside the others.
func TestCertificatesAdmitTheirHolders(t *testing.T) {
	g, up, ca, _ := certified(t)
	app := issued(t, holder{dns: []string{"app.example.com"}}, ca)
	build := issued(t, holder{uri: "spiffe://example.com/build"}, ca)
	for name, c := range map[string]struct {
		cert   *tls.Certificate
		heads  []string
		status int // 0: no connection
		kind   string
	}{
		"no certificate":                     {nil, nil, 401, "unauthenticated"},
		"no certificate, a key":              {nil, []string{"X-Litellm-Api-Key", carol}, 200, ""},
		"a DNS name":                         {app, nil, 200, ""},
		"a URI name":                         {build, nil, 200, ""},
		"one name of many":                   {issued(t, holder{dns: []string{"a.example.com", "app.example.com"}}, ca), nil, 200, ""},
		"its own key beside it":              {app, []string{"X-Litellm-Api-Key", carol}, 200, ""},
		"its own key in every header":        {app, []string{"X-Litellm-Api-Key", carol, "X-Hopgate-Api-Key", carol, "Authorization", "Bearer " + carol}, 200, ""},
		"another caller's key":               {app, []string{"X-Litellm-Api-Key", dave}, 401, "mismatch"},
		"another caller's in Authorization":  {app, []string{"Authorization", "Bearer " + alice}, 401, "mismatch"},
		"an unknown key":                     {app, []string{"X-Hopgate-Api-Key", "sk-unknown-0123456789"}, 401, "unauthenticated"},
		"something for the server":           {app, []string{"Authorization", "Bearer upstream-token-0123456789"}, 200, ""},
		"names of two callers":               {issued(t, holder{dns: []string{"app.example.com"}, uri: "spiffe://example.com/build"}, ca), nil, 401, "mismatch"},
		"a name of nobody":                   {issued(t, holder{dns: []string{"nobody.example.com"}}, ca), nil, 401, "unauthenticated"},
		"a name of nobody, a key":            {issued(t, holder{dns: []string{"nobody.example.com"}}, ca), []string{"X-Litellm-Api-Key", carol}, 200, ""},
		"the common name only":               {issued(t, holder{common: "app.example.com"}, ca), nil, 401, "unauthenticated"},
		"a wildcard":                         {issued(t, holder{dns: []string{"*.example.com"}}, ca), nil, 401, "unauthenticated"},
		"the name in upper case":             {issued(t, holder{dns: []string{"APP.EXAMPLE.COM"}}, ca), nil, 200, ""},
		"of another CA":                      {issued(t, holder{dns: []string{"app.example.com"}}, issued(t, holder{common: "ca"}, nil)), nil, 0, ""},
		"of another CA, with a good key":     {issued(t, holder{dns: []string{"app.example.com"}}, issued(t, holder{common: "ca"}, nil)), []string{"X-Litellm-Api-Key", carol}, 0, ""},
		"of nobody":                          {issued(t, holder{dns: []string{"app.example.com"}}, nil), nil, 0, ""},
		"that has expired":                   {issued(t, holder{dns: []string{"app.example.com"}, past: true}, ca), nil, 0, ""},
		"the gateway's own name in a header": {nil, []string{"X-Forwarded-Client-Cert", "DNS=app.example.com", "X-Ssl-Client-S-Dn", "CN=app.example.com"}, 401, "unauthenticated"},
	} {
		for _, two := range []bool{false, true} {
			before := len(up.Seen())
			a, err := g.ask(t, as(t, c.cert, two), c.heads...)
			if (err != nil) != (c.status == 0) || a.status != c.status || c.kind != "" && a.header.Get("X-Hopgate-Error") != "hop=client; phase=auth; kind="+c.kind {
				t.Errorf("%s, HTTP/2 %t: %d %q, %v", name, two, a.status, a.header.Get("X-Hopgate-Error"), err)
			}
			if seen := up.Seen()[before:]; (len(seen) > 0) != (c.status == 200) || len(seen) > 0 && beside(seen[0].Header) != "" {
				t.Errorf("%s, HTTP/2 %t: the server saw %+v", name, two, seen)
			}
		}
	}
}

// A certificate is judged with each request: the connection it came with outlives no change of the key that it stands for.
func TestCertificatesAreJudgedWithEachRequest(t *testing.T) {
	g, _, ca, app := certified(t)
	for _, two := range []bool{false, true} {
		c := as(t, issued(t, holder{dns: []string{"app.example.com"}}, ca), two)
		for _, step := range []struct {
			name string
			spec *configv1.ApiKeySpec
			want int
		}{
			{"at first", app, 200},
			{"another name", &configv1.ApiKeySpec{Sha256: app.Sha256, Servers: app.Servers, CertificateName: "other.example.com"}, 401},
			{"again", app, 200},
			{"expired", &configv1.ApiKeySpec{Sha256: app.Sha256, Servers: app.Servers, CertificateName: app.CertificateName, Expires: "2020-01-01T00:00:00Z"}, 401},
			{"no name", &configv1.ApiKeySpec{Sha256: app.Sha256, Servers: app.Servers}, 401},
			{"other servers", &configv1.ApiKeySpec{Sha256: app.Sha256, Servers: []string{"other"}, CertificateName: app.CertificateName}, 404},
			{"and again", app, 200},
		} {
			g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: step.spec}))
			if a, err := g.ask(t, c); err != nil || a.status != step.want {
				t.Errorf("HTTP/2 %t, %s: %d, %v, want %d", two, step.name, a.status, err, step.want)
			}
		}
		now := g.holder.Load()
		gone, _ := now.Apply(confset.Delta{Removals: []confset.Key{{Kind: "apikey", Name: "app"}}}, now.Version().Revision+1, now.Version())
		g.holder.Store(gone)
		if a, err := g.ask(t, c); err != nil || a.status != 401 {
			t.Errorf("HTTP/2 %t, deleted: %d, %v", two, a.status, err)
		}
	}
}

// Each end user that a key speaks for has streams of its own; a key that may not speak for others can't have more by naming them.
func TestStreamsOfEndUsersAreLimited(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		<-r.Context().Done()
	}))
	s := one(up.URL)
	s.limits = &configv1.Limits{StreamsPerPrincipal: 2}
	s.keys = map[string]*configv1.ApiKeySpec{"app": {Sha256: digest(carol), Servers: []string{"up"}, MayAssertEndUser: true}, "plain": {Sha256: digest(dave), Servers: []string{"up"}}}
	g := start(t, s)
	for _, c := range []struct {
		key, user string
		want      int
	}{
		{carol, "ada", 200}, {carol, "ada", 200}, {carol, "ada", 429}, {carol, " ada ", 429}, {carol, "bea", 200}, {carol, "bea", 200}, {carol, "bea", 429}, {carol, "", 200}, {carol, "", 200}, {carol, "", 429},
		{dave, "ada", 200}, {dave, "bea", 200}, {dave, "cleo", 429}, {dave, "", 429},
	} {
		res := g.open(t, http.MethodGet, "/up/mcp", "", "X-Litellm-Api-Key", c.key, "X-Hopgate-End-User-Id", c.user, "Accept", "text/event-stream")
		defer res.Body.Close()
		if res.StatusCode != c.want || c.want == 429 && res.Header.Get("X-Hopgate-Error") != "hop=client; phase=limit; kind=exhausted" {
			t.Errorf("%s for %q: %d %s, want %d", c.key[:8], c.user, res.StatusCode, res.Header.Get("X-Hopgate-Error"), c.want)
		}
	}
}

// A body of any size is refused before it is read when nobody is admitted, and what is packed counts unpacked.
func TestBodiesBeyondTheirLimits(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.limits = &configv1.Limits{Body: "64KiB", Depth: 10}
	g := start(t, s)
	deep := func(n int) string { // arrays within params within the message
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":` + strings.Repeat("[", n-2) + strings.Repeat("]", n-2) + `}}`
	}
	bomb := zipped(strings.Repeat(" ", 16<<20))
	for name, c := range map[string]struct {
		method, body string
		heads        []string
		status       int
		fault        string
	}{
		"as deep as allowed":           {"POST", deep(10), nil, 200, ""},
		"one level deeper":             {"POST", deep(11), nil, 400, "hop=client; phase=request; kind=too_large"},
		"objects one level deeper":     {"POST", strings.NewReplacer("[", `{"a":`, "]", "}").Replace(strings.Replace(deep(11), "[]", "[1]", 1)), nil, 400, "hop=client; phase=request; kind=too_large"},
		"brackets in a string":         {"POST", strings.Replace(list, "{}", `{"x":"`+strings.Repeat("[", 1000)+`"}`, 1), nil, 200, ""},
		"a bomb of 16 MiB":             {"POST", bomb, []string{"Content-Encoding", "gzip"}, 413, "hop=client; phase=limit; kind=too_large"},
		"a bomb of a stranger":         {"POST", bomb, []string{"Content-Encoding", "gzip", "X-Litellm-Api-Key", "sk-unknown-0123456789"}, 401, "hop=client; phase=auth; kind=unauthenticated"},
		"a bomb for nobody":            {"POST", bomb, []string{"Content-Encoding", "gzip", "Content-Type", "text/plain"}, 415, "hop=client; phase=request; kind=unsupported"},
		"a large body of GET":          {"GET", strings.Repeat("x", 100<<10), nil, 413, "hop=client; phase=limit; kind=too_large"},
		"a large body of DELETE":       {"DELETE", strings.Repeat("x", 100<<10), nil, 413, "hop=client; phase=limit; kind=too_large"},
		"a large body of no method":    {"PUT", strings.Repeat("x", 100<<10), nil, 405, "hop=client; phase=request; kind=unsupported"},
		"more than the limit, chunked": {"POST", strings.Repeat(" ", 65<<10), []string{"Transfer-Encoding", "chunked"}, 413, "hop=client; phase=limit; kind=too_large"},
	} {
		a := g.send(t, c.method, "/up/mcp", c.body, with(legacy, c.heads...)...)
		if a.status != c.status || a.header.Get("X-Hopgate-Error") != c.fault {
			t.Errorf("%s: %d %q, want %d %q: %.200s", name, a.status, a.header.Get("X-Hopgate-Error"), c.status, c.fault, a.body)
		}
	}
	if held := g.send(t, http.MethodPost, "/up/mcp", list, legacy...); held.status != 200 {
		t.Errorf("afterwards: %d %s", held.status, held.body)
	}
}

// A caller who doesn't read is let go, and so is the call: answers of every kind, in either version of HTTP.
func TestCallersWhoDontReadAnswersAreLetGo(t *testing.T) {
	left := make(chan struct{}, 1)
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for piece := []byte(`{"jsonrpc":"2.0","id":1,"result":{` + strings.Repeat(" ", 1<<20)); r.Context().Err() == nil; piece = []byte(strings.Repeat(" ", 1<<20)) {
			if _, err := w.Write(piece); err != nil {
				break
			}
		}
		left <- struct{}{}
	}))
	s := one(up.URL)
	s.limits = &configv1.Limits{Result: "1GiB"}
	s.listen.WriteTimeout = time.Second // or the head wouldn't reach a slow client either
	g := start(t, s)
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2c(t)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/up/mcp", strings.NewReader(list))
		fatal(t, err)
		req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}, "Accept": {"application/json"}}
		res, err := client.Do(req)
		fatal(t, err)
		select {
		case <-left:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the answer goes on and on", name)
		}
		res.Body.Close()
	}
}
