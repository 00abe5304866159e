// Package endpoint turns a request path into a typed value: which door of the gateway was knocked at.
//
// It promises that two spellings of one door give one value (canonical name for sealing, limits and records) and never looks at headers
// or config. It refuses to decode percent escapes: no name of ours has any.
package endpoint

import "strings"

// Kind is the sort of door.
type Kind uint8

// The doors. None is every path that isn't one of ours.
const (
	None Kind = iota
	Aggregate
	Server
	List
	Live
	Ready
)

// Endpoint is one door.
type Endpoint struct {
	Kind Kind
	Name string // of the server; the raw list for List
}

// Parse reads a request path without its query. One trailing slash doesn't matter.
func Parse(path string) Endpoint {
	path = strings.TrimSuffix(path, "/")
	switch path {
	case "/mcp":
		return Endpoint{Kind: Aggregate}
	case "/healthz":
		return Endpoint{Kind: Live}
	case "/readyz":
		return Endpoint{Kind: Ready}
	}
	name, ok := cut(path)
	if !ok {
		return Endpoint{}
	}
	if strings.IndexByte(name, ',') >= 0 {
		return Endpoint{Kind: List, Name: name}
	}
	if !validName(name) {
		return Endpoint{}
	}
	return Endpoint{Kind: Server, Name: name}
}

// cut finds the name in /{name}/mcp and /mcp/{name}.
func cut(path string) (string, bool) {
	if name, ok := strings.CutPrefix(path, "/mcp/"); ok && strings.IndexByte(name, '/') < 0 {
		return name, name != ""
	}
	if name, ok := strings.CutSuffix(path, "/mcp"); ok && len(name) > 1 && strings.LastIndexByte(name, '/') == 0 {
		return name[1:], true
	}
	return "", false
}

// validName is the alphabet of paths: what a name can be, and the hyphen of old spellings, so that those get "unknown" rather than "no such
// path".
func validName(s string) bool {
	if len(s) > 64 || strings.HasPrefix(s, ".") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Canonical is the one spelling of the endpoint that sessions are bound to.
func (e Endpoint) Canonical() string { return "server/" + e.Name }
