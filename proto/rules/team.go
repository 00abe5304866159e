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
	return vs
}
