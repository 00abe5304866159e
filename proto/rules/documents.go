package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// Document is one object of a config file.
type Document struct {
	Kind    string // lower case
	Name    string
	Message proto.Message
	Line    int // where it starts, from 1
}

// Documents reads a config file: YAML documents (or JSON values) of the form {kind, name, labels, spec}. It checks each like Strict and
// Check and refuses the whole file on any violation; the error is of type Violations, each with its line. Aliases, merge keys and tags
// are refused: what is read is what is written. A Settings document may leave out its name.
func Documents(file []byte) ([]Document, error) {
	var r reader
	dec := yaml.NewDecoder(bytes.NewReader(file))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.found = append(r.found, yamlViolation(err))
			break
		}
		r.document(&doc)
	}
	if err := r.found.bounded().Err(); err != nil {
		return nil, err
	}
	return r.docs, nil
}

// reader gathers the documents of one file.
type reader struct {
	docs  []Document
	found Violations
	first map[string]int // line of each kind and name
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)`)
	yamlAnchor = regexp.MustCompile(`anchor '.*' `) // quotes the file: a secret without quotes that begins with * reads as an alias
)

func yamlViolation(err error) Violation {
	v := Violation{Problem: "is not YAML", Fix: "check indentation, quotes and brackets there"}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		v.Line, _ = strconv.Atoi(m[1])
		v.Problem += ": " + yamlAnchor.ReplaceAllString(m[2], "anchor ")
	}
	return v
}

func (r *reader) document(doc *yaml.Node) {
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		return
	}
	c := converter{}
	root := c.node("", doc.Content[0], 0)
	if len(c.found) > 0 {
		r.found = append(r.found, c.found...)
		return
	}
	d, found := read(root)
	if len(found) == 0 {
		found = r.unique(d)
	}
	r.found = append(r.found, found...)
	r.docs = append(r.docs, d)
}

// unique checks that no other document of the file has this kind and name.
func (r *reader) unique(d Document) Violations {
	if r.first == nil {
		r.first = map[string]int{}
	}
	key := d.Kind + "/" + d.Name
	if line, ok := r.first[key]; ok {
		return Violations{{Field: "name", Line: d.Line, Problem: fmt.Sprintf("%s %s is in line %d already", Title(d.Kind), d.Name, line), Fix: "remove one of the two"}}
	}
	r.first[key] = d.Line
	return nil
}

// read makes an object of a tree.
func read(root *node) (Document, Violations) {
	d := Document{Line: root.line}
	kind, v := takeKind(root)
	if v != nil {
		return d, Violations{*v}
	}
	d.Kind, d.Message = kind, New(kind)
	w := walk{lines: map[string]int{}, extra: []string{"kind"}}
	w.message("", d.Message.ProtoReflect().Descriptor(), root)
	if len(w.found) > 0 {
		return d, w.found
	}
	if kind == "settings" && !slices.ContainsFunc(root.members, func(m member) bool { return m.name == "name" }) {
		root.members = append(root.members, member{name: "name", value: &node{shape: text, text: SettingsName}})
	}
	if found := unmarshal(root.appendJSON(nil), d.Message); found != nil {
		return d, withLines(found, w.lines, d.Line)
	}
	f := d.Message.ProtoReflect().Descriptor().Fields().ByName("name")
	d.Name = d.Message.ProtoReflect().Get(f).String()
	return d, withLines(Check(kind, d.Message), w.lines, d.Line)
}

// takeKind removes the member kind from the tree and returns its lower-case spelling.
func takeKind(root *node) (string, *Violation) {
	if root.shape != object {
		return "", &Violation{Line: root.line, Problem: "is " + root.shape.String() + " where an object belongs", Fix: "write kind, name and spec"}
	}
	i := slices.IndexFunc(root.members, func(m member) bool { return m.name == "kind" })
	if i < 0 {
		return "", &Violation{Line: root.line, Field: "kind", Problem: "is missing", Fix: unknownKind("").Fix}
	}
	m := root.members[i]
	root.members = slices.Delete(root.members, i, i+1)
	if j := slices.IndexFunc(root.members, func(m member) bool { return m.name == "kind" }); j >= 0 {
		return "", &Violation{Line: root.members[j].line, Field: "kind", Problem: "is there twice", Fix: "put --- between two objects"}
	}
	kind, ok := Canonical(m.value.text)
	if m.value.shape != text || !ok {
		v := unknownKind(m.value.text)
		v.Line = m.line
		return "", &v
	}
	return kind, nil
}

// withLines gives each violation the line of its field, or of the nearest one around it.
func withLines(vs Violations, lines map[string]int, line int) Violations {
	for i := range vs {
		vs[i].Line = line
		for path := vs[i].Field; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
			if n, ok := lines[path]; ok {
				vs[i].Line = n
				break
			}
		}
	}
	slices.SortStableFunc(vs, func(a, b Violation) int { return a.Line - b.Line })
	return vs
}

// converter makes our tree of YAML's.
type converter struct{ found Violations }

func (c *converter) refuse(path string, n *yaml.Node, problem, fix string) *node {
	c.found = append(c.found, Violation{Field: path, Line: n.Line, Problem: problem, Fix: fix})
	return &node{line: n.Line}
}

func (c *converter) node(path string, n *yaml.Node, depth int) *node {
	if depth > mostDepth {
		return c.refuse(path, n, fmt.Sprintf("is nested deeper than %d", mostDepth), "")
	}
	out := &node{line: n.Line}
	switch n.Kind {
	case yaml.MappingNode:
		out.shape = object
		for i := 0; i+1 < len(n.Content); i += 2 {
			out.members = append(out.members, c.member(path, n.Content[i], n.Content[i+1], depth))
		}
	case yaml.SequenceNode:
		out.shape = list
		for i, item := range n.Content {
			out.items = append(out.items, c.node(element(path, i), item, depth+1))
		}
	case yaml.ScalarNode:
		return c.scalar(path, n)
	default:
		return c.refuse(path, n, "is a YAML alias", "write the value out")
	}
	if tag := n.ShortTag(); tag != "!!map" && tag != "!!seq" {
		return c.refuse(path, n, "has a YAML tag", "remove it")
	}
	return out
}

func (c *converter) member(path string, key, value *yaml.Node, depth int) member {
	if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || key.ShortTag() == "!!null" || !utf8.ValidString(key.Value) {
		c.refuse(path, key, "has a field whose name is not plain text", "write plain names; merge keys are not read")
		return member{value: &node{}}
	}
	return member{name: key.Value, line: key.Line, value: c.node(entry(path, key.Value), value, depth+1)}
}

func (c *converter) scalar(path string, n *yaml.Node) *node {
	out := &node{line: n.Line, text: n.Value}
	lower := strings.ToLower(n.Value)
	switch tag := n.ShortTag(); {
	case !utf8.ValidString(n.Value):
		return c.refuse(path, n, "is not UTF-8", "save the file in UTF-8")
	case tag == "!!null" && n.Anchor != "": // a secret without quotes that begins with & would be lost
		return c.refuse(path, n, "is a YAML anchor without a value", "put it in quotes")
	case tag == "!!null":
	case tag == "!!int" || tag == "!!float":
		out.shape = number
	case tag == "!!bool" && (lower == "true" || lower == "false"):
		out.shape, out.text = boolean, lower
	case tag == "!!str" || tag == "!!timestamp":
		out.shape = text
	default:
		return c.refuse(path, n, "has a YAML tag", "remove it")
	}
	return out
}
