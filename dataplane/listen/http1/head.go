package http1

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Limits of what is taken here; what is beyond is handed over.
const (
	maxFields  = 100
	maxBody    = 64 << 20
	maxDigits  = 8 // of a length up to maxBody
	fieldsHint = 24
)

// head is a request's head. Its map and slices are used again for the next request; its strings are the request's own.
type head struct {
	method, path, query, host string
	fields                    http.Header
	values                    []string // backs the values in fields
	length                    int64
	close                     bool

	hosts, lengths, connections int
}

// methods are those that are taken here.
var methods = [...]string{http.MethodPost, http.MethodGet, http.MethodDelete}

// promising reports whether an unfinished head may still become one that is taken here. One that may not is handed over at once: its
// sender may be waiting. The first seen bytes were looked at before.
func promising(b []byte, seen int) bool {
	fits := false
	for _, m := range methods {
		n := min(len(b), len(m))
		fits = fits || string(b[:n]) == m[:n]
	}
	for i := seen; i < len(b); i++ {
		if b[i] == '\n' && (i == 0 || b[i-1] != '\r') {
			return false
		}
	}
	return fits
}

// parse reads a head up to and with its empty line. It reports false for everything unusual.
func (h *head) parse(b []byte) bool {
	clear(h.fields)
	if h.values == nil {
		h.values = make([]string, 0, fieldsHint)
	}
	*h = head{fields: h.fields, values: h.values[:0]}
	text := string(b) // the only copy: all that the handler sees are parts of it
	end := strings.IndexByte(text, '\n')
	if end < 1 || text[end-1] != '\r' || !h.requestLine(text[:end-1]) {
		return false
	}
	for rest := text[end+1:]; ; {
		end := strings.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return false
		}
		if end == 1 {
			return h.consistent(len(rest) == 2)
		}
		if !h.field(rest[:end-1]) {
			return false
		}
		rest = rest[end+1:]
	}
}

// consistent is the last look at a head. It has to end where its empty line is: a bare one before that was seen as a line's end.
func (h *head) consistent(ended bool) bool {
	return ended && h.hosts == 1 && h.lengths <= 1 && h.connections <= 1
}

// requestLine reads "METHOD /path?query HTTP/1.1" (RFC 9112 section 3).
func (h *head) requestLine(l string) bool {
	for _, m := range methods {
		if len(l) > len(m) && l[len(m)] == ' ' && l[:len(m)] == m {
			h.method = m
			return h.target(l[len(m)+1:])
		}
	}
	return false
}

// target reads an origin-form target without its query and what follows it. A percent escape in the path is left to others to check.
func (h *head) target(l string) bool {
	target, ok := strings.CutSuffix(l, " HTTP/1.1")
	if !ok || target == "" || target[0] != '/' {
		return false
	}
	path, query, _ := strings.Cut(target, "?")
	h.path, h.query = path, query
	return all(path, isPath) && all(query, isPath|isQuery)
}

// field reads one "name: value" (RFC 9112 section 5).
func (h *head) field(l string) bool {
	i := strings.IndexByte(l, ':')
	if i < 1 || len(h.values) == maxFields {
		return false
	}
	n, ok := names[l[:i]]
	if !ok {
		if !all(l[:i], isToken) {
			return false
		}
		if n, ok = names[strings.ToLower(l[:i])]; !ok {
			n.canonical = textproto.CanonicalMIMEHeaderKey(l[:i])
		}
	}
	value := trim(l[i+1:])
	return all(value, isVisible) && h.meaning(n.role, value) && h.add(n, value)
}

// meaning reads the fields that say how the request is framed, and what becomes of the connection.
func (h *head) meaning(r role, value string) bool {
	switch r {
	case unusual:
		return false
	case isHost:
		h.host = value
		h.hosts++
		return value != "" && all(value, inHost)
	case isLength:
		h.lengths++
		return h.contentLength(value)
	case isConnection:
		h.connections++
		h.close = strings.EqualFold(value, "close")
		return h.close || strings.EqualFold(value, "keep-alive")
	}
	return true
}

func (h *head) contentLength(v string) bool {
	if v == "" || len(v) > maxDigits {
		return false
	}
	n := int64(0)
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
		n = n*10 + int64(v[i]-'0')
	}
	h.length = n
	return n <= maxBody
}

// add keeps a field for the handler; the host has its own place.
func (h *head) add(n name, value string) bool {
	at := len(h.values)
	h.values = append(h.values, value)
	if n.role == isHost {
		return true
	}
	if before := h.fields[n.canonical]; before != nil {
		h.fields[n.canonical] = append(before, value)
		return true
	}
	h.fields[n.canonical] = h.values[at : at+1 : at+1]
	return true
}

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for n := len(s); n > 0 && (s[n-1] == ' ' || s[n-1] == '\t'); n = len(s) {
		s = s[:n-1]
	}
	return s
}

// Classes of characters: RFC 9110 sections 5.6.2 and 5.5, RFC 3986 sections 3.3 and 3.4, and those of host:port.
const (
	isToken = 1 << iota
	isVisible
	isPath
	isQuery // in a query only
	inHost
)

var classes = func() (t [256]byte) {
	for c := range t {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= isVisible
		}
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			t[c] |= isToken | isPath | inHost
		}
	}
	mark := func(chars string, class byte) {
		for _, c := range []byte(chars) {
			t[c] |= class
		}
	}
	mark("!#$%&'*+-.^_`|~", isToken)
	mark("-._~!$&'()*+,;=:@/", isPath)
	mark("?%", isQuery)
	mark("-._:[]", inHost)
	return t
}()

func all(s string, class byte) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}
