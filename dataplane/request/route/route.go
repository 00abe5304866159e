// Package route finds the server a request is for, and what of it the caller may use.
//
// It promises one answer for "there is no such server", "it isn't yours" and "not from there" (404, with suggestions only among what the
// caller may reach), so that names can't be probed. It refuses servers that this region can't reach, and says that this is why.
package route

import (
	"net/http"
	"net/netip"
	"slices"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
	"github.com/hopgate/hopgate/proto/rules"
)

// Match returns the server named in the path, and what of it the caller may use, if its grants open anything of it and it may be seen from
// where the caller is: internal says whether that is within the internal ranges, client is its address, or not valid when it isn't known.
// x-mcp-servers has no say here: it narrows endpoints of several, and the path has named the one.
// Errors are *fault.Error (gateway, route).
func Match(t *table.Table, p *table.Principal, name, region string, internal bool, client netip.Addr) (*table.Server, table.Access, error) {
	s, ok := t.Server(name)
	if !ok || !s.Reachable(internal, client) {
		return nil, table.Access{}, missing(t, p, name, internal, client)
	}
	access := t.Access(p, s)
	if !access.Open() {
		return nil, table.Access{}, missing(t, p, name, internal, client)
	}
	if s.Target == nil {
		return nil, table.Access{}, &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Server: name,
			Message: "the server " + name + " has no endpoint for the region " + region,
			Hint:    "call the gateway in a region the server lists, or add an endpoint for this one"}
	}
	return s, access, nil
}

// missing is the one answer for a name that stands for nothing the caller may reach. It says server, though groups and toolsets have such
// names too: whoever asks meant one.
func missing(t *table.Table, p *table.Principal, name string, internal bool, client netip.Addr) error {
	hint := "`hopgate get servers` lists the servers, `hopgate get apikeys` what each key may reach"
	if near := nearest(t, p, name, internal, client); near != "" {
		hint = "did you mean " + near + "?"
	}
	return notFound("there is no server "+redact.Text(name)+" that this caller may reach", hint)
}

func notFound(message, hint string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound, Message: message, Hint: hint}
}

// suggestAmong is up to how many servers a suggestion is looked for: a wrong name must not cost more the more there are.
const suggestAmong = 1000

// nearest returns the name of a reachable server, or of a group of one, that differs least, or "" when none is close.
func nearest(t *table.Table, p *table.Principal, name string, internal bool, client netip.Addr) string {
	if servers, _ := t.Len(); servers > suggestAmong {
		return ""
	}
	var names []string
	for s := range t.Servers() {
		if s.Reachable(internal, client) && t.Access(p, s).Open() {
			names = append(append(names, s.Name), s.Groups...)
		}
	}
	slices.Sort(names) // the first of those that differ alike
	return rules.Nearest(name, names)
}
