package arch

import (
	"fmt"
	"go/ast"
	"path"
	"strings"
)

// The most lines of a file and of a function outside tests: one sitting, one thought.
const (
	fileLines     = 450
	functionLines = 80
)

func findLong(h *house) []string {
	var out []string
	for _, f := range h.ours(false) {
		if n := strings.Count(f.src, "\n"); n > fileLines {
			out = append(out, fmt.Sprintf("%s: %d lines; a file has at most %d", f.path, n, fileLines))
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := h.fset.Position(fn.End()).Line - h.fset.Position(fn.Pos()).Line + 1; n > functionLines {
				out = append(out, h.at(fn, "%s has %d lines; a function has at most %d", fn.Name.Name, n, functionLines))
			}
		}
	}
	return out
}

// drawers are names of packages in which anything could lie.
var drawers = map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "shared": true, "misc": true, "types": true, "models": true}

func findDrawers(h *house) []string {
	var out []string
	seen := map[string]bool{}
	for _, f := range h.ours(true) {
		if dir := f.dir(); drawers[path.Base(dir)] && !seen[dir] {
			seen[dir] = true
			out = append(out, fmt.Sprintf("%s: name a package for what it provides", dir))
		}
	}
	return out
}

var sizeChecks = []check{
	{name: "files and functions keep their size", find: findLong,
		breach: map[string]string{
			"a/long.go":      "package a\n" + strings.Repeat("// more\n", fileLines),
			"a/function.go":  "package a\nfunc F() {\n" + strings.Repeat("\tF()\n", functionLines) + "}\n",
			"a/long_test.go": "package a\n" + strings.Repeat("// more\n", fileLines),
			"a/fine.go":      "package a\nfunc G() {\n" + strings.Repeat("\tF()\n", functionLines-2) + "}\n",
		},
		says: []string{"a/function.go:2: F has 82 lines", "a/long.go: 451 lines"}},
	{name: "no drawers", find: findDrawers,
		breach: map[string]string{"cmd/internal/util/a.go": "package util\n", "proto/rules/a.go": "package rules\n"},
		says:   []string{"cmd/internal/util: name a package"}},
}
