package jwt

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// token is one that hasn't been verified yet, or whose signature was verified.
type token struct {
	text     string
	parts    parts
	provider *table.IdentityProvider
	claims   *value
	header   header
	expires  time.Time
}

// read takes a token apart and checks what needs no key. Errors are faults.
func (t *Tokens) read(of Issuers, text string) (*token, error) {
	u, err := unverified(of, text)
	if err != nil {
		return nil, err
	}
	if err := u.readHeader(); err != nil {
		return nil, err
	}
	if err := u.readTimes(t.cfg.Now()); err != nil {
		return nil, err
	}
	return u, nil
}

// unverified finds the issuer that a token says to be from, and checks that the token is for this gateway.
func unverified(of Issuers, text string) (*token, error) {
	if len(text) > MostBytes {
		return nil, foreign("the token is larger than the gateway reads", "have the identity provider put less into it; the limit is 16 KiB")
	}
	u := &token{text: text}
	var ok bool
	if u.parts, ok = split(text); !ok {
		return nil, foreign("what was sent isn't a signed JWT: it doesn't have three parts", "send a signed token as the identity provider gave it; encrypted ones can't be read here")
	}
	var err error
	if u.claims, err = object(u.parts.payload); err != nil {
		return nil, foreign("the token's payload "+err.Error(), "send the token as the identity provider gave it")
	}
	issuer := u.claims.get("iss")
	if !issuer.isString() {
		return nil, foreign("the token names no issuer (iss)", "send an access token of an identity provider that this gateway is configured for")
	}
	if u.provider, ok = of.Provider(issuer.text); !ok {
		return nil, foreign("the token's issuer (iss) is none that this gateway believes",
			"get a token from an identity provider that is configured here; iss must equal its issuer to the letter")
	}
	if !meant(u.claims.get("aud"), u.provider.Audiences) {
		return nil, foreign("the token isn't for this gateway: no audience (aud) of it is one the gateway answers to",
			"ask the identity provider for a token for this gateway's address (resource), or add the audience to its configuration here")
	}
	return u, nil
}

// meant reports whether aud, a string or an array of strings, names one of ours.
func meant(aud *value, ours []string) bool {
	switch {
	case aud == nil:
		return false
	case aud.kind == '"':
		return audience(aud.text, ours)
	case aud.kind != '[':
		return false
	}
	found := false
	for i := range aud.list {
		if aud.list[i].kind != '"' {
			return false
		}
		found = found || audience(aud.list[i].text, ours)
	}
	return found
}

func audience(text string, ours []string) bool {
	return slices.ContainsFunc(ours, func(pattern string) bool {
		if base, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasSuffix(base, "/") {
			return strings.HasPrefix(text, base)
		}
		return text == pattern
	})
}

// readTimes checks exp, nbf and iat (RFC 7519 section 4.1) with the issuer's clock skew.
func (u *token) readTimes(now time.Time) error {
	exp, ok := instant(u.claims.get("exp"))
	if !ok {
		return unsound("it doesn't say when it expires (exp), or not as a number", nil)
	}
	u.expires = exp.Add(u.provider.Skew)
	if !now.Before(u.expires) {
		return refuse(fault.Expired, "the token has expired (exp)", "get a new token from the identity provider; if it is new, compare the clocks", nil)
	}
	for _, name := range [...]string{"nbf", "iat"} {
		v := u.claims.get(name)
		if v == nil {
			continue
		}
		at, ok := instant(v)
		if !ok {
			return unsound("its "+name+" isn't a number", nil)
		}
		if now.Add(u.provider.Skew).Before(at) {
			return refuse(fault.Unauthenticated, "the token isn't one the gateway believes: it isn't valid yet ("+name+")",
				"compare the clocks of the gateway and of the identity provider; clock_skew is how far they may differ", nil)
		}
	}
	return nil
}

// instant reads a NumericDate; fractions of a second are dropped.
func instant(v *value) (time.Time, bool) {
	if v == nil || v.kind != '0' {
		return time.Time{}, false
	}
	const last = 253402300799 // 9999-12-31T23:59:59Z
	s, err := strconv.ParseFloat(v.text, 64)
	if err != nil || math.IsNaN(s) || s < 0 || s > last {
		return time.Time{}, false
	}
	return time.Unix(int64(s), 0), true
}
