// Package jointoken is the text of join tokens: hgj_<id>_<secret>_<pin>.
//
// The id names the token, the secret proves that it was given, and the pin is the SHA-256 of the authority's public key: with it a data plane
// knows its control planes at the first contact, without any file. It promises that a Token prints without its secret on every way, and it
// refuses text that isn't exactly a token, naming what is wrong and never quoting it.
package jointoken

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hopgate/hopgate/proto/redact"
)

const (
	prefix      = "hgj"
	idChars     = 16
	secretBytes = 32
)

// Token is a join token. The zero value is none.
type Token struct {
	// ID names it: 16 lower-case letters and digits.
	ID string
	// Pin is the SHA-256 of the authority's public key, in the form of a SubjectPublicKeyInfo in DER.
	Pin    [sha256.Size]byte
	secret redact.Secret // 64 hexadecimal digits
}

// New makes a token with a random id and a random secret of 256 bits.
func New(pin [sha256.Size]byte) Token {
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	return Token{ID: "t" + strings.ToLower(rand.Text()[1:idChars]), Pin: pin, secret: redact.NewSecret(hex.EncodeToString(secret[:]))}
}

// Sum is the SHA-256 of the secret: what is stored of it, and compared in constant time.
func (t Token) Sum() [sha256.Size]byte { return sha256.Sum256([]byte(t.secret.Reveal())) }

// Reveal is the token's text. Only who hands it to its user or sends it to a control plane may ask.
func (t Token) Reveal() string {
	return strings.Join([]string{prefix, t.ID, t.secret.Reveal(), hex.EncodeToString(t.Pin[:])}, "_")
}

// String is the token without its secret.
func (t Token) String() string { return prefix + "_" + t.ID + "_" + t.secret.String() }

// Zero reports whether there is no token.
func (t Token) Zero() bool { return t.secret.Empty() }

var (
	idForm  = regexp.MustCompile(`^[a-z][a-z2-7]{15}$`) // also the name of an object, which begins with a letter
	hexForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// mostText is more than a token has.
const mostText = 256

// Parse reads a token's text, with white space around it. Errors say which part is wrong.
func Parse(text string) (Token, error) {
	if len(text) > mostText {
		return Token{}, fmt.Errorf("it has %d characters; a join token has %d: copy it whole and alone", len(text), len(Token{}.Reveal())+idChars+2*secretBytes)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return Token{}, errors.New("it is empty; make one with hopgate token create")
	}
	parts := strings.Split(text, "_")
	if parts[0] != prefix {
		return Token{}, errors.New("it doesn't begin with " + prefix + "_; join tokens are made with hopgate token create, and aren't API keys")
	}
	if len(parts) != 4 {
		return Token{}, fmt.Errorf("it has %d parts between underscores instead of 4: it was cut, or isn't alone", len(parts))
	}
	for i, part := range []struct {
		what string
		form *regexp.Regexp
	}{{"id", idForm}, {"secret", hexForm}, {"pin of the authority", hexForm}} {
		if !part.form.MatchString(parts[i+1]) {
			return Token{}, errors.New("its " + part.what + " is damaged: copy the token anew")
		}
	}
	t := Token{ID: parts[1], secret: redact.NewSecret(parts[2])}
	_, err := hex.Decode(t.Pin[:], []byte(parts[3]))
	return t, err
}
