package rules

import (
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Strict returns everything in which a JSON text isn't what the message wants: syntax, unknown and repeated fields, wrong types, numbers
// out of range, two members of a oneof. Fields have the names of the proto files (first_byte); null means not set.
func Strict(md protoreflect.MessageDescriptor, json []byte) Violations {
	root, v := parseJSON(json)
	if v != nil {
		return Violations{*v}
	}
	var w walk
	w.message("", md, root)
	return w.found.bounded()
}

// Decode reads JSON into m, which is reset first. The error is of type Violations.
func Decode(json []byte, m proto.Message) error {
	if err := Strict(m.ProtoReflect().Descriptor(), json).Err(); err != nil {
		return err
	}
	return unmarshal(json, m).Err()
}

// unmarshal is protojson behind the walk. What only protojson refuses is told without its text, which quotes values.
func unmarshal(json []byte, m proto.Message) Violations {
	if err := protojson.Unmarshal(json, m); err != nil {
		name := string(m.ProtoReflect().Descriptor().Name())
		return Violations{{Problem: "cannot be read as " + name, Fix: "compare it with the API description of " + name}}
	}
	return nil
}

// walk compares a tree with a descriptor.
type walk struct {
	found Violations
	lines map[string]int // line of every path seen; nil: nobody asks
	extra []string       // names that are known at the top besides the message's fields
	patch bool           // within the patch of an overlay, and in no list: these are set as a whole
}

func (w *walk) add(path string, line int, problem, fix string) {
	w.found = append(w.found, Violation{Field: path, Problem: problem, Fix: fix, Line: line})
}

func (w *walk) saw(path string, line int) {
	if w.lines != nil {
		w.lines[path] = line
	}
}

func (w *walk) message(path string, md protoreflect.MessageDescriptor, n *node) {
	if strings.HasPrefix(string(md.FullName()), "google.protobuf.") {
		w.wellKnown(path, md, n)
		return
	}
	if n.shape != object {
		w.add(path, n.line, "is "+n.shape.String()+" where an object belongs", fieldsOf(md))
		return
	}
	seen, chosen := map[string]bool{}, map[protoreflect.FullName]string{}
	for _, m := range n.members {
		at := entry(path, m.name)
		w.saw(at, m.line)
		f := md.Fields().ByName(protoreflect.Name(m.name))
		switch {
		case f == nil:
			w.unknown(path, md, m)
		case seen[m.name]:
			w.add(at, m.line, "is there twice", "remove one of the two")
		case m.value.shape != nothing:
			w.oneof(at, f, m, chosen)
			in := w.patch
			w.patch = in || f.ContainingOneof() != nil && f.ContainingOneof().FullName() == patchOneof
			w.field(at, f, m.value)
			w.unset(at, f, m.value, in)
			w.patch = in
		}
		seen[m.name] = true
	}
}

func (w *walk) unknown(path string, md protoreflect.MessageDescriptor, m member) {
	known := names(md)
	if path == "" {
		known = append(slices.Clone(w.extra), known...)
	}
	w.add(entry(path, m.name), m.line, "is not a known field", suggest(m.name, known))
}

func (w *walk) oneof(at string, f protoreflect.FieldDescriptor, m member, chosen map[protoreflect.FullName]string) {
	o := f.ContainingOneof()
	if o == nil || o.IsSynthetic() {
		return
	}
	if first, ok := chosen[o.FullName()]; ok && first != m.name {
		w.add(at, m.line, "cannot stand beside "+first, "remove one of the two")
	}
	chosen[o.FullName()] = m.name
}

// patchOneof holds what an overlay sets.
var patchOneof = (&configv1.OverlaySpec{}).ProtoReflect().Descriptor().Oneofs().ByName("patch").FullName()

// unset tells of what a patch says for nothing: false, 0 and empty are the same as not there, so that the target's own value would stay.
func (w *walk) unset(path string, f protoreflect.FieldDescriptor, n *node, patch bool) {
	empty := n.shape == text && n.text == "" || n.shape == boolean && n.text == "false" || n.shape == number && n.text == "0" ||
		n.shape == list && len(n.items) == 0 || f.IsMap() && len(n.members) == 0
	if patch && empty && !f.HasPresence() {
		w.add(path, n.line, "is empty, which in a patch is the same as not there", "name the field in spec.clear of the overlay, or remove it")
	}
}

func (w *walk) field(path string, f protoreflect.FieldDescriptor, n *node) {
	switch {
	case f.IsMap():
		w.entries(path, f, n)
	case f.IsList():
		w.items(path, f, n)
	default:
		w.value(path, f, n)
	}
}

func (w *walk) entries(path string, f protoreflect.FieldDescriptor, n *node) {
	if n.shape != object {
		w.add(path, n.line, "is "+n.shape.String()+" where an object belongs", "write it like {team: search}")
		return
	}
	seen := map[string]bool{}
	for _, m := range n.members {
		at := entry(path, m.name)
		w.saw(at, m.line)
		if seen[m.name] {
			w.add(at, m.line, "is there twice", "remove one of the two")
		}
		seen[m.name] = true
		w.value(at, f.MapValue(), m.value)
	}
}

func (w *walk) items(path string, f protoreflect.FieldDescriptor, n *node) {
	if n.shape != list {
		w.add(path, n.line, "is "+n.shape.String()+" where a list belongs", "put it in brackets: […]")
		return
	}
	defer func(was bool) { w.patch = was }(w.patch)
	w.patch = false
	for i, item := range n.items {
		at := element(path, i)
		w.saw(at, item.line)
		w.value(at, f, item)
	}
}

// value checks one value that isn't a list or a map.
func (w *walk) value(path string, f protoreflect.FieldDescriptor, n *node) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		w.message(path, f.Message(), n)
	case protoreflect.StringKind:
		w.text(path, n, f.FullName() == secretField)
	case protoreflect.BytesKind:
		if w.expect(path, n, text, "write base64 in quotes") && !isBase64(n.text) {
			w.add(path, n.line, "is not base64", "encode the bytes as RFC 4648 base64")
		}
	case protoreflect.BoolKind:
		w.expect(path, n, boolean, "write true or false, without quotes")
	case protoreflect.EnumKind:
		w.enum(path, f.Enum(), n)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if w.expect(path, n, number, "write a number") && !numberForm.MatchString(n.text) {
			w.add(path, n.line, "is not a plain decimal number", "write it like 0.25")
		}
	default:
		w.integer(path, f.Kind(), n)
	}
}

