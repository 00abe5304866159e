package gather

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/names"
)

// walk writes the items of one page.
type walk struct {
	page  *Page
	dst   []byte
	from  int // where the items begin
	count int
	last  session.Cursor
	more  bool // there is an item behind the last one

	// Of the part at hand:
	part   *ListPart
	wrap   func(uri string) string
	firsts map[string]string // who has a name that may have been cut; nil until it is asked
}

func (w *walk) run() {
	if w.page.Scope.Toolset != nil {
		if w.page.Kind == catalogue.Tools {
			w.toolset()
		}
		return
	}
	after := &w.page.After
	first, _ := slices.BinarySearchFunc(w.page.Parts, after.Server, func(p ListPart, name string) int { return strings.Compare(p.Member.Server.Name, name) })
	w.dst = slices.Grow(w.dst, room(w.page.Parts[first:], w.page.Most))
	for i := first; i < len(w.page.Parts) && !w.more; i++ {
		part := &w.page.Parts[i]
		if part.List == nil {
			continue
		}
		items := part.List.Items
		if part.Member.Server.Name == after.Server {
			items = behind(items, after.Item)
		}
		w.enter(part)
		w.items(items)
	}
}

// room is about what a page of those parts takes, so that it needn't be moved about while it grows. Parts of which the caller doesn't see
// everything aren't counted.
func room(parts []ListPart, most int) (size int) {
	for i := range parts {
		p := &parts[i]
		if p.List == nil || !p.Member.Access.Free() {
			continue
		}
		for j := range p.List.Items {
			if most--; most < 0 || size > MaxPage {
				return min(size, MaxPage)
			}
			size += len(p.List.Items[j].Raw) + len(p.Member.Server.Name) + len(`-,`)
		}
	}
	return min(size, MaxPage)
}

// behind returns the items after that name.
func behind(items []message.Item, name string) []message.Item {
	i, found := slices.BinarySearchFunc(items, name, func(it message.Item, name string) int { return strings.Compare(it.Name, name) })
	if found {
		i++
	}
	return items[i:]
}

// enter begins with another part.
func (w *walk) enter(part *ListPart) {
	w.part, w.firsts, w.wrap = part, nil, nil
	if w.page.Scope.Many() {
		server := part.Member.Server.Name
		w.wrap = func(uri string) string { return names.WrapURI(server, uri) }
	}
}

func (w *walk) items(items []message.Item) {
	for i := range items {
		if v, ok := w.show(items[i].Name); ok && !w.add(&items[i], v, items[i].Name) {
			return
		}
	}
}

// add appends an item that is shown as v. mark is what the cursor says when the page ends with it. It returns false when the page is full.
func (w *walk) add(item *message.Item, v message.View, mark string) bool {
	at := len(w.dst)
	if w.count > 0 {
		w.dst = append(w.dst, ',')
	}
	mayEnd := w.count > 0 && len(w.last.Item) <= maxMark
	if mayEnd && w.count >= w.page.Most {
		w.dst, w.more = w.dst[:at], true
		return false
	}
	w.dst = message.AppendItem(w.dst, item.Raw, v, w.wrap)
	if mayEnd && len(w.dst)-w.from > MaxPage {
		w.dst, w.more = w.dst[:at], true
		return false
	}
	w.count++
	w.last = session.Cursor{Method: w.page.Kind.Method(), Server: w.part.Member.Server.Name, Item: mark}
	return true
}

// show says how an item of the part is shown. What can't be called by that name isn't.
func (w *walk) show(name string) (v message.View, ok bool) {
	switch {
	case name == "":
		return v, false
	case w.page.Kind == catalogue.Tools:
		return w.tool(name)
	case w.part.Member.Access.ToolsOnly():
		return v, false
	case w.page.Kind == catalogue.Prompts && w.page.Scope.Many():
		v.Name = names.Expose(w.part.Member.Server.Name, name)
		return v, w.firstOf(v.Name, name, w.prompt)
	case w.page.Kind == catalogue.Prompts:
		v.Name = name
	}
	return v, true
}

// tool says how a tool of an endpoint without a toolset is shown.
func (w *walk) tool(name string) (v message.View, ok bool) {
	if v, ok = w.view(name); !ok {
		return v, false
	}
	rest := v.Name
	if w.page.Scope.Many() {
		var cut bool
		if _, rest, cut, ok = names.Split(v.Name); !ok {
			return v, false
		}
		if cut {
			return v, w.firstOf(v.Name, name, w.exposed)
		}
	}
	own, ok := w.part.Member.Server.Shape.Real(rest)
	return v, ok && own == name
}

// view is how the scope shows a tool.
func (w *walk) view(name string) (v message.View, ok bool) {
	is, ok := w.page.Scope.Show(&w.part.Member, name)
	return message.View{Name: is.Name, Description: is.Description, Parameters: is.Parameters}, ok
}

func (w *walk) exposed(name string) (shown string, ok bool) {
	is, ok := w.page.Scope.Show(&w.part.Member, name)
	return is.Name, ok
}

func (w *walk) prompt(name string) (shown string, ok bool) {
	return names.Expose(w.part.Member.Server.Name, name), true
}

// firstOf reports whether an item is who is found under a name that may have been cut: the first of the list that is shown so. All of a part
// are looked at once, and only where there is such a name.
func (w *walk) firstOf(shown, name string, show func(name string) (string, bool)) bool {
	if _, _, cut, _ := names.Split(shown); !cut {
		return true
	}
	if w.firsts == nil {
		w.firsts = map[string]string{}
		for i := range w.part.List.Items {
			own := w.part.List.Items[i].Name
			is, ok := show(own)
			if !ok {
				continue
			}
			if _, taken := w.firsts[is]; !taken {
				w.firsts[is] = own
			}
		}
	}
	return w.firsts[shown] == name
}

// toolset walks a toolset in the order in which it was written.
func (w *walk) toolset() {
	ts := w.page.Scope.Toolset
	for i := w.begin(); i < len(ts.Tools); i++ {
		t := &ts.Tools[i]
		part := w.page.part(t.Server)
		if part == nil {
			continue
		}
		item, ok := part.List.Find(t.Tool)
		if !ok {
			continue
		}
		if w.part != part {
			w.enter(part)
		}
		v, ok := w.view(t.Tool)
		if ok && !w.add(item, v, strconv.Itoa(i)+" "+t.Tool) {
			return
		}
	}
}

// begin is where in the toolset the page begins: behind the tool that the cursor names, wherever that is now, or where it was if it is gone.
func (w *walk) begin() int {
	after := &w.page.After
	if after.Server == "" {
		return 0
	}
	was, tool, _ := strings.Cut(after.Item, " ")
	tools := w.page.Scope.Toolset.Tools
	for i := range tools {
		if tools[i].Server == after.Server && tools[i].Tool == tool {
			return i + 1
		}
	}
	i, err := strconv.Atoi(was)
	if err != nil {
		return 0
	}
	return max(0, i)
}
