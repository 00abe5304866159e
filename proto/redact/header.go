package redact

import (
	"slices"
	"strings"
)

const mask = "****"

// schemes are authorization schemes that may stay readable in front of a mask.
var schemes = []string{"apikey", "basic", "bearer", "digest", "dpop", "negotiate", "token"}

// Mask returns a credential header value as a mask: "Bearer sk-abcdef1234" becomes "Bearer****1234" and "sk-abcdef1234" becomes
// "****1234". The last four characters stay only when the credential, without its scheme, has at least 12. Empty stays empty.
func Mask(value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		return ""
	}
	scheme := ""
	if word, rest, ok := strings.Cut(value, " "); ok && slices.Contains(schemes, strings.ToLower(word)) {
		scheme, value = word, strings.TrimSpace(rest)
	}
	const least, last = 12, 4
	if len(value) < least {
		return scheme + mask
	}
	return scheme + mask + printable(value[len(value)-last:])
}

// printable replaces what may not stand in a header by question marks, byte by byte.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c <= 0x20 || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
