package rules

import (
	"slices"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const mostCleared = 64

// overlaid are the kinds that overlays change.
var overlaid = []string{"server", "toolset", "ingress", "settings"}

// fixed are the fields of a kind that are the same everywhere, and why. Whom an object is for would contradict the place. Data planes get shares
// of a limit that add up to one whole: with another whole at a place they would let through what nobody wrote down.
var fixed = map[string]map[string]string{
	"ingress": {"regions": "says for whom the ingress is", "listener": "says for whom the ingress is"},
	"server":  {"limits": "is shared out among the data planes of the whole fleet", "tool_limits": "is shared out among the data planes of the whole fleet"},
}

// Overlay returns what is wrong with an overlay by itself: that what it makes of its target is in order is for others to check.
func Overlay(o *configv1.Overlay) Violations {
	var vs Violations
	vs.objectName("name", o.GetName(), "overlay")
	vs.labels(o.GetLabels())
	spec := o.GetSpec()
	vs.overlayPlace(spec)
	switch {
	case spec.GetKind() == "":
		vs.add("spec.kind", "is missing", "write "+alternatives(overlaid))
		return vs
	case !slices.Contains(overlaid, spec.GetKind()):
		vs.word("spec.kind", spec.GetKind(), overlaid...)
		return vs
	}
	vs.overlayTarget(spec)
	vs.cleared("spec.clear", spec.GetKind(), spec.GetClear())
	vs.patch(spec)
	return vs
}

func (vs *Violations) overlayPlace(spec *configv1.OverlaySpec) {
	if spec.GetRegion() == "" && spec.GetGroup() == "" {
		vs.add("spec.region", "is missing, and so is spec.group", "write a region, a group, or both: what is for all belongs into the object itself")
	}
	if spec.GetRegion() != "" {
		vs.region("spec.region", spec.GetRegion())
	}
	if g := spec.GetGroup(); g != "" && !regionName.MatchString(g) {
		vs.add("spec.group", quote(g)+" is not a group name", "write 1 to 32 lower-case letters, digits, hyphens or underscores, a letter first")
	}
}

func (vs *Violations) overlayTarget(spec *configv1.OverlaySpec) {
	const field = "spec.target"
	switch kind := spec.GetKind(); kind {
	case "settings":
		if name := spec.GetTarget(); name != SettingsName {
			vs.add(field, quote(name)+" is not possible: there is one settings object", "write "+SettingsName)
		}
	case "ingress":
		vs.objectName(field, spec.GetTarget(), kind)
	default:
		vs.pathName(field, spec.GetTarget(), kind)
	}
}

// cleared checks the fields that an overlay unsets.
func (vs *Violations) cleared(field, kind string, paths []string) {
	vs.list(field, paths, mostCleared, "paths", func(at, path string) string {
		before := len(*vs)
		switch {
		case !Clearable(kind, path):
			vs.add(at, quote(path)+" is not a field that "+article(kind)+" has", clearFix(kind, path))
		case fixedAt(kind, path) != "":
			vs.add(at, fixedAt(kind, path), fixedFix(kind))
		}
		return vs.keyed(before, path)
	})
}

// fixedAt says why a field that an overlay may name is the same everywhere; empty: it isn't.
func fixedAt(kind, path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "spec."), ".")
	return fixed[kind][name]
}

func fixedFix(kind string) string { return "change that in the " + kind + " itself" }

func clearFix(kind, path string) string {
	known := names(specOf(kind))
	for i := range known {
		known[i] = "spec." + known[i]
	}
	if n := Nearest(path, known); n != "" {
		return "nearest is " + n
	}
	return "write a path like " + known[0] + ", through single messages only"
}

// specOf describes the spec of a kind that overlays change; nil for another.
func specOf(kind string) protoreflect.MessageDescriptor {
	if !slices.Contains(overlaid, kind) {
		return nil
	}
	return fieldNamed((&configv1.OverlaySpec{}).ProtoReflect().Descriptor(), kind).Message()
}

