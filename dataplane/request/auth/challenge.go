package auth

import (
	"errors"
	"strings"

	"github.com/hopgate/hopgate/proto/fault"
)

const keysOnly = `Bearer realm="hopgate"`

// Challenge returns the WWW-Authenticate of a 401 (RFC 6750 section 3, RFC 9728 section 5.1). metadata is the URL of the protected resource's
// metadata, empty where there is none. error and error_description are there only when a credential was sent and refused. A metadata URL
// with a character that doesn't belong there is left out.
func Challenge(f *fault.Error, metadata string) string {
	if metadata == "" || strings.ContainsFunc(metadata, notInURL) {
		return keysOnly
	}
	var b strings.Builder
	b.WriteString(`Bearer resource_metadata="` + metadata + `"`)
	if f != nil && !errors.Is(f, errNothingSent) {
		b.WriteString(`, error="invalid_token", error_description="` + strings.Map(described, f.Message) + `"`)
	}
	return b.String()
}

func notInURL(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"\\<>^`{|}", r) }

// described keeps what may stand in error_description: printable ASCII but quotation marks and backslashes.
func described(r rune) rune {
	switch {
	case r == '"' || r == '\\':
		return '\''
	case r < ' ' || r > '~':
		return '?'
	}
	return r
}
