package origin

import (
	"strings"

	"github.com/hopgate/hopgate/proto/netrange"
)

// element is one of the Forwarded header (RFC 7239 section 4).
type element struct{ client, proto, host string }

// nextElement returns the next element to the left. Quoted strings may hold commas, so they are found from the right as well: read from the
// left, a quote that a caller never closes would swallow what proxies wrote behind it.
func (c *list) nextElement() (string, bool) {
	if !c.line() {
		return "", false
	}
	i := lastOutside(c.rest, ',')
	e := trim(c.rest[i+1:])
	c.cut(i)
	return e, true
}

// lastOutside finds the last sep outside of quoted strings, or -1.
func lastOutside(s string, sep byte) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"':
			quoted = !quoted || escaped(s, i)
		case s[i] == sep && !quoted:
			return i
		}
	}
	return -1
}

// escaped reports whether an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	n := 0
	for ; n < i && s[i-1-n] == '\\'; n++ {
	}
	return n%2 == 1
}

// leftElements counts the elements that nextElement hasn't returned.
func (c *list) leftElements() (n int) {
	rest := *c
	for _, more := rest.nextElement(); more; _, more = rest.nextElement() {
		n++
	}
	return n
}

// parseElement reads the parameters of an element; ok is false when it isn't well formed or repeats one. Those that we don't know are
// passed over.
func parseElement(s string) (e element, ok bool) {
	for s != "" {
		i := lastOutside(s, ';')
		name, value, given := strings.Cut(trim(s[i+1:]), "=")
		s = s[:max(i, 0)]
		if !given {
			if name != "" {
				return element{}, false
			}
			continue
		}
		if value, ok = unquote(value); !ok || name == "" || strings.ContainsAny(name, " \t\"") || !e.set(name, value) {
			return element{}, false
		}
	}
	return e, true
}

// set keeps a parameter; false: it is there already.
func (e *element) set(name, value string) bool {
	var to *string
	switch {
	case strings.EqualFold(name, "for"):
		to = &e.client
	case strings.EqualFold(name, "proto"):
		to = &e.proto
	case strings.EqualFold(name, "host"):
		to = &e.host
	default:
		return true
	}
	if *to != "" {
		return false
	}
	*to = value
	return value != ""
}

// unquote reads a token or a quoted string (RFC 9110 section 5.6.4). Addresses with colons and brackets are taken without quotes as well:
// many proxies write them so.
func unquote(s string) (string, bool) {
	inside, ok := strings.CutPrefix(s, `"`)
	if !ok {
		return s, !strings.ContainsAny(s, "\" \t\\")
	}
	inside, ok = strings.CutSuffix(inside, `"`)
	if !ok {
		return "", false
	}
	if !strings.ContainsAny(inside, "\\\"") {
		return inside, true
	}
	out := make([]byte, 0, len(inside))
	for i := 0; i < len(inside); i++ {
		switch inside[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(inside) {
				return "", false
			}
		}
		out = append(out, inside[i])
	}
	return string(out), true
}

// walkForwarded walks Forwarded from the right over trusted proxies. Scheme and host are those of the element where the walk stops; if that
// doesn't tell, of the rightmost that does.
func walkForwarded(lines []string, proxies *netrange.Set) (s story, said element) {
	c := list{lines: lines}
	for hops := 0; ; hops++ {
		text, more := c.nextElement()
		if !more {
			return s, said
		}
		e, ok := parseElement(text)
		a, isAddress := address(e.client)
		done := s.step(a, ok && isAddress, hops, proxies)
		if done || !c.open && len(c.lines) == 0 {
			said.prefer(e)
		} else {
			e.prefer(said)
			said = e
		}
		if done {
			s.ignored = c.leftElements()
			return s, said
		}
	}
}

// prefer takes over what other tells.
func (e *element) prefer(other element) {
	if other.proto != "" {
		e.proto = other.proto
	}
	if other.host != "" {
		e.host = other.host
	}
}
