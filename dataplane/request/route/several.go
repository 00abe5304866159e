package route

import (
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
)

// mostNamed bounds the names of a comma list or of x-mcp-servers.
const mostNamed = 64

// Several returns the scope of an endpoint that isn't one server's: the aggregate, a toolset, an access group, or a comma list of servers and
// groups. narrow are the values of x-mcp-servers: they take servers away and never add any. Errors are *fault.Error (gateway, route, or
// client for a list that is too long): one answer for what doesn't exist, isn't the caller's and can't be reached from there.
func Several(t *table.Table, p *table.Principal, door endpoint.Endpoint, narrow []string, place Place) (Scope, error) {
	s := Scope{Table: t, Principal: p, Place: place}
	switch door.Kind {
	case endpoint.Aggregate:
	case endpoint.Toolset:
		if !s.toolset(door.Name) {
			return s, missing(t, p, door.Name, place.Internal, place.Client)
		}
	case endpoint.List:
		if err := s.list(door.Name); err != nil {
			return s, err
		}
	default: // a name in the one namespace that isn't a server's
		if !s.toolset(door.Name) && !s.named(door.Name) {
			return s, missing(t, p, door.Name, place.Internal, place.Client)
		}
	}
	return s, s.narrow(narrow)
}

// toolset makes the scope that of a toolset, if the caller may use a server of it.
func (s *Scope) toolset(name string) bool {
	ts, ok := s.Table.Toolset(name)
	if !ok {
		return false
	}
	s.Toolset, s.only = ts, map[string]struct{}{}
	open := false
	for i := range ts.Tools {
		server := ts.Tools[i].Server
		if _, seen := s.only[server]; seen {
			continue
		}
		s.only[server] = struct{}{}
		_, member := s.Member(server)
		open = open || member
	}
	if !open {
		s.Toolset, s.only = nil, nil
	}
	return open
}

// named adds a server or the servers of an access group to what the scope names, if the caller may use one of them.
func (s *Scope) named(name string) bool {
	only := s.only
	s.only = nil
	members := s.of(name)
	s.only = only
	if len(members) == 0 {
		return false
	}
	if s.only == nil {
		s.only = make(map[string]struct{}, len(members))
	}
	for _, m := range members {
		s.only[m] = struct{}{}
	}
	return true
}

// of returns the names of the servers that a name stands for and that the scope has for the caller.
func (s *Scope) of(name string) (servers []string) {
	if _, ok := s.Member(name); ok {
		return []string{name}
	}
	for _, server := range s.Table.Group(name) {
		if _, ok := s.member(server); ok {
			servers = append(servers, server.Name)
		}
	}
	return servers
}

// list reads a comma list: each name must stand for something the caller may use.
func (s *Scope) list(text string) error {
	names := strings.Split(text, ",")
	if len(names) > mostNamed {
		return tooMany("the list in the path")
	}
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" && !s.named(name) {
			return missing(s.Table, s.Principal, name, s.Place.Internal, s.Place.Client)
		}
	}
	if s.only == nil {
		return missing(s.Table, s.Principal, text, s.Place.Internal, s.Place.Client)
	}
	return nil
}

// narrow keeps what x-mcp-servers names, servers or groups. Names that stand for nothing here are no reason to refuse, unless all are.
func (s *Scope) narrow(values []string) error {
	text := strings.Join(values, ",")
	if strings.Trim(text, ", \t") == "" {
		return nil
	}
	names := strings.Split(text, ",")
	if len(names) > mostNamed {
		return tooMany("x-mcp-servers")
	}
	kept := map[string]struct{}{}
	for _, name := range names {
		for _, server := range s.of(strings.TrimSpace(name)) {
			kept[server] = struct{}{}
		}
	}
	if len(kept) == 0 {
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
			Message: "x-mcp-servers names nothing that this caller may reach here: " + redact.Text(text),
			Hint:    "name servers or access groups of this endpoint, or leave the header out"}
	}
	s.only = kept
	return nil
}

func tooMany(where string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.TooLarge, Status: http.StatusBadRequest,
		Message: where + " has too many names", Hint: "name at most 64 servers or groups, or make an access group of them"}
}