func (w *walk) expect(path string, n *node, want shape, fix string) bool {
	if n.shape != want {
		w.add(path, n.line, "is "+n.shape.String()+" where "+want.String()+" belongs", fix)
	}
	return n.shape == want
}

// secretField is never quoted, however short: a PIN is a credential, too.
var secretField = (&configv1.SecretSpec{}).ProtoReflect().Descriptor().Fields().ByName("value").FullName()

func (w *walk) text(path string, n *node, secret bool) {
	const short = 24 // longer ones may be secrets
	fix := "write text in quotes"
	if (n.shape == number || n.shape == boolean) && len(n.text) <= short && !secret {
		fix = fmt.Sprintf("put it in quotes: %q", n.text)
	}
	w.expect(path, n, text, fix)
}

var numberForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (w *walk) integer(path string, kind protoreflect.Kind, n *node) {
	if n.shape == text && wholeForm.MatchString(n.text) { // proto3 JSON writes 64-bit numbers in quotes
		n = &node{shape: number, text: n.text, line: n.line}
	}
	if !w.expect(path, n, number, "write a whole number, without quotes") {
		return
	}
	if !wholeForm.MatchString(n.text) {
		w.add(path, n.line, "is not a plain whole number", "write it in decimal digits, like 64")
		return
	}
	if least, most, ok := inRange(kind, n.text); !ok {
		w.add(path, n.line, "is out of range", "write a number from "+least+" to "+most)
	}
}

var wholeForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func inRange(kind protoreflect.Kind, s string) (least, most string, ok bool) {
	switch kind {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		_, err := strconv.ParseUint(s, 10, 32)
		return "0", strconv.Itoa(math.MaxUint32), err == nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		_, err := strconv.ParseUint(s, 10, 64)
		return "0", strconv.FormatUint(math.MaxUint64, 10), err == nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		_, err := strconv.ParseInt(s, 10, 64)
		return strconv.Itoa(math.MinInt64), strconv.Itoa(math.MaxInt64), err == nil
	}
	_, err := strconv.ParseInt(s, 10, 32)
	return strconv.Itoa(math.MinInt32), strconv.Itoa(math.MaxInt32), err == nil
}

func (w *walk) enum(path string, e protoreflect.EnumDescriptor, n *node) {
	known := make([]string, e.Values().Len())
	for i := range known {
		known[i] = string(e.Values().Get(i).Name())
	}
	if w.expect(path, n, text, suggest("", known)) && !slices.Contains(known, n.text) {
		w.add(path, n.line, quote(n.text)+" is not known", suggest(n.text, known))
	}
}

// wellKnown checks the types of google.protobuf that our messages use; protojson judges the others.
func (w *walk) wellKnown(path string, md protoreflect.MessageDescriptor, n *node) {
	switch md.Name() {
	case "Timestamp":
		if !w.expect(path, n, text, "write an RFC 3339 time like 2027-01-31T00:00:00Z in quotes") {
			return
		}
		if t, err := time.Parse(time.RFC3339Nano, n.text); err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
			w.add(path, n.line, "is not an RFC 3339 time", "write it like 2027-01-31T00:00:00Z")
		}
	case "FieldMask":
		w.expect(path, n, text, "write paths separated by commas in quotes")
	}
}

// isBase64 reports whether protojson takes s for bytes: one alphabet of the two (RFC 4648 sections 4 and 5), with padding or without.
func isBase64(s string) bool {
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	_, err := enc.DecodeString(s)
	return err == nil
}

func names(md protoreflect.MessageDescriptor) []string {
	out := make([]string, md.Fields().Len())
	for i := range out {
		out[i] = string(md.Fields().Get(i).Name())
	}
	return out
}

func fieldsOf(md protoreflect.MessageDescriptor) string {
	return "write an object with " + alternatives(names(md))
}
