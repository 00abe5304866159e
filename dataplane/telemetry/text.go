package telemetry

import (
	"strconv"
	"unicode/utf8"
)

// maxText is how much of a name or path a line or span shows, in bytes.
const maxText = 256

const hexDigits = "0123456789abcdef"

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plain bytes need no quotes and no escape in the human format.
func plain(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=' }

// appendValue appends s for a key=value pair: as it is if that can't be misread, else quoted in ASCII, so that no caller can forge a pair
// or a line.
func appendValue(dst []byte, s string) []byte {
	s = cut(s, maxText)
	for i := range len(s) {
		if !plain(s[i]) {
			return strconv.AppendQuoteToASCII(dst, s)
		}
	}
	if s == "" {
		return append(dst, `""`...)
	}
	return append(dst, s...)
}

// appendInside appends s for a place that is between quotes already.
func appendInside(dst []byte, s string) []byte {
	s = cut(s, maxText)
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '"' && c != '\\' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

// appendJSON appends s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendJSON(dst []byte, s string) []byte {
	s = cut(s, maxText)
	dst = append(dst, '"')
	i := 0
	for i < len(s) && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\' {
		i++
	}
	dst = append(dst, s[:i]...) // nearly always all of it
	for i < len(s) {
		c := s[i]
		if c < utf8.RuneSelf {
			dst = appendJSONByte(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			dst = append(dst, `\ufffd`...)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}

func appendJSONByte(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c < ' ' || c == 0x7f:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, c)
}
