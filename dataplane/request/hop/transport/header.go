package transport

import "iter"

// Header holds the fields of an answer in their order. It is never changed after Do and stays valid after Close.
type Header struct {
	raw    []byte
	fields []field
}

// field is where name and value stand in raw; a head has at most 64 KiB, so that 16 bits are enough.
type field struct{ name, nameEnd, value, valueEnd uint16 }

// Get returns the first value of the named field, in any case; "" when there is none.
func (h *Header) Get(name string) string {
	for _, f := range h.fields {
		if is(h.raw[f.name:f.nameEnd], name) {
			return string(h.raw[f.value:f.valueEnd])
		}
	}
	return ""
}

// Values yields every value of the named field in order.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range h.fields {
			if is(h.raw[f.name:f.nameEnd], name) && !yield(string(h.raw[f.value:f.valueEnd])) {
				return
			}
		}
	}
}

// All yields every field as the upstream wrote it.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range h.fields {
			if !yield(string(h.raw[f.name:f.nameEnd]), string(h.raw[f.value:f.valueEnd])) {
				return
			}
		}
	}
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// is compares ASCII without case.
func is(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// ContentType is the kind of an answer's body as far as the gateway cares.
type ContentType uint8

// The content types.
const (
	Other ContentType = iota // none of the following, or not said
	JSON                     // application/json or any +json
	SSE                      // text/event-stream
	HTML                     // text/html or application/xhtml+xml
)

// contentType reads the media type of a Content-Type value; parameters don't matter.
func contentType(v []byte) ContentType {
	for i, c := range v {
		if c == ';' || c == ' ' || c == '\t' {
			v = v[:i]
			break
		}
	}
	switch {
	case is(v, "application/json"), len(v) > 5 && is(v[len(v)-5:], "+json"):
		return JSON
	case is(v, "text/event-stream"):
		return SSE
	case is(v, "text/html"), is(v, "application/xhtml+xml"):
		return HTML
	}
	return Other
}
