package origin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
)

// headers says of each forwarding header that came what became of it.
func headers(h http.Header, f *Facts, ing *table.Ingress) []Header {
	var names []string
	for k := range h {
		if strings.HasPrefix(k, "X-Forwarded") || slices.Contains(passing[:], k) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	out := make([]Header, 0, len(names))
	for _, k := range names {
		one := Header{Name: strings.ToLower(k), Why: unread(k, h, f, ing)}
		one.Read = one.Why == ""
		one.list(k, h[k], f, ing)
		out = append(out, one)
	}
	return out
}

// unread says why a header isn't read; empty: it is.
func unread(name string, h http.Header, f *Facts, ing *table.Ingress) string {
	named := map[string]bool{"X-Forwarded-For": ing.For, "X-Forwarded-Proto": ing.Proto, "X-Forwarded-Host": ing.Host, "X-Forwarded-Port": ing.Port,
		"Forwarded": ing.RFC}[name]
	switch {
	case ing.Closed:
		return "the ingress was rejected"
	case !ing.Forwarded:
		return "use_forwarded_headers is off"
	case !f.Trusted:
		return "the peer isn't a trusted proxy"
	case !named:
		return "it isn't among the forwarded_headers"
	case ing.RFC && len(h["Forwarded"]) > 0 && name != "Forwarded" && name != "X-Forwarded-For":
		return "forwarded is there and taken as a whole"
	}
	return ""
}

// list writes down the entries from the right and what became of each.
func (one *Header) list(name string, lines []string, f *Facts, ing *table.Ingress) {
	c := list{lines: lines}
	next, left := c.next, c.left
	if name == "Forwarded" {
		next, left = c.nextElement, c.leftElements
	}
	total := left()
	for i := range min(total, mostEntries) {
		text, _ := next()
		e := Entry{Value: short(text)}
		if one.Read {
			e.Verdict = verdict(name, text, i, total, f, ing)
		}
		one.Entries = append(one.Entries, e)
	}
	slices.Reverse(one.Entries)
	one.More = total - len(one.Entries)
}

// verdict is about the entry at a position from the right.
func verdict(name, text string, i, total int, f *Facts, ing *table.Ingress) string {
	if name != "Forwarded" && name != "X-Forwarded-For" {
		place := f.Hops
		if total <= place {
			place = 0
		}
		switch {
		case i != place:
			return "ignored: it isn't at the client's place"
		case used(name, f):
			return "taken"
		case name == "X-Forwarded-Port" && hasPort(f.Host):
			return "ignored: the host has a port"
		}
		return "can't be used"
	}
	client := text
	if name == "Forwarded" {
		e, _ := parseElement(text)
		client = e.client
	}
	a, ok := address(client)
	switch {
	case i > f.Hops:
		return "ignored: left of where the walk stopped"
	case !ok:
		return "not an address: the walk ends here"
	case i == f.Hops && f.Why == Disagree:
		return "the client, but forwarded and x-forwarded-for disagree"
	case i == f.Hops:
		return "the client"
	}
	return "trusted proxy (" + covering(ing.Proxies, a) + ")"
}

// used reports whether the header told scheme, host or port.
func used(name string, f *Facts) bool {
	switch name {
	case "X-Forwarded-Proto":
		return f.SchemeFrom == ProtoHeader
	case "X-Forwarded-Host":
		return f.HostFrom == HostHeader
	}
	return name == "X-Forwarded-Port" && f.PortFrom == PortHeader
}

// String is the explanation for people, a line a step.
func (e Explanation) String() string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	trust := "not a trusted proxy"
	if e.Trusted {
		trust = "trusted proxy (" + e.TrustedBy + ")"
	}
	line("ingress  ", or(e.Ingress, "none"))
	line("peer     ", e.Peer, ": ", trust)
	for _, h := range e.Headers {
		line("header   ", h.text())
	}
	place := "external: in no internal range, or unknown"
	if e.Internal {
		place = "internal (" + e.InternalBy + ")"
	}
	line("client   ", e.Client, ": ", e.ClientBy)
	line("         ", place)
	line("scheme   ", e.Scheme, ": ", e.SchemeBy)
	line("host     ", or(e.Host, "none"), ": ", e.HostBy)
	line("origin   ", or(e.Origin, "unknown"), ": ", e.OriginBy)
	for _, w := range e.Warnings {
		line("warning  ", w)
	}
	return b.String()
}

func (h Header) text() string {
	var b strings.Builder
	b.WriteString(h.Name)
	if !h.Read {
		b.WriteString(" (not read: " + h.Why + ")")
	}
	sep := ": "
	if h.More > 0 {
		b.WriteString(": …")
		sep = ", "
	}
	for _, e := range h.Entries {
		b.WriteString(sep + e.Value)
		if e.Verdict != "" {
			b.WriteString(" [" + e.Verdict + "]")
		}
		sep = ", "
	}
	return b.String()
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
