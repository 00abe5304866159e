package api

// nearest returns the candidate with the fewest edits from word, or nothing if none is close: at most a third of the word, and two at least.
func nearest(word string, candidates []string) string {
	best, most := "", max(2, len(word)/3)
	for _, c := range candidates {
		if d := len(c) - len(word); d > most || -d > most {
			continue
		}
		if d := distance(word, c); d <= most {
			best, most = c, d-1
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
