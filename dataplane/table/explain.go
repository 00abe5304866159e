package table

import (
	"slices"
	"strings"
)

// Verdicts of a Step.
const (
	Granted   = "granted"    // the server wholly, or the tool
	ToolsOnly = "tools only" // some of the server's tools
	Denied    = "denied"
)

// Step says what one level makes of a request, for people.
type Step struct {
	Level   string // key, caller (neither key nor token), claim, team; server, if its config says what is shown; last: verdict
	Subject string // who that is: ci, core, groups = dev of the identity provider okta; the server; of the verdict: who asks
	Verdict string // Granted, ToolsOnly or Denied
	Why     string // one sentence without its subject: "opens server github by group dev"
}

// Explain says for each level what of s it opens to p, and whether tool may be used unless that is empty. The last step is the verdict, which
// is that of Access. tool is the server's own name.
func (t *Table) Explain(p *Principal, s *Server, tool string) []Step {
	var steps []Step
	for _, g := range p.Grants {
		st := Step{Level: "caller", Subject: p.Name}
		switch {
		case g.Of != "":
			st.Level, st.Subject = "claim", g.Of
		case strings.HasPrefix(p.ID, "key:"):
			st.Level = "key"
		}
		st.Verdict, st.Why = t.because(level{g, t.opening(g, s).reach}, s, tool)
		steps = append(steps, st)
		for _, name := range [...]string{g.Team, p.Team} {
			if name != "" {
				st := Step{Level: "team", Subject: name}
				st.Verdict, st.Why = t.because(t.bound(name, s), s, tool)
				steps = append(steps, st)
			}
		}
	}
	if s.Shape != nil {
		st := Step{Level: "server", Subject: s.Name}
		st.Verdict, st.Why = s.Shape.because(tool)
		steps = append(steps, st)
	}
	return append(steps, t.verdict(p, s, tool))
}

// because says what a server's own config makes of a tool, in the order in which Show decides.
func (s *Shape) because(tool string) (verdict, why string) {
	if tool == "" {
		return Granted, "shows its tools as spec.tools says"
	}
	if other, ok := s.real[tool]; ok && other != tool {
		return s.renamed(tool, other)
	}
	if !s.opens(tool) {
		return Denied, "by spec.tools it " + (&ToolRule{Allow: s.allow, Deny: s.deny}).against(tool)
	}
	v, _ := s.Show(tool)
	why = "shows tool " + tool
	if v.Name != tool {
		why += " as " + v.Name
	}
	if v.Parameters != nil {
		why += "; of its arguments just " + strings.Join(v.Parameters, ", ") + " may be sent"
	}
	if s.HideDrifted && v.Pin != "" {
		why += "; it is hidden while its definition isn't the pinned one"
	}
	return Granted, why
}

// renamed is because for a tool under whose name another is shown.
func (s *Shape) renamed(tool, other string) (verdict, why string) {
	if v, ok := s.Show(tool); ok {
		return Granted, "shows tool " + tool + " as " + v.Name + ", and tool " + other + " as " + tool
	}
	return Denied, "shows tool " + other + " as " + tool + ", and no other tool of that name: to ask about it, name " + other
}

// because says what a level opens, in the order in which usable decides.
func (t *Table) because(l level, s *Server, tool string) (verdict, why string) {
	server, o := "server "+s.Name, t.opening(l.grant, s)
	switch {
	case l.grant == nil:
		return Denied, "doesn't exist here, or was rejected: nothing is open to its members"
	case l.reach == closed:
		return Denied, "doesn't open " + server + ": neither its name, nor a group of it, nor a toolset with tools of it is named"
	case tool == "":
		return l.whole(server+o.how(), s.Name)
	}
	if o.reach == someTools {
		name, ok := t.holding(l.grant, s.Name, tool)
		if !ok {
			return Denied, "opens just the tools of " + server + " in toolset " + o.by + " and others it names, and tool " + tool + " is in none"
		}
		o.by = name
	}
	if r := l.grant.narrows(s.Name, tool); r != nil {
		return Denied, "opens " + server + o.how() + ", but " + r.against(tool)
	}
	return Granted, "opens tool " + tool + " of " + server + o.how() + bounded(l.grant, s.Name, tool)
}

// whole is because without a tool; server says how it is opened, too.
func (l level) whole(server, name string) (verdict, why string) {
	if l.reach == someTools {
		return ToolsOnly, "opens some tools of " + server
	}
	if l.grant.ruled(name) {
		return Granted, "opens " + server + "; its rules narrow the tools"
	}
	return Granted, "opens " + server
}

// how says what of a grant opens a server.
func (o opening) how() string {
	switch o.door {
	case byAll:
		return ` by "*"`
	case byName:
		return " by name"
	case byGroup:
		return " by group " + o.by
	case byToolset:
		return " by toolset " + o.by
	}
	return ""
}

// against says how a rule takes a tool away.
func (r *ToolRule) against(tool string) string {
	for _, p := range r.Deny {
		if p.Match(tool) {
			return "denies tool " + tool + " by the rule deny: " + p.String()
		}
	}
	return "allows only tools among which " + tool + " is not"
}

// bounded names the arguments that rules of a grant bound.
func bounded(g *Grant, server, tool string) string {
	var names []string
	for _, rules := range g.rules(server) {
		for _, r := range rules {
			for _, p := range r.Parameters {
				if p.Tool.Match(tool) && !slices.Contains(names, p.Parameter) {
					names = append(names, p.Parameter)
				}
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; its rules bound the arguments " + strings.Join(names, ", ")
}

func (t *Table) verdict(p *Principal, s *Server, tool string) Step {
	st := Step{Level: "verdict", Subject: p.Name, Verdict: Denied}
	a := t.Access(p, s)
	switch {
	case len(p.Grants) == 0:
		st.Why = "has no grant: what none opens is closed"
	case !a.Open():
		st.Why = "reaches nothing of server " + s.Name + ": each level must open the same"
	case tool != "" && !a.Tool(tool):
		st.Why = "may not use tool " + tool + ": each level must open it"
	case tool != "":
		st.Verdict, st.Why = Granted, "may use tool "+tool+" of server "+s.Name
	case a.ToolsOnly():
		st.Verdict, st.Why = ToolsOnly, "may use some tools of server "+s.Name+", and neither prompts nor resources"
	default:
		st.Verdict, st.Why = Granted, "may use server "+s.Name
	}
	return st
}
