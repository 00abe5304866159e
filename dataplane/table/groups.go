package table

import (
	"cmp"
	"maps"
	"slices"
)

// Group returns the servers of an access group, in the order of names; nil when no server is in it. Read only.
func (t *Table) Group(name string) []*Server {
	members, _ := t.groups.get(name)
	return members
}

// setServer serves a server, in place of one of that name.
func (e *editor) setServer(s *Server) {
	old, _ := e.servers.get(s.Name)
	e.leave(old)
	e.servers.set(s.Name, s)
	e.regroup(s, s)
}

func (e *editor) dropServer(name string) {
	old, _ := e.servers.get(name)
	e.leave(old)
	e.servers.del(name)
}

func (e *editor) leave(old *Server) {
	if old == nil {
		return
	}
	e.regroup(old, nil)
}

// changes are who has a name in lists of servers from now on, by list and name; nil: nobody.
type changes map[string]map[string]*Server

// regroup notes who has the name of s in its groups, and among those that rename tools as it does.
func (e *editor) regroup(s, now *Server) {
	for _, group := range s.Groups {
		e.regrouped.note(group, s.Name, now)
	}
	if s.Shape == nil {
		return
	}
	for shown, tool := range s.Shape.real {
		if shown != tool {
			e.renamed.note(shown, s.Name, now)
		}
	}
}

func (c *changes) note(list, name string, s *Server) {
	if *c == nil {
		*c = changes{}
	}
	members := (*c)[list]
	if members == nil {
		members = map[string]*Server{}
		(*c)[list] = members
	}
	members[name] = s
}

// gather makes the lists that changed: a copy of each, whatever the number of changes.
func (e *editor) gather() {
	e.next.groups = e.regrouped.into(e.next.groups)
	e.next.renamers = e.renamed.into(e.next.renamers)
}

func (c changes) into(all shards[string, []*Server]) shards[string, []*Server] {
	if len(c) == 0 {
		return all
	}
	lists := all.edit()
	for list, changes := range c {
		old, _ := lists.get(list)
		if members := merged(old, changes); len(members) > 0 {
			lists.set(list, members)
		} else {
			lists.del(list)
		}
	}
	return lists.done()
}

// merged returns a list in the order of names with changes to it; nil takes a name out. What lies between two changes is moved as a whole.
func merged(old []*Server, changes map[string]*Server) []*Server {
	out := make([]*Server, 0, len(old)+len(changes))
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		i, there := slices.BinarySearchFunc(old, name, func(s *Server, name string) int { return cmp.Compare(s.Name, name) })
		out = append(out, old[:i]...)
		if there {
			i++
		}
		old = old[i:]
		if s := changes[name]; s != nil {
			out = append(out, s)
		}
	}
	return append(out, old...)
}
