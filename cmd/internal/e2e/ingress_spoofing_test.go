//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// Callers who claim to be somebody else.

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
