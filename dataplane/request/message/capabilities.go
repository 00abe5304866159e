package message

const (
	tasksExtension = "io.modelcontextprotocol/tasks"
	// mergedDepth is how deep capabilities are merged; deeper down the first of several stands as it is.
	mergedDepth = 8
	// mostCapabilities bounds what one server may say of its capabilities, in bytes.
	mostCapabilities = 64 << 10
	// fewNames is up to how many names are looked through one by one.
	fewNames = 16
)

// MergeCapabilities appends the union of several servers' raw capabilities: members that any of them has, objects merged with one another to a
// depth of 8, flags true when one of them is. Of other values the first counts, byte for byte. Members come in the order in which they are
// first seen. Left out are tasks, and the extension io.modelcontextprotocol/tasks: tasks have no place among several servers. An element of
// the list that isn't a JSON object, is larger than 64 KiB, or has a name twice where objects are merged, adds nothing. without names further ones
// to leave out.
func MergeCapabilities(dst []byte, list [][]byte, without ...string) []byte {
	root := tree{}
	for _, raw := range list {
		if one, ok := plant(raw); ok {
			root.merge(one)
		}
	}
	root.drop("tasks")
	for _, name := range without {
		root.drop(name)
	}
	if at := root.find("extensions"); at >= 0 {
		root.kids[at].drop(tasksExtension)
	}
	return root.append(dst)
}

// tree is a JSON object while it is merged, or a leaf.
type tree struct {
	raw   []byte // of a leaf
	names []string
	kids  []*tree
	index map[string]int // of names, once there are many; nil: not yet
}

// plant reads an object.
func plant(raw []byte) (*tree, bool) {
	c := cursor{b: raw, limit: MaxDepth}
	if c.space(); !c.at('{') || len(raw) > mostCapabilities {
		return nil, false
	}
	t := grow(&c, mergedDepth)
	c.space()
	return t, c.fail == fine && c.i == len(raw)
}

func grow(c *cursor, depth int) *tree {
	t := &tree{}
	if !c.at('{') || depth == 0 {
		t.raw = c.value().Of(c.b)
		return t
	}
	c.object(func(name []byte) {
		t.names = append(t.names, string(name))
		t.kids = append(t.kids, grow(c, depth-1))
	})
	return t
}

func (t *tree) find(name string) int {
	if len(t.names) > fewNames {
		return t.lookUp(name)
	}
	for i, n := range t.names {
		if n == name {
			return i
		}
	}
	return -1
}

// lookUp is find for many names: a server may have thousands. The index is brought up to date first.
func (t *tree) lookUp(name string) int {
	if t.index == nil {
		t.index = make(map[string]int, 2*len(t.names))
	}
	for i := len(t.index); i < len(t.names); i++ {
		t.index[t.names[i]] = i
	}
	if i, ok := t.index[name]; ok {
		return i
	}
	return -1
}

func (t *tree) drop(name string) {
	if i := t.find(name); i >= 0 {
		t.index = nil
		t.names = append(t.names[:i], t.names[i+1:]...)
		t.kids = append(t.kids[:i], t.kids[i+1:]...)
	}
}

// merge adds what other has.
func (t *tree) merge(other *tree) {
	switch {
	case t.raw == nil && other.raw == nil:
		for i, name := range other.names {
			if at := t.find(name); at >= 0 {
				t.kids[at].merge(other.kids[i])
				continue
			}
			t.names = append(t.names, name)
			t.kids = append(t.kids, other.kids[i])
		}
	case t.off() && !other.off():
		*t = *other
	}
}

// off reports whether a capability stands there and isn't offered.
func (t *tree) off() bool { return string(t.raw) == "false" || string(t.raw) == "null" }

func (t *tree) append(dst []byte) []byte {
	if t.raw != nil {
		return append(dst, t.raw...)
	}
	dst = append(dst, '{')
	for i, name := range t.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendQuoted(dst, name), ':')
		dst = t.kids[i].append(dst)
	}
	return append(dst, '}')
}
