package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	serverName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	keyName    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	regionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	labelKey   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
)

// reservedNames are path segments that mean something else, now or in time.
var reservedNames = []string{
	"mcp", "mcp_rest", "sse", "message", "toolset", "v1", "ui", "authorize", "token", "register", "revoke", "callback",
	"healthz", "readyz", "metrics", "debug", "servers", "auth", "admin", "api",
}

// reservedCallers are how records call callers without a stored key.
var reservedCallers = []string{"master", "anonymous"}

func (vs *Violations) serverName(field, name string) { vs.pathName(field, name, "server") }

// pathName checks a name in the namespace of servers, toolsets and access groups; what is which of these.
func (vs *Violations) pathName(field, name, what string) {
	switch {
	case name == "":
		vs.add(field, "is missing", "write a name like "+nameExamples[what])
	case slices.Contains(reservedNames, name):
		vs.add(field, quote(name)+" is reserved: it is a path of the gateway itself", "choose another name")
	case !serverName.MatchString(name):
		vs.add(field, quote(name)+" is not "+article(what)+" name", renamed(name, serverName, '_',
			"write 1 to 32 lower-case letters, digits or underscores, a letter first"))
	}
}

func (vs *Violations) keyName(field, name string) {
	if slices.Contains(reservedCallers, name) {
		vs.add(field, quote(name)+" is reserved: records use it for a caller without a stored key", "choose another name")
		return
	}
	vs.objectName(field, name, "key")
}

// Tellable returns a name as logs and answers may repeat it. One that no object can have, or that begins like a key, may be a credential in
// the wrong place: nothing of it is told.
func Tellable(name string) string {
	if !keyName.MatchString(name) || strings.HasPrefix(name, keyPrefix) {
		return "…"
	}
	return name
}

// keyPrefix begins the keys that are made here.
const keyPrefix = "sk-"

// nameExamples are names that operators might give to objects of a sort.
var nameExamples = map[string]string{
	"server": "github", "toolset": "triage", "group": "dev",
	"key": "ci", "team": "platform", "ingress": "eu-public", "identity provider": "corp", "secret": "github-token", "overlay": "github-eu",
}

// objectName checks the name of an object outside the namespace of servers; what is its sort, as in nameExamples. What should be the name of
// a secret isn't quoted: somebody may have written its value there.
func (vs *Violations) objectName(field, name, what string) {
	const form = "write 1 to 63 lower-case letters, digits, hyphens or underscores, a letter first"
	switch {
	case name == "":
		vs.add(field, "is missing", "write a name like "+nameExamples[what])
	case keyName.MatchString(name):
	case what == "key" && strings.HasPrefix(name, keyPrefix):
		vs.add(field, "is not a key name", form+"; a key itself belongs nowhere but into the calls of its holder")
	case what == "secret":
		vs.add(field, "is not a secret name", form+"; the credential itself belongs into the Secret")
	default:
		vs.add(field, quote(name)+" is not "+article(what)+" name", renamed(name, keyName, '-', form))
	}
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// renamed proposes the name as it would be right, when that is a matter of letter case and of other separators; else it returns otherwise.
func renamed(name string, form *regexp.Regexp, separator rune, otherwise string) string {
	folded := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' || r == '.' {
			return separator
		}
		return r
	}, strings.ToLower(name))
	if form.MatchString(folded) && !slices.Contains(reservedNames, folded) {
		return "write " + folded
	}
	return otherwise
}

// Region returns what is wrong with the name of a region.
func Region(name string) Violations {
	var vs Violations
	vs.region("region", name)
	return vs
}

func (vs *Violations) region(field, name string) {
	if !regionName.MatchString(name) {
		vs.add(field, quote(name)+" is not a region name", "write 1 to 32 lower-case letters, digits, hyphens or underscores, a letter first")
	}
}

func (vs *Violations) labels(labels map[string]string) {
	const mostLabels, mostValue = 32, 256
	if len(labels) > mostLabels {
		vs.add("labels", fmt.Sprintf("there are %d labels", len(labels)), fmt.Sprintf("at most %d are possible", mostLabels))
	}
	for _, k := range sortedKeys(labels) {
		field := entry("labels", k)
		if !labelKey.MatchString(k) {
			vs.add(field, quote(k)+" is not a label name", "write 1 to 63 letters, digits, dots, slashes, hyphens or underscores, a letter or digit first and last")
		}
		vs.text(field, labels[k], mostValue)
	}
}

// entry returns the path of a map's entry: labels.team, or labels["a b"] when the key isn't plain.
func entry(path, key string) string {
	const longest = 64
	plain := key != "" && len(key) <= longest && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	switch {
	case !plain:
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// element returns the path of a list's entry: spec.endpoints[0].
func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
