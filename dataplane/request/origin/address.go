package origin

import (
	"net/http"
	"net/netip"
	"strings"
)

// peer reads the address of a connection, host:port. Ordinary IPv4 is read by hand: it stands on every request.
func peer(remote string) netip.Addr {
	if a, ok := dotted(remote); ok {
		return a
	}
	p, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return plain(p.Addr())
}

// dotted reads a.b.c.d:port. It takes nothing that netip doesn't; what it doesn't take, netip reads.
func dotted(s string) (netip.Addr, bool) {
	var b [4]byte
	n, digits, value := 0, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9' && digits < 3 && (digits == 0 || value > 0):
			value, digits = value*10+int(c-'0'), digits+1
		case (c == '.' && n < 3 || c == ':' && n == 3) && digits > 0 && value < 256:
			b[n] = byte(value)
			if n, digits, value = n+1, 0, 0; n == 4 {
				return netip.AddrFrom4(b), port(s[i+1:])
			}
		default:
			return netip.Addr{}, false
		}
	}
	return netip.Addr{}, false
}

// address reads an entry of a forwarded list: an address, IPv6 with or without brackets, with or without a zone (dropped) and a port. An
// RFC 7239 port may be obfuscated (section 6.3). Names, unknown and obfuscated nodes are no addresses.
func address(s string) (netip.Addr, bool) {
	host, rest := s, ""
	bracketed := strings.HasPrefix(s, "[")
	if bracketed {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		host, rest = s[1:end], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		host, rest = s[:i], s[i:]
	}
	if rest != "" && (rest[0] != ':' || !port(rest[1:]) && !obfuscated(rest[1:])) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || bracketed && a.Is4() {
		return netip.Addr{}, false
	}
	return plain(a), true
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// port reports whether s is a port: 0 to 65535 in decimal.
func port(s string) bool {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i == 5 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return s != "" && n < 1<<16
}

func obfuscated(s string) bool {
	for i := range len(s) {
		c := s[i]
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return len(s) > 1 && s[0] == '_'
}

// passing are the headers by which a proxy shows itself, besides others that begin with X-Forwarded. The common ones are first.
var passing = [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Client-Ip",
	"True-Client-Ip", "X-Original-Host"}

// passedOn reports whether a request came through a proxy that says so.
func passedOn(h http.Header) bool {
	for i := range passing {
		if _, ok := h[passing[i]]; ok {
			return true
		}
	}
	return false
}

// passedBy returns the first forwarding header there is, in the order of passing, then any X-Forwarded one; empty: none.
func passedBy(h http.Header) string {
	for _, k := range passing {
		if _, ok := h[k]; ok {
			return k
		}
	}
	for k := range h {
		if strings.HasPrefix(k, "X-Forwarded") {
			return k
		}
	}
	return ""
}
