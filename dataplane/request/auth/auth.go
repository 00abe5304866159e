// Package auth is the one gate of admission: it yields a principal or a refusal, and there is no third way.
//
// It promises that a credential is looked up in the table of this request only, keys by their SHA-256 and tokens by package jwt; that two
// credentials of different principals are refused, whichever way they came (headers, client certificate); and that nothing of a credential
// is kept but its masked form for the caller who sent it and, for the exchange of tokens, the JWT of this request.
// It refuses every fallback: an unknown key next to a known one is a refusal, too, and so is an unknown one where none is needed. A token
// that fails a check is never a caller without an identity.
package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
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
	// Anonymous is the principal of callers without any credential; nil (the default) refuses them. They are refused, too, while the table
	// holds an ingress, an identity provider or a passthrough server: those are for gateways that know their callers.
	Anonymous *table.Principal
	// Tokens verifies JWTs; nil: there are none.
	Tokens *jwt.Tokens
	// Barred reports credentials of the gateway that admit nobody here and yet must not leave, by their SHA-256; nil: there are none.
	Barred func(sha256 [32]byte) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Admission says who was admitted, and by what.
type Admission struct {
	Principal *table.Principal
	// Token is the JWT that admitted the caller; empty for other credentials.
	Token string
	// Expires is when the credential ends to be accepted; zero: never.
	Expires time.Time
}

// Admit settles who is calling. h has canonical keys; names are the DNS and URI names of a client certificate that was verified. The error
// is a *fault.Error: of hop client, phase auth and status 401 (400 for a bad end user), or of hop authserver and status 503 when a token
// can't be checked now. ctx ends the wait for an issuer's keys.
func (g *Gate) Admit(ctx context.Context, t *table.Table, h http.Header, names []string) (Admission, error) {
	found, err := g.identify(ctx, t, h, names)
	if err != nil {
		return Admission{}, err
	}
	if found.Principal == nil {
		return g.stranger(t)
	}
	if !found.Expires.IsZero() && !g.now().Before(found.Expires) {
		return Admission{}, refuse(fault.Expired, "the gateway key has expired", "ask the operator for a new one")
	}
	if found.Principal.MayAssert {
		if found.Principal, err = asserted(found.Principal, h); err != nil {
			return Admission{}, err
		}
	}
	return found, nil
}

// identify reads every credential and returns the one principal that all of them are of; none if there is no credential.
func (g *Gate) identify(ctx context.Context, t *table.Table, h http.Header, names []string) (found Admission, err error) {
	if len(names) > 0 {
		if found, err = certified(t, names); err != nil {
			return Admission{}, err
		}
	}
	for i := range headers {
		values := h[headers[i].canonical]
		if len(values) == 0 || len(values) == 1 && values[0] == "" {
			continue
		}
		one, err := g.offered(ctx, t, i, values, found.Principal != nil)
		switch {
		case err != nil:
			return Admission{}, err
		case one.Principal == nil:
		case found.Principal != nil && found.Principal.ID != one.Principal.ID:
			return Admission{}, refuse(fault.Mismatch, "two gateway credentials of different principals were sent", "send one of them")
		default:
			one.Expires = earlier(found.Expires, one.Expires)
			found = one
		}
	}
	return found, nil
}

// certified finds who is admitted by the names of a certificate.
func certified(t *table.Table, names []string) (found Admission, err error) {
	for _, name := range names {
		p := t.Certificate(name)
		switch {
		case p == nil:
		case found.Principal != nil && found.Principal.ID != p.ID:
			return Admission{}, refuse(fault.Mismatch, "the client certificate has names of different principals", "use a certificate for one of them")
		default:
			found = Admission{Principal: p, Expires: p.Expires}
		}
	}
	return found, nil
}

// earlier is the end of two credentials; zero is no end.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// offered resolves the credential in one header. Authorization beside another credential may be meant for somebody else: there only a value
// that resolves counts, and a token that is for this gateway.
func (g *Gate) offered(ctx context.Context, t *table.Table, header int, values []string, known bool) (Admission, error) {
	name := &headers[header]
	if len(values) > 1 {
		return Admission{}, refuse(fault.Malformed, "the header "+name.shown+" was sent more than once", "send one credential")
	}
	known = known && name.canonical == authorization
	if credential := bearer(values[0]); credential != "" {
		hash := hashOf(credential)
		if p := t.Principal(hash); p != nil {
			return Admission{Principal: p, Expires: p.Expires}, nil
		}
		if g.Tokens != nil && jwt.Shaped(credential) && len(t.Providers()) > 0 {
			c, err := g.Tokens.Verify(ctx, t, credential, hash)
			switch {
			case err == nil:
				return Admission{Principal: c.Principal, Token: credential, Expires: c.Expires}, nil
			case !known || !jwt.IsForeign(err):
				return Admission{}, err
			}
		}
	}
	if known {
		return Admission{}, nil
	}
	return Admission{}, refuse(fault.Unauthenticated, "the gateway doesn't know the key in "+name.shown,
		"check the key, sent as it is or after Bearer; it may have been revoked or belong to another gateway")
}

// errNothingSent marks refusals of callers who sent no credential.
var errNothingSent = errors.New("auth: no credential was sent")

// stranger is a caller without a credential.
func (g *Gate) stranger(t *table.Table) (Admission, error) {
	f := refuse(fault.Unauthenticated, "no gateway credential was sent",
		"send x-hopgate-api-key, x-litellm-api-key or Authorization with: Bearer <key>")
	f.Err = errNothingSent
	if g.Anonymous == nil {
		return Admission{}, f
	}
	if what := knowsCallers(t); what != "" {
		f.Message = "callers without a credential aren't admitted while the configuration has " + what
		f.Hint = "send a key, or remove it from the configuration of a gateway that runs without keys"
		return Admission{}, f
	}
	return Admission{Principal: g.Anonymous}, nil
}

// knowsCallers names what of the configuration makes no sense for a gateway whose callers have no identity; empty: nothing. It is asked for
// anonymous callers only, whose gateways have few servers.
func knowsCallers(t *table.Table) string {
	if ing := t.Ingress(); ing.Name != "" || ing.Closed {
		return "an ingress"
	}
	if len(t.Providers()) > 0 {
		return "an identity provider"
	}
	for s := range t.Servers() {
		if s.Auth.Type == "passthrough" {
			return "a passthrough server"
		}
	}
	return ""
}

func (g *Gate) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
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

func refuse(k fault.Kind, msg, hint string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: k, Status: http.StatusUnauthorized, Code: fault.CodeUnauthenticated,
		Message: msg, Hint: hint}
}

// Shown lists the credentials a caller sent, for x-mcp-debug-inbound-auth: headers masked, and the names in its verified certificate.
func Shown(h http.Header, names []string) string {
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
	if len(names) > 0 { // what a verified certificate names is no secret of its holder's
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString("client-certificate=" + ascii(strings.Join(names, ",")))
	}
	if b.Len() == 0 {
		return "(none)"
	}
	return b.String()
}

// ascii makes text fit into a header.
func ascii(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
