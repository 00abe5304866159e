package rules

import (
	"fmt"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostHeaders    = 32
	mostHeaderText = 4 << 10
)

// headers checks everything that a server's config lets leave towards it besides MCP's own headers; path ends in a dot.
func (vs *Violations) headers(path string, spec *configv1.ServerSpec) {
	seen := headerPlaces{}
	if name := keyHeader(spec.GetAuth()); name != "" {
		seen[name] = path + "auth"
	}
	vs.countHeaders(path+"headers", len(spec.GetHeaders()))
	for i, h := range spec.GetHeaders() {
		at := element(path+"headers", i)
		if vs.headerName(at+".name", h.GetName(), "use auth with type bearer, basic or authorization") {
			seen.take(vs, at+".name", h.GetName())
		}
		vs.headerValue(at, h)
	}
	vs.countHeaders(path+"client_headers", len(spec.GetClientHeaders()))
	for i, name := range spec.GetClientHeaders() {
		// A caller's own Authorization may stand in for the server's credential.
		vs.passedHeader(element(path+"client_headers", i), name, name == "authorization", seen)
	}
	vs.countHeaders(path+"forward_headers", len(spec.GetForwardHeaders()))
	for i, name := range spec.GetForwardHeaders() {
		vs.passedHeader(element(path+"forward_headers", i), name, false, seen)
	}
}

func (vs *Violations) countHeaders(field string, n int) {
	if n > mostHeaders {
		vs.add(field, fmt.Sprintf("there are %d headers", n), fmt.Sprintf("at most %d are possible", mostHeaders))
	}
}

// passedHeader checks a header that callers may send.
func (vs *Violations) passedHeader(at, name string, allowed bool, seen headerPlaces) {
	if !allowed && !vs.headerName(at, name, "use auth with type passthrough, or write authorization into client_headers") {
		return
	}
	if lower := strings.ToLower(name); lower != name {
		vs.add(at, quote(name)+" has upper-case letters", "write "+lower)
	}
	seen.take(vs, at, name)
}

// headerName checks a header's name and reports whether it is fine; instead is what to do in place of naming Authorization.
func (vs *Violations) headerName(field, name, instead string) bool {
	problem := UpstreamHeader(name)
	lower := strings.ToLower(name)
	switch {
	case problem == "":
	case name == "":
		vs.add(field, problem, "write a name like x-tenant")
	case lower == "authorization":
		vs.add(field, quote(name)+" "+problem, instead)
	case strings.HasPrefix(lower, "x-mcp-"):
		vs.add(field, quote(name)+" "+problem, "write the name as the server knows it, without x-mcp- and the server's name")
	default:
		vs.add(field, quote(name)+" "+problem, "name another header, or remove it")
	}
	return problem == ""
}

// headerValue checks that a header has text or a Secret's value. The text isn't quoted: it may be a secret all the same.
func (vs *Violations) headerValue(at string, h *configv1.Header) {
	text := h.GetText()
	switch {
	case text == "" && h.GetValue() == nil:
		vs.add(at, "has no value", "write text, or value with the name of a Secret")
	case text != "" && h.GetValue() != nil:
		vs.add(at, "has both text and value", "remove one of the two")
	case text == "":
		vs.secretValueOf(at+".value", h.GetValue())
	case len(text) > mostHeaderText:
		vs.add(at+".text", fmt.Sprintf("is %d bytes long", len(text)), fmt.Sprintf("at most %d are possible", mostHeaderText))
	case strings.TrimSpace(text) != text:
		vs.add(at+".text", "has a space at its beginning or end", "remove it: servers don't see it")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }):
		vs.add(at+".text", "has a character that a header cannot have", "write visible ASCII on one line")
	}
}

// keyHeader is the header, in lower case, that an api_key is sent in. Other credentials are sent in Authorization, which no list but
// client_headers may name.
func keyHeader(a *configv1.Auth) string {
	switch {
	case a.GetType() != "api_key":
		return ""
	case a.GetHeader() == "":
		return APIKeyHeader
	}
	return strings.ToLower(a.GetHeader())
}

// headerPlaces are the headers a server gets, in lower case, and which field names each.
type headerPlaces map[string]string

// take reports a header that comes from somewhere else already: which value left would be a matter of luck.
func (p headerPlaces) take(vs *Violations, field, name string) {
	key := strings.ToLower(name)
	if first, ok := p[key]; ok {
		vs.add(field, quote(name)+" is in "+first+" already", "remove one of the two: each header has one source")
		return
	}
	p[key] = field
}
