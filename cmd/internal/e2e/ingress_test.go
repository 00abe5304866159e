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
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// handbook returns the only line of the chapter on trust that begins like that.
func handbook(t *testing.T, begin string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "handbook", "trust.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^"+regexp.QuoteMeta(begin)+".*$").FindAllString(string(b), -1)
	if len(m) != 1 {
		t.Fatalf("the handbook has %d lines %q", len(m), begin)
	}
	return m[0]
}

// diagnose runs the handbook's diagnosis as it stands, with curl and jq, once for each data plane, and returns what it prints.
func (s *site) diagnose(t *testing.T) string {
	t.Helper()
	debian(t, "jq")
	dir := t.TempDir()
	rc := fmt.Sprintf("cacert = %q\nresolve = \"%s:443:%s\"\n", s.cert, siteHost, s.addr) // what DNS and the system's CAs are to others
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	line := handbook(t, "curl -s https://"+siteHost)
	out := ""
	for range s.planes {
		out += must(t, 10*time.Second, program{Name: "shell", Args: []string{debian(t, "bash"), "-c", line}, Env: []string{"CURL_HOME=" + dir}}, "")
	}
	return out
}

// changes applies an Ingress and returns once both data planes show the origin, which has to be within a second, and go on showing it when
// they have answered the change.
func (c *caller) changes(t *testing.T, what, yaml, origin string) {
	t.Helper()
	if res := c.site.control.command(t, yaml, nil, "apply", "-f", "-"); res.Code != 0 {
		t.Fatalf("apply:\n%s\n%v", yaml, res)
	}
	began := time.Now()
	eventually(t, agreement, what+": both data planes show "+origin, func() error { return c.shows(origin) })
	t.Logf("%-34s %s on both data planes after %s", what, origin, time.Since(began).Round(time.Millisecond))
	c.site.control.settled(t)
	if err := c.shows(origin); err != nil {
		t.Errorf("%s: once the change is answered: %v", what, err)
	}
	if got, want := c.site.diagnose(t), strings.Repeat(fmt.Sprintf("%q\n", origin), len(c.site.planes)); got != want {
		t.Errorf("%s: the handbook's diagnosis prints\n%swant\n%s", what, got, want)
	}
}

func TestIngressGuideFromTheSymptomToBothFixes(t *testing.T) {
	s := startSite(t)
	c := s.caller(t)
	untold := whereabouts{Origin: innerOrigin} // nginx speaks for others and nobody said that it may: the caller is unknown

	t.Logf("the symptom: %s", s.diagnose(t))
	if err := c.shows(innerOrigin); err != nil {
		t.Errorf("without an Ingress: %v", err)
	}
	if err := c.isSeen(untold); err != nil {
		t.Errorf("without an Ingress: %v", err)
	}
	if a, _, err := c.ask(siteOrigin+":8443/.well-known/oauth-authorization-server", "", ""); err != nil || a.Status != http.StatusForbidden || !strings.Contains(a.Body, siteHost) {
		t.Errorf("a public name that nobody declared must be refused on loopback: %v, status %d %s", err, a.Status, a.Body)
	}

	c.changes(t, "an Ingress of another region", strings.Replace(ingress("public_origins: ["+siteOrigin+"]"), "[eu]", "[us]", 1), innerOrigin)
	c.changes(t, "first fix: a declared origin", ingress("public_origins: ["+siteOrigin+"]"), siteOrigin)
	if err := c.isSeen(whereabouts{Origin: siteOrigin}); err != nil {
		t.Errorf("a declared origin tells nothing about callers: %v", err)
	}
	c.changes(t, "of several, the one asked for", ingress("public_origins: [https://other.example.com, "+siteOrigin+":8443]"), "https://other.example.com")
	if err := c.showsAt(siteOrigin+":8443", siteOrigin+":8443"); err != nil {
		t.Errorf("of several origins, the one that the Host header names: %v", err)
	}

	c.changes(t, "second fix: trusted ranges", ingress(s.trusting()...), siteOrigin)
	if err := c.isSeen(whereabouts{IP: c.addr, Internal: true, Origin: siteOrigin}); err != nil {
		t.Errorf("with trusted ranges: %v", err)
	}
	s.warned(t, 0, "x-forwarded-*")

	c.changes(t, "the switch without ranges", ingress("use_forwarded_headers: true"), innerOrigin)
	if err := c.isSeen(untold); err != nil {
		t.Errorf("the switch without ranges: %v", err)
	}
	s.warned(t, 2, "no: no proxy is trusted")
	c.changes(t, "ranges without the switch", ingress("trusted_proxies: ["+s.inner+"]"), innerOrigin)
	if err := c.isSeen(untold); err != nil {
		t.Errorf("ranges without the switch: %v", err)
	}
	c.changes(t, "ranges of somebody else", ingress("use_forwarded_headers: true", "trusted_proxies: ["+c.addr+", 10.0.0.0/8]"), innerOrigin)
	c.changes(t, "both fixes together", ingress(append(s.trusting(), "public_origins: ["+siteOrigin+"]")...), siteOrigin)
}

