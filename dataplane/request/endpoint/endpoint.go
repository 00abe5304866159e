// Package endpoint turns a request path into a typed value: which door of the gateway was knocked at.
//
// It promises that two spellings of one door have one canonical name (for sealing, limits and records) and never looks at headers, the
// Host included, or config. Of percent escapes it decodes that of the comma, and only between names, since HTTP libraries escape it; it refuses
// all others: no name of ours has any.
package endpoint

import (
	"cmp"
	"strings"
)

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
	// ProtectedResource, AuthServer, OpenID and JWKS are the documents of OAuth below /.well-known/ (RFC 9728, RFC 8414, OpenID Connect
	// Discovery 1.0, RFC 7517).
	ProtectedResource
	AuthServer
	OpenID
	JWKS
	// ClientIP is /v1/mcp/network/client-ip.
	ClientIP
	// Toolset is /toolset/{name}/mcp: exactly that toolset.
	Toolset
	// RestList and RestCall are /mcp-rest/tools/list and /mcp-rest/tools/call.
	RestList
	RestCall
	// SSE and Message are the two doors of the transport of MCP 2024-11-05: /{name}/sse and /{name}/message, or /mcp/sse and /mcp/message
	// of the aggregate.
	SSE
	Message
)

// Endpoint is one door.
type Endpoint struct {
	Kind Kind
	// Name of the server or toolset; the raw list for List. SSE and Message have the name or the raw list of the endpoint behind them, or
	// nothing for the aggregate. For the documents of OAuth it is the route they are about, as spelled there: a path like /everything/mcp, or
	// nothing for the document at the root.
	Name string
	// Spelled is Name as the path has it, where that has %2C for a comma; else empty.
	Spelled string
	// Swapped says that it was spelled /mcp/{name} instead of /{name}/mcp.
	Swapped bool
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
	case "/mcp-rest/tools/list":
		return Endpoint{Kind: RestList}
	case "/mcp-rest/tools/call":
		return Endpoint{Kind: RestCall}
	case "/v1/mcp/network/client-ip":
		return Endpoint{Kind: ClientIP}
	}
	if e := old(path); e.Kind != None {
		return e
	}
	if name, swapped, ok := cut(path); ok {
		return named(name, swapped)
	}
	if name, ok := toolset(path); ok {
		return Endpoint{Kind: Toolset, Name: name}
	}
	return document(path)
}

// old reads the doors of the transport of MCP 2024-11-05. No server is called sse or message: the names are reserved.
func old(path string) (e Endpoint) {
	name, ok := strings.CutSuffix(path, "/sse")
	if e.Kind = SSE; !ok {
		if name, ok = strings.CutSuffix(path, "/message"); !ok {
			return Endpoint{}
		}
		e.Kind = Message
	}
	switch {
	case name == "/mcp":
		return e
	case len(name) < 2 || name[0] != '/':
		return Endpoint{}
	}
	if e.Name, e.Spelled = commas(name[1:]); !listed(e.Name) {
		return Endpoint{}
	}
	return e
}

// toolset finds the name in /toolset/{name}/mcp.
func toolset(path string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(path, "/toolset/"); !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "/mcp")
	return name, ok && name != "" && validName(name)
}

func named(name string, swapped bool) Endpoint {
	name, spelled := commas(name)
	if strings.IndexByte(name, ',') >= 0 {
		return Endpoint{Kind: List, Name: name, Spelled: spelled, Swapped: swapped}
	}
	if !validName(name) {
		return Endpoint{}
	}
	return Endpoint{Kind: Server, Name: name, Swapped: swapped}
}

// documents are the well-known names that take a route behind them.
var documents = [...]struct {
	name string
	kind Kind
}{{"oauth-protected-resource", ProtectedResource}, {"oauth-authorization-server", AuthServer}, {"openid-configuration", OpenID}}

// document reads /.well-known/{document} and /.well-known/{document}{route} (RFC 9728 section 3.1, RFC 8414 section 3.1).
func document(path string) Endpoint {
	rest, ok := strings.CutPrefix(path, "/.well-known/")
	if !ok {
		return Endpoint{}
	}
	if rest == "jwks.json" {
		return Endpoint{Kind: JWKS}
	}
	for _, d := range documents {
		if route, ok := strings.CutPrefix(rest, d.name); ok && (route == "" || wellFormed(route)) {
			return Endpoint{Kind: d.kind, Name: route}
		}
	}
	return Endpoint{}
}

// wellFormed reports whether a path could be a route of MCP, whatever is configured.
func wellFormed(route string) bool {
	if route == "/mcp" || old(route).Kind == SSE {
		return true
	}
	if _, ok := toolset(route); ok {
		return true
	}
	name, _, ok := cut(route)
	name, _ = commas(name)
	return ok && listed(name)
}

// Canonical is the one spelling of the endpoint that sessions are bound to: "mcp" for the aggregate, "toolset/" and the name for a toolset's
// own door, else "server/" and the name of the server, group or toolset. The names of a list are sorted and told once; a list that has one
// name left ends in a comma, since it is still a list. The doors of MCP 2024-11-05 have the spelling of the endpoint behind them.
func (e Endpoint) Canonical() string {
	switch e.Kind {
	case Aggregate:
		return "mcp"
	case Toolset:
		return "toolset/" + e.Name
	case SSE, Message:
		if e.Name == "" {
			return "mcp"
		}
	}
	if strings.IndexByte(e.Name, ',') >= 0 {
		return "server/" + sorted(e.Name)
	}
	return "server/" + e.Name
}

// Behind is the MCP endpoint behind one of the doors of MCP 2024-11-05, and every other door itself.
func (e Endpoint) Behind() Endpoint {
	switch {
	case e.Kind != SSE && e.Kind != Message:
		return e
	case e.Name == "":
		return Endpoint{Kind: Aggregate}
	}
	return named(cmp.Or(e.Spelled, e.Name), false)
}

// Route is the path of the MCP route that the endpoint is, or that the document is about: /everything/mcp, as it was spelled but for a slash
// at the end, since RFC 9728 section 3.3 wants the identifier of a resource to be the URL that the client used. Of the two doors of MCP
// 2024-11-05 that is the stream's. Empty for every other door and for the documents at the root.
func (e Endpoint) Route() string {
	switch e.Kind {
	case Aggregate:
		return "/mcp"
	case Server, List:
		if e.Swapped {
			return "/mcp/" + cmp.Or(e.Spelled, e.Name)
		}
		return "/" + cmp.Or(e.Spelled, e.Name) + "/mcp"
	case Toolset:
		return "/toolset/" + e.Name + "/mcp"
	case SSE, Message:
		if e.Name == "" {
			return "/mcp/sse"
		}
		return "/" + cmp.Or(e.Spelled, e.Name) + "/sse"
	case ProtectedResource, AuthServer, OpenID:
		return e.Name
	}
	return ""
}

// Public reports whether the door is one of the documents of OAuth, which everybody may read.
func (e Endpoint) Public() bool { return e.Kind >= ProtectedResource && e.Kind <= JWKS }
