package rules

import (
	"fmt"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const mostToolsetTools = 1000

// Team returns everything that is wrong with a team.
func Team(t *configv1.Team) Violations {
	var vs Violations
	vs.objectName("name", t.GetName(), "team")
	vs.labels(t.GetLabels())
	vs.opens("spec.", teamOpening{t.GetSpec()})
	vs.limits("spec.limits", t.GetSpec().GetLimits())
	return vs
}

// Toolset returns everything that is wrong with a set of tools.
func Toolset(t *configv1.Toolset) Violations {
	var vs Violations
	vs.pathName("name", t.GetName(), "toolset")
	vs.labels(t.GetLabels())
	const field = "spec.tools"
	tools := t.GetSpec().GetTools()
	if len(tools) == 0 {
		vs.add(field, "is empty", "add one, for example {server: github, tool: search_issues}")
	}
	if len(tools) > mostToolsetTools {
		vs.add(field, fmt.Sprintf("there are %d tools", len(tools)), fmt.Sprintf("at most %d are possible", mostToolsetTools))
		return vs
	}
	seen := map[[2]string]string{}
	for i, tool := range tools {
		at, key := element(field, i), [2]string{tool.GetServer(), tool.GetTool()}
		vs.serverName(at+".server", tool.GetServer())
		vs.toolName(at+".tool", tool.GetTool())
		if first, ok := seen[key]; ok {
			vs.add(at, "is the same tool as "+first, "remove one of the two")
			continue
		}
		seen[key] = at
	}
	vs.toolsetNames(field, tools)
	return vs
}

// toolsetNames checks under which names and with which texts a toolset has its tools.
func (vs *Violations) toolsetNames(field string, tools []*configv1.ToolsetTool) {
	seen := map[string]int{}
	for i, tool := range tools {
		at, name, own := element(field, i), tool.GetName(), tool.GetName() == ""
		vs.prose(at+".description", tool.GetDescription(), mostDescription)
		if own {
			name = tool.GetTool()
		} else if problem := ShownName(name); problem != "" {
			vs.add(at+".name", problem, shownNameFix)
		}
		first, twice := seen[name]
		switch {
		case name == "":
		case !twice:
			seen[name] = i
		case own && tools[first].GetServer() == tool.GetServer() && tools[first].GetTool() == name:
			// the same tool: told already
		case own:
			vs.add(at, quote(name)+" is the name of "+element(field, first)+", too", "set name in one of the two: names are unique in a toolset")
		default:
			vs.add(at+".name", quote(name)+" is the name of "+element(field, first)+", too", "choose another: names are unique in a toolset")
		}
	}
}
