package message

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/go-json-experiment/json/jsontext"
)

// Pin returns the SHA-256 of a tool's definition in its canonical form (RFC 8785), in lower-case hexadecimal: blanks, the order of members
// and the spelling of strings and numbers don't change it. What has no canonical form, because a name is there twice or text isn't valid
// Unicode, is pinned byte for byte.
func Pin(raw []byte) string {
	form := jsontext.Value(raw).Clone()
	if form.Canonicalize() != nil {
		form = raw
	}
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}
