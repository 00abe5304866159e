package origin_test

import (
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/netrange"
)

func set(list ...string) netrange.Set {
	s, err := netrange.NewSet(list)
	if err != nil {
		panic(err)
	}
	return s
}

var (
	internalSet = set("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1", "fc00::/7")
	proxies     = set("10.1.0.0/16", "203.0.113.10", "fd00:1::/32", "fe80::/10")
)

// The ingresses of the table: what is configured differs, the proxies in front are the same.
var (
	none     = &table.Ingress{Internal: internalSet}
	edge     = &table.Ingress{Name: "edge", Internal: internalSet, Proxies: proxies, Forwarded: true, For: true, Proto: true, Host: true, Port: true}
	rfc      = &table.Ingress{Name: "rfc", Internal: internalSet, Proxies: proxies, Forwarded: true, RFC: true}
	both     = &table.Ingress{Name: "both", Internal: internalSet, Proxies: proxies, Forwarded: true, For: true, Proto: true, Host: true, Port: true, RFC: true}
	off      = &table.Ingress{Name: "off", Internal: internalSet, Proxies: proxies, For: true, Proto: true, Host: true, Port: true}
	noRanges = &table.Ingress{Name: "no-ranges", Internal: internalSet, Forwarded: true, For: true, Proto: true, Host: true, Port: true}
	addrOnly = &table.Ingress{Name: "addr-only", Internal: internalSet, Proxies: proxies, Forwarded: true, For: true}
	nameOnly = &table.Ingress{Name: "name-only", Internal: internalSet, Proxies: proxies, Forwarded: true, Proto: true, Host: true}
	closed   = &table.Ingress{Name: "closed", Closed: true}
	declared = &table.Ingress{Name: "declared", Internal: internalSet, Proxies: proxies, Forwarded: true, For: true, Proto: true, Host: true,
		Public: []string{"https://mcp.example.com", "https://other.example.com:8443"}}
	narrow = &table.Ingress{Name: "narrow", Internal: set("198.51.100.0/24"), Proxies: proxies, Forwarded: true, For: true}
)

const (
	proxy  = "10.1.0.5:40000" // a trusted proxy
	inside = "10.9.9.9:40000" // of our own network, no proxy
	afar   = "198.51.100.7:40000"
)

// forged is a request that somebody sent, or a proxy passed on, and what must come of it.
type forged struct {
	name     string
	ing      *table.Ingress
	remote   string
	host     string
	headers  string // "Name: value" with | between lines
	origin   string
	client   string // "": unknown
	internal bool
	outsider bool // comes from outside, whatever it says
}

var manyTrusted = "X-Forwarded-For: " + strings.Repeat("10.1.0.9, ", 999) + "10.1.0.9"

