package rules

import (
	"slices"
	"strings"
)

// suggest returns a fix for a word that is not among known: the nearest one, or all of them while they are few.
func suggest(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	const few = 9
	if len(known) == 0 || len(known) > few {
		return ""
	}
	return "write " + alternatives(known)
}

// alternatives joins words as "a, b or c".
func alternatives(words []string) string {
	last := len(words) - 1
	if last <= 0 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Nearest returns the known word at the least edit distance, at most 3 and less than half of the word; empty when none is near.
// Letter case and hyphens don't count.
func Nearest(word string, known []string) string {
	fold := strings.NewReplacer("-", "_")
	word = fold.Replace(strings.ToLower(word))
	const longest = 64
	if len(word) > longest {
		return ""
	}
	best, at := "", min(3, (len(word)-1)/2)+1
	for _, k := range known {
		if d := distance(word, fold.Replace(strings.ToLower(k))); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that lead from a to b, bytewise.
func distance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
