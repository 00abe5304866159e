package netrange

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Set is a set of addresses, made of ranges. The zero value is empty; a Set never changes.
type Set struct{ ranges []netip.Prefix }

// Addr returns the address of "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" or "[::1]:5": unmapped, and without its zone, which means nothing on another
// machine. ok is false for everything else: names, spaces, empty ports, IPv4 in brackets. It doesn't allocate for what it takes, and hardly
// ever for what it refuses.
func Addr(hostport string) (a netip.Addr, ok bool) {
	s, six := hostport, false
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && (s[end+1] != ':' || !digits(s[end+2:])) {
			return a, false
		}
		s, six = s[1:end], true
	case strings.Count(s, ":") == 1:
		host, port, _ := strings.Cut(s, ":")
		if !digits(port) {
			return a, false
		}
		s = host
	}
	if zone := strings.IndexByte(s, '%'); zone >= 0 {
		if zone+1 == len(s) || strings.IndexByte(s, ':') < 0 {
			return a, false
		}
		s = s[:zone]
	}
	if len(s) < len("::") || len(s) > longestAddr || six && strings.IndexByte(s, ':') < 0 {
		return a, false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), true
	}
	return netip.Addr{}, false
}

const longestAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// Parse reads a range like 10.0.0.0/8 or a single address. Bits behind the prefix are dropped, IPv4 in IPv6 form becomes IPv4, and a zone
// is refused.
func Parse(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errNotRange
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errNotRange
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errNotRange
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

var errNotRange = errors.New("is neither an address nor a range like 10.0.0.0/8 or 2001:db8::/32")

// NewSet reads ranges and addresses. The error names the first bad one by its place.
func NewSet(list []string) (Set, error) {
	s := Set{ranges: make([]netip.Prefix, 0, len(list))}
	for i, text := range list {
		p, err := Parse(text)
		if err != nil {
			return Set{}, fmt.Errorf("[%d] %w", i, err)
		}
		s.ranges = append(s.ranges, p)
	}
	return s, nil
}

// Contains reports whether a is in one of the ranges. IPv4 in IPv6 form counts as IPv4; a zone doesn't matter.
func (s Set) Contains(a netip.Addr) bool {
	if len(s.ranges) == 0 {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range s.ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Empty reports whether no address is in it.
func (s Set) Empty() bool { return len(s.ranges) == 0 }

// Ranges returns the ranges as text, in the order given.
func (s Set) Ranges() []string {
	out := make([]string, len(s.ranges))
	for i, p := range s.ranges {
		out[i] = p.String()
	}
	return out
}
