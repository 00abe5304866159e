package attr_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// constants reads the package's own source: name to value.
func constants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "attr.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range file.Decls {
		for _, spec := range d.(*ast.GenDecl).Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			value, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out[v.Names[0].Name] = value
		}
	}
	return out
}

func TestOneNameHasOneMeaning(t *testing.T) {
	seen := map[string]string{}
	for name, value := range constants(t) {
		if strings.HasPrefix(name, "Label") || strings.HasPrefix(name, "Span") || strings.HasPrefix(name, "Log") {
			continue
		}
		if other, ok := seen[value]; ok {
			t.Errorf("%s and %s are both %q", name, other, value)
		}
		seen[value] = name
	}
	if len(seen) < 50 {
		t.Errorf("only %d names were read", len(seen))
	}
}

func TestNamesHaveTheirForm(t *testing.T) {
	metric, attribute := regexp.MustCompile(`^(hopgate|mcp)(_[a-z]+)+$`), regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+$`)
	for name, value := range constants(t) {
		switch {
		case strings.HasPrefix(name, "Metric"):
			if !metric.MatchString(value) {
				t.Errorf("%s = %q is not a metric name", name, value)
			}
		case strings.Contains(value, "."):
			if !attribute.MatchString(value) {
				t.Errorf("%s = %q is not an attribute name", name, value)
			}
		}
	}
}
