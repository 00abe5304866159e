package rules_test

import (
	"strings"
	"testing"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/proto"
)

const canary = "canary"

var environment = map[string]string{"TOKEN": "value of the token", "_x9": "v", "EMPTY": "", "BROKEN": canary + "\n", "LONG": canary + strings.Repeat("x", 16<<10)}

func lookup(name string) (string, bool) {
	v, ok := environment[name]
	return v, ok
}

func secret(value string) *rules.Document {
	return &rules.Document{Kind: "secret", Name: "s", Line: 7, Message: &configv1.Secret{Name: "s", Spec: &configv1.SecretSpec{Value: value}}}
}

func TestExpandFillsInWholeValuesOnly(t *testing.T) {
	for in, want := range map[string]string{
		"${TOKEN}": environment["TOKEN"], "os.environ/TOKEN": environment["TOKEN"], "${_x9}": "v", "": "", "plain": "plain", "a${TOKEN}": "a${TOKEN}", "${TOKEN}b": "${TOKEN}b",
		"$TOKEN": "$TOKEN", "${TOKEN": "${TOKEN", "OS.ENVIRON/TOKEN": "OS.ENVIRON/TOKEN", "x os.environ/TOKEN": "x os.environ/TOKEN",
	} {
		doc := secret(in)
		if vs := rules.Expand(doc, lookup); len(vs) > 0 {
			t.Errorf("%q: %v", in, vs)
		}
		if got := doc.Message.(*configv1.Secret).GetSpec().GetValue(); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestExpandNamesTheVariableAndNeverItsValue(t *testing.T) {
	for in, want := range map[string]string{
		"${MISSING}":         "line 7: spec.value: the environment variable MISSING is not set",
		"os.environ/MISSING": "the environment variable MISSING is not set",
		"${EMPTY}":           "the environment variable EMPTY is empty",
		"${BROKEN}":          "the environment variable BROKEN has a space or a line end",
		"os.environ/LONG":    "the environment variable LONG is 16390 bytes long",
		"${}":                "doesn't name an environment variable",
		"${canary:-x}":       "doesn't name an environment variable",
		"os.environ/a/b":     "doesn't name an environment variable",
	} {
		doc := secret(in)
		vs := rules.Expand(doc, lookup)
		if len(vs) != 1 || !strings.Contains(vs.Error(), want) || strings.Contains(vs.Error(), canary) {
			t.Errorf("%q: got %v, want %s", in, vs, want)
		}
		if doc.Message.(*configv1.Secret).GetSpec().GetValue() != in {
			t.Errorf("%q has changed", in)
		}
	}
}

func TestExpandLeavesOtherKindsAlone(t *testing.T) {
	m := &configv1.Server{Name: "s", Spec: &configv1.ServerSpec{Headers: []*configv1.Header{{Name: "a", Text: "${TOKEN}"}}}}
	before := proto.Clone(m)
	for _, doc := range []*rules.Document{{Kind: "server", Message: m}, {Kind: "secret", Message: (*configv1.Secret)(nil)}, {Kind: "secret"}, secret("")} {
		if vs := rules.Expand(doc, lookup); len(vs) > 0 {
			t.Error(vs)
		}
	}
	if !proto.Equal(before, m) {
		t.Errorf("a header was filled in: %v", m)
	}
}
