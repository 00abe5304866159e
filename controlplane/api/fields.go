package api

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// state is what an object is at one point in time; without a uid and a body it isn't there.
type state struct {
	there bool
	uid   string
	set   string
	body  []byte
}

func stateOf(h store.Head) state {
	return state{there: true, uid: h.Object.UID, set: h.Set, body: h.Object.Body}
}

// turn is what becomes of an object between two points.
type turn struct {
	key           confset.Key
	before, after state
}

// unknownFields is the path of a difference in fields that only a newer version knows.
const unknownFields = "*"

// tell adds the fields that differ to objects, one turn each, as long as the answer stays readable for clients.
func (s *service) tell(objects []*adminv1.ChangedObject, turns []turn) error {
	size := 0
	for i, o := range objects {
		if size > pageBytes {
			o.FieldsOmitted = true
			continue
		}
		fields, err := s.fields(turns[i])
		if err != nil {
			return err
		}
		fit(o, fields)
		size += proto.Size(o)
	}
	return nil
}

// fit adds fields to an object unless they alone would fill a page.
func fit(o *adminv1.ChangedObject, fields []*adminv1.ChangedField) {
	o.Fields = fields
	if proto.Size(o) > pageBytes/2 {
		o.Fields, o.FieldsOmitted = nil, true
	}
}

// fields are what differs in an object: values as JSON, those of secrets not at all.
func (s *service) fields(t turn) ([]*adminv1.ChangedField, error) {
	a, err := t.before.message(t.key)
	if err != nil {
		return nil, err
	}
	b, err := t.after.message(t.key)
	if err != nil {
		return nil, err
	}
	var d differ
	d.messages("", a.ProtoReflect(), b.ProtoReflect())
	if t.key.Kind == secret.KindSecret { // what can be seen of its spec is empty
		d.found = slices.DeleteFunc(d.found, func(f *adminv1.ChangedField) bool { return f.GetPath() == "spec" })
	}
	if s.valueDiffers(t) {
		d.found = append(d.found, &adminv1.ChangedField{Path: fieldValue, Hidden: true})
	}
	if len(d.found) == 0 && t.key.Kind != secret.KindSecret && t.before.there && t.after.there && !bytes.Equal(t.before.body, t.after.body) {
		d.found = append(d.found, &adminv1.ChangedField{Path: unknownFields, Hidden: true})
	}
	if t.before.there && t.after.there {
		d.text("meta.uid", t.before.uid, t.after.uid)
	}
	d.text("meta.set", t.before.set, t.after.set)
	return d.found, d.err
}

// message is the object at that point; empty when it isn't there.
func (x state) message(key confset.Key) (proto.Message, error) {
	if !x.there {
		return rules.New(key.Kind), nil
	}
	return decode(confset.Object{Key: key, Body: x.body})
}

// valueDiffers says whether a secret's value differs. The same value sealed twice looks different, so it is opened where that is possible.
func (s *service) valueDiffers(t turn) bool {
	sealed := func(x state) []byte { return sealedOf(confset.Object{Key: t.key, Body: x.body}) }
	a, b := sealed(t.before), sealed(t.after)
	if bytes.Equal(a, b) {
		return false
	}
	was, err := s.cfg.KEK.OpenValue(t.key, t.before.uid, a)
	if err != nil {
		return true
	}
	is, err := s.cfg.KEK.OpenValue(t.key, t.after.uid, b)
	return err != nil || subtle.ConstantTimeCompare([]byte(was), []byte(is)) == 0
}

// differ collects the fields in which two messages of one type differ.
type differ struct {
	found []*adminv1.ChangedField
	err   error
}

func (d *differ) add(path, before, after string) {
	d.found = append(d.found, &adminv1.ChangedField{Path: path, Before: before, After: after})
}

// text compares two strings that are empty when they aren't set.
func (d *differ) text(path, before, after string) {
	if before == after {
		return
	}
	written := func(s string) string {
		if s == "" {
			return ""
		}
		return strconv.Quote(s) // names and ids: the same as JSON
	}
	d.add(path, written(before), written(after))
}

// messages goes down to the fields that differ, through messages that are there on one side only too.
func (d *differ) messages(at string, a, b protoreflect.Message) {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path := at + dot(at) + string(f.Name())
		hasA, hasB := a.Has(f), b.Has(f)
		switch {
		case at == "" && foreign[path], !hasA && !hasB, hasA && hasB && a.Get(f).Equal(b.Get(f)):
		case f.IsMap():
			d.entries(path, d.json(a, f), d.json(b, f))
		case f.IsList():
			d.lists(path, f, a, b)
		case f.Message() != nil && (hasA && anySet(a.Get(f).Message()) || hasB && anySet(b.Get(f).Message())):
			d.messages(path, a.Get(f).Message(), b.Get(f).Message())
		default:
			d.add(path, d.json(a, f), d.json(b, f))
		}
	}
}

// lists compares lists of messages that are equally long by element, others as a whole.
func (d *differ) lists(path string, f protoreflect.FieldDescriptor, a, b protoreflect.Message) {
	x, y := a.Get(f).List(), b.Get(f).List()
	if f.Message() == nil || a.Has(f) && b.Has(f) && x.Len() != y.Len() {
		d.add(path, d.json(a, f), d.json(b, f))
		return
	}
	none := empty(f, a)
	for i := range max(x.Len(), y.Len()) {
		p, q := none, none
		if i < x.Len() {
			p = x.Get(i).Message()
		}
		if i < y.Len() {
			q = y.Get(i).Message()
		}
		d.messages(fmt.Sprintf("%s[%d]", path, i), p, q)
	}
}

// entries compares maps by key.
func (d *differ) entries(path, a, b string) {
	x, y := d.members(a), d.members(b)
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if p, q := string(x[k]), string(y[k]); p != q {
			d.add(entryPath(path, k), p, q)
		}
	}
}

// entryPath names one member of a map as refusals do.
func entryPath(path, key string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !plain(r) }) {
		return fmt.Sprintf("%s[%q]", path, key)
	}
	return path + "." + key
}

// json is a field's value as REST writes it; empty when it isn't set.
func (d *differ) json(m protoreflect.Message, f protoreflect.FieldDescriptor) string {
	if !m.Has(f) {
		return ""
	}
	alone := m.New()
	alone.Set(f, m.Get(f))
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(alone.Interface())
	if err != nil {
		d.err = fmt.Errorf("write %s as JSON: %w", f.FullName(), err)
		return ""
	}
	return string(d.members(string(b))[string(f.Name())])
}

// members are those of a JSON object, without white space.
func (d *differ) members(object string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	if object == "" {
		return out
	}
	if err := json.Unmarshal([]byte(object), &out); err != nil {
		d.err = err
	}
	for k, v := range out {
		var b bytes.Buffer
		if err := json.Compact(&b, v); err != nil {
			d.err = err
		}
		out[k] = b.Bytes()
	}
	return out
}

// empty is a message of a list's type with nothing in it.
func empty(f protoreflect.FieldDescriptor, in protoreflect.Message) protoreflect.Message {
	return in.New().Mutable(f).List().NewElement().Message()
}
