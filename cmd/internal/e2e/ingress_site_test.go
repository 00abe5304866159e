//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// OAuth behind an ingress: nginx ends TLS and shares requests between two data planes that see nothing but its plain HTTP.

const (
	siteHost   = "mcp.example.com"
	siteOrigin = "https://" + siteHost
	// innerOrigin is what a data plane sees by itself: plain HTTP, and the name that nginx gives its upstreams.
	innerOrigin = "http://localhost"
	// agreement is how long the fleet may take to show a change.
	agreement = time.Second
)

// site is what callers reach: nginx at 443, which hides its upstreams' name, and at 8443, where callers' Host travels on.
type site struct {
	control    *control
	planes     []*proxy
	addr       string // of nginx, for callers
	inner      string // from which nginx calls the data planes
	cert       string // PEM file
	key, plain string // a key with the role debug and one without
}

// caller is somebody with an address of their own.
type caller struct {
	site *site
	addr string
	http *http.Client
}

const siteBlock = `	upstream localhost { server PLANE1 max_fails=0; server PLANE2 max_fails=0; }
	ssl_certificate CERT; ssl_certificate_key CERT;
	proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 1h; proxy_next_upstream off; proxy_bind INNER;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
	proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;
	add_header X-Plane $upstream_addr always;
	server { listen ADDR:443 ssl; location / { proxy_pass http://localhost; } }
	server { listen ADDR:8443 ssl; location / {
		proxy_pass http://localhost; proxy_set_header Host $http_host; proxy_set_header Connection "";
		proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
		proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;
	} }`

// startSite starts everything; nobody has declared an Ingress yet. The server inside is for internal callers only.
func startSite(t *testing.T) *site {
	t.Helper()
	s := &site{control: startControl(t, "control", nil), addr: ownHost(), inner: ownHost()}
	for _, name := range []string{"proxy-1", "proxy-2"} {
		s.planes = append(s.planes, startProxy(t, name, nil, []*control{s.control}, "--region", "eu"))
	}
	s.cert = certificateFor(t, siteHost, s.addr)
	block := strings.NewReplacer("PLANE1", s.planes[0].Listen, "PLANE2", s.planes[1].Listen, "CERT", s.cert, "ADDR", s.addr, "INNER", s.inner).Replace(siteBlock)
	startNginx(t, s.addr+":443", block)
	upstream := demoServer(t)
	s.control.apply(t, server("demo", upstream)+strings.Replace(server("inside", upstream), "\n---", "\n  reachable_from: internal\n---", 1)+unreachableIssuer())
	s.key, s.plain = s.control.key(t, "operator", "*", "--roles", "debug"), s.control.key(t, "caller", "*")
	return s
}

// unreachableIssuer is an issuer that nobody can reach: its documents exist, its tokens don't.
func unreachableIssuer() string {
	return fmt.Sprintf("kind: IdentityProvider\nname: corp\nspec:\n  issuer: http://%s:9000\n  audiences: [\"%s/*\"]\n---\n", ownHost(), siteOrigin)
}

// ingress is the Ingress document of the journeys with these lines of spec.
func ingress(spec ...string) string {
	return "kind: Ingress\nname: eu-public\nspec:\n  regions: [eu]\n  " + strings.Join(spec, "\n  ") + "\n"
}

// trusting are the lines that believe nginx and nobody else.
func (s *site) trusting() []string {
	return []string{"use_forwarded_headers: true", "trusted_proxies: [" + s.inner + "]"}
}

// caller is somebody who knows nginx by its public name.
func (s *site) caller(t *testing.T) *caller {
	t.Helper()
	pem, err := os.ReadFile(s.cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &caller{site: s, addr: ownHost()}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.addr)}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 8,
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(to); err == nil && host == siteHost {
				to = net.JoinHostPort(s.addr, port)
			}
			return dialer.DialContext(ctx, network, to)
		}}
	t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Timeout: 10 * time.Second, Transport: transport}
	return c
}

