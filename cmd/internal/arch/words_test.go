package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// postponed are words that say the work isn't done.
var postponed = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func findPostponed(h *house) []string {
	var out []string
	for _, f := range h.ours(true) {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if word := postponed.FindString(c.Text); word != "" {
					out = append(out, h.at(c, "%s: do it, or write it where plans are kept", word))
				}
			}
		}
	}
	return out
}

// bubble is the import of files whose tests run with virtual time.
const bubble = `"testing/synctest"`

// findEvasions looks for tests that look away and code that waits for time instead of for what it wants.
func findEvasions(h *house) []string {
	var out []string
	for _, f := range h.ours(true) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch name := x.Name + "." + sel.Sel.Name; {
			case name == "time.Sleep" && (!f.test() || !strings.Contains(f.src, bubble)): // in a bubble time is virtual
				out = append(out, h.at(n, "time.Sleep: wait for what you want with a channel, a ticker and a deadline, or in a synctest bubble"))
			case slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && strings.HasPrefix(sel.Sel.Name, "Skip"):
				out = append(out, h.at(n, "%s: a test that can't run here belongs where it can", name))
			}
			return true
		})
	}
	return out
}

// foreign are strings that belong to the places where the project is made, not to the project.
var foreign = []string{
	"registry.npm" + "js.org", "proxy.go" + "lang.org", "sum.go" + "lang.org", "py" + "pi.org", "docker" + ".io", "gh" + "cr.io", "quay" + ".io", "crates" + ".io",
	"/wo" + "rk/", "../sha" + "red",
}

func findForeign(h *house) []string {
	var out []string
	look := func(path, text string) {
		for i, line := range strings.Split(text, "\n") {
			for _, word := range foreign {
				if strings.Contains(line, word) {
					out = append(out, fmt.Sprintf("%s:%d: %s: the project speaks of itself alone", path, i+1, word))
				}
			}
		}
	}
	for _, f := range h.files {
		look(f.path, f.src)
	}
	for _, path := range slices.Sorted(maps.Keys(h.texts)) {
		look(path, h.texts[path])
	}
	return out
}

// metric is a name of ours as documents spell it.
var metric = regexp.MustCompile("`(hopgate_[a-z_]+)`")

func findUnknownMetrics(h *house) []string {
	code := ""
	for _, f := range h.ours(false) {
		if strings.Contains(f.src, `"hopgate_`) {
			code += f.src
		}
	}
	var out []string
	for _, path := range slices.Sorted(maps.Keys(h.texts)) {
		for _, m := range metric.FindAllStringSubmatch(h.texts[path], -1) {
			if strings.HasSuffix(path, ".md") && !strings.Contains(code, `"`+m[1]+`"`) {
				out = append(out, fmt.Sprintf("%s: no code makes the metric %s", path, m[1]))
			}
		}
	}
	return out
}

var wordChecks = []check{
	{name: "documents name metrics that exist", find: findUnknownMetrics,
		breach: map[string]string{"a/a.go": "package a\nconst m = \"hopgate_a_total\"\n", "deploy/a.md": "`hopgate_a_total` and `hopgate_b_total`\n"},
		says:   []string{"deploy/a.md: no code makes the metric hopgate_b_total"}},
	{name: "nothing is postponed in comments", find: findPostponed,
		breach: map[string]string{"a/a.go": "package a\n\n// TO" + "DO: later\nvar a = 1 /* FIX" + "ME */\n"},
		says:   []string{"a/a.go:3: TO" + "DO", "a/a.go:4: FIX" + "ME"}},
	{name: "no sleeping, no skipping", find: findEvasions,
		breach: map[string]string{
			"a/a.go":      "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
			"a/b_test.go": "package a\nimport \"testing/synctest\"\nfunc f() { time.Sleep(1) }\n",
			"a/a_test.go": "package a\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Skip(\"later\") }\nfunc BenchmarkA(b *testing.B) { b.SkipNow() }\n",
		},
		says: []string{"a/a.go:3: time.Sleep", "a/a_test.go:3: t.Skip", "a/a_test.go:4: b.SkipNow"}},
	{name: "the project speaks of itself", find: findForeign,
		breach: map[string]string{"a/a.go": "package a\n// see /wo" + "rk/x\n", "README.md": "one\ndocker" + ".io/x\n"},
		says:   []string{"a/a.go:2: /wo" + "rk/", "README.md:2: docker" + ".io"}},
}
