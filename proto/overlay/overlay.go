// Package overlay lays config of a region, a group, or a group in a region over an object that is for the whole fleet.
//
// It promises that both planes get the same object out of the same parts: what is merged depends on the object, its overlays and the place
// alone, and laying the same overlays over it once more changes nothing. What a later version wrote into an object stays byte for byte, and
// what it wrote into an overlay's patch comes with it, so that nobody serves a restriction away by not knowing it.
// It refuses to judge: whether the result is in order is for package rules and the data plane to say. Problem tells of overlays that this
// version can't lay over anything.
package overlay

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Kind is that of overlays, as in confset.Key.Kind.
const Kind = "overlay"

// Targets returns the kinds that overlays may change.
func Targets() []string { return []string{"server", "toolset", "ingress", "settings"} }

// Place is where a data plane stands.
type Place struct{ Region, Group string }

// Matches says whether an overlay is for the data planes of a place. One without region and group is for none.
func Matches(spec *configv1.OverlaySpec, p Place) bool {
	region, group := spec.GetRegion(), spec.GetGroup()
	return (region != "" || group != "") && (region == "" || region == p.Region) && (group == "" || group == p.Group)
}

// TargetOf returns the key of the object that an overlay changes.
func TargetOf(spec *configv1.OverlaySpec) confset.Key {
	return confset.Key{Kind: spec.GetKind(), Name: spec.GetTarget()}
}

// Target returns the key of the object that the body of an overlay changes, without decoding the rest; false when it names none.
func Target(body []byte) (confset.Key, bool) {
	const fieldSpec, fieldKind, fieldTarget = 3, 1, 2
	var key confset.Key
	fields(body, func(number protowire.Number, spec []byte) {
		if number != fieldSpec {
			return
		}
		fields(spec, func(number protowire.Number, text []byte) {
			switch number {
			case fieldKind:
				key.Kind = string(text)
			case fieldTarget:
				key.Name = string(text)
			}
		})
	})
	return key, key.Kind != "" && key.Name != ""
}

// fields calls see with each field of a message that has a length, until the message ends or breaks off.
func fields(message []byte, see func(protowire.Number, []byte)) {
	for len(message) > 0 {
		number, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(number, typ, message); n < 0 {
			return
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			see(number, value)
		}
		message = message[n:]
	}
}

// Compare orders overlays as they are laid over their target: those of a region, of a group, of a group in a region; then by name.
func Compare(a, b *configv1.Overlay) int {
	return cmp.Or(cmp.Compare(rank(a.GetSpec()), rank(b.GetSpec())), strings.Compare(a.GetName(), b.GetName()))
}

func rank(s *configv1.OverlaySpec) int {
	n := 0
	if s.GetRegion() != "" {
		n++
	}
	if s.GetGroup() != "" {
		n += 2
	}
	return n
}

// At returns those overlays that are for a place, in the order in which they are laid over their target. All are for one target.
func At(p Place, of []*configv1.Overlay) []*configv1.Overlay {
	var here []*configv1.Overlay
	for _, o := range of {
		if Matches(o.GetSpec(), p) {
			here = append(here, o)
		}
	}
	slices.SortFunc(here, Compare)
	return here
}

// Merge returns base with overlays laid over it in the given order: each clears its fields, then sets those of its patch. Fields of messages
// are set one by one, lists and maps as a whole. base stays as it is.
func Merge(base proto.Message, overlays []*configv1.Overlay) proto.Message {
	out := proto.Clone(base)
	m := out.ProtoReflect()
	for _, o := range overlays {
		for _, path := range o.GetSpec().GetClear() {
			unset(m, strings.Split(path, "."))
		}
		if p := patch(o.GetSpec()); p != nil {
			lay(m.Mutable(m.Descriptor().Fields().ByName("spec")).Message(), p)
		}
	}
	return out
}

// patch returns what an overlay sets; nil when it is nothing, or for another kind.
func patch(s *configv1.OverlaySpec) protoreflect.Message {
	m := s.ProtoReflect()
	if f := m.Descriptor().Fields().ByName(protoreflect.Name(s.GetKind())); f != nil && f.Message() != nil && m.Has(f) {
		return m.Get(f).Message()
	}
	return nil
}

// unset unsets the field at a path, if it is there.
func unset(m protoreflect.Message, path []string) {
	for i, name := range path {
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case f == nil || !m.Has(f):
			return
		case i == len(path)-1:
			m.Clear(f)
			return
		case !single(f):
			return
		}
		m = m.Mutable(f).Message()
	}
}

// single says whether a field holds one message.
func single(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && !f.IsList() && !f.IsMap()
}

// lay sets in m what is set in patch, a message of the same type.
func lay(m, patch protoreflect.Message) {
	own := proto.Clone(patch.Interface()).ProtoReflect() // so that m shares nothing with the overlay
	own.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if single(f) {
			lay(m.Mutable(f).Message(), v.Message())
		} else {
			m.Set(f, v)
		}
		return true
	})
	if later := own.GetUnknown(); len(later) > 0 {
		m.SetUnknown(append(without(m.GetUnknown(), numbers(later)), later...))
	}
}

// numbers are those of the fields in raw.
func numbers(raw protoreflect.RawFields) map[protowire.Number]bool {
	out := map[protowire.Number]bool{}
	for len(raw) > 0 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			break
		}
		out[number], raw = true, raw[n:]
	}
	return out
}

// without returns a copy of raw, less the fields with these numbers.
func without(raw protoreflect.RawFields, gone map[protowire.Number]bool) (out protoreflect.RawFields) {
	for len(raw) > 0 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			break
		}
		if !gone[number] {
			out = append(out, raw[:n]...)
		}
		raw = raw[n:]
	}
	return out
}

// Problem says why this version can't do what an overlay says, as one sentence without its subject; empty: it can. What it doesn't know may
// narrow where the overlay is for, or what it changes.
func Problem(o *configv1.Overlay) string {
	s := o.GetSpec()
	switch {
	case len(o.ProtoReflect().GetUnknown()) > 0 || len(s.ProtoReflect().GetUnknown()) > 0:
		return "has fields not known to this version"
	case !slices.Contains(Targets(), s.GetKind()):
		return "is for a kind that this version can't change"
	case s.GetPatch() != nil && patch(s) == nil:
		return "has a patch of another kind than its target"
	}
	for _, path := range s.GetClear() {
		if !rules.Clearable(s.GetKind(), path) {
			return "clears a field not known to this version"
		}
	}
	return ""
}
