package table

// Grant is what one grant of a key, team or claim opens, compiled. It is immutable. The zero Grant opens nothing.
type Grant struct {
	// All opens every server; else Servers and Groups count, by name.
	All     bool
	Servers map[string]struct{}
	Groups  map[string]struct{}
	// Toolsets open just their tools.
	Toolsets []string
	// Team bounds the grant of a claim; empty: none. That of a key has Principal.Team instead.
	Team string
	// Of names a claim's grant for people, like "groups = dev of the identity provider okta"; empty for keys and teams.
	Of string
	// Rules, by server, and Always narrow what may be used and never open anything. Always counts for each server.
	Rules  map[string][]ToolRule
	Always []ToolRule
}

// Everything opens every server. Read only.
var Everything = &Grant{All: true}

// ToolRule narrows what of a server may be used.
type ToolRule struct {
	Allow      []Pattern // empty: all
	Deny       []Pattern // wins over Allow
	Parameters []ParameterRule
}

// ParameterRule bounds one argument.
type ParameterRule struct {
	Tool      Pattern
	Parameter string
	Values    []Pattern // empty: it may not be sent
	Required  bool
}

// Pattern matches a text whole, or its beginning.
type Pattern struct {
	Text   string
	Prefix bool
}

// Match reports whether s matches.
func (p Pattern) Match(s string) bool {
	if p.Prefix {
		return len(s) >= len(p.Text) && s[:len(p.Text)] == p.Text
	}
	return s == p.Text
}

// String returns the pattern as it is written.
func (p Pattern) String() string {
	if p.Prefix {
		return p.Text + "*"
	}
	return p.Text
}

// Team is a ceiling over its members.
type Team struct {
	Name  string
	Grant *Grant
	// Limit is over all members together; nil: none.
	Limit *Limit
}

// reach is how much of a server a grant opens, before its rules.
type reach uint8

const (
	closed reach = iota
	someTools
	wholly
)

// door is what of a grant opens a server.
type door uint8

const (
	noDoor door = iota
	byAll
	byName
	byGroup
	byToolset
)

// opening is how a grant opens a server. by names the group or toolset.
type opening struct {
	reach reach
	door  door
	by    string
}

// opening looks the server up in a grant; nil opens nothing. Toolsets are those of this table.
func (t *Table) opening(g *Grant, s *Server) opening {
	switch {
	case g == nil:
		return opening{}
	case g.All:
		return opening{reach: wholly, door: byAll}
	}
	if _, ok := g.Servers[s.Name]; ok {
		return opening{reach: wholly, door: byName}
	}
	if len(g.Groups) > 0 {
		for _, group := range s.Groups {
			if _, ok := g.Groups[group]; ok {
				return opening{reach: wholly, door: byGroup, by: group}
			}
		}
	}
	for _, name := range g.Toolsets {
		if ts, ok := t.toolsets.get(name); ok && len(ts.of[s.Name]) > 0 {
			return opening{reach: someTools, door: byToolset, by: name}
		}
	}
	return opening{}
}

// holding returns the toolset through which a grant opens a tool, if there is one.
func (t *Table) holding(g *Grant, server, tool string) (name string, ok bool) {
	for _, name := range g.Toolsets {
		if ts, there := t.toolsets.get(name); there && ts.holds(server, tool) {
			return name, true
		}
	}
	return "", false
}

// usable reports whether a grant opens a tool: wholly or by a toolset, and with its rules. r is how much of the server it opens.
func (t *Table) usable(g *Grant, r reach, server, tool string) bool {
	switch r {
	case closed:
		return false
	case someTools:
		if _, ok := t.holding(g, server, tool); !ok {
			return false
		}
	}
	return g.narrows(server, tool) == nil
}

// ruled reports whether a grant has rules for a server.
func (g *Grant) ruled(server string) bool {
	return len(g.Always) > 0 || len(g.Rules) > 0 && len(g.Rules[server]) > 0
}

// rules returns those for a server: its own, and those for each.
func (g *Grant) rules(server string) [2][]ToolRule {
	if len(g.Rules) == 0 {
		return [2][]ToolRule{nil, g.Always}
	}
	return [2][]ToolRule{g.Rules[server], g.Always}
}

// narrows returns the first rule that takes a tool of a server away, or nil.
func (g *Grant) narrows(server, tool string) *ToolRule {
	for _, rules := range g.rules(server) {
		for i := range rules {
			if !rules[i].allows(tool) {
				return &rules[i]
			}
		}
	}
	return nil
}

func (r *ToolRule) allows(tool string) bool {
	return (len(r.Allow) == 0 || matchesAny(r.Allow, tool)) && !matchesAny(r.Deny, tool)
}

func matchesAny(list []Pattern, s string) bool {
	for _, p := range list {
		if p.Match(s) {
			return true
		}
	}
	return false
}
