package rules

import (
	"regexp"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Expand replaces the value of a Secret that is exactly ${NAME} or os.environ/NAME by what lookup says, and checks the result. Every other
// document and value stays as it is. A variable that is missing or empty is a violation that names it; its content is never told.
func Expand(doc *Document, lookup func(string) (string, bool)) Violations {
	s, ok := doc.Message.(*configv1.Secret)
	if !ok {
		return nil
	}
	name, ok := variable(s.GetSpec().GetValue())
	if !ok {
		return nil
	}
	var vs Violations
	const field = "spec.value"
	if !variableName.MatchString(name) {
		vs.add(field, "doesn't name an environment variable", "write just ${NAME} or os.environ/NAME, NAME in letters, digits and underscores")
		return withLines(vs, nil, doc.Line)
	}
	value, found := lookup(name)
	switch {
	case !found:
		vs.add(field, "the environment variable "+name+" is not set", "set it, or write another name")
	case value == "":
		vs.add(field, "the environment variable "+name+" is empty", "set it, or remove value to keep the stored one")
	default:
		vs.secretValue(field, value)
		for i := range vs {
			vs[i].Problem = "the environment variable " + name + " " + vs[i].Problem
		}
	}
	if len(vs) == 0 {
		s.Spec.Value = value
	}
	return withLines(vs, nil, doc.Line)
}

// Unexpanded says what is wrong with the value of a Secret that is still ${NAME} or os.environ/NAME: it comes from a file that nothing has
// expanded. It is a matter of who takes in the value, not of Check: a file may hold such values.
func Unexpanded(value string) Violations {
	if name, ok := variable(value); !ok || !variableName.MatchString(name) {
		return nil
	}
	return Violations{{Field: "spec.value", Problem: "names an environment variable instead of the credential",
		Fix: "the command line expands it: use hopgate apply or secret set"}}
}

// variable returns what a value names when it has one of the two forms.
func variable(value string) (string, bool) {
	if name, ok := strings.CutPrefix(value, "os.environ/"); ok {
		return name, true
	}
	if name, ok := strings.CutPrefix(value, "${"); ok {
		return strings.CutSuffix(name, "}")
	}
	return "", false
}
