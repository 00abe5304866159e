package jwt

import (
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// header is what counts of a token's header (RFC 7515 section 4.1). Everything that could name a key elsewhere isn't read.
type header struct {
	alg   jose.SignatureAlgorithm
	keyID string // empty: none is named
}

// asymmetric are the algorithms that may be believed at all, whatever is configured.
var asymmetric = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// types are those of tokens that admit somebody; others (logout, DPoP proofs, security events) are JWTs for other ends, RFC 8725 section 3.11.
var types = []string{"jwt", "at+jwt", "application/jwt", "application/at+jwt", "jose"}

const mostKeyID = 512 // bytes

func (u *token) readHeader() error {
	h, err := object(u.parts.header)
	if err != nil {
		return unsound("its header "+err.Error(), nil)
	}
	for _, name := range [...]string{"crit", "b64", "enc", "zip"} {
		if h.get(name) != nil {
			return unsound("its header has "+name+", which the gateway doesn't support", nil)
		}
	}
	if typ := h.get("typ"); typ != nil && (typ.kind != '"' || !slices.Contains(types, strings.ToLower(typ.text))) {
		return unsound("its type (typ) isn't that of an access token", nil)
	}
	if h.get("cty") != nil {
		return unsound("another token is nested in it (cty)", nil)
	}
	alg := h.get("alg")
	if !alg.isString() {
		return unsound("its header names no algorithm (alg)", nil)
	}
	u.header.alg = jose.SignatureAlgorithm(alg.text)
	if !slices.Contains(asymmetric, u.header.alg) || !slices.Contains(u.provider.Algorithms, alg.text) {
		return misconfigured("it is signed by an algorithm (alg) that isn't allowed",
			"have the identity provider sign with an allowed one, or add the one it uses to its configuration here")
	}
	if kid := h.get("kid"); kid != nil {
		if kid.kind != '"' || len(kid.text) > mostKeyID {
			return unsound("its key id (kid) isn't a short string", nil)
		}
		u.header.keyID = kid.text
	}
	if u.parts.signature == "" {
		return unsound("it isn't signed", nil)
	}
	if _, err := decode(u.parts.signature); err != nil {
		return unsound("its signature "+err.Error(), nil)
	}
	return nil
}
