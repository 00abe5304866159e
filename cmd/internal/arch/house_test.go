package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hopgate/hopgate"

// house is the repository as the checks see it.
type house struct {
	fset  *token.FileSet
	files []*file           // Go, in path order
	texts map[string]string // every other file of text, by path
}

// file is one Go file.
type file struct {
	path string // from the repository's root, with slashes
	src  string
	ast  *ast.File
}

func (f *file) dir() string     { return path.Dir(f.path) }
func (f *file) test() bool      { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) generated() bool { return strings.HasPrefix(f.path, "proto/gen/") }

// ours are the files that people write.
func (h *house) ours(tests bool) []*file {
	var out []*file
	for _, f := range h.files {
		if !f.generated() && (tests || !f.test()) {
			out = append(out, f)
		}
	}
	return out
}

// at is a finding with its place.
func (h *house) at(n ast.Node, format string, args ...any) string {
	p := h.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// read makes a house of sources by path.
func read(t testing.TB, sources map[string]string) *house {
	t.Helper()
	h := &house{fset: token.NewFileSet(), texts: map[string]string{}}
	for p, src := range sources {
		if path.Ext(p) != ".go" {
			h.texts[p] = src
			continue
		}
		tree, err := parser.ParseFile(h.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		h.files = append(h.files, &file{path: p, src: src, ast: tree})
	}
	slices.SortFunc(h.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	return h
}

// repository reads the one this test is in.
func repository(t testing.TB) *house {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	sources := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "node_modules", "hopgate-data", "hopgate-state"}, d.Name())) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".proto", ".yaml", ".yml", ""}, path.Ext(rel)) || strings.Contains(rel, "testdata/fuzz/") || strings.Contains(rel, "testdata/rapid/") {
			return nil
		}
		if path.Ext(rel) == ".go" && strings.Contains(rel, "testdata/") {
			return nil
		}
		b, err := os.ReadFile(p)
		sources[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, sources)
}

// check is one rule of the house.
type check struct {
	name   string
	find   func(*house) []string
	breach map[string]string // sources that break it
	says   []string          // what it says about them, a part of each finding in order
}

var checks = slices.Concat(arrowChecks, pureChecks, documentChecks, sizeChecks, wordChecks, faultChecks, generatedChecks)

func TestTheHouseIsInOrder(t *testing.T) {
	h := repository(t)
	if len(h.files) < 200 {
		t.Fatalf("only %d Go files found: the walk is broken", len(h.files))
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for _, f := range c.find(h) {
				t.Error(f)
			}
		})
	}
}

func TestEveryCheckSeesItsBreach(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			got := c.find(read(t, c.breach))
			if len(got) != len(c.says) || len(got) == 0 {
				t.Fatalf("found %d, want %d: %q", len(got), len(c.says), got)
			}
			for i, want := range c.says {
				if !strings.Contains(got[i], want) {
					t.Errorf("finding %d is %q, want it to say %q", i, got[i], want)
				}
			}
		})
	}
}
