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
	for _, group := range s.Groups {
		e.regroup(group, s.Name, s)
	}
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
	for _, group := range old.Groups {
		e.regroup(group, old.Name, nil)
	}
}

// regroup notes who has a name in a group from now on; nil: nobody.
func (e *editor) regroup(group, name string, s *Server) {
	if e.regrouped == nil {
		e.regrouped = map[string]map[string]*Server{}
	}
	members := e.regrouped[group]
	if members == nil {
		members = map[string]*Server{}
		e.regrouped[group] = members
	}
	members[name] = s
}

// gather makes the lists of the groups that changed: a copy of each, whatever the number of changes.
func (e *editor) gather() {
	if len(e.regrouped) == 0 {
		return
	}
	groups := e.next.groups.edit()
	for group, changes := range e.regrouped {
		old, _ := groups.get(group)
		if members := merged(old, changes); len(members) > 0 {
			groups.set(group, members)
		} else {
			groups.del(group)
		}
	}
	e.next.groups = groups.done()
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
