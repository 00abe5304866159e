package route

import (
	"iter"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/table"
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
			return s, s.notToolset(door.Name)
		}
	case endpoint.List:
		if err := s.list(door.Name); err != nil {
			return s, err
		}
	default: // a name in the one namespace that isn't a server's
		if !s.toolset(door.Name) && !s.one(door.Name) {
			return s, missing(t, p, door.Name, place.Internal, place.Client)
		}
	}
	return s, s.narrow(narrow)
}

// term is a name that an endpoint is made of: a server's, or an access group's.
type term struct {
	name  string
	group bool
}

func (t *term) holds(server *table.Server) bool {
	if t.group {
		return slices.Contains(server.Groups, t.name)
	}
	return server.Name == t.name
}

// names reports whether the endpoint, as it was narrowed, is about a server.
func (s *Scope) names(server *table.Server) bool {
	holds := func(t term) bool { return t.holds(server) }
	return (s.Toolset == nil || s.Toolset.Has(server.Name)) &&
		(s.named == nil || slices.ContainsFunc(s.named, holds)) &&
		(s.narrowed == nil || slices.ContainsFunc(s.narrowed, holds))
}

// standing are the servers that terms stand for; one that several stand for comes again.
func (s *Scope) standing(terms []term) iter.Seq[*table.Server] {
	return func(yield func(*table.Server) bool) {
		for _, t := range terms {
			if server, ok := s.Table.Server(t.name); !t.group && ok && !yield(server) {
				return
			}
			if !t.group {
				continue
			}
			for _, server := range s.Table.Group(t.name) {
				if !yield(server) {
					return
				}
			}
		}
	}
}

// toolset makes the scope that of a toolset, if the caller may use a server of it.
func (s *Scope) toolset(name string) bool {
	ts, ok := s.Table.Toolset(name)
	if !ok {
		return false
	}
	s.Toolset = ts
	for server := range s.Table.Of(ts) {
		if _, open := s.member(server); open {
			return true
		}
	}
	s.Toolset = nil
	return false
}

// one makes the scope that of a server or an access group, if the caller may use a server of it.
func (s *Scope) one(name string) bool {
	t, ok := s.term(name)
	if ok {
		s.named = []term{t}
	}
	return ok
}

// term returns what a name stands for among what the scope has for the caller: a server before a group of that name. It looks at servers of
// the group until one is open.
func (s *Scope) term(name string) (t term, ok bool) {
	if _, ok := s.Member(name); ok {
		return term{name: name}, true
	}
	for _, server := range s.Table.Group(name) {
		if _, ok := s.member(server); ok {
			return term{name: name, group: true}, true
		}
	}
	return term{}, false
}

// list reads a comma list: each name must stand for a server or a group that the caller may use. Toolsets have names of their own for tools,
// which lists, whose names are always prefixed, can't show.
func (s *Scope) list(text string) error {
	names := strings.Split(text, ",")
	if len(names) > mostNamed {
		return tooMany("the list in the path", len(names))
	}
	terms := make([]term, 0, len(names))
	for _, name := range names {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		t, ok := s.term(name)
		if !ok {
			return s.notListed(name)
		}
		terms = append(terms, t)
	}
	if len(terms) == 0 {
		return notFound("the list in the path has no names", "write servers and access groups with commas between them, as in /github,jira/mcp")
	}
	s.named = terms
	return nil
}

// narrow keeps what x-mcp-servers names, servers or groups; a toolset's own name, on its endpoint, stands for all of it. Names that stand for
// nothing here are no reason to refuse, unless all are; other toolsets are, since what they hold would be missing without a word.
func (s *Scope) narrow(values []string) error {
	text := strings.Join(values, ",")
	if strings.Trim(text, ", \t") == "" {
		return nil
	}
	names := strings.Split(text, ",")
	if len(names) > mostNamed {
		return tooMany("x-mcp-servers", len(names))
	}
	terms, all := make([]term, 0, len(names)), false
	for _, name := range names {
		name = strings.TrimSpace(name)
		t, ok := s.term(name)
		switch {
		case ok:
			terms = append(terms, t)
		case s.Toolset != nil && s.Toolset.Name == name:
			all = true
		case s.opens(name):
			return notFound("x-mcp-servers names the toolset "+name+", and it takes servers and access groups",
				"use /toolset/"+name+"/mcp without the header")
		}
	}
	switch {
	case all:
		return nil
	case len(terms) == 0:
		return notFound("x-mcp-servers names nothing that this caller may reach here: "+redact.Text(text),
			"name servers or access groups of this endpoint, or leave the header out")
	}
	s.narrowed = terms
	return nil
}
