package filter

// This file says what is wrong with an expression, and where.

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/mattn/go-runewidth"
)

// Error is an expression that makes no sense.
type Error struct {
	Source   string // the expression
	From, To int    // the place that is wrong, in characters
	Reason   string // what is wrong with it
	Hint     string // what to do, "" if there is nothing to say
}

// Error is one line; Show has the place, too.
func (e *Error) Error() string { return e.Reason }

// Show gives the line of the expression that is wrong and, below, a line that marks the place. What
// is not printable is shown as a dot.
func (e *Error) Show() (line, marks string) {
	source := []rune(e.Source)
	from := min(max(e.From, 0), len(source))
	begin, end := from, from
	for begin > 0 && source[begin-1] != '\n' {
		begin--
	}
	for end < len(source) && source[end] != '\n' {
		end++
	}
	to := min(max(e.To, from+1), max(end, from+1))
	const most = 100 // characters of a long line around the place
	cut := ""
	if from-begin > most/2 {
		begin, cut = from-most/2, "…"
	}
	line = cut + printable(source[begin:min(end, begin+most)])
	if end > begin+most {
		line += "…"
	}
	wide := func(r []rune) int { return runewidth.StringWidth(printable(r)) }
	marks = strings.Repeat(" ", runewidth.StringWidth(cut)+wide(source[begin:from])) +
		strings.Repeat("^", max(1, wide(source[from:min(to, end)])))
	return line, marks
}

func printable(text []rune) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || runewidth.RuneWidth(r) == 0 {
			return '.'
		}
		return r
	}, string(text))
}

// fail is an error at a place of the source.
func (c *compiler[T]) fail(at file.Location, reason, hint string) error {
	return &Error{Source: c.source, From: at.From, To: at.To, Reason: reason, Hint: hint}
}

// near gives those of the names that one could be meant for, the nearest first, at most three.
func near(name string, names []string) []string {
	type like struct {
		name string
		d    int
	}
	var list []like
	for _, n := range names {
		d := distance(strings.ToLower(name), strings.ToLower(n))
		switch {
		case len(name) >= 3 && strings.HasPrefix(n, strings.ToLower(name)):
			d = 1
		case len(name) >= 4 && strings.Contains(n, strings.ToLower(name)):
			d = min(d, 2)
		}
		if d <= max(1, min(3, len(name)/3)) {
			list = append(list, like{n, d})
		}
	}
	slices.SortStableFunc(list, func(a, b like) int { return a.d - b.d })
	var best []string
	for _, l := range list[:min(len(list), 3)] {
		best = append(best, l.name)
	}
	return best
}

// distance is how many letters must be put in, taken out, changed or exchanged with the next to make b of a.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			d := row[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			next[j+1] = d
		}
		before, row = row, next
	}
	return row[len(b)]
}

// list joins words for people: a, b or c.
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
}
