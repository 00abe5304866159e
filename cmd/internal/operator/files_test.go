package operator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

const one = "kind: Server\nname: one\nspec:\n  endpoints: [{url: \"http://127.0.0.1:1/mcp\"}]\n"

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDocumentsOfFilesDirectoriesAndStandardInput(t *testing.T) {
	dir := tree(t, map[string]string{
		"b.yaml": strings.Replace(one, "one", "b_one", 1), "a.yml": strings.Replace(one, "one", "a_one", 1), "deep/c.json": `{"kind": "Settings"}`,
		"notes.txt": "not ours", "x.yaml": "# nothing but a comment\n",
	})
	docs, err := operator.Documents([]string{dir, "-"}, strings.NewReader(one), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.Kind+"/"+d.Name)
	}
	if want := "server/a_one server/b_one settings/default server/one"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDocumentsSayWhere(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.yaml": one, "b.yaml": "---\n# again\n" + one, "typo.yaml": "kind: Server\nname: one\nspec:\n  endpionts: []\n",
		"two.yaml": "kind: Server\nname: UPPER\nspec:\n  timeouts: {connect: soon}\n", "empty/x.txt": "",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		paths []string
		want  []string
	}{
		"twice":        {[]string{at("a.yaml"), at("b.yaml")}, []string{at("b.yaml") + ":3", "server/one", at("a.yaml") + ":1"}},
		"nearest name": {[]string{at("typo.yaml")}, []string{at("typo.yaml"), "line 4", "spec.endpionts", "did you mean endpoints?"}},
		"every one":    {[]string{at("two.yaml")}, []string{"name", "UPPER", "spec.timeouts.connect", "soon", "spec.endpoints"}},
		"no file":      {[]string{at("none.yaml")}, []string{at("none.yaml"), "no such file"}},
		"no objects":   {[]string{at("empty")}, []string{"no objects in " + at("empty")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := operator.Documents(c.paths, nil, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// TestTheExamplesAreInOrder loads deploy/examples as an operator would, and compiles each object as a data plane would.
func TestTheExamplesAreInOrder(t *testing.T) {
	docs, err := operator.Documents([]string{filepath.Join("..", "..", "..", "deploy", "examples")}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, d := range docs {
		kinds[d.Kind]++
		body, err := rules.Body(d.Message)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range table.Check(confset.Object{Key: confset.Key{Kind: d.Kind, Name: d.Name}, UID: "u", Hash: confset.HashBody(body), Body: body}) {
			t.Errorf("%s/%s: %s: %s", d.Kind, d.Name, o.Field, o.Text)
		}
	}
	for _, kind := range rules.Kinds() {
		if kinds[kind] == 0 {
			t.Errorf("no example of kind %s", kind)
		}
	}
}
