package egress

import (
	"net/netip"
	"net/url"
	"strconv"
)

// mayVisit judges a stranger's URL before its host is resolved: https, to port 443 or one that needs no privilege. Below 1024 live the
// services that were never meant to be spoken to by a web client, and none of them is an authorization server.
func mayVisit(u *url.URL) error {
	if u.Scheme != "https" {
		return notHTTPS()
	}
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n != 443 && n < 1024 || n > 65535 {
			return notThatPort()
		}
	}
	return nil
}

// reserved are ranges inside the global unicast space that lead nowhere in public: shared, documentation, benchmarking, tunnels that hold
// other addresses (6to4, Teredo), and the address under which one large cloud answers its machines. IANA special-purpose registries.
var reserved = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

var (
	globalIPv6 = netip.MustParsePrefix("2000::/3")
	nat64      = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: IPv4 in the last four bytes
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public reports whether an address is one of the open Internet. IPv4 inside IPv6 (mapped, NAT64) is judged as what it leads to.
func public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !globalIPv6.Contains(a) {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
