// Package route finds the server a request is for.
//
// It promises one answer for "there is no such server" and "it isn't yours" (404, with suggestions only among what the caller may reach),
// so that names can't be probed. It refuses servers that this region can't reach, and says that this is why.
package route

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/rules"
)

// Match returns the server named in the path if the caller may reach it.
func Match(t *table.Table, p *table.Principal, name, region string) (*table.Server, error) {
	s, ok := t.Server(name)
	if !ok || !p.May(name) {
		return nil, missing(t, p, name)
	}
	if s.Target == nil {
		return nil, &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Server: name,
			Message: "the server " + name + " has no endpoint for the region " + region,
			Hint:    "call the gateway in a region the server lists, or add an endpoint for this one"}
	}
	return s, nil
}

func missing(t *table.Table, p *table.Principal, name string) error {
	e := &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
		Message: "there is no server " + name + " that this caller may reach"}
	if near := nearest(t, p, name); near != "" {
		e.Hint = "did you mean " + near + "?"
	} else {
		e.Hint = "`hopgate get servers` lists the servers, `hopgate get apikeys` what each key may reach"
	}
	return e
}

// suggestAmong is up to how many servers a suggestion is looked for: a wrong name must not cost more the more there are.
const suggestAmong = 1000

// nearest returns the reachable name that differs least, or "" when none is close.
func nearest(t *table.Table, p *table.Principal, name string) string {
	if servers, _ := t.Len(); servers > suggestAmong {
		return ""
	}
	var names []string
	for s := range t.Servers() {
		if p.May(s.Name) {
			names = append(names, s.Name)
		}
	}
	return rules.Nearest(name, names)
}