// Clearable says whether an overlay may name a field of a kind to be unset: one below its spec, and in no list or map.
func Clearable(kind, path string) bool {
	rest, ok := strings.CutPrefix(path, "spec.")
	md := specOf(kind)
	if !ok || md == nil {
		return false
	}
	for name := range strings.SplitSeq(rest, ".") {
		f := fieldNamed(md, name)
		if f == nil {
			return false
		}
		if md = f.Message(); f.IsList() || f.IsMap() {
			md = nil // the end, or nothing below
		}
	}
	return true
}

// patch checks that an overlay sets something, of its target's kind, and what can be said of that alone.
func (vs *Violations) patch(spec *configv1.OverlaySpec) {
	m := spec.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("patch"))
	switch {
	case f == nil && len(spec.GetClear()) == 0:
		vs.add("spec."+spec.GetKind(), "is missing, and so is spec.clear", "write what is to be different, or remove the overlay")
		return
	case f == nil:
		return
	case string(f.Name()) != spec.GetKind():
		vs.add("spec."+string(f.Name()), "doesn't belong to kind "+spec.GetKind(), "write it as spec."+spec.GetKind()+", or kind "+string(f.Name()))
		return
	}
	at, set := "spec."+spec.GetKind(), m.Get(f).Message()
	if proto.Size(set.Interface()) == 0 && len(spec.GetClear()) == 0 {
		vs.add(at, "sets nothing, and there is no spec.clear", "write what is to be different; false, 0 and empty are set by naming the field in spec.clear")
		return
	}
	for _, name := range sortedKeys(fixed[spec.GetKind()]) {
		if set.Has(fieldNamed(set.Descriptor(), name)) {
			vs.add(at+"."+name, fixed[spec.GetKind()][name], fixedFix(spec.GetKind()))
		}
	}
	switch {
	case spec.GetServer() != nil:
		vs.serverPatch(at, spec.GetServer(), spec.GetTarget())
	case spec.GetSettings() != nil:
		vs.within(at, Settings(&configv1.Settings{Name: SettingsName, Spec: spec.GetSettings()}))
	case spec.GetIngress() != nil:
		vs.within(at, Ingress(&configv1.Ingress{Name: "x", Spec: spec.GetIngress()}))
	case len(spec.GetToolset().GetTools()) > 0:
		vs.within(at, Toolset(&configv1.Toolset{Name: "x", Spec: spec.GetToolset()}))
	}
}

// within adds violations of an object whose spec stands at a path.
func (vs *Violations) within(at string, of Violations) {
	for _, v := range of {
		if rest, ok := strings.CutPrefix(v.Field, "spec."); ok {
			vs.add(at+"."+rest, v.Problem, v.Fix)
		}
	}
}

// serverPatch checks what doesn't depend on the rest of the server: of auth just its type.
func (vs *Violations) serverPatch(at string, s *configv1.ServerSpec, server string) {
	vs.transport(at+".", s)
	if len(s.GetEndpoints()) > 0 {
		vs.endpoints(at+".endpoints", s.GetEndpoints())
	}
	vs.word(at+".auth.type", s.GetAuth().GetType(), authTypes...)
	vs.timeouts(at+".timeouts", s.GetTimeouts())
	vs.trust(at+".tls", s.GetTls())
	vs.word(at+".reachable_from", s.GetReachableFrom(), "any", "internal")
	vs.ranges(at+".allowed_cidrs", s.GetAllowedCidrs(), nil)
	vs.accessGroups(at+".access_groups", s.GetAccessGroups(), server)
	vs.toolsPatch(at+".tools", s.GetTools())
	vs.resiliencePatch(at+".resilience", s.GetResilience())
	vs.behaviour(at+".", s)
	vs.headers(at+".", &configv1.ServerSpec{Headers: s.GetHeaders(), ClientHeaders: s.GetClientHeaders(), ForwardHeaders: s.GetForwardHeaders()})
}
