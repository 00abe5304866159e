package origin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

var (
	loopback  = origin.Listener{Loopback: true}
	known     = origin.Listener{Loopback: true, Public: []string{"https://mcp.example.com", "http://gw.example.com:8080"}}
	open      = origin.Listener{}
	published = origin.Listener{Public: []string{"https://mcp.example.com"}}
	anonymous = origin.Listener{Loopback: true, Anonymous: true, Public: []string{"https://mcp.example.com"}}
)

// check asks the listener about a direct caller, where no ingress is configured.
func check(l *origin.Listener, host string, h http.Header) error {
	in := &origin.Request{Remote: "192.0.2.1:5000", Host: host, Header: h}
	ing := new(table.Ingress)
	f := l.Settle(in, ing)
	return l.Check(in, &f, ing)
}

func TestWhichHostsAndOriginsPass(t *testing.T) {
	for _, c := range []struct {
		name     string
		listener origin.Listener
		host     string
		origins  []string
		ok       bool
	}{
		{"loopback by name", loopback, "localhost:4000", nil, true},
		{"loopback by name in capitals", loopback, "LocalHost", nil, true},
		{"loopback by address", loopback, "127.0.0.1:4000", nil, true},
		{"loopback by another address of it", loopback, "127.8.8.8", nil, true},
		{"loopback by IPv6", loopback, "[::1]:4000", nil, true},
		{"loopback by IPv6 without a port", loopback, "[::1]", nil, true},
		{"loopback by mapped IPv4", loopback, "[::ffff:127.0.0.1]:4000", nil, true},
		{"rebound name", loopback, "evil.example:4000", nil, false},
		{"name that begins like an address", loopback, "127.0.0.1.evil.example", nil, false},
		{"name that ends like localhost", loopback, "notlocalhost", nil, false},
		{"localhost as a user", loopback, "localhost@evil.example", nil, false},
		{"port that isn't one", loopback, "localhost:evil", nil, false},
		{"empty port", loopback, "localhost:", nil, false},
		{"zone", loopback, "[::1%25eth0]:4000", nil, false},
		{"unclosed bracket", loopback, "[::1", nil, false},
		{"any address", loopback, "0.0.0.0:4000", nil, false},
		{"private address", loopback, "10.0.0.1:4000", nil, false},
		{"no host", loopback, "", nil, false},

		{"page of this machine", loopback, "localhost:4000", []string{"http://localhost:6274"}, true},
		{"page of this machine by IPv6", loopback, "localhost:4000", []string{"http://[::1]:6274"}, true},
		{"foreign page", loopback, "localhost:4000", []string{"https://evil.example"}, false},
		{"opaque origin", loopback, "localhost:4000", []string{"null"}, false},
		{"empty origin", loopback, "localhost:4000", []string{""}, false},
		{"file", loopback, "localhost:4000", []string{"file://localhost"}, false},
		{"origin with a path", loopback, "localhost:4000", []string{"http://localhost/x"}, false},
		{"origin with a user", loopback, "localhost:4000", []string{"http://evil.example@localhost"}, false},
		{"two origins", loopback, "localhost:4000", []string{"http://localhost", "http://localhost"}, false},

		{"public host", known, "mcp.example.com", nil, true},
		{"public host with its own port", known, "MCP.example.com:443", nil, true},
		{"public host on another port", known, "mcp.example.com:8443", nil, false},
		{"public host with a port", known, "gw.example.com:8080", []string{"http://gw.example.com:8080"}, true},
		{"public host without its port", known, "gw.example.com", nil, false},
		{"loopback beside public hosts", known, "127.0.0.1:4000", []string{"http://localhost:1"}, true},
		{"public origin", known, "mcp.example.com", []string{"https://mcp.example.com"}, true},
		{"public origin with its own port", known, "mcp.example.com", []string{"https://mcp.example.com:443"}, true},
		{"public origin by another scheme", known, "mcp.example.com", []string{"http://mcp.example.com"}, false},
		{"name under a public one", known, "x.mcp.example.com", nil, false},
		{"foreign page on a public host", known, "mcp.example.com", []string{"https://evil.example"}, false},

		{"any host", open, "whatever.example:1", nil, true},
		{"any origin", open, "whatever.example:1", []string{"https://else.example"}, true},
		{"two origins anywhere", open, "whatever.example", []string{"https://a", "https://b"}, false},
		{"published host", published, "mcp.example.com", []string{"https://mcp.example.com"}, true},
		{"host beside the published one", published, "10.0.0.7:4000", nil, true},
		{"loopback isn't special there", published, "localhost:4000", nil, true},
		{"origin beside the published one", published, "mcp.example.com", []string{"http://localhost:1"}, false},

		{"without keys by loopback", anonymous, "localhost:4000", []string{"http://127.0.0.1:6274"}, true},
		{"without keys by a public host", anonymous, "mcp.example.com", nil, false},
		{"without keys from a public origin", anonymous, "localhost:4000", []string{"https://mcp.example.com"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			for _, o := range c.origins {
				h.Add("Origin", o)
			}
			err := check(&c.listener, c.host, h)
			if (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
			if f := fault.As(err); err != nil && (f == nil || f.HTTPStatus() != 403 || f.Hop != fault.Client) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestProxiesAreRefusedWithoutKeys(t *testing.T) {
	for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Client-Cert", "X-Real-Ip", "Via"} {
		h := http.Header{k: {"1"}}
		f := fault.As(check(&anonymous, "localhost", h))
		if f == nil || f.HTTPStatus() != 403 || !strings.Contains(f.Message, k) {
			t.Errorf("%s: %v", k, f)
		}
		if err := check(&loopback, "localhost", h); err != nil {
			t.Errorf("%s with keys: %v", k, err)
		}
	}
}

func TestEchoedHostsAreShort(t *testing.T) {
	f := fault.As(check(&loopback, strings.Repeat("x", 5000), http.Header{}))
	if f == nil || len(f.Message) > 200 {
		t.Errorf("got %v", f)
	}
}

// TestWhoMayVouchForAHost: what a trusted proxy says counts beside the Host header, and only as a public origin.
func TestWhoMayVouchForAHost(t *testing.T) {
	public := &table.Ingress{Name: "edge", Proxies: set("10.0.0.0/8", "127.0.0.0/8"), Forwarded: true, Host: true, Public: []string{"https://mcp.example.com"},
		CORS: []string{"https://app.example.com"}}
	quiet := &table.Ingress{Name: "edge", Proxies: public.Proxies, Forwarded: true, Host: true}
	for _, c := range []struct {
		name         string
		listener     origin.Listener
		ing          *table.Ingress
		remote, host string
		told, page   string
		ok           bool
	}{
		{"a proxy that puts its own name for us into Host", open, public, "10.0.0.5:1", "backend", "mcp.example.com", "", true},
		{"a proxy that tells the port as well", open, public, "10.0.0.5:1", "backend", "mcp.example.com:443", "", true},
		{"somebody who isn't a proxy says the same", loopback, public, "192.0.2.1:1", "backend", "mcp.example.com", "", false},
		{"a proxy of another name", loopback, public, "10.0.0.5:1", "backend", "evil.example", "", false},
		{"a proxy that passes Host on", open, public, "10.0.0.5:1", "mcp.example.com", "", "", true},
		{"a name that the proxy was called by doesn't spoil a good Host", open, public, "10.0.0.5:1", "mcp.example.com", "evil.example", "", true},
		{"the ingress wins over the process", known, &table.Ingress{Public: []string{"https://other.example.com"}}, "192.0.2.1:1", "mcp.example.com", "", "", false},
		{"the process counts where the ingress is silent", published, quiet, "192.0.2.1:1", "mcp.example.com", "", "", true},
		{"a rebound page forwards itself as localhost", loopback, quiet, "127.0.0.1:1", "evil.example:4000", "localhost", "", false},
		{"a rebound page claims to be at home", loopback, quiet, "127.0.0.1:1", "evil.example:4000", "evil.example:4000", "http://evil.example:4000", false},
		{"a rebound page vouches for its own origin", loopback, quiet, "127.0.0.1:1", "localhost:4000", "evil.example:4000", "http://evil.example:4000", false},
		{"a proxy on this machine", loopback, public, "127.0.0.1:1", "backend", "mcp.example.com", "", true},
		{"a page of a listed origin", open, public, "192.0.2.1:1", "mcp.example.com", "", "https://app.example.com", true},
		{"a page of a listed origin on a loopback listener", loopback, public, "127.0.0.1:1", "localhost", "", "https://APP.example.com:443", true},
		{"a page of a listed name by http", open, public, "192.0.2.1:1", "mcp.example.com", "", "http://app.example.com", false},
		{"a page beside the listed ones", open, public, "192.0.2.1:1", "mcp.example.com", "", "https://app.example.com.evil.example", false},
		{"a proxy in front that sends a name of its own", open, public, "192.0.2.1:1", "backend", "", "", true},
		{"listed pages don't make listed hosts", loopback, public, "192.0.2.1:1", "app.example.com", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &origin.Request{Remote: c.remote, Host: c.host, Header: http.Header{}}
			if c.told != "" {
				in.Header["X-Forwarded-Host"] = []string{c.told}
			}
			if c.page != "" {
				in.Header["Origin"] = []string{c.page}
			}
			f := c.listener.Settle(in, c.ing)
			if err := c.listener.Check(in, &f, c.ing); (err == nil) != c.ok {
				t.Errorf("got %v with %+v", err, f)
			}
		})
	}
}
