package rules

import (
	"fmt"
	"slices"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostGrants     = 2000 // names of one sort in a grant
	mostToolRules  = 1000 // of a grant
	mostPatterns   = 1000 // of a tool rule's allow, or deny
	mostParameters = 100  // rules of a tool rule
	mostValues     = 1000 // of a parameter rule
	mostToolName   = 256
	mostValue      = 1024
)

// opening is what keys, teams and claims open and narrow alike.
type opening interface {
	GetServers() []string
	GetGroups() []string
	GetToolsets() []string
	GetTools() []*configv1.ToolRule
	GetTeam() string
}

// opens checks the fields below path, which ends in a dot.
func (vs *Violations) opens(path string, o opening) {
	vs.grants(path+"servers", o.GetServers())
	vs.names(path+"groups", o.GetGroups(), "group")
	vs.names(path+"toolsets", o.GetToolsets(), "toolset")
	vs.toolRules(path+"tools", o.GetTools())
	if team := o.GetTeam(); team != "" {
		vs.objectName(path+"team", team, "team")
	}
}

// teamOpening is a Team's own spec, which names no team.
type teamOpening struct{ *configv1.TeamSpec }

func (teamOpening) GetTeam() string { return "" }

func (vs *Violations) grants(field string, servers []string) {
	vs.list(field, servers, mostGrants, "servers", func(path, name string) string {
		before := len(*vs)
		if name != "*" {
			vs.serverName(path, name)
		} else if len(servers) > 1 {
			vs.add(path, `"*" means all servers and stands alone`, "remove it, or the others")
		}
		return vs.keyed(before, name)
	})
}

// names checks a list of names in the namespace of servers; what is what each of them names.
func (vs *Violations) names(field string, given []string, what string) {
	vs.list(field, given, mostGrants, what+"s", func(path, name string) string {
		before := len(*vs)
		if name == "*" {
			vs.add(path, `"*" is possible for servers only`, "name each "+what)
		} else {
			vs.pathName(path, name, what)
		}
		return vs.keyed(before, name)
	})
}

func (vs *Violations) toolRules(field string, list []*configv1.ToolRule) {
	if len(list) > mostToolRules {
		vs.add(field, fmt.Sprintf("there are %d rules", len(list)), fmt.Sprintf("at most %d are possible", mostToolRules))
		return
	}
	for i, r := range list {
		at := element(field, i)
		if r.GetServer() != "*" {
			vs.serverName(at+".server", r.GetServer())
		}
		vs.patterns(at+".allow", r.GetAllow())
		vs.patterns(at+".deny", r.GetDeny())
		if n := len(r.GetParameters()); n > mostParameters {
			vs.add(at+".parameters", fmt.Sprintf("there are %d rules", n), fmt.Sprintf("at most %d are possible", mostParameters))
			continue
		}
		for j, p := range r.GetParameters() {
			vs.parameter(element(at+".parameters", j), p)
		}
	}
}

func (vs *Violations) patterns(field string, given []string) {
	vs.list(field, given, mostPatterns, "patterns", func(path, s string) string {
		before := len(*vs)
		vs.pattern(path, s)
		return vs.keyed(before, s)
	})
}

// pattern checks the name of a tool or, with a trailing *, the beginning of names.
func (vs *Violations) pattern(field, s string) {
	begin := strings.TrimSuffix(s, "*")
	switch {
	case s == "*":
	case strings.Contains(begin, "*"):
		vs.add(field, quote(s)+" has a * that is not at the end", "write a whole name, or the beginning of names and one *")
	default:
		vs.exact(field, begin, mostToolName, "write a tool's name like search_issues, or * for all")
	}
}

// toolName checks the name of one tool.
func (vs *Violations) toolName(field, name string) {
	if strings.HasSuffix(name, "*") {
		vs.add(field, quote(name)+" is a pattern", "name one tool: patterns are not possible here")
		return
	}
	vs.exact(field, name, mostToolName, "write the tool's name as the server calls it, like search_issues")
}

func (vs *Violations) parameter(field string, p *configv1.ParameterRule) {
	vs.pattern(field+".tool", p.GetTool())
	vs.exact(field+".parameter", p.GetParameter(), mostToolName, "write the name of a top-level argument, like path")
	vs.list(field+".values", p.GetValues(), mostValues, "values", func(path, s string) string {
		if len(s) > mostValue {
			vs.add(path, fmt.Sprintf("is %d bytes long", len(s)), fmt.Sprintf("at most %d are possible", mostValue))
			return ""
		}
		return "=" + s // the empty text is a value, too
	})
	if p.GetRequired() && len(p.GetValues()) == 0 {
		vs.add(field+".required", "is set, but values is empty, which means that the argument may not be sent", `name values, "*" for any text, or remove required`)
	}
}

func (vs *Violations) roles(field string, given, known []string) {
	vs.list(field, given, mostWords, "roles", func(path, role string) string {
		before := len(*vs)
		switch {
		case role == "":
			vs.add(path, "is empty", suggest("", known))
		case slices.Contains(roles, role) && !slices.Contains(known, role):
			vs.add(path, quote(role)+" is for keys alone: tokens don't open the admin API", "remove it, and give the caller a key")
		default:
			vs.word(path, role, known...)
		}
		return vs.keyed(before, role)
	})
}
