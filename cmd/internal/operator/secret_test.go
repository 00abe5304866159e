package operator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func TestValuesLoseOneLineEnd(t *testing.T) {
	for in, want := range map[string]string{"hush": "hush", "hush\n": "hush", "hush\r\n": "hush", "hush\n\n": "hush\n", " hush ": " hush ", "a\nb\n": "a\nb"} {
		got, err := operator.ReadValue("", strings.NewReader(in))
		if err != nil || got.Reveal() != want {
			t.Errorf("%q: %q, %v", in, got.Reveal(), err)
		}
		file := filepath.Join(t.TempDir(), "value")
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := operator.ReadValue(file, strings.NewReader("other")); err != nil || got.Reveal() != want {
			t.Errorf("%q in a file: %q, %v", in, got.Reveal(), err)
		}
	}
	for name, c := range map[string]struct{ file, in string }{"nothing": {}, "a line end": {in: "\n"}, "no file": {file: "nowhere"}} {
		if _, err := operator.ReadValue(c.file, strings.NewReader(c.in)); err == nil {
			t.Errorf("%s is a value", name)
		}
	}
}

func TestSpans(t *testing.T) {
	for in, want := range map[string]time.Duration{"12h": 12 * time.Hour, "30d": 720 * time.Hour, "1s": time.Second, "36500d": 36500 * 24 * time.Hour} {
		if got, err := operator.Span("--overlap", in); got != want || err != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "0", "0d", "-1d", "-1h", "soon", "36501d", "99999999999999999999d", "-9999999999d", "1w"} {
		if _, err := operator.Span("--overlap", in); err == nil || !strings.Contains(err.Error(), "--overlap") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestOnlyValuesOfSecretsComeFromTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := "kind: Secret\nname: one\nspec: {value: \"${TOKEN}\"}\n---\nkind: Secret\nname: two\nspec: {value: os.environ/TOKEN}\n---\n" +
		"kind: Server\nname: s\nlabels: {a: \"${TOKEN}\"}\nspec:\n  endpoints: [{url: \"http://127.0.0.1:1/mcp\"}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) { return "hush", name == "TOKEN" }
	docs, err := operator.Documents([]string{file}, nil, env)
	if err != nil || len(docs) != 3 {
		t.Fatalf("%v, %d documents", err, len(docs))
	}
	for _, d := range docs {
		if is, want := strings.Contains(d.Message.(interface{ String() string }).String(), "hush"), d.Kind == "secret"; is != want {
			t.Errorf("%s/%s has the value: %v", d.Kind, d.Name, is)
		}
	}
	_, err = operator.Documents([]string{file}, nil, func(string) (string, bool) { return "", false })
	if err == nil || strings.Count(err.Error(), file+": ") != 2 || !strings.Contains(err.Error(), "TOKEN") {
		t.Errorf("without the variable: %v", err)
	}
}
