package route

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/names"
)

// Scope is what an endpoint opens for one caller: one server, or several. It is a value of one table. The one rule for listing and calling is
// Show; Tool is its inverse.
type Scope struct {
	Table     *table.Table
	Principal *table.Principal
	Place     Place
	// One is the server of an endpoint of one; then nothing is prefixed or wrapped.
	One *table.Server
	// Toolset of an endpoint of one.
	Toolset *table.Toolset
	// named is what the endpoint names, narrowed what the caller narrowed it to; nil: each server. They are looked up, never listed, for a call:
	// it costs the same however many servers a group has.
	named, narrowed []term
}

// Place is from where a caller comes, and where this data plane stands.
type Place struct {
	Region   string
	Internal bool
	Client   netip.Addr
}

// Member is one server of a scope.
type Member struct {
	Server *table.Server
	Access table.Access
}

// Many reports whether the endpoint is one of several servers, whatever their number is now.
func (s *Scope) Many() bool { return s.One == nil }

// Member returns a server of the scope by its name.
func (s *Scope) Member(name string) (m Member, ok bool) {
	server, ok := s.Table.Server(name)
	if !ok {
		return m, false
	}
	return s.member(server)
}

func (s *Scope) member(server *table.Server) (m Member, ok bool) {
	if !s.names(server) || !server.Reachable(s.Place.Internal, s.Place.Client) {
		return m, false
	}
	m = Member{Server: server, Access: s.Table.Access(s.Principal, server)}
	return m, m.Access.Open()
}

// Whole is the scope as its endpoint has it, whatever the caller has narrowed it to.
func (s *Scope) Whole() Scope {
	whole := *s
	whole.narrowed = nil
	return whole
}

// Members returns the servers of the scope in the order of names. Its cost grows with the servers that the endpoint names, or with all.
func (s *Scope) Members() []Member {
	var out []Member
	for server := range s.servers() {
		if m, ok := s.member(server); ok {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Server.Name, b.Server.Name) })
	return slices.CompactFunc(out, func(a, b Member) bool { return a.Server == b.Server })
}

// servers are those among which all members are; one may come again.
func (s *Scope) servers() iter.Seq[*table.Server] {
	switch {
	case s.narrowed != nil:
		return s.standing(s.narrowed)
	case s.named != nil:
		return s.standing(s.named)
	case s.Toolset != nil:
		return s.Table.Of(s.Toolset)
	}
	return s.Table.Servers()
}

// Show says how the scope shows a tool of a member; ok is false when this caller can neither list nor call it here.
func (s *Scope) Show(m *Member, tool string) (v table.View, ok bool) {
	if !m.Access.Tool(tool) {
		return v, false
	}
	if s.Toolset != nil {
		return s.Toolset.Show(m.Server, tool)
	}
	if v, ok = m.Server.Shape.Show(tool); ok && s.Many() {
		v.Name = names.Expose(m.Server.Name, v.Name)
	}
	return v, ok
}

// Tool returns the member and the server's own name of a tool that is shown under a name. list names the server's tools; it is asked only
// for a name that may have been cut. ok is false when nothing is shown under that name.
func (s *Scope) Tool(shown string, list func(m *Member) iter.Seq[string]) (m Member, tool string, ok bool) {
	switch {
	case s.One != nil:
		m, ok = s.member(s.One)
		tool, ok = realName(s.One, shown, ok)
	case s.Toolset != nil:
		var server *table.Server
		if server, tool, ok = s.Table.Find(s.Toolset, shown); ok {
			m, ok = s.member(server)
		}
	default:
		m, tool, ok = s.prefixed(shown, list)
	}
	if !ok {
		return Member{}, "", false
	}
	if v, open := s.Show(&m, tool); !open || v.Name != shown {
		return Member{}, "", false
	}
	return m, tool, true
}

func realName(s *table.Server, shown string, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return s.Shape.Real(shown)
}

func (s *Scope) prefixed(shown string, list func(m *Member) iter.Seq[string]) (m Member, tool string, ok bool) {
	server, rest, cut, ok := names.Split(shown)
	if !ok {
		return m, "", false
	}
	if m, ok = s.Member(server); !ok {
		return m, "", false
	}
	if cut && list != nil {
		if tool, ok := first(m, list, func(m *Member, tool string) bool { v, open := s.Show(m, tool); return open && v.Name == shown }); ok {
			return m, tool, true
		}
	}
	tool, ok = m.Server.Shape.Real(rest)
	return m, tool, ok
}

// Prompt returns the member and the server's own name of a prompt that is shown under a name. Prompts are closed in toolsets, and of servers
// of which the caller may use tools only.
func (s *Scope) Prompt(shown string, list func(m *Member) iter.Seq[string]) (m Member, prompt string, ok bool) {
	if s.Toolset != nil {
		return m, "", false
	}
	server, rest, cut, ok := names.Split(shown)
	if !ok {
		return m, "", false
	}
	if m, ok = s.Member(server); !ok || m.Access.ToolsOnly() {
		return Member{}, "", false
	}
	if cut && list != nil {
		if prompt, ok := first(m, list, func(m *Member, prompt string) bool { return names.Expose(m.Server.Name, prompt) == shown }); ok {
			return m, prompt, true
		}
	}
	return m, rest, true
}

// first returns the first name in the list of a member that is meant. It has a copy of the member, which only names that may have been cut
// bring to the heap.
func first(m Member, list func(m *Member) iter.Seq[string], meant func(m *Member, name string) bool) (name string, ok bool) {
	for name := range list(&m) {
		if meant(&m, name) {
			return name, true
		}
	}
	return "", false
}

// Resource returns the member and the server's own URI of a resource that is known under a URI.
func (s *Scope) Resource(wrapped string) (m Member, uri string, ok bool) {
	if s.Toolset != nil {
		return m, "", false
	}
	server, uri, ok := names.UnwrapURI(wrapped)
	if !ok {
		return m, "", false
	}
	if m, ok = s.Member(server); !ok || m.Access.ToolsOnly() {
		return Member{}, "", false
	}
	return m, uri, true
}
