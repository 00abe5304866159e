package table

import (
	"fmt"
	"net/textproto"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/rules"
)

func compileServer(obj confset.Object, region string, n *notes) *Server {
	m := new(configv1.Server)
	if !decode(obj, m, n) {
		return nil
	}
	spec, name := m.GetSpec(), obj.Key.Name
	s := &Server{
		Name:     name,
		UID:      obj.UID,
		Internal: oneOf(n, "spec.reachable_from", spec.GetReachableFrom(), "any", "internal") == "internal",
		Ranges:   ranges(n, "spec.allowed_cidrs", spec.GetAllowedCidrs()),
		Groups:   spec.GetAccessGroups(),
		Limit:    compileLimit("spec.limits", spec.GetLimits(), n),
		Hash:     obj.Hash,
		own:      compileTimeouts("spec.timeouts", spec.GetTimeouts(), n),
	}
	s.Limit.identify("server/"+name, "the server "+name)
	s.behave(spec, n)
	s.Shape = compileShape(name, spec.GetTools(), n)
	if s.Instances = chooseTargets(spec, region, n); len(s.Instances) > 0 {
		s.Target = s.Instances[0]
	}
	s.Auth = compileAuth(spec.GetAuth(), s.Target, n)
	s.AuthType = s.Auth.Type
	s.limitTools(spec.GetToolLimits(), n)
	s.attach(spec, n)
	return s
}

// ranges reads address ranges; the error's place follows the field.
func ranges(n *notes, field string, list []string) netrange.Set {
	if len(list) == 0 {
		return netrange.Set{}
	}
	set, err := netrange.NewSet(list)
	if err != nil {
		at, problem, _ := strings.Cut(err.Error(), " ")
		n.reject(field+at, "%s", problem)
	}
	return set
}

func (s *Server) limitTools(list []*configv1.ToolLimits, n *notes) {
	for i, m := range list {
		at := fmt.Sprintf("spec.tool_limits[%d]", i)
		l := compileLimit(at+".limits", m.GetLimits(), n)
		l.identify("tool/"+s.Name+"/"+m.GetTool(), "the tool "+m.GetTool()+" of the server "+s.Name)
		switch _, twice := s.ToolLimits[m.GetTool()]; {
		case m.GetTool() == "":
			n.reject(at+".tool", "is missing; write the tool's name")
		case twice:
			n.reject(at+".tool", "is there twice; remove one of the two")
		case l == nil:
			n.reject(at+".limits", "is empty; write rate, concurrency or both, or remove the entry")
		}
		if s.ToolLimits == nil {
			s.ToolLimits = make(map[string]*Limit, len(list))
		}
		s.ToolLimits[m.GetTool()] = l
	}
}

// attach compiles the headers that requests to the server carry.
func (s *Server) attach(spec *configv1.ServerSpec, n *notes) {
	for i, m := range spec.GetHeaders() {
		at := fmt.Sprintf("spec.headers[%d]", i)
		h := Header{Name: upstreamHeader(n, at+".name", m.GetName()), Text: m.GetText(), Secret: m.GetValue().GetSecret()}
		switch {
		case (h.Text == "") == (h.Secret == ""):
			n.reject(at, "has neither or both of text and value; write one of them")
		case !visible(h.Text):
			n.reject(at+".text", "has a character that is not visible ASCII; encode it as the server expects")
		}
		s.Headers = append(s.Headers, h)
	}
	for i, name := range spec.GetClientHeaders() {
		at := fmt.Sprintf("spec.client_headers[%d]", i)
		h := textproto.CanonicalMIMEHeaderKey(name)
		if h != "Authorization" { // callers may have a credential of their own for the server
			h = upstreamHeader(n, at, name)
		}
		s.ClientHeaders = append(s.ClientHeaders, ClientHeader{Name: h, Keys: clientKeys(s.Name, name)})
	}
	for i, name := range spec.GetForwardHeaders() {
		s.ForwardHeaders = append(s.ForwardHeaders, ForwardHeader{upstreamHeader(n, fmt.Sprintf("spec.forward_headers[%d]", i), name)})
	}
	s.Plain = s.Auth.Type == "none" && len(s.Headers)+len(s.ClientHeaders)+len(s.ForwardHeaders) == 0
}

// clientKeys are the names under which callers set a header for a server. Proxies drop names with an underscore, so a hyphen is taken too.
func clientKeys(server, header string) (keys [2]string) {
	keys[0] = textproto.CanonicalMIMEHeaderKey("x-mcp-" + server + "-" + header)
	if other := strings.ReplaceAll(server, "_", "-"); other != server {
		keys[1] = textproto.CanonicalMIMEHeaderKey("x-mcp-" + other + "-" + header)
	}
	return keys
}

// upstreamHeader returns the canonical form of a header that may be sent to servers.
func upstreamHeader(n *notes, field, name string) string {
	if problem := rules.UpstreamHeader(name); problem != "" {
		n.reject(field, "%s; choose another header", problem)
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// visible reports whether s may stand in a header: visible ASCII and spaces in between.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}
