package table

import (
	"fmt"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// opens is what specs of keys and teams and the grants of claims have in common.
type opens interface {
	GetServers() []string
	GetGroups() []string
	GetToolsets() []string
	GetTools() []*configv1.ToolRule
}

// fill compiles what m opens into g; path ends in a dot.
func (g *Grant) fill(path string, m opens, n *notes) {
	for _, s := range m.GetServers() {
		if s == "*" {
			g.All = true
			continue
		}
		if g.Servers == nil {
			g.Servers = make(map[string]struct{}, len(m.GetServers()))
		}
		g.Servers[s] = struct{}{}
	}
	g.Groups = setOf(m.GetGroups())
	g.Toolsets = m.GetToolsets()
	if len(m.GetTools()) > 0 {
		g.compileRules(path+"tools", m.GetTools(), n)
	}
}

// setOf returns nil for an empty list.
func setOf(list []string) map[string]struct{} {
	if len(list) == 0 {
		return nil
	}
	set := make(map[string]struct{}, len(list))
	for _, s := range list {
		set[s] = struct{}{}
	}
	return set
}

func (g *Grant) compileRules(field string, list []*configv1.ToolRule, n *notes) {
	g.Rules = make(map[string][]ToolRule, len(list))
	for i, m := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if m.GetServer() == "" {
			n.reject(at+".server", `is missing; name a server, or "*" for each`)
		}
		rule := ToolRule{Allow: patterns(at+".allow", m.GetAllow(), n), Deny: patterns(at+".deny", m.GetDeny(), n)}
		for j, p := range m.GetParameters() {
			rule.Parameters = append(rule.Parameters, compileParameter(fmt.Sprintf("%s.parameters[%d]", at, j), p, n))
		}
		if m.GetServer() == "*" {
			g.Always = append(g.Always, rule)
			continue
		}
		g.Rules[m.GetServer()] = append(g.Rules[m.GetServer()], rule)
	}
}

func patterns(field string, list []string, n *notes) []Pattern {
	if len(list) == 0 {
		return nil
	}
	out := make([]Pattern, len(list))
	for i, s := range list {
		out[i] = toolPattern(fmt.Sprintf("%s[%d]", field, i), s, n)
	}
	return out
}

// toolPattern refuses what would silently match nothing: a rule that was meant to deny something must not become one that doesn't.
func toolPattern(field, s string, n *notes) Pattern {
	p := pattern(s)
	switch {
	case s == "":
		n.reject(field, "is empty; write a tool's name, or * for all")
	case strings.Contains(p.Text, "*"):
		n.reject(field, "%.40q has a * that is not at the end; write a whole name, or the beginning of names and one *", s)
	}
	return p
}

func pattern(s string) Pattern {
	text, prefix := strings.CutSuffix(s, "*")
	return Pattern{Text: text, Prefix: prefix}
}

func compileParameter(field string, m *configv1.ParameterRule, n *notes) ParameterRule {
	p := ParameterRule{Tool: toolPattern(field+".tool", m.GetTool(), n), Parameter: m.GetParameter(), Required: m.GetRequired()}
	if p.Parameter == "" {
		n.reject(field+".parameter", "is missing; write the name of a top-level argument")
	}
	if p.Required && len(m.GetValues()) == 0 {
		n.reject(field+".required", "is set, but values is empty, which means that the argument may not be sent; name values or remove required")
	}
	for _, v := range m.GetValues() {
		p.Values = append(p.Values, pattern(v))
	}
	return p
}

func compileTeam(obj confset.Object, n *notes) *Team {
	m := new(configv1.Team)
	if !decode(obj, m, n) {
		return nil
	}
	name := obj.Key.Name
	t := &Team{Name: name, Grant: &Grant{}, Limit: compileLimit("spec.limits", m.GetSpec().GetLimits(), n)}
	t.Grant.fill("spec.", m.GetSpec(), n)
	t.Limit.identify("team/"+name, "the team "+name)
	return t
}

// compileLimit returns nil when nothing is limited. The caller gives it an identity.
func compileLimit(field string, m *configv1.CallLimits, n *notes) *Limit {
	if m.GetRate() == "" && m.GetConcurrency() == 0 {
		return nil
	}
	rate, err := rules.Rate(m.GetRate())
	if err != nil {
		n.reject(field+".rate", "%.40q %v; write it like 100/s, 6000/m or 1000/h", m.GetRate(), err)
	}
	if m.GetConcurrency() < 0 {
		n.reject(field+".concurrency", "%d is below 0; give a number above 0, or 0 for no limit", m.GetConcurrency())
	}
	return &Limit{Rate: rate, Concurrency: int(m.GetConcurrency())}
}

// identify names a limit; nil stays nil.
func (l *Limit) identify(id, subject string) {
	if l != nil {
		l.ID, l.Subject = id, subject
	}
}
