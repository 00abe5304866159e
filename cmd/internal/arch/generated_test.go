package arch

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1" // registers its descriptors, and those of what it imports
	_ "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
	_ "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	_ "google.golang.org/protobuf/types/known/durationpb" // the breach's
)

var (
	selector = regexp.MustCompile(`\{selector: ([A-Za-z0-9_.]+), (get|put|post|patch|delete): "([^"]+)"`)
)

const stale = "run make generate"

// compiled is the outline of what was generated from a file.
func compiled(fd protoreflect.FileDescriptor) []string {
	out := append(compiledMessages("", fd.Messages()), compiledEnums("", fd.Enums())...)
	for i := range fd.Services().Len() {
		s := fd.Services().Get(i)
		out = append(out, "service "+string(s.Name()))
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			out = append(out, fmt.Sprintf("rpc %s.%s ( %s ) returns ( %s )", s.Name(), m.Name(), streamed(m.IsStreamingClient(), m.Input()), streamed(m.IsStreamingServer(), m.Output())))
		}
	}
	return out
}

func compiledMessages(scope string, all protoreflect.MessageDescriptors) []string {
	var out []string
	for i := range all.Len() {
		m := all.Get(i)
		if m.IsMapEntry() {
			continue
		}
		inner := scope + string(m.Name()) + "."
		out = append(out, "message "+scope+string(m.Name()))
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			out = append(out, fmt.Sprintf("field %s%s = %d: %s", inner, f.Name(), f.Number(), typeOf(f)))
		}
		out = append(out, compiledMessages(inner, m.Messages())...)
		out = append(out, compiledEnums(inner, m.Enums())...)
	}
	return out
}

func compiledEnums(scope string, all protoreflect.EnumDescriptors) []string {
	var out []string
	for i := range all.Len() {
		e := all.Get(i)
		out = append(out, "enum "+scope+string(e.Name()))
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			out = append(out, fmt.Sprintf("value %s%s.%s = %d", scope, e.Name(), v.Name(), v.Number()))
		}
	}
	return out
}

func streamed(is bool, m protoreflect.MessageDescriptor) string {
	if is {
		return "stream " + string(m.Name())
	}
	return string(m.Name())
}

func typeOf(f protoreflect.FieldDescriptor) string {
	name := func(f protoreflect.FieldDescriptor) string {
		switch {
		case f.Message() != nil:
			return string(f.Message().Name())
		case f.Enum() != nil:
			return string(f.Enum().Name())
		}
		return f.Kind().String()
	}
	switch {
	case f.IsMap():
		return fmt.Sprintf("map < %s , %s >", name(f.MapKey()), name(f.MapValue()))
	case f.IsList():
		return "repeated " + name(f)
	case f.HasOptionalKeyword():
		return "optional " + name(f)
	}
	return name(f)
}

func protos(h *house) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(h.texts)) {
		if strings.HasPrefix(p, "proto/") && path.Ext(p) == ".proto" {
			out = append(out, p)
		}
	}
	return out
}

// findStale compares each .proto file with what is compiled into this test.
func findStale(h *house) []string {
	var out []string
	for _, p := range protos(h) {
		name := strings.TrimPrefix(p, "proto/")
		fd, err := protoregistry.GlobalFiles.FindFileByPath(name)
		if err != nil {
			out = append(out, fmt.Sprintf("%s: nothing was generated from it: %s", p, stale))
			continue
		}
		source, made := outline(h.texts[p]), compiled(fd)
		for _, line := range source {
			if !slices.Contains(made, line) {
				out = append(out, fmt.Sprintf("%s: %q isn't in the generated code: %s", p, line, stale))
			}
		}
		for _, line := range made {
			if !slices.Contains(source, line) {
				out = append(out, fmt.Sprintf("%s: the generated code has %q, the source doesn't: %s", p, line, stale))
			}
		}
	}
	return out
}

// findStaleComments looks for each comment of a .proto file in what was generated beside it.
func findStaleComments(h *house) []string {
	made := map[string]string{}
	for _, f := range h.files {
		if f.generated() {
			made[f.dir()] += f.src
		}
	}
	var out []string
	for _, p := range protos(h) {
		dir := "proto/gen/" + path.Dir(strings.TrimPrefix(p, "proto/"))
		for i, line := range strings.Split(h.texts[p], "\n") {
			text, ok := strings.CutPrefix(strings.TrimSpace(line), "// ")
			if ok && !strings.Contains(made[dir], "// "+text+"\n") {
				out = append(out, fmt.Sprintf("%s:%d: this comment isn't in the generated code: %s", p, i+1, stale))
			}
		}
	}
	return out
}

// findStaleRoutes looks for each REST rule in the generated face.
func findStaleRoutes(h *house) []string {
	face := ""
	for _, f := range h.files {
		if strings.HasSuffix(f.path, ".pb.gw.go") {
			face += f.src
		}
	}
	var out []string
	for _, p := range slices.Sorted(maps.Keys(h.texts)) {
		if !strings.HasPrefix(p, "proto/") || !strings.HasSuffix(p, "_http.yaml") {
			continue
		}
		for _, m := range selector.FindAllStringSubmatch(h.texts[p], -1) {
			method := m[1][strings.LastIndex(m[1], ".")+1:]
			want := fmt.Sprintf(`/%s", runtime.WithHTTPPathPattern("%s")`, method, m[3])
			verb := fmt.Sprintf("Handle(http.Method%s, pattern_AdminService_%s_0", strings.ToUpper(m[2][:1])+m[2][1:], method)
			if !strings.Contains(face, want) || !strings.Contains(face, verb) {
				out = append(out, fmt.Sprintf("%s: %s %s for %s isn't in the generated face: %s", p, m[2], m[3], method, stale))
			}
		}
	}
	return out
}

var generatedChecks = []check{
	{name: "generated code fits the protos", find: findStale,
		breach: map[string]string{
			"proto/hopgate/new/v1/new.proto": "syntax = \"proto3\";\n",
			"proto/google/protobuf/duration.proto": "syntax = \"proto3\";\npackage google.protobuf;\n" +
				"// Duration is { odd;\nmessage Duration {\n  int64 seconds = 1; // fine\n  string nanos = 2;\n  repeated Duration more = 3;\n}\n",
		},
		says: []string{
			`"field Duration.nanos = 2: string" isn't in the generated code`, `"field Duration.more = 3: repeated Duration" isn't in the generated code`,
			`the generated code has "field Duration.nanos = 2: int32", the source doesn't`, "new.proto: nothing was generated from it",
		}},
	{name: "comments of the protos are generated", find: findStaleComments,
		breach: map[string]string{"proto/hopgate/a/v1/a.proto": "// Same.\n// Other.\nmessage A {}\n", "proto/gen/hopgate/a/v1/a.pb.go": "package a\n\n// Same.\ntype A struct{}\n"},
		says:   []string{"proto/hopgate/a/v1/a.proto:2: this comment"}},
	{name: "the REST face fits its rules", find: findStaleRoutes,
		breach: map[string]string{"proto/hopgate/admin/v1/admin_http.yaml": "    - {selector: hopgate.admin.v1.AdminService.GetInfo, get: \"/v1/other\"}\n", "proto/gen/a.pb.gw.go": "package a\n"},
		says:   []string{"get /v1/other for GetInfo isn't"}},
}
