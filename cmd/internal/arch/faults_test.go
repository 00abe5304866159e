package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"

	faultv1 "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
)

const runbook = "deploy/handbook/faults.md"

// vocabulary is the word of each of package fault's constants: hops, phases and kinds in turn.
var vocabulary = [3]map[string]string{spell(faultv1.Hop_name, "HOP_"), spell(faultv1.Phase_name, "PHASE_"), spell(faultv1.Kind_name, "KIND_")}

func spell(names map[int32]string, prefix string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		word := strings.ToLower(strings.TrimPrefix(n, prefix))
		out[strings.ReplaceAll(word, "_", "")] = strings.ReplaceAll(word, "_", "-")
	}
	return out
}

// part is what code says about a hop, a phase or a kind: words, or the caller's argument.
type part struct {
	words    []string
	argument int // of the function, from 0; -1: none
}

// making is one place where a fault is made: hop, phase, kind.
type making struct {
	parts [3]part
	at    ast.Node
}

// room is the functions of one package.
type room struct {
	functions map[string]*ast.FuncDecl
	makings   map[string][]making
}

// findFaults returns the anchors of the faults that code makes, as far as they can be told from constants, arguments and return values of
// functions of the same package, and where each is made.
func findFaults(h *house) map[string]ast.Node {
	rooms := map[string]*room{}
	for _, f := range h.ours(false) {
		if strings.HasPrefix(f.path, "proto/") {
			continue
		}
		r := rooms[f.dir()]
		if r == nil {
			r = &room{functions: map[string]*ast.FuncDecl{}, makings: map[string][]making{}}
			rooms[f.dir()] = r
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				r.functions[fn.Name.Name] = fn
			}
		}
	}
	out := map[string]ast.Node{}
	for _, dir := range slices.Sorted(maps.Keys(rooms)) {
		rooms[dir].gather(out)
	}
	return out
}

func (r *room) gather(out map[string]ast.Node) {
	for name, fn := range r.functions {
		r.makings[name] = r.literals(fn)
	}
	const deepest = 3 // calls between the constant and the literal
	for range deepest {
		for name, fn := range r.functions {
			r.makings[name] = r.changed(fn, append(r.literals(fn), r.calls(fn)...))
		}
	}
	for _, all := range r.makings {
		for _, m := range all {
			for _, hop := range m.parts[0].words {
				for _, phase := range m.parts[1].words {
					for _, kind := range m.parts[2].words {
						out[hop+"-"+phase+"-"+kind] = m.at
					}
				}
			}
		}
	}
}

// literals are the fault.Error{…} of a function.
func (r *room) literals(fn *ast.FuncDecl) []making {
	var out []making
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || !selects(lit.Type, "fault", "Error") {
			return true
		}
		m := making{at: lit}
		for i := range m.parts {
			m.parts[i].argument = -1
		}
		for _, e := range lit.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, ok := kv.Key.(*ast.Ident)
			if i := slices.Index(members, key.Name); ok && i >= 0 {
				m.parts[i] = r.part(fn, kv.Value, i)
			}
		}
		out = append(out, m)
		return true
	})
	return out
}

// calls are the faults that a function makes by calling others of its package with constants.
func (r *room) calls(fn *ast.FuncDecl) []making {
	var out []making
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		for _, m := range r.makings[called(call)] {
			passed := false
			for i, p := range m.parts {
				if p.argument >= 0 && p.argument < len(call.Args) {
					m.parts[i], passed = r.part(fn, call.Args[p.argument], i), true
				}
			}
			if passed {
				m.at = call
				out = append(out, m)
			}
		}
		return true
	})
	return out
}

// changed adds what a function's faults become where it sets their hop, phase or kind afterwards.
func (r *room) changed(fn *ast.FuncDecl, all []making) []making {
	before := all
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		set, ok := n.(*ast.AssignStmt)
		if !ok || len(set.Lhs) != len(set.Rhs) {
			return true
		}
		var to [3]ast.Expr
		for j, left := range set.Lhs {
			if s, ok := left.(*ast.SelectorExpr); ok {
				if i := slices.Index(members, s.Sel.Name); i >= 0 && selects(set.Rhs[j], "fault", last(set.Rhs[j])) {
					to[i] = set.Rhs[j]
				}
			}
		}
		if to == [3]ast.Expr{} {
			return true
		}
		for _, m := range before {
			for i, e := range to {
				if e != nil {
					m.parts[i] = r.part(fn, e, i)
				}
			}
			m.at = set
			all = append(all, m)
		}
		return true
	})
	return all
}

// members are the fields of a fault that name it.
var members = []string{"Hop", "Phase", "Kind"}

