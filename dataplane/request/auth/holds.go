package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/table"
)

// Holds reports whether a value that is about to leave for an upstream holds anybody's gateway credential: as it is, after a scheme, as one
// of its words or parameters, or inside Basic. A credential is a key, also one that was replaced and still works, the master key, and a JWT
// that says to be of one of the table's issuers for this gateway, verified or not.
func (g *Gate) Holds(t *table.Table, value string) bool {
	value = strings.TrimSpace(value)
	if g.credential(t, value) {
		return true
	}
	scheme, rest := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		scheme, rest = value[:i], strings.TrimSpace(value[i:])
		if g.credential(t, rest) || strings.EqualFold(scheme, "basic") && g.holdsBasic(t, rest) {
			return true
		}
	}
	if len(scheme) == len(value) && !strings.ContainsAny(value, separators) {
		return false
	}
	for word := range strings.FieldsFuncSeq(value, separates) {
		if len(word) >= leastWord && word != rest && g.credential(t, word) {
			return true
		}
	}
	return false
}

// Between words and parameters of header values stand these. A credential with one of them in it is found whole only.
const separators = " \t,;=:\"'"

func separates(r rune) bool { return strings.ContainsRune(separators, r) }

// leastWord is how long a word must be to be looked up, so that a value of many short ones costs little. Shorter keys are found whole only.
const leastWord = 6

func (g *Gate) holdsBasic(t *table.Table, encoded string) bool {
	encoded = strings.TrimRight(encoded, "=") // some servers take it without padding, and in either alphabet
	plain, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		if plain, err = base64.RawURLEncoding.DecodeString(encoded); err != nil {
			return false
		}
	}
	user, password, _ := strings.Cut(string(plain), ":")
	return g.credential(t, user) || g.credential(t, password)
}

// hashOf is the SHA-256 of a credential, without an allocation unless it is uncommonly long.
func hashOf(credential string) [32]byte {
	const short, long = 64, 2048
	switch {
	case len(credential) <= short:
		var b [short]byte
		return sha256.Sum256(b[:copy(b[:], credential)])
	case len(credential) <= long:
		var b [long]byte
		return sha256.Sum256(b[:copy(b[:], credential)])
	}
	return sha256.Sum256([]byte(credential))
}

// credential looks a key up by its hash: the comparison is of hashes, so its time tells nothing about a key.
func (g *Gate) credential(t *table.Table, value string) bool {
	sum := hashOf(value)
	if t.Principal(sum) != nil || g.Barred != nil && g.Barred(sum) {
		return true
	}
	return g.Tokens != nil && len(t.Providers()) > 0 && jwt.Shaped(value) && jwt.Ours(t, value)
}
