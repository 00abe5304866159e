package rules_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "write the sentences of testdata/bad anew")

func files(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		if out[p], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestGoodFilesAreTaken(t *testing.T) {
	for path, in := range files(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			docs, err := rules.Documents(in)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				if d.Name == "" || d.Line == 0 {
					t.Errorf("document %+v lacks its name or line", d)
				}
				roundTrip(t, d)
			}
		})
	}
}

// TestTheExamplesAreTaken: what operators start from is in order.
func TestTheExamplesAreTaken(t *testing.T) {
	for path, in := range files(t, "../../deploy/examples/*.yaml") {
		if _, err := rules.Documents(in); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestGoodFilesSetEveryField: no field is without an example of what is taken.
func TestGoodFilesSetEveryField(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for _, in := range files(t, "testdata/good/*.yaml") {
		docs, err := rules.Documents(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			fieldsSet(d.Message.ProtoReflect(), seen)
		}
	}
	for _, kind := range rules.Kinds() {
		for _, name := range fieldsBelow(rules.New(kind).ProtoReflect().Descriptor()) {
			if !seen[name] && name != "hopgate.config.v1.SecretSpec.sealed" {
				t.Errorf("no good file sets %s", name)
			}
		}
	}
}

func fieldsSet(m protoreflect.Message, seen map[protoreflect.FullName]bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		seen[f.FullName()] = true
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				fieldsSet(v.List().Get(i).Message(), seen)
			}
		default:
			fieldsSet(v.Message(), seen)
		}
		return true
	})
}

// fieldsBelow lists what operators write of a message; meta and status aren't theirs.
func fieldsBelow(md protoreflect.MessageDescriptor) (out []protoreflect.FullName) {
	for i := range md.Fields().Len() {
		f := md.Fields().Get(i)
		if f.Name() == "meta" || f.Name() == "status" {
			continue
		}
		out = append(out, f.FullName())
		if f.Message() != nil && !f.IsMap() {
			out = append(out, fieldsBelow(f.Message())...)
		}
	}
	return out
}

// roundTrip checks that what we print of an object is taken again.
func roundTrip(t *testing.T, d rules.Document) {
	t.Helper()
	out, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: d.Kind != "overlay"}.Marshal(d.Message)
	if err != nil {
		t.Fatal(err)
	}
	m := rules.New(d.Kind)
	if err := rules.Decode(out, m); err != nil {
		t.Errorf("%s %s printed as JSON is refused:\n%v\n%s", d.Kind, d.Name, err, out)
	}
	if vs := rules.Check(d.Kind, m); len(vs) > 0 {
		t.Errorf("%s %s: %v", d.Kind, d.Name, vs)
	}
}

func TestBadFilesAreRefusedWithTheseSentences(t *testing.T) {
	for path, in := range files(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := rules.Documents(in)
			var vs rules.Violations
			if !errors.As(err, &vs) {
				t.Fatalf("got %v, want violations", err)
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("a secret is echoed: %v", err)
			}
			got, beside := vs.Error()+"\n", strings.TrimSuffix(path, ".yaml")+".txt"
			if *update {
				if err := os.WriteFile(beside, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(beside)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
