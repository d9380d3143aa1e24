package report

// This file breaks and cuts text to the width of a screen. Widths are those of a
// terminal's cells: a Chinese character takes two, a combining mark none.

import (
	"iter"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// cellWidth counts cells the same way whatever the locale says of ambiguous characters.
var cellWidth = &runewidth.Condition{}

// cells is how many cells of a terminal a text takes.
func cells(s string) int { return cellWidth.StringWidth(s) }

// cut shortens a text to n cells, the last of which then is an ellipsis.
func cut(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	return cellWidth.Truncate(s, max(n, 1), "…")
}

// cutFront shortens a text to its last n cells, the first of which then is an ellipsis.
func cutFront(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	r := []rune(s)
	for len(r) > 0 && cells(string(r)) > n-1 {
		r = r[1:]
	}
	return "…" + string(r)
}

// pad fills a text up with spaces to n cells.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(n-cells(s), 0)) }

// line writes one line, cut to the width, its head in a style.
func (t *text) line(code, head, rest string) {
	head = cut(head, t.o.Width)
	if n := t.o.Width - cells(head); n > 0 {
		rest = cut(rest, n)
	} else {
		rest = ""
	}
	t.WriteString(t.style(code, head) + rest + "\n")
}

// fold writes a sentence over as many lines as it needs.
func (t *text) fold(code, head, rest string) { t.indent(code, head, " ", rest) }

// indent does so with lines after the first one set in.
func (t *text) indent(code, head, margin, rest string) {
	column := cells(head)
	t.WriteString(t.style(code, head))
	for word := range words(rest) {
		n := cells(word)
		if column+1+n > t.o.Width {
			t.WriteString("\n" + margin)
			column = len(margin)
		}
		t.WriteString(" " + cut(word, t.o.Width-len(margin)-2))
		column += 1 + n
	}
	t.WriteByte('\n')
}

// AppendFolded appends a line, broken between words so that each part fits the width; what
// follows the first part is set in. Width 0 has room for all. There is no newline at the end.
func AppendFolded(dst []byte, line []byte, width, indent int) []byte {
	if width <= 0 || len(line) <= width || cells(string(line)) <= width {
		return append(dst, line...)
	}
	margin := strings.Repeat(" ", indent)
	rest, room := string(line), width
	for cells(rest) > room {
		at := breakAt(rest, room)
		if at <= 0 {
			break
		}
		dst = append(append(append(dst, strings.TrimRight(rest[:at], " ")...), '\n'), margin...)
		rest, room = strings.TrimLeft(rest[at:], " "), width-indent
	}
	return append(dst, rest...)
}

// breakAt is the last space of a text by which its beginning fits a width, 0 if there is none
// behind its first word.
func breakAt(s string, width int) int {
	at, seen, used := 0, false, 0
	for i, r := range s {
		if r == ' ' && seen && !beforeUnit(s[:i], s[i+1:]) {
			at = i
		}
		seen = seen || r != ' '
		if used += cellWidth.RuneWidth(r); used > width {
			break
		}
	}
	return at
}

// unitWords stand on the line of their number.
var unitWords = []string{"ns", "µs", "ms", "s", "B", "KiB", "MiB", "GiB", "TiB", "%"}

// beforeUnit reports whether the space between two texts is that between a number and its unit.
func beforeUnit(before, after string) bool {
	if before == "" || before[len(before)-1] < '0' || before[len(before)-1] > '9' {
		return false
	}
	word, _, _ := strings.Cut(after, " ")
	return slices.Contains(unitWords, strings.TrimRight(word, ",;:.)"))
}

// words are those of a text; a number and its unit are one.
func words(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		held := ""
		for word := range strings.FieldsSeq(s) {
			switch {
			case held == "":
				held = word
			case beforeUnit(held, word):
				held += " " + word
			case !yield(held):
				return
			default:
				held = word
			}
		}
		if held != "" {
			yield(held)
		}
	}
}
