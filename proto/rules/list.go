package rules

import (
	"fmt"
	"strings"
)

const mostWords = 32 // entries of a list of which each is one of a few words

// list checks each entry of a list: at most so many, and none twice. check reports what is wrong with one and returns what it is compared
// by, or nothing for one that is wrong. Entries behind the bound are not looked at.
func (vs *Violations) list(field string, given []string, most int, what string, check func(path, s string) (key string)) {
	if len(given) > most {
		vs.add(field, fmt.Sprintf("there are %d %s", len(given), what), fmt.Sprintf("at most %d are possible", most))
		given = given[:most]
	}
	seen := make(map[string]string, len(given))
	for i, s := range given {
		path := element(field, i)
		key := check(path, s)
		if key == "" {
			continue
		}
		if first, ok := seen[key]; ok {
			vs.add(path, quote(s)+" is in "+first+" already", "remove one of the two")
			continue
		}
		seen[key] = path
	}
}

// keyed returns key unless a check has added violations since there were before of them.
func (vs *Violations) keyed(before int, key string) string {
	if len(*vs) > before {
		return ""
	}
	return key
}

// exact checks a value that is compared byte for byte: there, bounded, printable and without spaces around.
func (vs *Violations) exact(field, s string, most int, example string) {
	switch {
	case s == "":
		vs.add(field, "is missing", example)
	case strings.TrimSpace(s) != s:
		vs.add(field, "has a space at its beginning or end", "remove it: values are compared exactly")
	default:
		vs.text(field, s, most)
	}
}
