package origin

import (
	"net/netip"
	"strings"
)

// splitHost takes a host apart: name, IPv4 or IPv6 in brackets (returned with them), and a port, which may be missing. ok is false for
// everything that isn't exactly that: whoever gets a host from here can put it into a URL.
func splitHost(host string) (name, number string, ok bool) {
	name = host
	end := 0
	if strings.HasPrefix(host, "[") {
		if end = strings.IndexByte(host, ']'); end < 0 {
			return "", "", false
		}
	}
	if i := strings.IndexByte(host[end:], ':'); i >= 0 {
		name, number = host[:end+i], host[end+i+1:]
		if !port(number) || number[0] == '0' {
			return "", "", false
		}
	}
	return name, number, literal6(name) || domain(name)
}

func literal6(s string) bool {
	if len(s) < 4 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	a, err := netip.ParseAddr(s[1 : len(s)-1])
	return err == nil && a.Is6() && a.Zone() == ""
}

// domain reports whether s is a name of letters, digits, hyphens and underscores in labels, or an IPv4 address.
func domain(s string) bool {
	label := 0
	for i := range len(s) {
		c := s[i]
		switch letter := c|0x20 >= 'a' && c|0x20 <= 'z'; {
		case letter || c >= '0' && c <= '9' || c == '-' || c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0 && len(s) <= 253
}

func validHost(host string) bool {
	_, _, ok := splitHost(host)
	return ok
}

func hasPort(host string) bool {
	_, number, _ := splitHost(host)
	return number != ""
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// authority writes a host as it stands in an origin: lower case, IPv6 in its shortest form, without the scheme's own port. Empty: it isn't a
// host.
func authority(scheme, host string) string {
	name, number, ok := splitHost(host)
	if !ok {
		return ""
	}
	if name = strings.ToLower(name); name[0] == '[' {
		a, _ := netip.ParseAddr(name[1 : len(name)-1]) // splitHost has read it
		name = "[" + a.String() + "]"
	}
	if number == "" || number == defaultPort(scheme) {
		return name
	}
	return name + ":" + number
}

// normal writes an origin in its one form; empty: it isn't one.
func normal(origin string) string {
	s, host, _ := strings.Cut(origin, "://")
	scheme, ok := web(s)
	if !ok {
		return ""
	}
	if host = authority(scheme, host); host == "" {
		return ""
	}
	return scheme + "://" + host
}
