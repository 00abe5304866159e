package origin

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/netrange"
)

// list reads a comma-separated header from the right. Several lines of one name are one list (RFC 9110 section 5.3). An empty entry is an
// entry: a proxy that didn't know its caller wrote it, and skipping it would lead to what the caller wrote.
type list struct {
	lines []string
	rest  string // of the line in hand
	open  bool   // something of the line in hand is left
}

// next returns the next entry to the left, without the space around it.
func (c *list) next() (string, bool) {
	if !c.line() {
		return "", false
	}
	i := strings.LastIndexByte(c.rest, ',')
	entry := trim(c.rest[i+1:])
	c.cut(i)
	return entry, true
}

func (c *list) line() bool {
	if c.open {
		return true
	}
	if len(c.lines) == 0 {
		return false
	}
	last := len(c.lines) - 1
	c.rest, c.lines, c.open = c.lines[last], c.lines[:last], true
	return true
}

func (c *list) cut(comma int) {
	if c.open = comma >= 0; c.open {
		c.rest = c.rest[:comma]
	}
}

// left counts the entries that next hasn't returned.
func (c *list) left() int {
	n := len(c.lines)
	for _, l := range c.lines {
		n += strings.Count(l, ",")
	}
	if c.open {
		n += 1 + strings.Count(c.rest, ",")
	}
	return n
}

func trim(s string) string { return strings.Trim(s, " \t") }

// at returns the entry at a position from the right, or the last one if the list is shorter.
func at(lines []string, position int) (string, bool) {
	c := list{lines: lines}
	last, ok := c.next()
	entry := last
	for i := 0; i < position; i++ {
		var more bool
		if entry, more = c.next(); !more {
			return last, ok
		}
	}
	return entry, ok
}

// story is what a forwarded list says about the client.
type story struct {
	client  netip.Addr
	why     Why
	hops    int
	ignored int
}

// step takes one more entry to the left into account; done: the walk ends here.
func (s *story) step(a netip.Addr, ok bool, hops int, proxies *netrange.Set) (done bool) {
	s.hops = hops
	switch {
	case !ok:
		s.client, s.why = netip.Addr{}, NotAddress
	case !proxies.Contains(a):
		s.client, s.why = a, Walked
	default:
		s.client, s.why = a, Leftmost
		return false
	}
	return true
}

// walkFor walks X-Forwarded-For from the right over trusted proxies.
func walkFor(lines []string, proxies *netrange.Set) (s story) {
	c := list{lines: lines}
	for hops := 0; ; hops++ {
		entry, more := c.next()
		if !more {
			return s
		}
		a, ok := address(entry)
		if s.step(a, ok, hops, proxies) {
			s.ignored = c.left()
			return s
		}
	}
}

// believe settles a request that a trusted proxy passed on. Forwarded, if it is named and there, is taken as a whole: the other headers are
// then not read, but for X-Forwarded-For, if that is named and there too: both must tell of the same client, or nothing is believed.
func (f *Facts) believe(h http.Header, ing *table.Ingress) {
	forwarded, xff := h["Forwarded"], h["X-Forwarded-For"]
	if !ing.RFC {
		forwarded = nil
	}
	if !ing.For {
		xff = nil
	}
	if len(forwarded) > 0 {
		s, said := walkForwarded(forwarded, &ing.Proxies)
		f.take(s)
		if len(xff) > 0 && walkFor(xff, &ing.Proxies).client != s.client {
			f.Client, f.Why = netip.Addr{}, Disagree
			return
		}
		f.says(said.proto, said.host, "", ForwardedHeader, ForwardedHeader)
		return
	}
	switch {
	case len(xff) > 0:
		f.take(walkFor(xff, &ing.Proxies))
	case passedBy(h) != "":
		f.Why = Untold
	default: // it speaks for itself
		f.Client, f.Why = f.Peer, Direct
	}
	f.lists(h, ing)
}

func (f *Facts) take(s story) {
	f.Client, f.Why, f.Hops, f.Ignored = s.client, s.why, s.hops, s.ignored
}

// lists reads the named X-Forwarded headers about scheme, host and port, at the client's position.
func (f *Facts) lists(h http.Header, ing *table.Ingress) {
	var proto, host, port string
	if ing.Proto {
		proto, _ = at(h["X-Forwarded-Proto"], f.Hops)
	}
	if ing.Host {
		host, _ = at(h["X-Forwarded-Host"], f.Hops)
	}
	if ing.Port {
		port, _ = at(h["X-Forwarded-Port"], f.Hops)
	}
	f.says(proto, host, port, ProtoHeader, HostHeader)
}

// says takes over what a trusted proxy told about the URL that the client used; what isn't a scheme, a host or a port isn't taken.
func (f *Facts) says(proto, host, number string, schemeFrom, hostFrom Source) {
	if scheme, ok := web(proto); ok {
		f.Scheme, f.SchemeFrom = scheme, schemeFrom
	}
	if host != "" && validHost(host) {
		f.Host, f.HostFrom = host, hostFrom
	}
	if port(number) && number[0] != '0' && validHost(f.Host) && !hasPort(f.Host) {
		f.PortFrom = PortHeader
		if number != defaultPort(f.Scheme) {
			f.Host += ":" + number
		}
	}
}

// web reads a scheme.
func web(s string) (scheme string, ok bool) {
	switch {
	case strings.EqualFold(s, "https"):
		return "https", true
	case strings.EqualFold(s, "http"):
		return "http", true
	}
	return "", false
}