// ask sends a request, a POST if there is a body, and returns the answer with the data plane that gave it.
func (c *caller) ask(url, key, body string, header ...string) (a answer, plane string, err error) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return a, "", err
	}
	if req.Header.Set("Content-Type", "application/json"); key != "" {
		req.Header.Set("X-Litellm-Api-Key", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return a, "", err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, res.Header.Get("X-Plane"), err
}

// everywhere asks through nginx until both data planes have answered each of the questions, and wants no error of any answer.
func (c *caller) everywhere(questions ...func() (plane string, err error)) error {
	for i, ask := range questions {
		seen := map[string]bool{}
		for n := 0; len(seen) < len(c.site.planes); n++ {
			plane, err := ask()
			if err != nil {
				return fmt.Errorf("%s: %w", plane, err)
			}
			if seen[plane] = true; n > 40 {
				return fmt.Errorf("question %d: only %v answered", i, seen)
			}
		}
	}
	return nil
}

// document asks for one of the documents of OAuth and wants its member to be exactly that.
func (c *caller) document(base, path, member, want string) func() (string, error) {
	return func() (string, error) {
		a, plane, err := c.ask(base+"/.well-known/"+path, "", "")
		if err != nil {
			return plane, err
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(a.Body), &m); err != nil || a.Status != http.StatusOK || m[member] != any(want) {
			return plane, fmt.Errorf("%s of %s isn't %s: status %d %s", member, path, want, a.Status, a.Body)
		}
		return plane, nil
	}
}

var metadataURL = regexp.MustCompile(`^Bearer resource_metadata="([^"]*)"`)

// refused calls without a key and wants to be sent to the metadata of that origin.
func (c *caller) refused(base, want string) func() (string, error) {
	return func() (string, error) {
		a, plane, err := c.ask(base+"/demo/mcp", "", listTools)
		if err != nil {
			return plane, err
		}
		m := metadataURL.FindStringSubmatch(a.Header.Get("WWW-Authenticate"))
		if a.Status != http.StatusUnauthorized || m == nil || m[1] != want+"/.well-known/oauth-protected-resource/demo/mcp" {
			return plane, fmt.Errorf("the metadata isn't at %s: status %d, WWW-Authenticate %q", want, a.Status, a.Header.Get("WWW-Authenticate"))
		}
		return plane, nil
	}
}

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// shows wants both data planes to be known by that origin: issuer, resource and the 401's resource_metadata.
func (c *caller) shows(want string) error { return c.showsAt(siteOrigin, want) }

func (c *caller) showsAt(base, want string) error {
	return c.everywhere(c.document(base, "oauth-authorization-server", "issuer", want), c.document(base, "openid-configuration", "issuer", want),
		c.document(base, "oauth-protected-resource/demo/mcp", "resource", want+"/demo/mcp"), c.document(base, "oauth-protected-resource", "resource", want),
		c.refused(base, want))
}

// whereabouts is the answer of /v1/mcp/network/client-ip.
type whereabouts struct {
	IP          string
	Internal    bool
	Origin      string
	Explanation map[string]any
}

// isSeen asks both data planes where this caller is.
func (c *caller) isSeen(want whereabouts, header ...string) error {
	return c.everywhere(func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/v1/mcp/network/client-ip", c.site.key, "", header...)
		if err != nil {
			return plane, err
		}
		var got whereabouts
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.Status != http.StatusOK {
			return plane, fmt.Errorf("status %d %s", a.Status, a.Body)
		}
		if got.IP != want.IP || got.Internal != want.Internal || got.Origin != want.Origin || got.Explanation == nil {
			return plane, fmt.Errorf("want %+v, got %s", want, a.Body)
		}
		return plane, nil
	})
}

// reaches asks both data planes for the tools of a server; it is there, or it is the same 404 as a server that doesn't exist.
func (c *caller) reaches(name string, want bool, header ...string) error {
	unknown, _, err := c.ask(siteOrigin+"/inxide/mcp", c.site.plain, listTools, header...)
	switch {
	case err != nil:
		return err
	case unknown.Status != http.StatusNotFound:
		return fmt.Errorf("an unknown server: status %d %s", unknown.Status, unknown.Body)
	}
	return c.everywhere(func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/"+name+"/mcp", c.site.plain, listTools, header...)
		switch {
		case err != nil:
		case want && (a.Status != http.StatusOK || !strings.Contains(a.Body, `"name":"echo"`)):
			err = fmt.Errorf("%s isn't there: status %d %s", name, a.Status, a.Body)
		case !want && (a.Status != http.StatusNotFound || nameless(a.Body) != nameless(unknown.Body)):
			err = fmt.Errorf("%s doesn't look like an unknown server: status %d %s\nunknown: %s", name, a.Status, a.Body, unknown.Body)
		}
		return plane, err
	})
}

var names = regexp.MustCompile(`inside|inxide|"trace_id":"[^"]*"`)

func nameless(body string) string { return names.ReplaceAllString(body, "") }
