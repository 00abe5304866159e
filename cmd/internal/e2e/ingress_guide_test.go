//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The handbook's guide: from the symptom to both ways to mend it.

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
		out += must(t, time.Minute, program{Name: "shell", Args: []string{debian(t, "bash"), "-c", line}, Env: []string{"CURL_HOME=" + dir}}, "")
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
	eventually(t, shown, "the object says what data planes think of it", func() error {
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

// One process: PROXY_BASE_URL declares the origin, until an Ingress says otherwise.
func TestIngressIsNotNeededWithProxyBaseURL(t *testing.T) {
	host, file := ownHost(), filepath.Join(t.TempDir(), "corp.yaml")
	if err := os.WriteFile(file, []byte(unreachableIssuer()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{hopgate(t), "up", "--listen", host + ":4000", "--admin", host + ":4001", "-f", file, "--data-dir", filepath.Join(t.TempDir(), "data"), "--drain-timeout", "2s"}
	for _, bad := range []string{siteOrigin + "/", siteOrigin + "/mcp", siteHost, "ftp://" + siteHost} {
		res := run(t, time.Minute, program{Name: "up", Args: args, Env: []string{"PROXY_BASE_URL=" + bad}}, "")
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
	eventually(t, shown, "the origin of PROXY_BASE_URL", func() error { return shows(siteOrigin, "the public origin that this process was started with") })
	c.apply(t, strings.Replace(ingress("public_origins: [https://tools.example.com]"), "[eu]", "[local]", 1))
	eventually(t, agreement, "the origin of the Ingress", func() error { return shows("https://tools.example.com", "the public_origins of the ingress") })
}
