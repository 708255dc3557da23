package config

// nearest returns the candidate with the fewest edits from name; the first of
// equals.
func nearest(name string, candidates []string) string {
	best, fewest := "", -1
	for _, c := range candidates {
		if d := edits(name, c); fewest < 0 || d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

// Near returns the candidate that the user probably meant by name: the nearest,
// if it is at most two edits and a third of its length away. It returns "" if
// there is none.
func Near(name string, candidates []string) string {
	best := nearest(name, candidates)
	if best == "" || edits(name, best) > min(2, len(best)/3) {
		return ""
	}
	return best
}

// edits is the Levenshtein distance of two strings, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