// warned checks how many data planes warn about the Ingress, by both forms of hopgate get.
func (s *site) warned(t *testing.T, want int, table string) {
	t.Helper()
	eventually(t, 5*time.Second, "the object says what data planes think of it", func() error {
		res := s.control.command(t, "", nil, "get", "ingresses", "-o", "yaml")
		warned := strings.Contains(res.Out, fmt.Sprintf("warned: %d\n", want)) && strings.Contains(res.Out, "field: spec.use_forwarded_headers") &&
			strings.Contains(res.Out, "headers are ignored until trusted_proxies names your proxies")
		if res.Code != 0 || want > 0 && !warned || want == 0 && (strings.Contains(res.Out, "warned:") || !strings.Contains(res.Out, "applied: 2\n")) {
			return fmt.Errorf("%v", res)
		}
		return nil
	})
	if res := s.control.command(t, "", nil, "get", "ingresses"); res.Code != 0 || !strings.Contains(res.Out, table) {
		t.Errorf("hopgate get ingresses doesn't say %q: %v", table, res)
	}
}

// send writes to the REST API as a script would: an etag if there is one goes along as If-Match.
func (c *control) send(method, path, etag, body string) (a answer, err error) {
	req, err := http.NewRequest(method, "http://"+c.Admin+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	res, err := quick.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// sighting is what one request of the load showed.
type sighting struct {
	began, ended time.Time
	plane        string
	trusted      bool
	err          error
}

var debugOrigin = regexp.MustCompile(`^origin=(\S+) \(.+\); client=(\S+) \(.+\); (internal|external)$`)

// sight makes the n-th request of a load. Its answer has to be one of two pictures: nginx is believed in everything or in nothing.
func (c *caller) sight(n int) (s sighting) {
	ask := []func() (answer, string, error){
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/.well-known/oauth-protected-resource/demo/mcp", "", "")
		},
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/demo/mcp", c.site.key, listTools, "X-Litellm-Mcp-Debug", "true")
		},
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/inside/mcp", c.site.key, listTools, "X-Litellm-Mcp-Debug", "true")
		},
	}[n%3]
	var a answer
	s.began = time.Now()
	a, s.plane, s.err = ask()
	if s.ended = time.Now(); s.err == nil {
		s.trusted, s.err = c.picture(n%3, a)
	}
	return s
}

// picture says which of the two pictures an answer is of.
func (c *caller) picture(kind int, a answer) (trusted bool, err error) {
	there := a.Status == http.StatusOK && (kind == 0 || strings.Contains(a.Body, `"name":"echo"`))
	debug := debugOrigin.FindStringSubmatch(a.Header.Get("X-Mcp-Debug-Origin"))
	shows := func(parts ...string) bool { return len(debug) > 0 && slices.Equal(debug[1:], parts) }
	switch {
	case kind == 0 && there && strings.Contains(a.Body, `"resource":"`+siteOrigin+`/demo/mcp"`):
		return true, nil
	case kind == 0 && there && strings.Contains(a.Body, `"resource":"`+innerOrigin+`/demo/mcp"`):
		return false, nil
	case kind > 0 && there && shows(siteOrigin, c.addr, "internal"):
		return true, nil
	case kind > 0 && there == (kind == 1) && (there || a.Status == http.StatusNotFound) && shows(innerOrigin, "unknown", "external"):
		return false, nil
	}
	return false, fmt.Errorf("neither picture: status %d, origin %q, %s", a.Status, a.Header.Get("X-Mcp-Debug-Origin"), a.Body)
}

