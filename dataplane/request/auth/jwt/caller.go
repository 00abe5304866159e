package jwt

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hopgate/hopgate/dataplane/table"
)

const (
	mostSubject = 1024 // bytes of sub and of a client id
	mostName    = 128  // bytes shown of a user
)

// caller makes the principal of a token whose signature was verified.
func (u *token) caller() (*Caller, error) {
	subject, client, err := u.identity()
	if err != nil {
		return nil, err
	}
	p := u.provider
	if _, ok := p.Clients[client]; p.Clients != nil && (client == "" || !ok) {
		return nil, misconfigured("the client it was issued to isn't one that may call",
			"call from an allowed client, or add its client id to allowed_clients of the identity provider's configuration")
	}
	if subject == "" {
		subject = client
	}
	sum := sha256.Sum256([]byte(p.Issuer + "\x00" + subject))
	digits := hex.EncodeToString(sum[:16])
	who := &table.Principal{ID: "jwt:" + digits, User: u.user(subject), Expires: u.expires}
	who.Name = p.Name + "/" + who.User // no key's record name has a slash
	if p.Rate > 0 || p.InFlight > 0 {
		who.Limit = &table.Limit{ID: "jwt/" + digits[:16], Subject: "the caller " + who.User, Rate: p.Rate, Concurrency: p.InFlight}
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		if !matches(u.claims, g) {
			continue
		}
		who.Debug = who.Debug || g.Debug
		if g.Grant != nil {
			who.Grants = append(who.Grants, g.Grant)
		}
	}
	return &Caller{Principal: who, Expires: u.expires}, nil
}

// identity reads who the token is about, and which client it was issued to: at least one of them.
func (u *token) identity() (subject, client string, err error) {
	if v := u.claims.get("sub"); v != nil {
		if v.kind != '"' || len(v.text) > mostSubject {
			return "", "", unsound("its subject (sub) isn't a string the gateway accepts", nil)
		}
		subject = v.text
	}
	for _, name := range u.provider.ClientOf {
		v := u.claims.get(name)
		if v == nil {
			continue
		}
		if v.kind != '"' || len(v.text) > mostSubject {
			return "", "", unsound("its client id isn't a string the gateway accepts", nil)
		}
		client = v.text
		break
	}
	if subject == "" && client == "" {
		return "", "", unsound("it names neither a subject (sub) nor a client", nil)
	}
	return subject, client, nil
}

// user is what people are shown: the first claim that is there, in printable characters.
func (u *token) user(otherwise string) string {
	for _, name := range u.provider.UserOf {
		if v := u.claims.get(name); v.isString() && v.text != "" {
			return shown(v.text)
		}
	}
	return shown(otherwise)
}

func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= mostName {
		return s
	}
	cut := mostName
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// matches reports whether a token's claims have what a grant asks for.
func matches(claims *value, g *table.ClaimGrant) bool {
	if len(g.Claim) == 0 {
		return true
	}
	v := find(claims, g.Claim)
	if v == nil || v.kind == 'n' {
		return false
	}
	if g.Value == "*" {
		return true
	}
	switch v.kind {
	case '"':
		return v.text == g.Value || isScope(g.Claim) && word(v.text, g.Value)
	case '[':
		for i := range v.list {
			if v.list[i].kind == '"' && v.list[i].text == g.Value {
				return true
			}
		}
	}
	return false
}

// find follows a path. A claim whose own name has the dots (https://example.com/roles) goes before one inside objects.
func find(claims *value, path []string) *value {
	if v := claims.get(strings.Join(path, ".")); v != nil {
		return v
	}
	for _, name := range path {
		claims = claims.get(name)
	}
	return claims
}

// isScope reports whether a claim is a list of words in one string (RFC 8693 section 4.2; some issuers call it scp).
func isScope(path []string) bool { return len(path) == 1 && (path[0] == "scope" || path[0] == "scp") }

func word(list, one string) bool {
	for w := range strings.SplitSeq(list, " ") {
		if w == one && w != "" {
			return true
		}
	}
	return false
}
