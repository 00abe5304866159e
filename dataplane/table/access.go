package table

// Access is what a principal may use of one server. It is a value of one table: make it where a request begins, and drop it at its end.
// The zero Access opens nothing.
//
// Rights are levels, intersected: a key's grant and that of its team, or for a JWT caller each claim's grant and that of the grant's team.
// The grants of several claims add up. A level opens a tool when its grant opens the server wholly or has the tool in a toolset, and all of
// that grant's rules for the server allow it. Empty means none; a team that is missing opens nothing. What the server's own config doesn't show
// (Server.Shape) is open to nobody.
type Access struct {
	t *Table
	p *Principal
	s *Server

	open, whole, all bool  // all: grants restrict nothing
	only             chain // the way of a caller with one grant
}

// chain is one way to a server: levels that must all open it.
type chain struct {
	levels [most]level
	n      int
}

// most levels: the caller's grant, the team of that grant, the team of the caller.
const most = 3

type level struct {
	grant *Grant // nil: the team is missing
	reach reach
}

// follow fills c with the levels over one grant of a principal, and returns what the narrowest opens of a server. Levels behind a closed
// one aren't looked at.
func (t *Table) follow(c *chain, p *Principal, g *Grant, s *Server) reach {
	least := t.opening(g, s).reach
	c.levels[0], c.n = level{g, least}, 1
	if g.Team == "" && p.Team == "" {
		return least
	}
	for _, name := range [...]string{g.Team, p.Team} {
		if name == "" || least == closed {
			continue
		}
		l := t.bound(name, s)
		c.levels[c.n] = l
		c.n++
		least = min(least, l.reach)
	}
	return least
}

// bound is the level of a team.
func (t *Table) bound(team string, s *Server) (l level) {
	if known, ok := t.teams.get(team); ok {
		l.grant, l.reach = known.Grant, t.opening(known.Grant, s).reach
	}
	return l
}

// Access says what p may use of s, by the grants, teams and toolsets of this table. Whether s can be seen from where the caller is, says
// Server.Reachable.
func (t *Table) Access(p *Principal, s *Server) Access {
	a := Access{t: t, p: p, s: s}
	if p == nil || s == nil {
		return a
	}
	c := &a.only
	for _, g := range p.Grants {
		switch t.follow(c, p, g, s) {
		case wholly:
			a.open, a.whole = true, true
			if !c.ruled(s.Name) {
				a.all = true
				return a
			}
		case someTools:
			a.open = a.open || t.anyTool(c, s)
		}
	}
	return a
}

func (c *chain) ruled(server string) bool {
	for i := range c.n {
		if c.levels[i].grant.ruled(server) {
			return true
		}
	}
	return false
}

// usableBy reports whether every level opens a tool.
func (t *Table) usableBy(c *chain, server, tool string) bool {
	for i := range c.n {
		if l := &c.levels[i]; !t.usable(l.grant, l.reach, server, tool) {
			return false
		}
	}
	return true
}

// anyTool reports whether some tool is open on every level of a chain that opens just tools.
func (t *Table) anyTool(c *chain, s *Server) bool {
	for i := range c.n {
		l := &c.levels[i]
		if l.reach != someTools {
			continue
		}
		for _, name := range l.grant.Toolsets {
			ts, _ := t.toolsets.get(name)
			if ts == nil {
				continue
			}
			for _, p := range ts.of[s.Name] {
				if s.Shape.shows(p.tool) && t.usableBy(c, s.Name, p.tool) {
					return true
				}
			}
		}
		return false
	}
	return false
}

// Open reports whether anything of the server may be used. If not, the server doesn't exist for the caller.
func (a Access) Open() bool { return a.open }

// Free reports whether nothing of the server is restricted or shown otherwise than it is: neither tools nor arguments.
func (a Access) Free() bool { return a.all && a.s.Shape == nil }

// All reports whether the caller's grants restrict nothing of the server; its own config may.
func (a Access) All() bool { return a.all }

// Parameters returns the top-level arguments that may be sent to a tool by the server's own config; nil: all. Read only. What grants say of
// arguments is Arguments.
func (a Access) Parameters(tool string) []string {
	if a.s == nil || a.s.Shape == nil {
		return nil
	}
	if o := a.s.Shape.overrides[tool]; o != nil {
		return o.Parameters
	}
	return nil
}

// ToolsOnly reports whether the server is reached by toolsets alone, so that prompts, resources and completion are closed.
func (a Access) ToolsOnly() bool { return a.open && !a.whole }

// Tool reports whether a tool may be listed and called; name is the server's own. Where anything is restricted, what has no name is closed:
// a server may find one where the gateway didn't.
func (a Access) Tool(name string) bool {
	switch {
	case a.Free():
		return true
	case !a.open || name == "" || !a.s.Shape.shows(name):
		return false
	case a.all:
		return true
	}
	if len(a.p.Grants) == 1 {
		return a.t.usableBy(&a.only, a.s.Name, name)
	}
	var c chain
	for _, g := range a.p.Grants {
		if a.t.follow(&c, a.p, g, a.s) != closed && a.t.usableBy(&c, a.s.Name, name) {
			return true
		}
	}
	return false
}

// AppendLimits appends the limits that a message counts against: those of the principal, of the teams through which it reaches the server
// (and the tool, unless that is empty), of the server, and of the tool. Only those that are set, each once.
func (t *Table) AppendLimits(dst []*Limit, p *Principal, s *Server, tool string) []*Limit {
	if p.Limit != nil {
		dst = append(dst, p.Limit)
	}
	dst = t.appendTeams(dst, p, s, tool)
	if s == nil {
		return dst
	}
	if s.Limit != nil {
		dst = append(dst, s.Limit)
	}
	if tool != "" {
		if l := s.ToolLimits[tool]; l != nil {
			dst = append(dst, l)
		}
	}
	return dst
}

func (t *Table) appendTeams(dst []*Limit, p *Principal, s *Server, tool string) []*Limit {
	if p.Team != "" {
		dst = t.appendTeam(dst, p.Team)
	}
	for _, g := range p.Grants {
		if g.Team == "" {
			continue
		}
		var c chain
		if s == nil || t.follow(&c, p, g, s) != closed && (tool == "" || t.usableBy(&c, s.Name, tool)) {
			dst = t.appendTeam(dst, g.Team)
		}
	}
	return dst
}

func (t *Table) appendTeam(dst []*Limit, name string) []*Limit {
	team, ok := t.teams.get(name)
	if !ok || team.Limit == nil {
		return dst
	}
	for _, l := range dst {
		if l == team.Limit {
			return dst
		}
	}
	return append(dst, team.Limit)
}
