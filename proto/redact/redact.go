// Package redact keeps secrets out of everything people read: a secret type that cannot be printed, and masks for headers and URLs.
//
// It promises that a Secret shows as [redacted] on every way fmt, slog, JSON, YAML and text encoders know, also inside other structs, and
// that what URL, Origin and Mask return may stand in a log, a span or a response header: printable ASCII without the secret.
// It refuses to decide who may see a mask: the last four characters that Mask leaves are for the caller who sent the value.
package redact

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const shown = "[redacted]"

// Secret is a value that cannot be printed. The zero value is an empty secret. Compare with Equal, never with ==.
type Secret struct {
	// A pointer, because fmt walks unexported fields of surrounding structs without calling methods: it then shows an address.
	value *string
}

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value. Only what sends, seals or stores it may ask.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares in a time that doesn't depend on the content.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[redacted]".
func (Secret) String() string { return shown }

// GoString returns "[redacted]".
func (Secret) GoString() string { return shown }

// Format writes "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + shown + `"`), nil }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(shown), nil }
