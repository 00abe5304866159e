package table

import (
	"fmt"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/names"
	"github.com/hopgate/hopgate/proto/rules"
)

// Shape says what of a server's tools is shown, and how, before any grant (ServerSpec.tools). It is immutable. A nil Shape shows each tool as
// it is. No two tools are shown under one name: where one is renamed to what another is called, the other isn't shown.
type Shape struct {
	allow, deny []Pattern
	overrides   map[string]*View // by the server's own name
	real        map[string]string
	// HideDrifted hides pinned tools whose definition has changed.
	HideDrifted bool
}

// View is how a tool is shown.
type View struct {
	// Name it is listed and called by.
	Name string
	// Description shown instead of its own; empty: its own.
	Description string
	// Parameters are the top-level arguments that are shown and may be sent; nil: all.
	Parameters []string
	// Pin is the SHA-256 of the definition that was looked at, in lower-case hexadecimal; empty: none.
	Pin string
}

// Show says how a tool is shown; ok is false when it isn't. tool is the server's own name.
func (s *Shape) Show(tool string) (v View, ok bool) {
	if s == nil {
		return View{Name: tool}, true
	}
	if !s.opens(tool) {
		return View{}, false
	}
	if o := s.overrides[tool]; o != nil {
		return *o, true
	}
	if _, taken := s.real[tool]; taken {
		return View{}, false
	}
	return View{Name: tool}, true
}

// Real returns the server's own name of a tool that is shown under a name; ok is false when none is. It is the inverse of Show.
func (s *Shape) Real(shown string) (tool string, ok bool) {
	if s == nil {
		return shown, true
	}
	if tool, ok = s.real[shown]; ok {
		return tool, true
	}
	if !s.opens(shown) || s.overrides[shown] != nil { // what is overridden and shown is in real
		return "", false
	}
	return shown, true
}

// shows is Show for who needs no View.
func (s *Shape) shows(tool string) bool {
	if s == nil {
		return true
	}
	if !s.opens(tool) {
		return false
	}
	_, taken := s.real[tool]
	return s.overrides[tool] != nil || !taken
}

// opens reports whether the patterns leave a tool in. One without a name is none: a server may find one where the gateway didn't.
func (s *Shape) opens(tool string) bool {
	return tool != "" && (len(s.allow) == 0 || matchesAny(s.allow, tool)) && !matchesAny(s.deny, tool)
}

// compileShape returns nil for tools that are all shown as they are.
func compileShape(server string, m *configv1.ServerTools, n *notes) *Shape {
	const field = "spec.tools"
	drift := oneOf(n, field+".drift", m.GetDrift(), "alert", "hide")
	if len(m.GetAllow())+len(m.GetDeny())+len(m.GetOverrides()) == 0 {
		return nil
	}
	s := &Shape{allow: patterns(field+".allow", m.GetAllow(), n), deny: patterns(field+".deny", m.GetDeny(), n), HideDrifted: drift == "hide"}
	if len(m.GetOverrides()) > 0 {
		s.overrides = make(map[string]*View, len(m.GetOverrides()))
		s.real = make(map[string]string, len(m.GetOverrides()))
	}
	for i, o := range m.GetOverrides() {
		s.override(fmt.Sprintf("%s.overrides[%d]", field, i), o, n)
	}
	s.warnOfCuts(server, m.GetOverrides(), n)
	return s
}

// override takes in the changes to one tool. Those to one that isn't shown count for nothing.
func (s *Shape) override(at string, m *configv1.ToolOverride, n *notes) {
	v := &View{Name: m.GetName(), Description: m.GetDescription(), Parameters: m.GetParameters(), Pin: m.GetPin()}
	switch {
	case m.GetTool() == "":
		n.reject(at+".tool", "is missing; write the tool's name as the server calls it")
	case s.overrides[m.GetTool()] != nil:
		n.reject(at+".tool", "is there twice; remove one of the two")
	case v.Name == "":
		v.Name = m.GetTool()
	default:
		if problem := rules.ShownName(v.Name); problem != "" {
			n.reject(at+".name", "%s; write 1 to 64 letters, digits, underscores, dots and hyphens", problem)
		}
	}
	if v.Pin != "" && !rules.IsPin(v.Pin) {
		n.reject(at+".pin", "is not a SHA-256 in 64 lower-case hexadecimal digits; copy it again")
	}
	if !s.opens(m.GetTool()) {
		return
	}
	if other, taken := s.real[v.Name]; taken {
		n.reject(at+".name", "%.64q is the name under which tool %.64q is shown; give each tool its own", v.Name, other)
	}
	s.overrides[m.GetTool()], s.real[v.Name] = v, m.GetTool()
}

// warnOfCuts tells of names that are known to be cut on endpoints of several servers.
func (s *Shape) warnOfCuts(server string, list []*configv1.ToolOverride, n *notes) {
	for i, m := range list {
		field, name := "name", m.GetName()
		if name == "" {
			field, name = "tool", m.GetTool()
		}
		if whole := server + "-" + name; s.overrides[m.GetTool()] != nil && len(whole) > names.MaxExposed {
			n.warn(fmt.Sprintf("spec.tools.overrides[%d].%s", i, field), "is shown as %s on endpoints of several servers, since names have at most %d bytes there; "+
				"choose a shorter name to have it whole", names.Expose(server, name), names.MaxExposed)
		}
	}
}
