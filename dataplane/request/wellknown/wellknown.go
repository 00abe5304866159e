// Package wellknown writes the documents that tell OAuth clients whose tokens the gateway takes: protected resource metadata (RFC 9728),
// authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0), and the key set (RFC 7517).
//
// It promises that resource and issuer are exactly the identifiers from which the document's URL was derived, the public origin and the
// route: the bare origin for the document at the root, as RFC 9728 section 3.3 and RFC 8414 section 3.3 demand. Clients throw a document
// away that says anything else. Every well-formed route is answered alike, so that names can't be probed.
//
// It refuses to promise what the gateway can't do. It issues no tokens, so its authorization server metadata has no endpoints and no grant
// types; it only leads on to the protected resource, and from there to the issuers. A gateway that takes no tokens at all has no documents:
// 404 for each, and never 401, which would send clients on a search for an authorization server.
package wellknown

import (
	"encoding/json"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// resource is protected resource metadata (RFC 9728 section 2).
type resource struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	BearerMethods []string `json:"bearer_methods_supported"`
	Name          string   `json:"resource_name"`
}

// issuer is authorization server metadata (RFC 8414 section 2) of a server that issues nothing. Resources is of RFC 9728 section 4.
type issuer struct {
	Issuer    string   `json:"issuer"`
	Responses []string `json:"response_types_supported"`
	Grants    []string `json:"grant_types_supported"`
	Resources []string `json:"protected_resources"`
}

// Answer returns the document of a kind about a route: a path like /everything/mcp, or nothing for the root. origin is the public origin. The
// error is a *fault.Error: 404 while no identity provider is configured, 400 when origin is empty because the caller's Host header named
// none.
func Answer(kind endpoint.Kind, route string, t *table.Table, origin string) ([]byte, error) {
	providers := t.Providers()
	if len(providers) == 0 {
		return nil, &fault.Error{Hop: fault.Client, Phase: fault.Route, Kind: fault.NotFound,
			Message: "this gateway takes keys only and so has no OAuth metadata",
			Hint:    "send a key in x-hopgate-api-key, x-litellm-api-key or Authorization, or configure an identity provider"}
	}
	if kind == endpoint.JWKS {
		return []byte(`{"keys":[]}`), nil
	}
	if origin == "" {
		return nil, &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed,
			Message: "the Host header is not a host name, so the gateway can't say under which name it is known", Hint: "send the host of the URL"}
	}
	switch kind {
	case endpoint.ProtectedResource:
		return json.Marshal(resource{Resource: origin + route, Servers: issuers(providers), BearerMethods: []string{"header"}, Name: "Hopgate " + named(route)})
	case endpoint.AuthServer, endpoint.OpenID:
		return json.Marshal(issuer{Issuer: origin + route, Responses: []string{}, Grants: []string{}, Resources: []string{origin + route}})
	}
	return nil, &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Message: "there is no such document"}
}

func issuers(list []*table.IdentityProvider) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Issuer
	}
	return out
}

func named(route string) string {
	if route == "" {
		return "MCP gateway"
	}
	return route
}
