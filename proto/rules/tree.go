package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// mostDepth bounds the nesting of an object; no kind has more than ten levels.
const mostDepth = 64

// shape is what a value of a file or request is, before anybody asks what it should be.
type shape int

const (
	nothing shape = iota
	text
	number
	boolean
	list
	object
)

func (s shape) String() string {
	return [...]string{"nothing", "text", "a number", "true or false", "a list", "an object"}[s]
}

// node is one value of JSON or YAML.
type node struct {
	shape   shape
	text    string // of text as it means, of numbers and booleans as written
	items   []*node
	members []member
	line    int // 0: unknown
}

type member struct {
	name  string
	line  int
	value *node
}

// parseJSON reads exactly one value. Duplicate names are kept for the walk to report.
func parseJSON(in []byte) (*node, *Violation) {
	d := jsontext.NewDecoder(bytes.NewReader(in), jsontext.AllowDuplicateNames(true))
	n, err := readNode(d, 0)
	if err == nil {
		if _, end := d.ReadToken(); end == nil {
			err = errors.New("something follows the value")
		} else if !errors.Is(end, io.EOF) {
			err = end
		}
	}
	if err == nil {
		return n, nil
	}
	return nil, &Violation{Problem: "is not JSON" + whereJSON(in, err, d.InputOffset()), Fix: "write one JSON object in UTF-8"}
}

func whereJSON(in []byte, err error, offset int64) string {
	if errors.Is(err, errDeep) {
		return fmt.Sprintf(" we take: nested deeper than %d", mostDepth)
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		offset = syntax.ByteOffset
	}
	before := in[:min(int(offset), len(in))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf(" from line %d, column %d", line, column)
}

var errDeep = errors.New("nested too deep")

func readNode(d *jsontext.Decoder, depth int) (*node, error) {
	if depth > mostDepth {
		return nil, errDeep
	}
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case '{':
		return readObject(d, depth)
	case '[':
		return readList(d, depth)
	case '"':
		return &node{shape: text, text: t.String()}, nil
	case '0':
		return &node{shape: number, text: t.String()}, nil
	case 't', 'f':
		return &node{shape: boolean, text: t.String()}, nil
	}
	return &node{}, nil
}

func readObject(d *jsontext.Decoder, depth int) (*node, error) {
	n := &node{shape: object}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		if m.value, err = readNode(d, depth+1); err != nil {
			return nil, err
		}
		n.members = append(n.members, m)
	}
	_, err := d.ReadToken()
	return n, err
}

func readList(d *jsontext.Decoder, depth int) (*node, error) {
	n := &node{shape: list}
	for d.PeekKind() != ']' {
		item, err := readNode(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := d.ReadToken()
	return n, err
}

// appendJSON writes a tree that the walk has accepted.
func (n *node) appendJSON(b []byte) []byte {
	switch n.shape {
	case text:
		return appendQuoted(b, n.text)
	case number, boolean:
		return append(b, n.text...)
	case list:
		b = append(b, '[')
		for i, item := range n.items {
			b = item.appendJSON(appendComma(b, i))
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, m := range n.members {
			b = appendQuoted(appendComma(b, i), m.name)
			b = m.value.appendJSON(append(b, ':'))
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendQuoted(b []byte, s string) []byte {
	quoted, err := jsontext.AppendQuote(b, s)
	if err != nil { // not UTF-8: protojson refuses what strconv makes of it, or reads the replacement
		return strconv.AppendQuote(b, s)
	}
	return quoted
}
