package message

import (
	"encoding/binary"
	"math/bits"
)

// The JSON grammar (RFC 8259) over bytes, without decoding. Strings may hold any bytes but control characters: what isn't UTF-8 in places
// that nobody here reads is the receiver's to judge.

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stringEnd returns the offset after the closing quote of the string whose opening quote is at i, or -1. It looks at eight bytes at a time
// for a quote, a backslash or a control character; the lowest mark is exact.
func stringEnd(b []byte, i int) int {
	i++
	for i < len(b) {
		if i+8 <= len(b) {
			v := binary.LittleEndian.Uint64(b[i:])
			q, s := v^(ones*'"'), v^(ones*'\\')
			m := ((q-ones)&^q | (s-ones)&^s | (v-ones*0x20)&^v) & highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return -1
			}
			i += n
		case c < 0x20:
			return -1
		default:
			i++
		}
	}
	return -1
}

// escapeLen returns the length of the escape sequence that b begins with, or 0.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// nesting is a stack of open brackets: one bit each, set for an object.
type nesting struct {
	bits  [MaxDepth / 64]uint64
	depth int
}

func (n *nesting) push(object bool) {
	mask := uint64(1) << (n.depth & 63)
	if object {
		n.bits[n.depth>>6] |= mask
	} else {
		n.bits[n.depth>>6] &^= mask
	}
	n.depth++
}

// pop closes the innermost bracket and reports whether the one around it is an object.
func (n *nesting) pop() bool {
	n.depth--
	return n.depth > 0 && n.bits[(n.depth-1)>>6]>>((n.depth-1)&63)&1 == 1
}

// skip checks the value at i and returns the offset after it; room bounds how many brackets may be open at once within it. On failure it
// returns the offset of the trouble. It doesn't recurse.
func skip(b []byte, i, room int) (int, problem) {
	if i < len(b) && b[i] != '{' && b[i] != '[' {
		return scalar(b, i)
	}
	var n nesting
	object := false
	for {
		// A value is due at i.
		if i < len(b) && (b[i] == '{' || b[i] == '[') {
			if n.depth == room {
				return i, deep
			}
			object = b[i] == '{'
			n.push(object)
			i = space(b, i+1)
			if !closes(b, i, object) {
				if object {
					if i = key(b, i); i < 0 {
						return len(b), syntax
					}
				}
				continue
			}
		} else {
			var why problem
			if i, why = scalar(b, i); why != fine {
				return i, why
			}
			i = space(b, i)
		}
		// A value has ended, or an empty object or array is about to.
		for closes(b, i, object) {
			if object = n.pop(); n.depth == 0 {
				return i + 1, fine
			}
			i = space(b, i+1)
		}
		if i >= len(b) || b[i] != ',' {
			return i, syntax
		}
		at := i
		i = space(b, i+1)
		if object {
			if i = key(b, i); i < 0 {
				return at, syntax
			}
		}
	}
}

func closes(b []byte, i int, object bool) bool {
	return i < len(b) && (object && b[i] == '}' || !object && b[i] == ']')
}

// key reads a member's name and colon and returns the offset of the value, or -1.
func key(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = stringEnd(b, i); i < 0 {
		return -1
	}
	i = space(b, i)
	if i >= len(b) || b[i] != ':' {
		return -1
	}
	return space(b, i+1)
}

// scalar checks the string, number or literal at i and returns the offset after it.
func scalar(b []byte, i int) (int, problem) {
	end := -1
	if i < len(b) {
		switch b[i] {
		case '"':
			end = stringEnd(b, i)
		case 't':
			end = literal(b, i, "true")
		case 'f':
			end = literal(b, i, "false")
		case 'n':
			end = literal(b, i, "null")
		default:
			end = number(b, i)
		}
	}
	if end < 0 {
		return i, syntax
	}
	return end, fine
}

func literal(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits returns the offset after one or more digits, or -1.
func digits(b []byte, i int) int {
	start := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