// last is the name that a selector ends with, "" for anything else.
func last(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

// called is the name of the function or method that a call goes to, "" for anything else.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); !ok || x.Name != "fault" {
			return f.Sel.Name
		}
	}
	return ""
}

func selects(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// part tells what an expression in a function can be.
func (r *room) part(fn *ast.FuncDecl, e ast.Expr, i int) part {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if word := vocabulary[i][strings.ToLower(e.Sel.Name)]; word != "" && selects(e, "fault", e.Sel.Name) {
			return part{[]string{word}, -1}
		}
	case *ast.CallExpr:
		if to := r.functions[called(e)]; to != nil {
			return part{words(to.Body, i, nil), -1}
		}
	case *ast.Ident:
		n := 0
		for _, field := range fn.Type.Params.List {
			for _, name := range field.Names {
				if name.Name == e.Name {
					return part{nil, n}
				}
				n++
			}
		}
		return part{words(fn.Body, i, e), -1}
	}
	return part{nil, -1}
}

// words are the constants that a body returns, or assigns to a variable.
func words(body *ast.BlockStmt, i int, to *ast.Ident) []string {
	var out []string
	add := func(e ast.Expr) {
		if s, ok := e.(*ast.SelectorExpr); ok && selects(e, "fault", s.Sel.Name) && vocabulary[i][strings.ToLower(s.Sel.Name)] != "" {
			out = append(out, vocabulary[i][strings.ToLower(s.Sel.Name)])
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ReturnStmt:
			for _, e := range n.Results {
				if to == nil {
					add(e)
				}
			}
		case *ast.AssignStmt:
			for j, left := range n.Lhs {
				if x, ok := left.(*ast.Ident); ok && to != nil && x.Name == to.Name && len(n.Rhs) == len(n.Lhs) {
					add(n.Rhs[j])
				}
			}
		}
		return true
	})
	return out
}

func headings(h *house) []string {
	var out []string
	for line := range strings.Lines(h.texts[runbook]) {
		if anchor, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			out = append(out, anchor)
		}
	}
	return out
}

func findFaultsWithoutPage(h *house) []string {
	pages := headings(h)
	var out []string
	made := findFaults(h)
	for _, anchor := range slices.Sorted(maps.Keys(made)) {
		if !slices.Contains(pages, anchor) {
			out = append(out, h.at(made[anchor], "the fault %s has no heading in %s", anchor, runbook))
		}
	}
	return out
}

func findPagesWithoutFault(h *house) []string {
	made := findFaults(h)
	seen := map[string]bool{}
	var out []string
	for _, anchor := range headings(h) {
		switch {
		case seen[anchor]:
			out = append(out, fmt.Sprintf("%s: the heading %s is there twice", runbook, anchor))
		case made[anchor] == nil:
			out = append(out, fmt.Sprintf("%s: no code makes the fault %s", runbook, anchor))
		}
		seen[anchor] = true
	}
	return out
}

var faultChecks = []check{
	{name: "every fault has its page", find: findFaultsWithoutPage,
		breach: map[string]string{
			runbook: "# Faults\n\n## upstream-dns-not-found\n",
			"dataplane/a/a.go": "package a\nfunc f() error { return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.TooLarge} }\n" +
				"func g(p fault.Phase, k fault.Kind) error { return &fault.Error{Hop: fault.Upstream, Phase: p, Kind: k} }\n" +
				"func u(p fault.Phase) error { return g(p, fault.NotFound) }\n" +
				"func v() error { return u(fault.DNS) }\n" +
				"func w() error { return u(fault.Connect) }\n" +
				"func x() error { return g(fault.TLS, kind()) }\n" +
				"func kind() fault.Kind { return fault.Expired }\n" +
				"func y() error {\n\tf := &fault.Error{Hop: fault.Upstream, Phase: fault.DNS, Kind: fault.NotFound}\n\tf.Phase, f.Kind = fault.Body, fault.Reset\n\treturn f\n}\n",
		},
		says: []string{"dataplane/a/a.go:2: the fault client-limit-too-large", "dataplane/a/a.go:11: the fault upstream-body-reset", "dataplane/a/a.go:6: the fault upstream-connect-not-found", "dataplane/a/a.go:7: the fault upstream-tls-expired"}},
	{name: "every page has its fault", find: findPagesWithoutFault,
		breach: map[string]string{
			runbook:            "## client-limit-too-large\n## client-limit-too-large\n## upstream-dns-refused\n",
			"dataplane/a/a.go": "package a\nfunc f() error { return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.TooLarge} }\n",
		},
		says: []string{"the heading client-limit-too-large is there twice", "no code makes the fault upstream-dns-refused"}},
}
