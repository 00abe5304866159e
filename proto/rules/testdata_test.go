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

// roundTrip checks that what we print of an object is taken again.
func roundTrip(t *testing.T, d rules.Document) {
	t.Helper()
	out, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(d.Message)
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
