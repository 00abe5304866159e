package api

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/proto/rules"
)

// everything is the mask that replaces the whole object.
const everything = "*"

// foreign are the fields of an object that no caller changes: the name is the path's, and of meta and status nothing is stored. A mask may
// name them all the same, so that an object that was read can be sent back.
var foreign = map[string]bool{"name": true, "meta": true, "status": true}

// checkPaths finds mask paths that name no field. A path is made of proto names and ends at or before a list or map.
func checkPaths(md protoreflect.MessageDescriptor, paths []string) (bad admit.Violations) {
	for _, p := range paths {
		if p == everything {
			continue
		}
		if problem, fix := checkPath(md, p); problem != "" {
			bad = append(bad, admit.Violation{Field: "update_mask", Problem: problem, Fix: fix})
		}
	}
	return bad
}

func checkPath(md protoreflect.MessageDescriptor, path string) (problem, fix string) {
	at := ""
	for seg := range strings.SplitSeq(path, ".") {
		if md == nil {
			return fmt.Sprintf("names %q, but %s has no fields to pick", path, at), "name " + at + " whole"
		}
		f := md.Fields().ByName(protoreflect.Name(seg))
		if f == nil {
			names := fieldNames(md)
			if n := rules.Nearest(seg, names); n != "" {
				return fmt.Sprintf("names the unknown field %q", path), "nearest is " + at + dot(at) + n
			}
			return fmt.Sprintf("names the unknown field %q", path), "known there: " + strings.Join(names, ", ")
		}
		at += dot(at) + seg
		md = nil
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			md = f.Message()
		}
	}
	return "", ""
}

func dot(at string) string {
	if at == "" {
		return ""
	}
	return "."
}

func fieldNames(md protoreflect.MessageDescriptor) []string {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = string(md.Fields().Get(i).Name())
	}
	return names
}

// setPaths is the mask of an update without one: every field that is set, down to lists, maps and scalars.
func setPaths(m proto.Message) (paths []string) {
	walkSet(m.ProtoReflect(), "", func(p string) { paths = append(paths, p) })
	return paths
}

func walkSet(m protoreflect.Message, at string, leaf func(string)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		path := at + dot(at) + string(f.Name())
		if sub := subMessage(m, f); sub != nil && anySet(sub) {
			walkSet(sub, path, leaf)
			continue
		}
		leaf(path)
	}
}

func subMessage(m protoreflect.Message, f protoreflect.FieldDescriptor) protoreflect.Message {
	if f.Message() == nil || f.IsList() || f.IsMap() {
		return nil
	}
	return m.Get(f).Message()
}

func anySet(m protoreflect.Message) (any bool) {
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { any = true; return false })
	return any
}

// merge returns current with the masked fields of patch: each is taken whole, and cleared where patch doesn't set it. Everything else of
// current stays, fields this program doesn't know included.
func merge(current, patch proto.Message, paths []string) proto.Message {
	out := proto.Clone(current)
	patch = proto.Clone(patch)
	for _, p := range paths {
		if p == everything {
			return patch
		}
		graft(out.ProtoReflect(), patch.ProtoReflect(), strings.Split(p, "."))
	}
	return out
}

func graft(dst, src protoreflect.Message, segs []string) {
	f := dst.Descriptor().Fields().ByName(protoreflect.Name(segs[0]))
	switch {
	case len(segs) == 1 && src.Has(f):
		dst.Set(f, src.Get(f))
	case len(segs) == 1:
		dst.Clear(f)
	case src.Has(f) || dst.Has(f):
		graft(dst.Mutable(f).Message(), src.Get(f).Message(), segs[1:])
	}
}

// diffMost bounds the fields named in a lost race.
const diffMost = 20

// diffPaths names the fields in which two messages of one kind differ, never their values.
func diffPaths(a, b proto.Message) (paths []string) {
	walkDiff(a.ProtoReflect(), b.ProtoReflect(), "", func(p string) {
		if len(paths) < diffMost {
			paths = append(paths, p)
		}
	})
	return paths
}

func walkDiff(a, b protoreflect.Message, at string, differ func(string)) {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path := at + dot(at) + string(f.Name())
		switch {
		case at == "" && foreign[path], a.Has(f) == b.Has(f) && a.Get(f).Equal(b.Get(f)):
		case a.Has(f) && b.Has(f) && subMessage(a, f) != nil:
			walkDiff(a.Get(f).Message(), b.Get(f).Message(), path, differ)
		default:
			differ(path)
		}
	}
}
