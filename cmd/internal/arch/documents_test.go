package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

func findUndocumentedPackages(h *house) []string {
	type pkg struct {
		first *file
		doc   string
	}
	packages := map[string]*pkg{}
	var order []string
	for _, f := range h.ours(false) {
		p := packages[f.dir()]
		if p == nil {
			p = &pkg{first: f}
			packages[f.dir()] = p
			order = append(order, f.dir())
		}
		if d := f.ast.Doc.Text(); d != "" {
			p.doc += d
		}
	}
	var out []string
	for _, dir := range order {
		p := packages[dir]
		switch {
		case p.doc == "":
			out = append(out, h.at(p.first.ast, "package %s has no doc comment", dir))
		case strings.Count(strings.TrimSpace(p.doc), "\n") == 0:
			out = append(out, h.at(p.first.ast, "the doc comment of package %s is one line; say what it promises and what it refuses", dir))
		}
	}
	return out
}

func findUndocumentedNames(h *house) []string {
	var out []string
	for _, f := range h.ours(false) {
		if f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && receiverExported(d) && d.Doc == nil {
					out = append(out, h.at(d, "%s has no doc comment", d.Name.Name))
				}
			case *ast.GenDecl:
				out = append(out, undocumented(h, d)...)
			}
		}
	}
	return out
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// undocumented are the exported names of a declaration for which neither they nor their group have a comment.
func undocumented(h *house, d *ast.GenDecl) []string {
	if d.Tok == token.IMPORT {
		return nil
	}
	var out []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				out = append(out, h.at(s, "%s has no doc comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					out = append(out, h.at(n, "%s has no doc comment", n.Name))
				}
			}
		}
	}
	return out
}

// link is one to a file, in a document.
var link = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)

// findDeadLinks looks at relative links of documents: the file is there.
func findDeadLinks(h *house) []string {
	there := map[string]bool{}
	for p := range h.texts {
		there[p] = true
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			there[dir] = true
		}
	}
	var out []string
	for _, p := range slices.Sorted(maps.Keys(h.texts)) {
		if path.Ext(p) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(h.texts[p], -1) {
			if to := path.Join(path.Dir(p), m[1]); !there[to] {
				out = append(out, fmt.Sprintf("%s: the link to %s leads nowhere", p, m[1]))
			}
		}
	}
	return out
}

var documentChecks = []check{
	{name: "packages are documented", find: findUndocumentedPackages,
		breach: map[string]string{
			"a/a.go": "package a\n", "b/b.go": "// Package b is one line.\npackage b\n", "b/b_test.go": "// Package b\n// has two.\npackage b\n",
			"c/c.go": "package c\n", "c/doc.go": "// Package c says\n// more.\npackage c\n", "proto/gen/d/d.go": "package d\n",
		},
		says: []string{"a/a.go:1: package a has no doc", "b/b.go:2: the doc comment of package b is one line"}},
	{name: "exported names are documented", find: findUndocumentedNames,
		breach: map[string]string{
			"a/a.go": "package a\n" +
				"type T struct{}\nfunc (t *T) M() {}\nfunc F() {}\nvar V int\ntype u struct{}\nfunc (u) Fine() {}\n" +
				"// Group.\nconst (\n\tA = 1\n\tB = 2\n)\n// G is generic.\ntype G[K any] struct{}\nfunc (g *G[K]) N() {}\n",
			"a/a_test.go": "package a\nfunc TestIt() {}\n", "cmd/x/main.go": "package main\nfunc Fine() {}\n",
		},
		says: []string{"a/a.go:2: T has", "a/a.go:3: M has", "a/a.go:4: F has", "a/a.go:5: V has", "a/a.go:15: N has"}},
	{name: "links lead somewhere", find: findDeadLinks,
		breach: map[string]string{"docs/a.md": "[b](b.md) [c](c.md) [out](https://example.com) [up](../README.md#x)\n", "docs/b.md": "", "README.md": "[d](docs)"},
		says:   []string{"docs/a.md: the link to c.md"}},
}
