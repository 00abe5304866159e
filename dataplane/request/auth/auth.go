// Package auth is the one gate of admission: it yields a principal or a refusal, and there is no third way.
//
// It promises that a credential is looked up by its SHA-256 in the table of this request only, that two credentials of different
// principals are refused, and that nothing of a credential is kept but its masked form for the caller who sent it.
// It refuses every fallback: an unknown key next to a known one is a refusal, too, and so is an unknown one where none is needed.
package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
)

// Headers that may carry the gateway credential, in order of precedence, in canonical form.
var headers = [...]struct{ canonical, shown string }{
	{"X-Hopgate-Api-Key", "x-hopgate-api-key"},
	{"X-Litellm-Api-Key", "x-litellm-api-key"},
	{authorization, "authorization"},
}

const authorization = "Authorization"

// Gate admits callers of one listener.
type Gate struct {
	// Anonymous is the principal of callers without any credential; nil (the default) refuses them.
	Anonymous *table.Principal
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Admit settles who is calling. h has canonical keys. The error is a *fault.Error with hop client, phase auth and status 401.
func (g *Gate) Admit(t *table.Table, h http.Header) (*table.Principal, error) {
	var found *table.Principal
	for i := range headers {
		p, err := offered(t, i, h[headers[i].canonical], found != nil)
		switch {
		case err != nil:
			return nil, err
		case p == nil:
		case found != nil && found.ID != p.ID:
			return nil, refuse(fault.Mismatch, "two gateway credentials of different principals were sent", "send one of them")
		default:
			found = p
		}
	}
	if found == nil {
		return g.stranger()
	}
	if !found.Expires.IsZero() && !g.now().Before(found.Expires) {
		return nil, refuse(fault.Expired, "the gateway key has expired", "ask the operator for a new one")
	}
	return found, nil
}

// offered resolves the credential in one header; nil if there is none. Authorization beside a key header may be meant for somebody else:
// there only a value that resolves counts.
func offered(t *table.Table, header int, values []string, known bool) (*table.Principal, error) {
	name := &headers[header]
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return nil, nil
	case len(values) > 1:
		return nil, refuse(fault.Malformed, "the header "+name.shown+" was sent more than once", "send one credential")
	}
	if token := bearer(values[0]); token != "" {
		if p := holder(t, token); p != nil {
			return p, nil
		}
	}
	if known && name.canonical == authorization {
		return nil, nil
	}
	return nil, refuse(fault.Unauthenticated, "the gateway doesn't know the key in "+name.shown,
		"check the key, sent as it is or after Bearer; it may have been revoked or belong to another gateway")
}

// stranger is a caller without a credential.
func (g *Gate) stranger() (*table.Principal, error) {
	if g.Anonymous != nil {
		return g.Anonymous, nil
	}
	return nil, refuse(fault.Unauthenticated, "no gateway credential was sent",
		"send x-hopgate-api-key, x-litellm-api-key or Authorization with: Bearer <key>")
}

func (g *Gate) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// holder finds the principal by the credential's hash: the comparison is of hashes, so its time tells nothing about a key.
func holder(t *table.Table, token string) *table.Principal {
	return t.Principal(sha256.Sum256([]byte(token)))
}

// bearer strips the scheme Bearer, case-insensitively, and outer blanks; other schemes are no gateway credential.
func bearer(v string) string {
	v = strings.TrimSpace(v)
	scheme, rest, ok := strings.Cut(v, " ")
	if !ok {
		return v
	}
	if strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(rest)
	}
	return ""
}

// Holds reports whether a value that is about to leave for an upstream holds anybody's gateway credential: as it is, after a scheme, or
// inside Basic.
func Holds(t *table.Table, value string) bool {
	value = strings.TrimSpace(value)
	if holder(t, value) != nil {
		return true
	}
	scheme, rest, ok := strings.Cut(value, " ")
	if !ok {
		return false
	}
	rest = strings.TrimSpace(rest)
	return holder(t, rest) != nil || strings.EqualFold(scheme, "basic") && holdsBasic(t, rest)
}

func holdsBasic(t *table.Table, encoded string) bool {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	user, password, _ := strings.Cut(string(plain), ":")
	return holder(t, user) != nil || holder(t, password) != nil
}

func refuse(k fault.Kind, msg, hint string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: k, Status: http.StatusUnauthorized, Code: fault.CodeUnauthenticated,
		Message: msg, Hint: hint}
}

// Shown lists the credential headers a caller sent, masked, for x-mcp-debug-inbound-auth.
func Shown(h http.Header) string {
	var b strings.Builder
	for i := range headers {
		for _, v := range h[headers[i].canonical] {
			if b.Len() > 0 {
				b.WriteString("; ")
			}
			b.WriteString(headers[i].shown)
			b.WriteByte('=')
			b.WriteString(redact.Mask(v))
		}
	}
	if b.Len() == 0 {
		return "(none)"
	}
	return b.String()
}
