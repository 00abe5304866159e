package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const mostUser = 256

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
	if spec.GetSha256() != "" || spec.GetCertificateName() == "" {
		vs.keyHash("spec.sha256", spec.GetSha256())
	}
	vs.text("spec.user", spec.GetUser(), mostUser)
	vs.opens("spec.", spec)
	vs.roles("spec.roles", spec.GetRoles(), roles)
	vs.expiry("spec.expires", spec.GetExpires())
	vs.limits("spec.limits", spec.GetLimits())
	vs.previous("spec.", spec)
	if name := spec.GetCertificateName(); name != "" {
		vs.certificateName("spec.certificate_name", name)
	}
	return vs
}

// previous checks the key that this one replaces: hash and end, both or neither, and another hash than the key's own.
func (vs *Violations) previous(path string, spec *configv1.ApiKeySpec) {
	hash, end := spec.GetPreviousSha256(), spec.GetPreviousExpires()
	switch {
	case hash == "" && end == "":
		return
	case hash == "":
		vs.add(path+"previous_sha256", "is missing beside previous_expires", "write the SHA-256 of the replaced key, or remove both")
		return
	case end == "":
		vs.add(path+"previous_expires", "is missing beside previous_sha256", "write when the replaced key ends, like 2027-01-31T00:00:00Z, or remove both")
	case spec.GetSha256() == "":
		vs.add(path+"previous_sha256", "is set, but there is no sha256 that replaces it", "write it as sha256")
	case hash == spec.GetSha256():
		vs.add(path+"previous_sha256", "is the same as sha256", "write the hash of the replaced key, or remove it and previous_expires")
	}
	vs.keyHash(path+"previous_sha256", hash)
	vs.expiry(path+"previous_expires", end)
}

// certificateName checks a DNS name, or a URI as SPIFFE writes it, of a certificate (RFC 5280 section 4.2.1.6).
func (vs *Violations) certificateName(field, name string) {
	const example = "write it like build.example.com or spiffe://example.com/build"
	u, err := url.Parse(name)
	switch {
	case len(name) > mostURL || strings.ContainsFunc(name, func(r rune) bool { return !urlRune(r) }):
		vs.add(field, "is not a name that a certificate can have", example)
	case strings.HasPrefix(name, "*."):
		vs.add(field, "has a wildcard", "name one caller: certificates with other names are not admitted")
	case !strings.Contains(name, ":"):
		if !isDomain(name) || strings.HasSuffix(name, ".") {
			vs.add(field, "is neither a DNS name nor a URI", example)
		} else if strings.ToLower(name) != name {
			vs.add(field, "has upper-case letters", "write it in lower case")
		}
	case err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
		vs.add(field, "is neither a DNS name nor a URI", example)
	}
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
	case strings.HasPrefix(s, keyPrefix) || strings.HasPrefix(s, "Bearer "):
		vs.add(field, "is a key, not its hash", "write the SHA-256 of the whole key in lower-case hexadecimal digits, and use a new key since this one was shown")
	default:
		vs.add(field, fmt.Sprintf("is not a SHA-256: %d characters", len(s)), "write 64 lower-case hexadecimal digits")
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
