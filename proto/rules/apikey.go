package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostGrants = 2000
	mostUser   = 256
)

var (
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
	sha256None = hex.EncodeToString(sha256.New().Sum(nil))
	roles      = []string{"debug", "admin", "viewer"}
)

// ApiKey returns everything that is wrong with a caller's key record.
func ApiKey(k *configv1.ApiKey) Violations {
	var vs Violations
	vs.keyName("name", k.GetName())
	vs.labels(k.GetLabels())
	spec := k.GetSpec()
	vs.keyHash("spec.sha256", spec.GetSha256())
	vs.text("spec.user", spec.GetUser(), mostUser)
	vs.grants("spec.servers", spec.GetServers())
	vs.roles("spec.roles", spec.GetRoles())
	vs.expiry("spec.expires", spec.GetExpires())
	return vs
}

// keyHash never quotes the value: it may be the key itself, pasted into the wrong place.
func (vs *Violations) keyHash(field, s string) {
	switch {
	case s == "":
		vs.add(field, "is missing", "write the SHA-256 of the whole key, 64 lower-case hexadecimal digits")
	case sha256Form.MatchString(s):
		if s == sha256None {
			vs.add(field, "is the SHA-256 of nothing", "hash the key itself")
		}
	case sha256Form.MatchString(strings.ToLower(s)):
		vs.add(field, "has upper-case digits", "write it in lower case")
	case strings.HasPrefix(s, "sk-") || strings.HasPrefix(s, "Bearer "):
		vs.add(field, "is a key, not its hash", "write the SHA-256 of the whole key in lower-case hexadecimal digits, and use a new key since this one was shown")
	default:
		vs.add(field, fmt.Sprintf("is not a SHA-256: %d characters", len(s)), "write 64 lower-case hexadecimal digits")
	}
}

func (vs *Violations) grants(field string, servers []string) {
	if len(servers) > mostGrants {
		vs.add(field, fmt.Sprintf("there are %d servers", len(servers)), fmt.Sprintf(`at most %d are possible; "*" means all`, mostGrants))
	}
	seen := map[string]string{}
	for i, name := range servers {
		path := element(field, i)
		if first, ok := seen[name]; ok {
			vs.add(path, quote(name)+" is in "+first+" already", "remove one of the two")
			continue
		}
		seen[name] = path
		if name != "*" {
			vs.serverName(path, name)
		} else if len(servers) > 1 {
			vs.add(path, `"*" means all servers and stands alone`, "remove it, or the others")
		}
	}
}

func (vs *Violations) roles(field string, given []string) {
	seen := map[string]string{}
	for i, role := range given {
		path := element(field, i)
		if first, ok := seen[role]; ok {
			vs.add(path, quote(role)+" is in "+first+" already", "remove one of the two")
			continue
		}
		seen[role] = path
		if role == "" {
			vs.add(path, "is empty", suggest("", roles))
		}
		vs.word(path, role, roles...)
	}
}

func (vs *Violations) expiry(field, s string) {
	if s == "" {
		return
	}
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		vs.add(field, quote(s)+" is not an RFC 3339 time", "write it like 2027-01-31T00:00:00Z")
	case t.Year() < 2000 || t.Year() > 9000:
		vs.add(field, quote(s)+" is not in this era", "write a year from 2000 to 9000, or leave it out for never")
	}
}