var table60 = []forged{
	// Nobody is trusted.
	{"direct from afar", none, afar, "gw.example:4000", "", "http://gw.example:4000", "198.51.100.7", false, true},
	{"direct from inside", none, inside, "gw.example:4000", "", "http://gw.example:4000", "10.9.9.9", true, false},
	{"direct on this machine", none, "127.0.0.1:1", "localhost:4000", "", "http://localhost:4000", "127.0.0.1", true, false},
	{"direct on this machine by IPv6", none, "[::1]:1", "[::1]:4000", "", "http://[::1]:4000", "::1", true, false},
	{"direct by mapped IPv4", none, "[::ffff:10.9.9.9]:1", "gw.example", "", "http://gw.example", "10.9.9.9", true, false},
	{"direct from afar by mapped IPv4", none, "[::ffff:198.51.100.7]:1", "gw.example", "", "http://gw.example", "198.51.100.7", false, true},
	{"direct by unique local IPv6", none, "[fd12::7]:1", "gw.example", "", "http://gw.example", "fd12::7", true, false},
	{"direct by link-local IPv6 with a zone", none, "[fe80::7%eth0]:1", "gw.example", "", "http://gw.example", "fe80::7", false, true},
	{"spoofed address from afar", none, afar, "gw.example", "X-Forwarded-For: 10.0.0.1", "http://gw.example", "198.51.100.7", false, true},
	{"undeclared proxy inside", none, inside, "gw.example", "X-Forwarded-For: 203.0.113.9", "http://gw.example", "", false, true},
	{"undeclared proxy that only says Via", none, inside, "gw.example", "Via: 1.1 squid", "http://gw.example", "", false, true},
	{"undeclared proxy that only says X-Real-IP", none, inside, "gw.example", "X-Real-IP: 10.0.0.1", "http://gw.example", "", false, true},
	{"undeclared proxy with RFC 7239", none, inside, "gw.example", "Forwarded: for=10.0.0.1", "http://gw.example", "", false, true},
	{"undeclared proxy with a scheme only", none, inside, "gw.example", "X-Forwarded-Proto: https", "http://gw.example", "", false, true},
	{"undeclared proxy with an empty header", none, inside, "gw.example", "X-Forwarded-For:", "http://gw.example", "", false, true},
	{"undeclared proxy on this machine", none, "127.0.0.1:9", "gw.example", "X-Forwarded-For: 203.0.113.9", "http://gw.example", "", false, true},
	{"unreadable peer", none, "@", "gw.example", "", "http://gw.example", "", false, true},
	{"no peer", none, "", "gw.example", "X-Forwarded-For: 10.0.0.1", "http://gw.example", "", false, true},

	// The switch and the ranges, one without the other.
	{"ranges without the switch, by the proxy", off, proxy, "gw.example", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https", "http://gw.example", "", false, true},
	{"ranges without the switch, spoofed through the proxy", off, proxy, "gw.example", "X-Forwarded-For: 10.0.0.1", "http://gw.example", "", false, true},
	{"ranges without the switch, direct from inside", off, inside, "gw.example", "", "http://gw.example", "10.9.9.9", true, false},
	{"switch without ranges, through a proxy", noRanges, proxy, "gw.example", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: mcp.example.com", "http://gw.example", "", false, true},
	{"switch without ranges, spoofed from afar", noRanges, afar, "gw.example", "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: https", "http://gw.example", "198.51.100.7", false, true},
	{"rejected ingress, through the proxy", closed, proxy, "gw.example", "X-Forwarded-For: 10.0.0.1", "http://gw.example", "", false, true},
	{"rejected ingress, direct from inside", closed, inside, "gw.example", "", "http://gw.example", "10.9.9.9", false, false},

	// One trusted proxy.
	{"one hop", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com", "https://mcp.example.com", "203.0.113.9", false, true},
	{"one hop, spoofed in front", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com", "https://mcp.example.com", "203.0.113.9", false, true},
	{"one hop, spoofed as a line of its own", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1|X-Forwarded-For: 203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"one hop, spoofed as a proxy of ours", edge, proxy, "backend", "X-Forwarded-For: 192.168.0.1, 10.1.0.7, 203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"an inside client through the proxy", edge, proxy, "backend", "X-Forwarded-For: 192.168.7.7", "http://backend", "192.168.7.7", true, false},
	{"an inside client that pretends", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9, 192.168.7.7", "http://backend", "192.168.7.7", true, false},
	{"an untrusted peer with the same headers", edge, afar, "backend", "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com", "http://backend", "198.51.100.7", false, true},
	{"a private peer beside the ranges", edge, inside, "backend", "X-Forwarded-For: 10.0.0.1|X-Forwarded-Host: mcp.example.com", "http://backend", "", false, true},
	{"a private peer beside the ranges, by another header", edge, inside, "backend", "X-Real-Ip: 10.0.0.1", "http://backend", "", false, true},
	{"the proxy speaks for itself", edge, proxy, "backend", "", "http://backend", "10.1.0.5", true, false},
	{"the proxy passes something on but no client", edge, proxy, "backend", "X-Forwarded-Proto: https", "https://backend", "", false, true},
	{"the proxy tells the client by a header nobody named", edge, proxy, "backend", "X-Real-Ip: 10.0.0.1", "http://backend", "", false, true},
	{"a name that isn't named", addrOnly, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: evil.example|X-Forwarded-Port: 1", "http://backend", "203.0.113.9", false, true},
	{"a client that isn't named", nameOnly, proxy, "backend", "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com", "https://mcp.example.com", "", false, true},
	{"a client by Forwarded, which isn't named", edge, proxy, "backend", "Forwarded: for=10.0.0.1;host=evil.example", "http://backend", "", false, true},
	{"ranges of one's own", narrow, proxy, "backend", "X-Forwarded-For: 10.0.0.1", "http://backend", "10.0.0.1", false, true},
	{"ranges of one's own, an undeclared proxy in a private net", narrow, inside, "backend", "Via: 1.1 x", "http://backend", "", false, true},

	// Several hops.
	{"two hops", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9, 10.1.0.7|X-Forwarded-Proto: https, http|X-Forwarded-Host: mcp.example.com, inner.example", "https://mcp.example.com", "203.0.113.9", false, true},
	{"two hops, spoofed in front of each list", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, 203.0.113.9, 10.1.0.7|X-Forwarded-Proto: gopher, https, http|X-Forwarded-Host: evil.example, mcp.example.com, inner.example", "https://mcp.example.com", "203.0.113.9", false, true},
	{"two hops over lines", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, 203.0.113.9|X-Forwarded-For: 10.1.0.7|X-Forwarded-Proto: https|X-Forwarded-Proto: http", "https://backend", "203.0.113.9", false, true},
	{"two hops, the lists of the last alone", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9, 10.1.0.7|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com", "https://mcp.example.com", "203.0.113.9", false, true},
	{"three hops, two entries about the scheme", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9, 10.1.0.7, 10.1.0.8|X-Forwarded-Proto: http, https", "https://backend", "203.0.113.9", false, true},
	{"a trusted address from outside our net", edge, proxy, "backend", "X-Forwarded-For: 192.168.0.1, 198.51.100.7, 203.0.113.10", "http://backend", "198.51.100.7", false, true},
	{"a hop that nobody trusts stops the walk", edge, proxy, "backend", "X-Forwarded-For: 192.168.0.1, 203.0.113.66, 10.1.0.7", "http://backend", "203.0.113.66", false, true},
	{"only proxies of ours", edge, proxy, "backend", "X-Forwarded-For: 10.1.0.9, 10.1.0.7", "http://backend", "10.1.0.9", true, false},
	{"a thousand entries in front", edge, proxy, "backend", "X-Forwarded-For: " + strings.Repeat("10.0.0.1,", 1000) + "203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"a thousand proxies of ours", edge, proxy, "backend", manyTrusted, "http://backend", "10.1.0.9", true, false},

	// Spellings of addresses.
	{"IPv6", edge, proxy, "backend", "X-Forwarded-For: 2001:db8::7", "http://backend", "2001:db8::7", false, true},
	{"IPv6 in brackets", edge, proxy, "backend", "X-Forwarded-For: [2001:db8::7]", "http://backend", "2001:db8::7", false, true},
	{"IPv6 with a port", edge, proxy, "backend", "X-Forwarded-For: [2001:db8::7]:443", "http://backend", "2001:db8::7", false, true},
	{"IPv6 with a zone", edge, proxy, "backend", "X-Forwarded-For: 2001:db8::7%eth0", "http://backend", "2001:db8::7", false, true},
	{"a proxy by IPv6 with a zone", edge, "[fe80::5%eth0]:1", "backend", "X-Forwarded-For: 203.0.113.9, fe80::6%eth1", "http://backend", "203.0.113.9", false, true},
	{"IPv4 with a port", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9:51000, 10.1.0.7:80", "http://backend", "203.0.113.9", false, true},
	{"mapped IPv4", edge, proxy, "backend", "X-Forwarded-For: ::ffff:203.0.113.9, ::ffff:10.1.0.7", "http://backend", "203.0.113.9", false, true},
	{"mapped IPv4 of the peer", edge, "[::ffff:10.1.0.5]:1", "backend", "X-Forwarded-For: [::ffff:203.0.113.9]:1", "http://backend", "203.0.113.9", false, true},
	{"IPv4 written as a compatible IPv6 isn't that IPv4", edge, proxy, "backend", "X-Forwarded-For: ::10.0.0.1", "http://backend", "::a00:1", false, true},
	{"unspecified", edge, proxy, "backend", "X-Forwarded-For: 0.0.0.0", "http://backend", "0.0.0.0", false, true},
	{"tabs and spaces", edge, proxy, "backend", "X-Forwarded-For: \t10.0.0.1 ,\t203.0.113.9 \t", "http://backend", "203.0.113.9", false, true},

	// What is no address ends the walk.
	{"unknown", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, unknown", "http://backend", "", false, true},
	{"obfuscated", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, _hidden", "http://backend", "", false, true},
	{"garbage behind a proxy of ours", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, <script>, 10.1.0.7", "http://backend", "", false, true},
	{"a socket's name", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1, unix:", "http://backend", "", false, true},
	{"an empty header", edge, proxy, "backend", "X-Forwarded-For:", "http://backend", "", false, true},
	{"an empty entry at the end", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1,", "http://backend", "", false, true},
	{"an empty entry in between", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1,, 10.1.0.7", "http://backend", "", false, true},
	{"empty entries in front", edge, proxy, "backend", "X-Forwarded-For: ,,, 203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"an empty line in front", edge, proxy, "backend", "X-Forwarded-For:|X-Forwarded-For: 203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"an empty line behind", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1|X-Forwarded-For:", "http://backend", "", false, true},
	{"semicolons instead of commas", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1; 203.0.113.9", "http://backend", "", false, true},
	{"leading zeros", edge, proxy, "backend", "X-Forwarded-For: 010.0.0.1", "http://backend", "", false, true},
	{"a short form", edge, proxy, "backend", "X-Forwarded-For: 10.1", "http://backend", "", false, true},
	{"a number", edge, proxy, "backend", "X-Forwarded-For: 167772161", "http://backend", "", false, true},
	{"hexadecimal", edge, proxy, "backend", "X-Forwarded-For: 0x0a000001", "http://backend", "", false, true},
	{"a range", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1/32", "http://backend", "", false, true},
	{"quotes, which only Forwarded has", edge, proxy, "backend", `X-Forwarded-For: "10.0.0.1"`, "http://backend", "", false, true},
	{"an unclosed bracket", edge, proxy, "backend", "X-Forwarded-For: [2001:db8::7", "http://backend", "", false, true},
	{"IPv4 in brackets", edge, proxy, "backend", "X-Forwarded-For: [10.0.0.1]", "http://backend", "", false, true},
	{"an odd port", edge, proxy, "backend", "X-Forwarded-For: 10.0.0.1:http", "http://backend", "", false, true},

	// Scheme, host and port.
	{"host with a port", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com:8443", "https://mcp.example.com:8443", "203.0.113.9", false, true},
	{"port by itself", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com|X-Forwarded-Port: 8443", "https://mcp.example.com:8443", "203.0.113.9", false, true},
	{"port twice", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com:8443|X-Forwarded-Port: 9", "https://mcp.example.com:8443", "203.0.113.9", false, true},
	{"the scheme's own port", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com:443|X-Forwarded-Port: 443", "https://mcp.example.com", "203.0.113.9", false, true},
	{"port of another scheme", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com|X-Forwarded-Port: 80", "https://mcp.example.com:80", "203.0.113.9", false, true},
	{"port for the Host header", edge, proxy, "mcp.example.com", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Port: 8443", "https://mcp.example.com:8443", "203.0.113.9", false, true},
	{"IPv6 host with a port", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: [2001:DB8:0::1]:8443|X-Forwarded-Port: 8443", "https://[2001:db8::1]:8443", "203.0.113.9", false, true},
	{"IPv6 host and a port by itself", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https|X-Forwarded-Host: [2001:db8::1]|X-Forwarded-Port: 8443", "https://[2001:db8::1]:8443", "203.0.113.9", false, true},
	{"capitals", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: HTTPS|X-Forwarded-Host: MCP.Example.com", "https://mcp.example.com", "203.0.113.9", false, true},
	{"a scheme that isn't one", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: javascript", "http://backend", "203.0.113.9", false, true},
	{"a scheme with more behind it", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https://evil.example", "http://backend", "203.0.113.9", false, true},
	{"a host with a path", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: evil.example/x", "http://backend", "203.0.113.9", false, true},
	{"a host with a user", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: mcp.example.com@evil.example", "http://backend", "203.0.113.9", false, true},
	{"a host with quotes", edge, proxy, "backend", `X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: "mcp.example.com"`, "http://backend", "203.0.113.9", false, true},
	{"a host with an empty label", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: mcp..example.com", "http://backend", "203.0.113.9", false, true},
	{"an IPv6 host with a zone", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: [fe80::1%25eth0]", "http://backend", "203.0.113.9", false, true},
	{"a port that isn't one", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Port: 99999", "http://backend", "203.0.113.9", false, true},
	{"port zero", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Port: 0", "http://backend", "203.0.113.9", false, true},
	{"a port with zeros in front", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Port: 0443", "http://backend", "203.0.113.9", false, true},
	{"a Host header that isn't a host", none, afar, `evil"/><script>`, "", "", "198.51.100.7", false, true},
	{"no Host header", none, afar, "", "", "", "198.51.100.7", false, true},
	{"a host told over a Host header that isn't one", edge, proxy, "a b", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: mcp.example.com", "http://mcp.example.com", "203.0.113.9", false, true},

	// Declared origins.
	{"declared, by another host", declared, afar, "10.0.0.7:4000", "", "https://mcp.example.com", "198.51.100.7", false, true},
	{"declared, by the second's host", declared, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: OTHER.example.com:8443", "https://other.example.com:8443", "203.0.113.9", false, true},
	{"declared, Host confusion", declared, afar, "evil.example", "X-Forwarded-Host: evil.example|Forwarded: host=evil.example", "https://mcp.example.com", "198.51.100.7", false, true},
	{"declared, Host confusion through the proxy", declared, proxy, "evil.example", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: evil.example", "https://mcp.example.com", "203.0.113.9", false, true},
	{"an inner name in Host makes nobody internal", edge, afar, "localhost", "", "http://localhost", "198.51.100.7", false, true},
	{"an inner address told as host makes nobody internal", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: 127.0.0.1", "http://127.0.0.1", "203.0.113.9", false, true},

	// RFC 7239.
	{"Forwarded", rfc, proxy, "backend", "Forwarded: for=203.0.113.9;proto=https;host=mcp.example.com;by=10.1.0.5", "https://mcp.example.com", "203.0.113.9", false, true},
	{"Forwarded, two hops", rfc, proxy, "backend", "Forwarded: for=203.0.113.9;proto=https;host=mcp.example.com, for=10.1.0.7;proto=http;host=inner", "https://mcp.example.com", "203.0.113.9", false, true},
	{"Forwarded, the last hop alone tells the host", rfc, proxy, "backend", "Forwarded: for=203.0.113.9, for=10.1.0.7;proto=https;host=mcp.example.com", "https://mcp.example.com", "203.0.113.9", false, true},
	{"Forwarded, spoofed in front", rfc, proxy, "backend", "Forwarded: for=10.0.0.1;host=evil.example, For=203.0.113.9;Proto=HTTPS", "https://backend", "203.0.113.9", false, true},
	{"Forwarded, spoofed with a quote that never ends", rfc, proxy, "backend", `Forwarded: for=10.0.0.1;host="evil.example, for=203.0.113.9;host="mcp.example.com"`, "http://mcp.example.com", "203.0.113.9", false, true},
	{"Forwarded, IPv6 in quotes with a port", rfc, proxy, "backend", `Forwarded: for="[2001:db8::7]:47011"`, "http://backend", "2001:db8::7", false, true},
	{"Forwarded, an obfuscated port", rfc, proxy, "backend", `Forwarded: for="203.0.113.9:_port"`, "http://backend", "203.0.113.9", false, true},
	{"Forwarded, a comma in quotes", rfc, proxy, "backend", `Forwarded: for=203.0.113.9;ext="a, for=10.0.0.1;b"`, "http://backend", "203.0.113.9", false, true},
	{"Forwarded, an escaped quote", rfc, proxy, "backend", `Forwarded: for=203.0.113.9;ext="a\", for=10.0.0.1"`, "http://backend", "203.0.113.9", false, true},
	{"Forwarded, unknown", rfc, proxy, "backend", "Forwarded: for=10.0.0.1, for=unknown", "http://backend", "", false, true},
	{"Forwarded, obfuscated", rfc, proxy, "backend", "Forwarded: for=10.0.0.1, for=_secret", "http://backend", "", false, true},
	{"Forwarded, nobody", rfc, proxy, "backend", "Forwarded: for=10.0.0.1, proto=https", "https://backend", "", false, true},
	{"Forwarded, somebody twice", rfc, proxy, "backend", "Forwarded: for=203.0.113.9;for=10.0.0.1", "http://backend", "", false, true},
	{"Forwarded, an empty element", rfc, proxy, "backend", "Forwarded: for=10.0.0.1, ", "http://backend", "", false, true},
	{"Forwarded, not named", edge, proxy, "backend", "X-Forwarded-For: 203.0.113.9|Forwarded: for=10.0.0.1;host=evil.example", "http://backend", "203.0.113.9", false, true},
	{"X-Forwarded-For, not named", rfc, proxy, "backend", "X-Forwarded-For: 10.0.0.1|Forwarded: for=203.0.113.9", "http://backend", "203.0.113.9", false, true},
	{"both, of one mind", both, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Host: inner.example|Forwarded: for=203.0.113.9;host=mcp.example.com", "http://mcp.example.com", "203.0.113.9", false, true},
	{"both, the caller added the one the proxy doesn't set", both, proxy, "backend", "X-Forwarded-For: 203.0.113.9|Forwarded: for=10.0.0.1;host=evil.example", "http://backend", "", false, true},
	{"both, the other way round", both, proxy, "backend", "X-Forwarded-For: 10.0.0.1|Forwarded: for=203.0.113.9;host=mcp.example.com", "http://backend", "", false, true},
	{"both named, one there", both, proxy, "backend", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https", "https://backend", "203.0.113.9", false, true},
}

// request makes the request of a row.
func (c *forged) request() *origin.Request {
	in := &origin.Request{Remote: c.remote, Host: c.host, Header: http.Header{"Accept": {"application/json"}}}
	for line := range strings.SplitSeq(c.headers, "|") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			k := textproto.CanonicalMIMEHeaderKey(name)
			in.Header[k] = append(in.Header[k], strings.TrimPrefix(value, " "))
		}
	}
	return in
}

func TestForgedAndOddRequests(t *testing.T) {
	if len(table60) < 60 {
		t.Fatalf("only %d rows", len(table60))
	}
	for _, c := range table60 {
		t.Run(c.name, func(t *testing.T) {
			l, in := origin.Listener{}, c.request()
			f := l.Settle(in, c.ing)
			client := ""
			if f.Client.IsValid() {
				client = f.Client.String()
			}
			got, how := l.Origin(&f, c.ing)
			if got != c.origin || client != c.client || f.Internal != c.internal {
				t.Errorf("origin %q (%s), client %q (%s), internal %v\nwant %q, %q, %v", got, how, client, f.Why, f.Internal, c.origin, c.client, c.internal)
			}
			if c.outsider && f.Internal {
				t.Error("an outsider looks internal")
			}
			if f.Trusted && (!c.ing.Forwarded || !c.ing.Proxies.Contains(f.Peer)) {
				t.Error("trusted, whoever it is")
			}
		})
	}
}

func TestEntriesLeftOfTheWalkAreCounted(t *testing.T) {
	for headers, want := range map[string]int{
		"X-Forwarded-For: 203.0.113.9":                                                            0,
		"X-Forwarded-For: 10.0.0.1, 10.0.0.2, 203.0.113.9, 10.1.0.7":                              2,
		"X-Forwarded-For: 1.1.1.1, 2.2.2.2|X-Forwarded-For: 3.3.3.3|X-Forwarded-For: 203.0.113.9": 3,
		"X-Forwarded-For: 1.1.1.1, unknown, 10.1.0.7":                                             1,
		"X-Forwarded-For: " + strings.Repeat("10.0.0.1,", 1000) + "203.0.113.9":                   1000,
	} {
		c := forged{remote: proxy, headers: headers}
		l := origin.Listener{}
		if f := l.Settle(c.request(), edge); f.Ignored != want {
			t.Errorf("%.60s: %d, want %d", headers, f.Ignored, want)
		}
	}
	c := forged{remote: proxy, headers: `Forwarded: for=a, for="b, c"|Forwarded: for=d, for=203.0.113.9, for=10.1.0.7`}
	l := origin.Listener{}
	if f := l.Settle(c.request(), rfc); f.Ignored != 3 || f.Hops != 1 {
		t.Errorf("%d ignored, %d hops", f.Ignored, f.Hops)
	}
}

func TestTheListenersOwnTLS(t *testing.T) {
	for _, c := range []struct{ listener, request, want string }{{"", "", "http://gw:4000"}, {"tls", "", "https://gw:4000"}, {"", "tls", "https://gw:4000"}} {
		l := origin.Listener{Secure: c.listener != ""}
		f := l.Settle(&origin.Request{Remote: afar, Host: "gw:4000", Secure: c.request != ""}, none)
		if got, how := l.Origin(&f, none); got != c.want || !strings.Contains(how, "listener") {
			t.Errorf("%+v: %s (%s)", c, got, how)
		}
	}
	l := origin.Listener{Secure: true} // a proxy that speaks TLS to us and plain HTTP to its callers
	f := l.Settle(&origin.Request{Remote: proxy, Host: "gw", Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"http"}}}, edge)
	if got, how := l.Origin(&f, edge); got != "http://gw" || !strings.Contains(how, "proxy") {
		t.Errorf("%s (%s)", got, how)
	}
}

func TestTheProcessesOriginCountsWhereTheIngressHasNone(t *testing.T) {
	l := origin.Listener{Public: []string{"https://MCP.example.com:443"}}
	f := l.Settle(&origin.Request{Remote: afar, Host: "x"}, none)
	if got, how := l.Origin(&f, none); got != "https://mcp.example.com" || !strings.Contains(how, "process") {
		t.Errorf("%s (%s)", got, how)
	}
	if got, how := l.Origin(&f, declared); got != "https://mcp.example.com" || !strings.Contains(how, "ingress") {
		t.Errorf("%s (%s)", got, how)
	}
}
