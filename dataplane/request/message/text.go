package message

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// inner returns what stands between the quotes of a string, still escaped; nil when the value is no string.
func inner(s Span, body []byte) []byte {
	if !s.opens(body, '"') {
		return nil
	}
	return body[s.Start+1 : s.End-1]
}

// text decodes a string into a Go string; empty when it is absent, no string, longer than limit, or not valid Unicode.
func text(s Span, body []byte, limit int) string {
	raw := inner(s, body)
	if len(raw) > limit {
		return ""
	}
	t, ok := decode(raw, nil)
	if !ok {
		return ""
	}
	return string(t)
}

// sound reports whether a JSON string, quotes included, is UTF-8 whose escapes name whole characters, so that all parsers agree on it.
func sound(quoted []byte) bool {
	var room [64]byte
	_, ok := decode(quoted[1:len(quoted)-1], room[:0])
	return ok
}

// decode returns the characters that a JSON string's inside stands for: raw itself when it has no escapes, else appended to dst. raw must be
// grammatical. ok is false when it is not UTF-8 or an escape is half a surrogate pair.
func decode(raw, dst []byte) (out []byte, ok bool) {
	if verbatim(raw) {
		return raw, true
	}
	if !utf8.Valid(raw) {
		return nil, false
	}
	at := bytes.IndexByte(raw, '\\')
	if at < 0 {
		return raw, true
	}
	for at >= 0 {
		dst = append(dst, raw[:at]...)
		var n int
		if dst, n = appendEscape(dst, raw[at:]); n == 0 {
			return nil, false
		}
		raw = raw[at+n:]
		at = bytes.IndexByte(raw, '\\')
	}
	return append(dst, raw...), true
}

// verbatim reports whether raw is ASCII without a backslash, eight bytes at a time.
func verbatim(raw []byte) bool {
	for len(raw) >= 8 {
		v := binary.LittleEndian.Uint64(raw)
		s := v ^ (ones * '\\')
		if (v|(s-ones)&^s)&highs != 0 {
			return false
		}
		raw = raw[8:]
	}
	for _, c := range raw {
		if c >= utf8.RuneSelf || c == '\\' {
			return false
		}
	}
	return true
}

// appendEscape appends what the escape sequence at the start of b stands for and returns its length, 0 for half a pair.
func appendEscape(dst, b []byte) ([]byte, int) {
	switch b[1] {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
		return appendUnicode(dst, b)
	}
	return append(dst, b[1]), 2
}

func appendUnicode(dst, b []byte) ([]byte, int) {
	r, _ := hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, r), 6
	}
	if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return dst, 0
	}
	low, _ := hex4(b[8:])
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return dst, 0
	}
	return utf8.AppendRune(dst, r), 12
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends s as a JSON string. Bytes that aren't UTF-8 become U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
