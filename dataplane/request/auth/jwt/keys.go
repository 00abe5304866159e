package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	mostKeys  = 256  // of a set
	mostTries = 4    // keys tried for one token
	leastRSA  = 2048 // bits
	mostRSA   = 8192 // bits: beyond, a check costs too much
)

// keySet is what an issuer published. It is immutable.
type keySet struct {
	generation uint64 // differs between sets with different content
	body       string // of the answer
	keys       []key
}

// key is one public key.
type key struct {
	id     string
	alg    string // empty: each that fits
	public crypto.PublicKey
}

// fitting returns the keys that may have signed a token with this header: at most four.
func (s *keySet) fitting(h header) []key {
	var out []key
	for _, k := range s.keys {
		if len(out) < mostTries && (h.keyID == "" || k.id == h.keyID) && k.fits(h.alg) {
			out = append(out, k)
		}
	}
	return out
}

// fits reports whether a key may be used with an algorithm: by its own word, and by its type and curve (RFC 7518 section 3.1, RFC 8037).
func (k key) fits(alg jose.SignatureAlgorithm) bool {
	if k.alg != "" && k.alg != string(alg) {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
	case *ecdsa.PublicKey:
		return curves[alg] != nil && curves[alg] == public.Curve
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

var curves = map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}

var errNoSet = errors.New("is not a key set: it has no array named keys")

// parseKeys reads a key set (RFC 7517 section 5). Keys that can't verify a signature are left out: other types, for encryption, symmetric,
// private, too small or too large.
func parseKeys(body []byte) ([]key, error) {
	set, err := parse(body)
	if err != nil {
		return nil, err
	}
	list := set.get("keys")
	if list == nil || list.kind != '[' {
		return nil, errNoSet
	}
	var out []key
	for i := range list.list {
		if k, ok := parseKey(&list.list[i]); ok && len(out) < mostKeys {
			out = append(out, k)
		}
	}
	return out, nil
}

// secrets are members that only private and symmetric keys have.
var secrets = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

func parseKey(v *value) (key, bool) {
	if slices.ContainsFunc(secrets, func(name string) bool { return v.get(name) != nil }) {
		return key{}, false
	}
	if use := v.get("use"); use != nil && use.text != "sig" {
		return key{}, false
	}
	if ops := v.get("key_ops"); ops != nil && !slices.ContainsFunc(ops.list, func(o value) bool { return o.text == "verify" }) {
		return key{}, false
	}
	plain := map[string]string{} // nothing of certificates is read
	for _, name := range [...]string{"kty", "kid", "alg", "crv", "n", "e", "x", "y"} {
		if m := v.get(name); m.isString() {
			plain[name] = m.text
		} else if m != nil {
			return key{}, false
		}
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return key{}, false
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(text); err != nil || !k.Valid() || !k.IsPublic() {
		return key{}, false
	}
	if r, ok := k.Key.(*rsa.PublicKey); ok && (r.N.BitLen() < leastRSA || r.N.BitLen() > mostRSA) {
		return key{}, false
	}
	return key{id: k.KeyID, alg: k.Algorithm, public: k.Key}, true
}

// verified reports whether the token was signed with the key. go-jose gets one algorithm, the one the header was read with, and one key.
func (u *token) verified(k key) bool {
	s, err := jose.ParseSignedCompact(u.text, []jose.SignatureAlgorithm{u.header.alg})
	if err != nil {
		return false
	}
	_, err = s.Verify(k.public)
	return err == nil
}
