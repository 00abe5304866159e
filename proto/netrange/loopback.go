// Package netrange says where network addresses belong.
//
// It promises one reading of hosts, addresses and ranges for both planes: what one takes for this machine, or for part of a range, the other
// does too; IPv4 in IPv6 form is IPv4, and zones don't count. It refuses to resolve names: only localhost and literal addresses count,
// whatever a resolver would say.
package netrange

import (
	"net/netip"
	"strings"
)

// Loopback reports whether a host, with or without a port (name, IPv4, or IPv6 in brackets), names this machine only.
func Loopback(host string) bool {
	name, ok := withoutPort(host)
	if !ok {
		return false
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

// withoutPort splits "name", "name:port", "[v6]" and "[v6]:port"; ok is false for what is none of them.
func withoutPort(host string) (name string, ok bool) {
	rest := ""
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", false
		}
		name, rest = host[1:end], host[end+1:]
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		name, rest = host[:i], host[i:]
	} else {
		name = host
	}
	return name, rest == "" || rest[0] == ':' && digits(rest[1:])
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 5
}
