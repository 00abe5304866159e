// Package names says under which name a tool, a prompt or a resource of a server is known on an endpoint of several servers.
//
// It promises pure functions of the names alone: what is reachable, listed or counted never changes a name, so that a client's memory of one
// stays true, on every data plane. It refuses to read meaning into a resource's URI: that is the server's own text, which gets a mark and
// loses it again.
package names

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// MaxExposed is the longest name that is shown of a tool, in bytes: several model APIs take no longer ones.
const MaxExposed = 64

const (
	separator = "-"
	hashed    = 8    // hexadecimal digits that end a cut name
	respelled = "_x" // stands in front of them in one that isn't only cut
)

// Expose returns the name of a server's tool or prompt on an endpoint of several servers: {server}-{tool}. What would be longer than
// MaxExposed is cut, and ends in an underscore and 8 hexadecimal digits that depend on the whole. Characters that aren't Usable become
// underscores, and the name ends in _x and such digits: model APIs refuse a whole list because of one other name.
func Expose(server, tool string) string {
	name, end := server+separator+tool, "_"
	switch {
	case !Usable(tool):
		end = respelled
	case len(name) <= MaxExposed:
		return name
	}
	sum := sha256.Sum256([]byte(name))
	if end == respelled {
		name = server + separator + respell(tool)
	}
	return name[:min(len(name), MaxExposed-hashed-len(end))] + end + hex.EncodeToString(sum[:hashed/2])
}

// Usable reports whether clients and model APIs take a tool's name, its length aside: letters, digits, _, . and - of ASCII (MCP 2025-11-25).
func Usable(tool string) bool {
	for i := range len(tool) {
		if !usable(tool[i]) {
			return false
		}
	}
	return true
}

func usable(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// respell puts an underscore in place of each character that isn't usable.
func respell(tool string) string {
	b := make([]byte, 0, len(tool))
	for _, r := range tool {
		c := byte('_')
		if r < utf8.RuneSelf && usable(byte(r)) {
			c = byte(r)
		}
		b = append(b, c)
	}
	return string(b)
}

// Split takes an exposed name apart at its first hyphen: no server's name has one. ok is false for a name without. cut says that the tool's
// name may have been cut or respelled: it is then the one of the server's tools that Expose gives this name.
func Split(exposed string) (server, tool string, cut, ok bool) {
	server, tool, ok = strings.Cut(exposed, separator)
	if !ok || server == "" || tool == "" {
		return "", "", false, false
	}
	return server, tool, maybeCut(exposed), true
}

// maybeCut reports whether Expose could have cut or respelled to get this name.
func maybeCut(name string) bool {
	at := len(name) - hashed
	switch {
	case len(name) > MaxExposed || at < len(respelled):
		return false
	case len(name) == MaxExposed && name[at-1] == '_':
	case name[at-len(respelled):at] != respelled:
		return false
	}
	for _, c := range []byte(name[at:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// mark stands behind a server's name in a wrapped URI. No scheme has it (RFC 3986 section 3.1), and in a host or path it needs no escape.
const mark = "~"

// WrapURI returns a server's URI, or URI template, as it is known on an endpoint of several servers: the server's name and a ~ are put behind
// the scheme and its slashes (file:///a becomes file://notes~/a), or in front where there is no scheme. All else stays as it is.
func WrapURI(server, uri string) string {
	at := behindScheme(uri)
	return uri[:at] + server + mark + uri[at:]
}

// UnwrapURI undoes WrapURI. ok is false when no server's name is in the URI.
func UnwrapURI(wrapped string) (server, uri string, ok bool) {
	if server, rest, ok := strings.Cut(wrapped, mark); ok && isName(server) {
		return server, rest, true // there was no scheme in front: a scheme has no ~
	}
	at := behindScheme(wrapped)
	server, rest, ok := strings.Cut(wrapped[at:], mark)
	if at == 0 || !ok || !isName(server) {
		return "", "", false
	}
	return server, wrapped[:at] + rest, true
}

// behindScheme returns where what follows the scheme begins: behind "://" or ":", or 0 without a scheme. Variables of a template may stand
// for a scheme.
func behindScheme(uri string) int {
	colon := strings.IndexByte(uri, ':')
	if colon <= 0 || strings.ContainsAny(uri[:colon], "/?#~") {
		return 0
	}
	if strings.HasPrefix(uri[colon:], "://") {
		return colon + 3
	}
	return colon + 1
}

// isName reports whether s can be a server's name: [a-z][a-z0-9_]{0,31}.
func isName(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
