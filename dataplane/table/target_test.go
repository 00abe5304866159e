package table_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestTargetOfAURL(t *testing.T) {
	for _, c := range []struct {
		url                                                  string
		scheme, host, addr, hostname, path, origin, settings string
		port                                                 int
	}{
		{"http://h", "http", "h", "h:80", "h", "/", "http://h", "", 80},
		{"https://H.Example.com/mcp", "https", "h.example.com", "h.example.com:443", "h.example.com", "/mcp", "https://h.example.com", "h.example.com", 443},
		{"HTTP://h:8080/a%2Fb//c/../d?x=%20&y=+&&", "http", "h:8080", "h:8080", "h", "/a%2Fb//c/../d?x=%20&y=+&&", "http://h:8080", "", 8080},
		{"https://h:443?q", "https", "h", "h:443", "h", "/?q", "https://h", "h", 443},
		{"http://h:443/", "http", "h:443", "h:443", "h", "/", "http://h:443", "", 443},
		{"https://[2001:DB8::1]:8443/mcp", "https", "[2001:db8::1]:8443", "[2001:db8::1]:8443", "2001:db8::1", "/mcp", "https://[2001:db8::1]:8443", "2001:db8::1", 8443},
		{"http://[::1]/", "http", "[::1]", "[::1]:80", "::1", "/", "http://[::1]", "", 80},
		{"http://127.0.0.1:3001/mcp", "http", "127.0.0.1:3001", "127.0.0.1:3001", "127.0.0.1", "/mcp", "http://127.0.0.1:3001", "", 3001},
	} {
		tab, outs := apply(empty(), server(t, "a", spec(at(c.url))))
		a, ok := tab.Server("a")
		if !ok {
			t.Errorf("%s: %q", c.url, outs)
			continue
		}
		g := a.Target
		if g.Scheme != c.scheme || g.Host != c.host || g.Addr != c.addr || g.Hostname != c.hostname || g.Path != c.path || g.Origin != c.origin || g.Port != c.port {
			t.Errorf("%s: %+v", c.url, *g)
		}
		switch {
		case c.settings == "" && g.TLS != nil:
			t.Errorf("%s: TLS for http", c.url)
		case c.settings != "" && (g.TLS == nil || g.TLS.ServerName != c.settings || g.TLS.MinVersion != tls.VersionTLS12 || !slices.Equal(g.TLS.NextProtos, []string{"http/1.1"}) || g.TLS.RootCAs != nil):
			t.Errorf("%s: TLS %+v", c.url, g.TLS)
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for url, problem := range map[string]string{
		"":                        "not an absolute",
		"h/path":                  "not an absolute",
		"ftp://h/":                "not an absolute",
		"http://":                 "no valid host",
		"http:///path":            "no valid host",
		"http://u:hunter2@h/":     "user information",
		"http://h/#f":             "fragment",
		"http://h/hunter2 x":      "space",
		"http://h/a\r\nX: y":      "control",
		"http://bücher.de/":       "non-ASCII",
		"http://h:0/":             "no valid port",
		"http://h:65536/":         "no valid port",
		"http://h:x/":             "no valid port",
		"http://h:+8/":            "no valid port",
		"http://[::1/":            "no valid host",
		"http://[127.0.0.1]/":     "no valid host",
		"http://[::1]x/":          "no valid host",
		"http://::1/":             "no valid host",
		"http://a%62c/":           "no valid host",
		"http://h\\evil.example/": "no valid host",
	} {
		_, outs := apply(empty(), server(t, "a", spec(at(url))))
		if len(outs) != 1 || !strings.HasPrefix(outs[0], "server/a rejected spec.endpoints[0].url: ") || strings.Contains(outs[0], "hunter2") {
			t.Errorf("%q: outcomes %q", url, outs)
		} else if !strings.Contains(outs[0], problem) && url != "http://::1/" {
			t.Errorf("%q: %q doesn't say %q", url, outs[0], problem)
		}
	}
}

func TestTheEndpointOfTheRegionIsChosen(t *testing.T) {
	eu, us, any := at("http://eu/", "us2", "eu"), at("http://us/", "us"), at("http://any/")
	for name, c := range map[string]struct {
		endpoints []*configv1.Endpoint
		host      string // empty: none
	}{
		"own region":       {[]*configv1.Endpoint{any, us, eu}, "eu"},
		"without regions":  {[]*configv1.Endpoint{us, any}, "any"},
		"another's region": {[]*configv1.Endpoint{us}, ""},
	} {
		tab, outs := apply(empty(), server(t, "a", spec(c.endpoints...)))
		a, ok := tab.Server("a")
		if !ok || len(outs) > 0 {
			t.Fatalf("%s: %q", name, outs)
		}
		host := ""
		if a.Target != nil {
			host = a.Target.Host
		}
		if host != c.host {
			t.Errorf("%s: goes to %q, want %q", name, host, c.host)
		}
	}
}

func TestConnectionsAreSharedOnlyWithEqualTLSSettings(t *testing.T) {
	up := httptest.NewTLSServer(nil)
	defer up.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}))
	target := func(url string, m *configv1.UpstreamTLS) *table.Target {
		s := spec(at(url))
		s.Tls = m
		tab, outs := apply(empty(), server(t, "a", s))
		a, ok := tab.Server("a")
		if !ok {
			t.Fatal(outs)
		}
		return a.Target
	}
	plain := target("https://h/one", nil)
	if same := target("https://h:443/two", &configv1.UpstreamTLS{}); same.Key != plain.Key {
		t.Errorf("keys %q and %q", plain.Key, same.Key)
	}
	own := target("https://h/", &configv1.UpstreamTLS{CaPem: ca, ServerName: "other"})
	if own.TLS.RootCAs == nil || own.TLS.ServerName != "other" {
		t.Errorf("TLS %+v", own.TLS)
	}
	keys := []string{plain.Key, own.Key, target("https://h/", &configv1.UpstreamTLS{CaPem: ca}).Key, target("https://h/", &configv1.UpstreamTLS{ServerName: "other"}).Key,
		target("http://h:443/", nil).Key, target("https://h:444/", nil).Key}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 6 {
		t.Errorf("keys %q", keys)
	}
	bad := spec(at("https://h/"))
	bad.Tls = &configv1.UpstreamTLS{CaPem: "nonsense"}
	if _, outs := apply(empty(), server(t, "a", bad)); len(outs) != 1 || !strings.Contains(outs[0], "spec.tls.ca_pem") {
		t.Errorf("outcomes %q", outs)
	}
}

func TestSecretsInAURLAreMasked(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", spec(at("https://h/mcp?api_key=hunter2"))))
	a, _ := tab.Server("a")
	if strings.Contains(a.Target.Masked, "hunter2") || !strings.HasPrefix(a.Target.Masked, "https://h/mcp") {
		t.Errorf("masked %q", a.Target.Masked)
	}
}
