package table

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	fieldHash        = "spec.sha256"
	fieldPrevious    = "spec.previous_sha256"
	fieldCertificate = "spec.certificate_name"
)

// apiKey is a compiled key: who its holder is, and by what. One piece of memory for what nearly every key has.
type apiKey struct {
	current     Principal
	previous    *Principal // who holds the replaced key: the same caller until an earlier end; nil: none
	certificate string     // as certificateName gives it; empty: none

	grant  Grant
	grants [1]*Grant
}

func compileKey(obj confset.Object, n *notes) *apiKey {
	m := new(configv1.ApiKey)
	if !decode(obj, m, n) {
		return nil
	}
	spec := m.GetSpec()
	k := &apiKey{certificate: certificateName(spec.GetCertificateName())}
	k.current = Principal{
		ID:         "key:" + obj.UID,
		Name:       obj.Key.Name,
		User:       spec.GetUser(),
		Hash:       digest(fieldHash, spec.GetSha256(), n),
		Expires:    moment("spec.expires", spec.GetExpires(), n),
		Team:       spec.GetTeam(),
		Limit:      compileLimit("spec.limits", spec.GetLimits(), n),
		MayAssert:  spec.GetMayAssertEndUser(),
		TrustTrace: spec.GetTrustTraceContext(),
	}
	if l := k.current.Limit; l != nil {
		l.identify("key/"+obj.UID, "the key "+obj.Key.Name)
	}
	k.grant.fill("spec.", spec, n)
	k.grants[0] = &k.grant
	k.current.Grants = k.grants[:]
	k.current.empower(spec.GetRoles(), n)
	k.overlap(spec, n)
	return k
}

// overlap compiles the key that this one replaces.
func (k *apiKey) overlap(spec *configv1.ApiKeySpec, n *notes) {
	if spec.GetPreviousSha256() == "" && spec.GetPreviousExpires() == "" {
		return
	}
	p := k.current
	p.Hash = digest(fieldPrevious, spec.GetPreviousSha256(), n)
	end := moment("spec.previous_expires", spec.GetPreviousExpires(), n)
	switch {
	case spec.GetPreviousExpires() == "":
		n.reject("spec.previous_expires", "is missing; say until when the replaced key is accepted, or remove previous_sha256")
	case p.Hash == k.current.Hash:
		n.reject(fieldPrevious, "is the same as sha256; the replaced key is another one")
	}
	if p.Expires.IsZero() || end.Before(p.Expires) {
		p.Expires = end
	}
	k.previous = &p
}

func digest(field, text string, n *notes) (sum [32]byte) {
	if h, err := hex.DecodeString(text); err != nil || copy(sum[:], h) != len(h) || len(h) != len(sum) {
		n.reject(field, "is not a SHA-256; give 64 hexadecimal digits")
	}
	return sum
}

// moment reads a time; empty is zero.
func moment(field, text string, n *notes) time.Time {
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		n.reject(field, "is not an RFC 3339 time; write it like 2030-01-31T00:00:00Z")
	}
	return t
}

// certificateName returns a DNS name in lower case, since letter case doesn't count there (RFC 4343). URIs stay as they are.
func certificateName(name string) string {
	if strings.Contains(name, ":") {
		return name
	}
	return strings.ToLower(name)
}

// empower gives the rights that count on a data plane.
func (p *Principal) empower(roles []string, n *notes) {
	for _, role := range roles {
		switch role {
		case "debug":
			p.Debug = true
		case "admin", "viewer": // rights on the control plane
		default:
			n.warn("spec.roles", "role %.40q is not known to this version and gives nothing here", role)
		}
	}
}
