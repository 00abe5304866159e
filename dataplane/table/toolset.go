package table

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Toolset is a named set of tools across servers, in the order in which it was written. No two of its tools are shown under one name: a name
// that the toolset itself gives wins over one that a server gives, and among those the first does.
type Toolset struct {
	Name  string
	Tools []ToolsetTool

	of      map[string][]part // by server, each list in the order of tools
	named   map[string]int    // index of the tools with names of the toolset's own
	unnamed map[string][]int  // indexes of the others by the servers' own names, ascending
	t       *Table            // whose servers count; nil: none do
}

// ToolsetTool is one tool of a toolset.
type ToolsetTool struct {
	Server, Tool string
	Name         string // empty: the one under which the server shows it
	Description  string // empty: that of the server
}

// part is a tool of one server, and its index.
type part struct {
	tool string
	at   int
}

// Toolset returns the toolset of that name, with the servers of this table.
func (t *Table) Toolset(name string) (*Toolset, bool) {
	ts, ok := t.toolsets.get(name)
	if !ok {
		return nil, false
	}
	bound := *ts
	bound.t = t
	return &bound, true
}

// Has reports whether a toolset holds a tool of a server.
func (ts *Toolset) Has(server string) bool { return len(ts.of[server]) > 0 }

// Of returns the servers of a toolset that are there, in no order.
func (t *Table) Of(ts *Toolset) iter.Seq[*Server] {
	return func(yield func(*Server) bool) {
		for name := range ts.of {
			if s, ok := t.Server(name); ok && !yield(s) {
				return
			}
		}
	}
}

// Show says how a toolset shows a tool of a server; ok is false when it doesn't hold the tool, or the server doesn't show it. tool is the
// server's own name.
func (ts *Toolset) Show(s *Server, tool string) (v View, ok bool) {
	i, held := ts.index(s.Name, tool)
	if !held {
		return View{}, false
	}
	if v, ok = s.Shape.Show(tool); !ok {
		return View{}, false
	}
	if e := &ts.Tools[i]; e.Name != "" || e.Description != "" {
		v.Name, v.Description = cmp.Or(e.Name, v.Name), cmp.Or(e.Description, v.Description)
		if e.Name != "" {
			return v, true
		}
	}
	if ts.t != nil && ts.t.first(ts, v.Name) != i {
		return View{}, false
	}
	return v, true
}

// Find returns the server and the tool that a toolset shows under a name. Servers that aren't there (any more) count as showing nothing. It is
// the inverse of Show. Its cost doesn't grow with the toolset, only with how many servers rename a tool to that name.
func (t *Table) Find(ts *Toolset, shown string) (s *Server, tool string, ok bool) {
	i := t.first(ts, shown)
	if i < 0 {
		return nil, "", false
	}
	e := &ts.Tools[i]
	if s, ok = t.servers.get(e.Server); !ok || !s.Shape.shows(e.Tool) {
		return nil, "", false
	}
	return s, e.Tool, true
}

// first returns the index of the tool to which a name belongs, or -1. One that the toolset gives belongs to its tool even while that isn't
// there: calls don't go to another tool because a server is away.
func (t *Table) first(ts *Toolset, shown string) int {
	if i, ok := ts.named[shown]; ok {
		return i
	}
	best := -1
	for _, i := range ts.unnamed[shown] {
		if s, ok := t.servers.get(ts.Tools[i].Server); ok {
			if tool, ok := s.Shape.Real(shown); ok && tool == shown {
				best = i
				break
			}
		}
	}
	renamers, _ := t.renamers.get(shown)
	for _, s := range renamers {
		if i, held := ts.index(s.Name, s.Shape.real[shown]); held && ts.Tools[i].Name == "" && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}

// index returns where a toolset holds a tool.
func (ts *Toolset) index(server, tool string) (i int, ok bool) {
	parts := ts.of[server]
	j, ok := slices.BinarySearchFunc(parts, tool, func(p part, tool string) int { return cmp.Compare(p.tool, tool) })
	if !ok {
		return -1, false
	}
	return parts[j].at, true
}

func (ts *Toolset) holds(server, tool string) bool {
	_, ok := ts.index(server, tool)
	return ok
}

func compileToolset(obj confset.Object, n *notes) *Toolset {
	m := new(configv1.Toolset)
	if !decode(obj, m, n) {
		return nil
	}
	ts := &Toolset{Name: obj.Key.Name, of: map[string][]part{}, named: map[string]int{}, unnamed: map[string][]int{}}
	for i, e := range m.GetSpec().GetTools() {
		at := fmt.Sprintf("spec.tools[%d]", i)
		if e.GetServer() == "" || e.GetTool() == "" {
			n.reject(at, "lacks the server or the tool; write both")
			continue
		}
		if first, taken := ts.named[e.GetName()]; taken {
			n.reject(at+".name", "%.64q is the name of spec.tools[%d], too; choose another", e.GetName(), first)
		}
		if !ts.holds(e.GetServer(), e.GetTool()) {
			ts.add(ToolsetTool{Server: e.GetServer(), Tool: e.GetTool(), Name: e.GetName(), Description: e.GetDescription()})
		}
	}
	if len(m.GetSpec().GetTools()) == 0 {
		n.reject("spec.tools", "is empty; add at least one tool")
	}
	return ts
}

func (ts *Toolset) add(e ToolsetTool) {
	i, parts := len(ts.Tools), ts.of[e.Server]
	j, _ := slices.BinarySearchFunc(parts, e.Tool, func(p part, tool string) int { return cmp.Compare(p.tool, tool) })
	ts.of[e.Server] = slices.Insert(parts, j, part{e.Tool, i})
	ts.Tools = append(ts.Tools, e)
	if e.Name != "" {
		ts.named[e.Name] = i
	} else {
		ts.unnamed[e.Tool] = append(ts.unnamed[e.Tool], i)
	}
}
