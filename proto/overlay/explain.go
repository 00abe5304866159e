package overlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Layer is the object itself or an overlay.
type Layer struct {
	Object  string // kind/name
	Why     string // why it applies, or why it doesn't
	Applied bool
}

// Origin says where a field comes from that an overlay set or cleared.
type Origin struct {
	Path          string   // for example spec.timeouts.total; later than this version: ends in .*
	Overlay       string   // the one that set or cleared it last
	Before, After string   // JSON; empty: not set
	Overruled     []string // less specific ones that set or cleared it or something in it, in the order of application
}

// Explanation is what a data plane of a place makes of an object.
type Explanation struct {
	Object  proto.Message
	Layers  []Layer
	Origins []Origin
}

// Explain says what a data plane of a place makes of an object of a kind, given all overlays for it.
func Explain(kind, name string, base proto.Message, of []*configv1.Overlay, p Place) (*Explanation, error) {
	here := At(p, of)
	out := &Explanation{Object: Merge(base, here), Layers: []Layer{{Object: kind + "/" + name, Why: "is the object itself", Applied: true}}}
	rest := slices.DeleteFunc(slices.Clone(of), func(o *configv1.Overlay) bool { return Matches(o.GetSpec(), p) })
	slices.SortFunc(rest, Compare)
	for _, o := range slices.Concat(here, rest) {
		out.Layers = append(out.Layers, layer(o, p))
	}
	out.Origins = origins(here)
	for i := range out.Origins {
		var err error
		o := &out.Origins[i]
		if o.Before, err = value(base, o.Path); err == nil {
			o.After, err = value(out.Object, o.Path)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func layer(o *configv1.Overlay, p Place) Layer {
	s := o.GetSpec()
	l := Layer{Object: Kind + "/" + o.GetName(), Why: "is for " + Where(s), Applied: Matches(s, p)}
	if !l.Applied {
		l.Why += ", and this is " + Where(&configv1.OverlaySpec{Region: p.Region, Group: p.Group})
	}
	return l
}

// Where says which data planes an overlay is for, in words.
func Where(s *configv1.OverlaySpec) string {
	switch region, group := s.GetRegion(), s.GetGroup(); {
	case region == "" && group == "":
		return "no region and no group"
	case group == "":
		return "region " + region
	case region == "":
		return "group " + group
	default:
		return "group " + group + " in region " + region
	}
}

// Touched is one field that an overlay sets or clears.
type Touched struct {
	Path  string // in the target: spec.timeouts.total
	Field string // in the overlay: spec.server.timeouts.total or spec.clear[0]
}

// Touches returns what an overlay clears, then what it sets: leaves, lists and maps, not the messages around them.
func Touches(s *configv1.OverlaySpec) []Touched {
	var out []Touched
	for i, path := range s.GetClear() {
		out = append(out, Touched{path, fmt.Sprintf("spec.clear[%d]", i)})
	}
	if p := patch(s); p != nil {
		for _, path := range leaves("", p) {
			out = append(out, Touched{"spec" + path, "spec." + s.GetKind() + path})
		}
	}
	return out
}

// leaves returns the paths of what is set in a message, each with a dot before it.
func leaves(at string, m protoreflect.Message) (out []string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path := at + "." + string(f.Name())
		switch {
		case !m.Has(f):
		case single(f):
			if below := leaves(path, m.Get(f).Message()); len(below) > 0 {
				out = append(out, below...)
				continue
			}
			out = append(out, path)
		default:
			out = append(out, path)
		}
	}
	if len(m.GetUnknown()) > 0 {
		out = append(out, at+later)
	}
	return out
}

// later ends the path of fields that only a later version knows.
const later = ".*"

// Within says whether a path is the other one or leads into it.
func Within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Clash is a field that two overlays for the same data planes set or clear: neither is more specific.
type Clash struct {
	Field string // in the first overlay
	Path  string // in the target
}

// Clashes returns the fields over which two overlays dispute, in the order in which the first one has them; none when one is more specific,
// or they are for other targets or places.
func Clashes(a, b *configv1.OverlaySpec) (out []Clash) {
	if a.GetRegion() != b.GetRegion() || a.GetGroup() != b.GetGroup() || TargetOf(a) != TargetOf(b) {
		return nil
	}
	others := Touches(b)
	for _, t := range Touches(a) {
		if slices.ContainsFunc(others, func(o Touched) bool { return Within(t.Path, o.Path) || Within(o.Path, t.Path) }) {
			out = append(out, Clash{Field: t.Field, Path: t.Path})
		}
	}
	return out
}

// origins says who set or cleared what last, in the order of paths.
func origins(overlays []*configv1.Overlay) []Origin {
	var out []Origin
	for _, o := range overlays {
		for _, t := range Touches(o.GetSpec()) {
			next := Origin{Path: t.Path, Overlay: o.GetName()}
			out = slices.DeleteFunc(out, func(old Origin) bool {
				if !Within(old.Path, t.Path) {
					return false
				}
				next.Overruled = append(next.Overruled, old.Overruled...)
				next.Overruled = append(next.Overruled, old.Overlay)
				return true
			})
			next.Overruled = once(next.Overruled, next.Overlay)
			out = append(out, next)
		}
	}
	slices.SortFunc(out, func(a, b Origin) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// once drops what is there twice, and self.
func once(names []string, self string) (out []string) {
	for _, n := range names {
		if n != self && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// value is the JSON of the field at a path; empty when it isn't set, or only a later version knows it.
func value(in proto.Message, path string) (string, error) {
	m := in.ProtoReflect()
	names := strings.Split(path, ".")
	for i, name := range names {
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil || !m.Has(f) {
			return "", nil
		}
		if i == len(names)-1 {
			return jsonOf(m, f)
		}
		if !single(f) {
			return "", nil
		}
		m = m.Get(f).Message()
	}
	return "", nil
}

// jsonOf is a field's value as REST writes it, without white space.
func jsonOf(m protoreflect.Message, f protoreflect.FieldDescriptor) (string, error) {
	alone := m.New()
	alone.Set(f, m.Get(f))
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(alone.Interface())
	if err != nil {
		return "", fmt.Errorf("write %s as JSON: %w", f.FullName(), err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return "", fmt.Errorf("write %s as JSON: %w", f.FullName(), err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, members[string(f.Name())]); err != nil {
		return "", fmt.Errorf("write %s as JSON: %w", f.FullName(), err)
	}
	return out.String(), nil
}
