package rules

import (
	"fmt"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const mostSecret = 16 << 10

// Secret returns everything that is wrong with a credential, as operators write it. An empty value is fine: the stored one stays.
func Secret(s *configv1.Secret) Violations {
	var vs Violations
	vs.objectName("name", s.GetName(), "secret")
	vs.labels(s.GetLabels())
	vs.secretValue("spec.value", s.GetSpec().GetValue())
	if len(s.GetSpec().GetSealed()) > 0 {
		vs.add("spec.sealed", "is internal", "remove it, and write value to change the secret")
	}
	return vs
}

// secretValue never quotes the value.
func (vs *Violations) secretValue(field, s string) {
	bad := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	switch {
	case s == "":
	case len(s) > mostSecret:
		vs.add(field, fmt.Sprintf("is %d bytes long", len(s)), fmt.Sprintf("at most %d are possible", mostSecret))
	case strings.TrimSpace(s) == "":
		vs.add(field, "is blank", "write the credential, or leave it out to keep the stored one")
	case strings.TrimSpace(s) != s:
		vs.add(field, "has a space or a line end at its beginning or end", "remove it: the value is sent as it is")
	case bad >= 0:
		vs.add(field, fmt.Sprintf("has a character at position %d that is not visible ASCII", bad+1), "write what the server expects in a header; encode other bytes")
	}
}
