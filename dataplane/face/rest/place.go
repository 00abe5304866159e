package rest

import (
	"slices"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/names"
)

// place is the MCP endpoint that a request is about, and what its tools are called here.
type place struct {
	path   string
	server string         // its only server; empty: it is one of several
	kit    *table.Toolset // whose names they are; nil: none
	// exposed: tools of several servers keep the names of the endpoint, since they are called with the same server_id.
	exposed bool
}

// place is that of a server, a toolset or an access group, by its name, or of a server by its uid.
func (v *visit) place(id string) (p place, err error) {
	t := v.Table()
	if _, ok := t.Server(id); !ok && isUID(id) {
		v.vague, id = true, nameOf(t, id)
	}
	p.path = "/" + id + "/mcp"
	e := endpoint.Parse(p.path)
	if e.Kind != endpoint.Server {
		return p, v.unknown()
	}
	if s, one := t.Server(e.Name); one {
		p.server = s.Name
		if !v.narrowedTo(s) {
			return p, v.unknown()
		}
		return p, nil
	}
	p.kit, _ = t.Toolset(e.Name)
	return p, nil
}

// narrowedTo reports whether x-mcp-servers leaves a server, which endpoints of several see to themselves. Once it says something, a server that
// it doesn't leave and one that isn't the caller's read alike: else it would tell to which groups those belong.
func (v *visit) narrowedTo(s *table.Server) bool {
	text := strings.Join(v.in.Header["X-Mcp-Servers"], ",")
	if strings.Trim(text, ", \t") == "" {
		return true
	}
	v.vague, v.narrow = true, true
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == s.Name || slices.Contains(s.Groups, name) {
			return true
		}
	}
	return false
}

// owner says whose tool it is that a place shows under a name, and what it is called here; empty: the same. A name that was cut to fit stays.
func (v *visit) owner(p *place, shown string) (server, name string) {
	if p.server != "" {
		return p.server, ""
	}
	if p.kit != nil {
		if s, _, ok := v.Table().Find(p.kit, shown); ok {
			return s.Name, ""
		}
		return "", ""
	}
	server, name, cut, _ := names.Split(shown)
	if cut || p.exposed {
		name = ""
	}
	return server, name
}

// isUID reports whether an id may be a uid. What is neither a name nor a uid may be another name of a server.
func isUID(id string) bool { return strings.Count(id, "-") >= 4 }

// nameOf finds a server by its uid.
func nameOf(t *table.Table, id string) string {
	for s := range t.Servers() {
		if s.UID == id {
			return s.Name
		}
	}
	return id
}
