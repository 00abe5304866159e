package table_test

import (
	"encoding/json"
	"slices"
	"strings"

	"pgregory.net/rapid"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// model is what grants mean, in the plainest words: no look-ups, nothing prepared.
type model struct {
	servers  map[string]*configv1.ServerSpec
	teams    map[string]*configv1.TeamSpec
	toolsets map[string]*configv1.ToolsetSpec
}

type opens interface {
	GetServers() []string
	GetGroups() []string
	GetToolsets() []string
	GetTools() []*configv1.ToolRule
}

// way is one grant of a caller and the teams that bound it.
type way struct {
	grant opens
	teams []string
}

func (m *model) levels(w way) (out []opens) {
	out = append(out, w.grant)
	for _, name := range w.teams {
		if name == "" {
			continue
		}
		if t, ok := m.teams[name]; ok {
			out = append(out, t)
			continue
		}
		out = append(out, &configv1.TeamSpec{})
	}
	return out
}

func (m *model) whole(o opens, server string) bool {
	for _, s := range o.GetServers() {
		if s == "*" || s == server {
			return true
		}
	}
	return slices.ContainsFunc(o.GetGroups(), func(g string) bool { return slices.Contains(m.servers[server].GetAccessGroups(), g) })
}

func (m *model) inToolset(o opens, server, tool string) bool {
	for _, name := range o.GetToolsets() {
		for _, t := range m.toolsets[name].GetTools() {
			if t.GetServer() == server && t.GetTool() == tool {
				return true
			}
		}
	}
	return false
}

func fits(pattern, s string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, begin)
	}
	return pattern == s
}

func anyFits(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, s) })
}

func rulesFor(o opens, server string) (out []*configv1.ToolRule) {
	for _, r := range o.GetTools() {
		if r.GetServer() == server || r.GetServer() == "*" {
			out = append(out, r)
		}
	}
	return out
}

func (m *model) toolAt(o opens, server, tool string) bool {
	if !m.whole(o, server) && !m.inToolset(o, server, tool) {
		return false
	}
	for _, r := range rulesFor(o, server) {
		if len(r.GetAllow()) > 0 && !anyFits(r.GetAllow(), tool) || anyFits(r.GetDeny(), tool) {
			return false
		}
	}
	return true
}

// tool reports whether some way opens a tool on all its levels, and with args, unless that is nil, all rules for arguments hold there.
func (m *model) tool(ways []way, server, tool string, args map[string]string) bool {
	return m.shown(server, tool) && slices.ContainsFunc(ways, func(w way) bool {
		return !slices.ContainsFunc(m.levels(w), func(o opens) bool {
			return !m.toolAt(o, server, tool) || args != nil && !argumentsAt(o, server, tool, args)
		})
	})
}

// shown reports whether the server's own config shows a tool.
func (m *model) shown(server, tool string) bool {
	s := m.servers[server].GetTools()
	if !opened(s, tool) {
		return false
	}
	for _, o := range s.GetOverrides() {
		if o.GetTool() != tool && o.GetName() == tool && opened(s, o.GetTool()) {
			return false // under this name another is shown
		}
	}
	return true
}

func opened(s *configv1.ServerTools, tool string) bool {
	return (len(s.GetAllow()) == 0 || anyFits(s.GetAllow(), tool)) && !anyFits(s.GetDeny(), tool)
}

func argumentsAt(o opens, server, tool string, args map[string]string) bool {
	for _, r := range rulesFor(o, server) {
		for _, p := range r.GetParameters() {
			raw, sent := args[p.GetParameter()]
			switch {
			case !fits(p.GetTool(), tool):
			case !sent && p.GetRequired(), sent && !slices.ContainsFunc(p.GetValues(), func(v string) bool { return valueFits(v, raw) }):
				return false
			}
		}
	}
	return true
}

func valueFits(pattern, raw string) bool {
	if strings.Contains(raw, "ud800") {
		return false // half a character: parsers read different things
	}
	var v any
	if json.Unmarshal([]byte(raw), &v) != nil {
		return false
	}
	switch v := v.(type) {
	case string:
		return fits(pattern, v)
	case float64, bool:
		return pattern == raw
	}
	return false
}

// wholly reports whether some way opens the server on all its levels.
func (m *model) wholly(ways []way, server string, also func(opens) bool) bool {
	return slices.ContainsFunc(ways, func(w way) bool {
		return !slices.ContainsFunc(m.levels(w), func(o opens) bool { return !m.whole(o, server) || !also(o) })
	})
}

// The little world that random grants are about. One name of each sort is never there.
var (
	worldServers  = []string{"a", "b", "gone"}
	worldGroups   = []string{"g", "h"}
	worldToolsets = []string{"s", "t", "gone_set"}
	worldTeams    = []string{"", "red", "blue", "gone-team"}
	worldTools    = []string{"x", "xy", "z"}
	worldPatterns = []string{"*", "x", "x*", "xy", "z"}
	worldValues   = []string{"*", "v", "v*", "1", "true", "null", ""}
	worldRaw      = []string{`"v"`, `"vw"`, `"\u0076"`, `1`, `1.0`, `"1"`, `true`, `null`, `[]`, `{"v":1}`, `""`, `"\ud800"`}
)

func some(rt *rapid.T, label string, from []string, most int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, most, rapid.ID).Draw(rt, label)
}

// drawShown has at most one override: several can be refused.
func drawShown(rt *rapid.T) *configv1.ServerTools {
	if rapid.IntRange(0, 2).Draw(rt, "shaped") > 0 {
		return nil
	}
	s := &configv1.ServerTools{Allow: some(rt, "shown", worldPatterns, 2), Deny: some(rt, "hidden", worldPatterns, 1)}
	if rapid.Bool().Draw(rt, "renamed") {
		s.Overrides = []*configv1.ToolOverride{{Tool: rapid.SampledFrom(worldTools).Draw(rt, "tool"), Name: rapid.SampledFrom([]string{"n", "x", "xy", "z"}).Draw(rt, "as")}}
	}
	if len(s.Allow)+len(s.Deny)+len(s.Overrides) == 0 {
		return nil
	}
	return s
}

func drawRules(rt *rapid.T) (out []*configv1.ToolRule) {
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(rt, "rules") {
		r := &configv1.ToolRule{Server: rapid.SampledFrom([]string{"a", "b", "*"}).Draw(rt, "of"), Allow: some(rt, "allow", worldPatterns, 2), Deny: some(rt, "deny", worldPatterns, 1)}
		for range rapid.IntRange(0, 1).Draw(rt, "parameters") {
			p := &configv1.ParameterRule{Tool: rapid.SampledFrom(worldPatterns).Draw(rt, "tool"), Parameter: "p", Values: some(rt, "values", worldValues, 2)}
			p.Required = len(p.Values) > 0 && rapid.Bool().Draw(rt, "required")
			r.Parameters = append(r.Parameters, p)
		}
		out = append(out, r)
	}
	return out
}