// load is requests of some workers until it is stopped.
type load struct {
	end   func()
	wg    sync.WaitGroup
	count atomic.Int64
	seen  [4][]sighting
}

func startLoad(t *testing.T, c *caller) *load {
	stop := make(chan struct{})
	l := new(load)
	l.end = sync.OnceFunc(func() {
		close(stop)
		l.wg.Wait()
	})
	t.Cleanup(l.end)
	for w := range l.seen {
		l.wg.Go(func() {
			for n := w; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				l.seen[w] = append(l.seen[w], c.sight(n))
				l.count.Add(1)
			}
		})
	}
	return l
}

// more waits until the load has answered so many more requests.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.count.Load() + n
	eventually(t, 20*time.Second, "the load goes on", func() error {
		if now := l.count.Load(); now < want {
			return fmt.Errorf("%d of %d", now, want)
		}
		return nil
	})
}

// calm is a time in which both data planes had agreed and nothing was changed.
type calm struct {
	from, to time.Time
	trusted  bool
}

func TestIngressRangesChangeLiveWhileRequestsRun(t *testing.T) {
	s := startSite(t)
	c := s.caller(t)
	c.changes(t, "trusted ranges", ingress(s.trusting()...), siteOrigin)
	began := time.Now()
	l := startLoad(t, c)
	lasting := make(chan error, 1)
	go func() {
		a, _, err := c.ask(siteOrigin+"/demo/mcp", s.key, toolCall("slow", map[string]any{"seconds": 2}))
		if err == nil && (a.Status != http.StatusOK || !strings.Contains(a.Body, `"result"`)) {
			err = fmt.Errorf("status %d %s", a.Status, a.Body)
		}
		lasting <- err
	}()

	spec := func(forwarded bool, proxy string) string {
		return fmt.Sprintf(`{"spec":{"regions":["eu"],"use_forwarded_headers":%t,"trusted_proxies":[%q]}}`, forwarded, proxy)
	}
	var quiet []calm
	var worst time.Duration
	before := ""
	for _, change := range []struct {
		method, mask, body string
		trusted            bool
	}{
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{"trusted_proxies":["10.0.0.0/8"]}}`, false},
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{"trusted_proxies":["` + s.inner + `"]}}`, true},
		{http.MethodPut, "", spec(false, s.inner), false},
		{http.MethodPut, "", spec(true, s.inner+"/32"), true},
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{}}`, false},
		{http.MethodPut, "", spec(true, "127.83.0.0/16"), true},
		{http.MethodDelete, "", "", false},
		{http.MethodPut, "", spec(true, s.inner), true},
	} {
		settled := time.Now()
		l.more(t, 200)
		quiet = append(quiet, calm{settled, time.Now(), !change.trusted})
		before = s.rewrite(t, change.method, change.mask, change.body, before)
		committed := time.Now()
		want := map[bool]string{true: siteOrigin, false: innerOrigin}[change.trusted]
		eventually(t, agreement, change.method+" "+change.body+": both data planes show "+want, func() error { return c.shows(want) })
		worst = max(worst, time.Since(committed))
	}
	quiet = append(quiet, calm{time.Now(), time.Now().Add(time.Hour), true})
	l.more(t, 200)
	l.end()
	l.judge(t, quiet)
	t.Logf("%d requests in %s, 8 changes, both data planes agreed %s after the API's answer at the latest", l.count.Load(), time.Since(began).Round(time.Millisecond), worst.Round(time.Millisecond))
	if err := <-lasting; err != nil {
		t.Errorf("a call that lasted through the changes: %v", err)
	}
}

// rewrite changes the Ingress by the REST API under the etag of what is there, which it returns; first it tries a stale one, in vain.
func (s *site) rewrite(t *testing.T, method, query, body, stale string) (etag string) {
	t.Helper()
	const path = "/v1/ingresses/eu-public"
	was, err := s.control.send(http.MethodGet, path, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if stale != "" && was.Status == http.StatusOK {
		if a, err := s.control.send(method, path+query, stale, body); err != nil || a.Status != http.StatusPreconditionFailed {
			t.Errorf("%s with an etag of before: %v, status %d %s", method, err, a.Status, a.Body)
		}
	}
	a, err := s.control.send(method, path+query, was.Header.Get("ETag"), body)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %v, status %d %s", method, err, a.Status, a.Body)
	}
	return was.Header.Get("ETag")
}

// judge wants no request to have failed, both data planes to have shown both pictures, and while both had agreed the one picture only.
func (l *load) judge(t *testing.T, quiet []calm) {
	t.Helper()
	seen, failed, late := map[string]int{}, 0, 0
	for _, s := range slices.Concat(l.seen[:]...) {
		if s.err != nil {
			if failed++; failed <= 3 {
				t.Errorf("%s: %v", s.plane, s.err)
			}
			continue
		}
		seen[fmt.Sprintf("%s trusted=%t", s.plane, s.trusted)]++
		for _, p := range quiet {
			if s.began.After(p.from) && s.ended.Before(p.to) && s.trusted != p.trusted {
				late++
			}
		}
	}
	t.Logf("pictures: %v", seen)
	if failed > 0 || late > 0 || len(seen) != 4 {
		t.Errorf("%d requests failed, %d showed what was over, pictures %v", failed, late, seen)
	}
}

// forgeries are what a caller sends who wants to look like somebody inside, or to have the documents name another host.
func forgeries(c *caller) map[string][]string {
	const inside = "10.0.0.1"
	return map[string][]string{
		"nothing":                {},
		"an internal address":    {"X-Forwarded-For", inside},
		"the proxy's address":    {"X-Forwarded-For", inside + ", " + c.site.inner},
		"several lines":          {"X-Forwarded-For", inside, "X-Forwarded-For", "127.0.0.1", "X-Forwarded-For", "unknown"},
		"mapped and with a port": {"X-Forwarded-For", "[::ffff:10.0.0.1]:80"},
		"another host":           {"X-Forwarded-Host", "evil.example", "X-Forwarded-Port", "8443", "X-Forwarded-Proto", "http"},
		"rfc 7239":               {"Forwarded", "for=" + inside + ";host=evil.example;proto=http"},
		"everything":             {"X-Forwarded-For", inside, "X-Forwarded-Host", "evil.example", "Forwarded", "for=" + inside + ";host=evil.example", "X-Real-Ip", inside},
		"names nobody reads":     {"X-Real-Ip", inside, "X-Client-Ip", inside, "True-Client-Ip", inside, "X-Original-Host", "evil.example", "Via", "1.1 " + inside},
		"more about hosts":       {"X-Forwarded-Prefix", "/evil", "X-Forwarded-Server", "evil.example", "X-Original-Url", "/inside/mcp"},
	}
}

func TestIngressSpoofedHeadersMakeNobodyInternal(t *testing.T) {
	s := startSite(t)
	c, other := s.caller(t), s.caller(t)
	check := func(what string, want whereabouts, inside bool) {
		t.Helper()
		for name, header := range forgeries(c) {
			if err := c.isSeen(want, header...); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
			if err := c.reaches("inside", inside, header...); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	check("no Ingress", whereabouts{Origin: innerOrigin}, false)
	c.changes(t, "internal without the caller", ingress(append(s.trusting(), "internal_ranges: [10.0.0.0/8, "+s.inner+"]")...), siteOrigin)
	check("internal without the caller", whereabouts{IP: c.addr, Origin: siteOrigin}, false)
	if err := c.reaches("demo", true, "X-Forwarded-For", "10.0.0.1"); err != nil {
		t.Errorf("a server for everybody: %v", err)
	}
	c.changes(t, "internal with the caller", ingress(append(s.trusting(), "internal_ranges: ["+c.addr+"]")...), siteOrigin)
	check("internal with the caller", whereabouts{IP: c.addr, Internal: true, Origin: siteOrigin}, true)
	for name, header := range map[string][]string{"nothing": nil, "the caller's address": {"X-Forwarded-For", c.addr}, "the same in rfc 7239": {"Forwarded", "for=" + c.addr}} {
		if err := other.reaches("inside", false, header...); err != nil {
			t.Errorf("somebody else with %s: %v", name, err)
		}
	}
	s.besides(t, c, other)

	// nginx passes Forwarded on as it came, so naming it is a mistake; one that opens nothing, as the two headers disagree.
	c.changes(t, "forwarded named by mistake", ingress(append(s.trusting(), "internal_ranges: [10.0.0.0/8]", "forwarded_headers: [x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, forwarded]")...), siteOrigin)
	forged := []string{"Forwarded", "for=10.0.0.1;host=evil.example;proto=https"}
	if err := c.isSeen(whereabouts{Origin: innerOrigin}, forged...); err != nil {
		t.Errorf("forwarded and x-forwarded-for disagree: %v", err)
	}
	if err := c.reaches("inside", false, forged...); err != nil {
		t.Errorf("forwarded and x-forwarded-for disagree: %v", err)
	}
}

// besides calls the data planes directly, as the internal caller: whoever isn't nginx isn't believed, whatever it claims.
func (s *site) besides(t *testing.T, internal, stranger *caller) {
	t.Helper()
	for _, p := range s.planes {
		for _, x := range []struct {
			who    *caller
			header []string
			want   int
		}{
			{internal, nil, http.StatusOK}, {stranger, nil, http.StatusNotFound},
			{stranger, []string{"X-Forwarded-For", internal.addr, "X-Forwarded-Host", siteHost, "X-Forwarded-Proto", "https"}, http.StatusNotFound},
		} {
			a, _, err := x.who.ask("http://"+p.Listen+"/inside/mcp", s.key, listTools, append(x.header, "X-Litellm-Mcp-Debug", "true")...)
			if err != nil || a.Status != x.want || !strings.HasPrefix(a.Header.Get("X-Mcp-Debug-Origin"), "origin=http://"+p.Listen+" ") {
				t.Errorf("%s directly with %v: %v, status %d, origin %q", x.who.addr, x.header, err, a.Status, a.Header.Get("X-Mcp-Debug-Origin"))
			}
		}
	}
}

func TestIngressIsExplainedTheSameByHeaderPlaneAndCommand(t *testing.T) {
	s := startSite(t)
	c := s.caller(t)
	s.explained(t, c, "no Ingress", innerOrigin, "unknown", "external")
	c.changes(t, "trusted ranges", ingress(s.trusting()...), siteOrigin)
	s.explained(t, c, "trusted ranges", siteOrigin, c.addr, "internal")
	c.changes(t, "the switch without ranges", ingress("use_forwarded_headers: true"), innerOrigin)
	s.explained(t, c, "the switch without ranges", innerOrigin, "unknown", "external")
	c.changes(t, "both fixes", ingress(append(s.trusting(), "public_origins: ["+siteOrigin+"]", "internal_ranges: [10.0.0.0/8]")...), siteOrigin)
	s.explained(t, c, "both fixes", siteOrigin, c.addr, "external")
}

// explained wants the header, the data planes and both forms of hopgate explain origin to say the same.
func (s *site) explained(t *testing.T, c *caller, what string, want ...string) {
	t.Helper()
	err := c.everywhere(func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/demo/mcp", s.key, listTools, "X-Litellm-Mcp-Debug", "true")
		if m := debugOrigin.FindStringSubmatch(a.Header.Get("X-Mcp-Debug-Origin")); err == nil && (len(m) == 0 || !slices.Equal(m[1:], want)) {
			err = fmt.Errorf("x-mcp-debug-origin %q, want %v", a.Header.Get("X-Mcp-Debug-Origin"), want)
		}
		return plane, err
	}, func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/demo/mcp", s.plain, listTools, "X-Litellm-Mcp-Debug", "true")
		if _, there := a.Header["X-Mcp-Debug-Origin"]; err == nil && (there || a.Header.Get("X-Mcp-Debug-Hops") == "") {
			err = fmt.Errorf("headers for a key without the role debug: %v", a.Header)
		}
		return plane, err
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	s.explainedByCommand(t, what, want)
}

// explainedByCommand asks a data plane by hopgate explain origin --url, and then what it would make of what nginx must have sent it.
func (s *site) explainedByCommand(t *testing.T, what string, want []string) {
	t.Helper()
	const self = "127.0.0.1" // from where the command calls
	var asked whereabouts
	res := s.control.command(t, "", nil, "explain", "origin", "--url", "https://"+s.addr, "--ca", s.cert, "--api-key", s.key)
	if err := json.Unmarshal([]byte(res.Out), &asked); err != nil || res.Code != 0 {
		t.Fatalf("%s: %v %v", what, err, res)
	}
	made := []string{"explain", "origin", "--peer", s.inner, "--host", "localhost", "--region", "eu", "--header", "X-Forwarded-For: " + self,
		"--header", "X-Forwarded-Proto: https", "--header", "X-Forwarded-Host: " + s.addr, "--header", "X-Forwarded-Port: 443"}
	var computed struct{ Explanation map[string]any }
	res = s.control.command(t, "", nil, append(made, "-o", "json")...)
	if err := json.Unmarshal([]byte(res.Out), &computed); err != nil || res.Code != 0 {
		t.Fatalf("%s: %v %v", what, err, res)
	}
	if !reflect.DeepEqual(asked.Explanation, computed.Explanation) {
		t.Errorf("%s: a data plane says\n%v\nthe command\n%v", what, asked.Explanation, computed.Explanation)
	}
	origin, client := want[0], want[1]
	if client != "unknown" {
		client = self
	}
	if origin == siteOrigin && asked.Explanation["origin_by"] != "the public_origins of the ingress" {
		origin = "https://" + s.addr // by which the command calls
	}
	e := asked.Explanation
	if e["origin"] != any(origin) || e["client"] != any(client) || e["internal"] != any(want[2] == "internal") || asked.Origin != origin {
		t.Errorf("%s: want %s %s %s, got %+v", what, origin, client, want[2], asked)
	}
	text := s.control.command(t, "", nil, made...).Out
	for _, line := range []string{"origin   " + origin + ": ", "client   " + client + ": "} {
		if !strings.Contains(text, line) {
			t.Errorf("%s: no %q in\n%s", what, line, text)
		}
	}
	t.Logf("%s:\n%s", what, text)
}

// One process: PROXY_BASE_URL declares the origin, until an Ingress says otherwise.
func TestIngressIsNotNeededWithProxyBaseURL(t *testing.T) {
	host, file := ownHost(), filepath.Join(t.TempDir(), "corp.yaml")
	if err := os.WriteFile(file, []byte(unreachableIssuer()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{hopgate(t), "up", "--listen", host + ":4000", "--admin", host + ":4001", "-f", file, "--data-dir", filepath.Join(t.TempDir(), "data"), "--drain-timeout", "2s"}
	for _, bad := range []string{siteOrigin + "/", siteOrigin + "/mcp", siteHost, "ftp://" + siteHost} {
		res := run(t, 10*time.Second, program{Name: "up", Args: args, Env: []string{"PROXY_BASE_URL=" + bad}}, "")
		if res.Code != 2 || !strings.Contains(res.Err, "PROXY_BASE_URL") {
			t.Errorf("PROXY_BASE_URL=%s: %v", bad, res)
		}
	}
	up := start(t, program{Name: "up", Clean: true, Args: args, Env: []string{"HOPGATE_MASTER_KEY=" + masterKey, "PROXY_BASE_URL=" + siteOrigin}})
	c := &control{running: up, Admin: host + ":4001"}
	c.wait(t)
	shows := func(want, how string) error {
		line := strings.Replace(handbook(t, "curl -s https://"+siteHost), "https://"+siteHost, "http://"+host+":4000", 1)
		if res := shell(t, line); res.Out != fmt.Sprintf("%q\n", want) {
			return fmt.Errorf("want %s: %v", want, res)
		}
		refused, err := post("http://"+host+":4000/demo/mcp", "", listTools)
		if err != nil {
			return err
		}
		if m := metadataURL.FindStringSubmatch(refused.Header.Get("WWW-Authenticate")); len(m) == 0 || m[1] != want+"/.well-known/oauth-protected-resource/demo/mcp" {
			return fmt.Errorf("want %s: status %d, %v", want, refused.Status, refused.Header)
		}
		a, err := post("http://"+host+":4000/demo/mcp", masterKey, listTools, "X-Litellm-Mcp-Debug", "true")
		if err != nil {
			return err
		}
		if got := a.Header.Get("X-Mcp-Debug-Origin"); !strings.HasPrefix(got, "origin="+want+" ("+how+")") {
			return fmt.Errorf("want %s (%s): x-mcp-debug-origin %q", want, how, got)
		}
		return nil
	}
	eventually(t, 10*time.Second, "the origin of PROXY_BASE_URL", func() error { return shows(siteOrigin, "the public origin that this process was started with") })
	c.apply(t, strings.Replace(ingress("public_origins: [https://tools.example.com]"), "[eu]", "[local]", 1))
	eventually(t, agreement, "the origin of the Ingress", func() error { return shows("https://tools.example.com", "the public_origins of the ingress") })
}
