package redact

import "strings"

// Text returns s with every word replaced by "****" that looks like a key or a token: for names and paths that people wrote, and that a
// secret may have slipped into. Names made of words stay, also long ones with a number in them. What has nothing to hide is returned as it
// is, without an allocation.
func Text(s string) string {
	var b strings.Builder
	kept := 0 // of s, up to where b has it
	for from := 0; from < len(s); {
		to := from
		for to < len(s) && inWord(s[to]) {
			to++
		}
		if made(s[from:to]) {
			b.WriteString(s[kept:from])
			b.WriteString(mask)
			kept = to
		}
		from = to + 1
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// inWord reports whether c may stand in a key or a token. A slash may, too, but more often it parts a path.
func inWord(c byte) bool { return isLetter(c) || isDigit(c) || strings.IndexByte("-_.~+=%", c) >= 0 }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// made reports whether a word looks made by a machine: a known prefix, a long part without separators that is no word, or a mix of letters,
// capitals and digits that changes often.
func made(word string) bool {
	const short = 7 // shorter than a prefix and what must follow it
	if len(word) <= short {
		return false
	}
	for _, p := range secretPrefixes {
		if p != "bearer" && len(word) > len(p)+4 && strings.EqualFold(word[:len(p)], p) {
			return true
		}
	}
	const least, often = 16, 5
	if len(word) < least {
		return false
	}
	part, numbers, changes := 0, 0, 0
	for i := range len(word) {
		if !isLetter(word[i]) && !isDigit(word[i]) {
			if secretLike(word[part:i]) {
				return true
			}
			part = i + 1
			continue
		}
		if i > part && isDigit(word[i]) != isDigit(word[i-1]) {
			numbers++
		} else if i > part && isUpper(word[i]) != isUpper(word[i-1]) {
			changes++
		}
	}
	return secretLike(word[part:]) || numbers >= often || 3*(numbers+changes) > len(word)
}
