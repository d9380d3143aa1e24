package report

// This file lays out tables whose columns give way one after the other where the
// screen is narrow.

import (
	"slices"
	"strings"
)

// column is one of a table.
type column struct {
	head  string
	yield int  // columns give way in falling order; 0: it stays
	least int  // cells that are left of it when it has given way; 0: it goes
	front bool // what is shortened loses its beginning: paths
}

// gap is how many spaces stand between two columns.
const gap = 2

// layout sets rows of cells under the heads of their columns. Each line fits the width. A
// column without a cell that says something is left out.
func layout(width int, columns []column, rows [][]string) []string {
	widths := make([]int, len(columns))
	for i, c := range columns {
		for _, row := range rows {
			widths[i] = max(widths[i], cells(row[i]))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], cells(c.head))
		}
	}
	for {
		excess := -gap - width
		for _, w := range widths {
			if w > 0 {
				excess += w + gap
			}
		}
		next := -1
		for i, c := range columns {
			if c.yield > 0 && widths[i] > c.least && (next < 0 || c.yield > columns[next].yield) {
				next = i
			}
		}
		if excess <= 0 || next < 0 {
			break
		}
		if widths[next] = max(widths[next]-excess, columns[next].least); columns[next].least == 0 {
			widths[next] = 0
		}
	}
	heads := make([]string, len(columns))
	for i := range columns {
		heads[i] = columns[i].head
	}
	lines := make([]string, 0, len(rows)+1)
	for _, row := range append([][]string{heads}, rows...) {
		var b strings.Builder
		for i, c := range columns {
			switch {
			case widths[i] == 0:
				continue
			case c.front:
				b.WriteString(pad(cutFront(row[i], widths[i]), widths[i]+gap))
			default:
				b.WriteString(pad(cut(row[i], widths[i]), widths[i]+gap))
			}
		}
		lines = append(lines, cut(strings.TrimRight(b.String(), " "), width))
	}
	return lines
}

// print writes the lines of a table, the first one as its head.
func (t *text) print(lines []string) {
	for i, l := range lines {
		if i == 0 {
			l = t.style(bold, l)
		}
		t.WriteString(l + "\n")
	}
}

// list writes a table without heads, of which the last column is a text.
func (t *text) list(rows [][]string) { t.WriteString(Paragraphs(t.o.Width, rows)) }

// beside sets lines beside each other, the right ones at a column; nil if the right ones
// are wider than what is left of the width.
func beside(left, right []string, at, width int) []string {
	if slices.ContainsFunc(right, func(l string) bool { return cells(l) > width-at }) {
		return nil
	}
	lines := make([]string, max(len(left), len(right)))
	for i := range lines {
		if i < len(left) {
			lines[i] = left[i]
		}
		if i < len(right) && right[i] != "" {
			lines[i] = pad(lines[i], at) + right[i]
		}
	}
	return lines
}

// Paragraphs lays out rows of cells of which the last one is a text. A text that is too
// long for the width goes on below, under its beginning. Width 0 has room for all. Each
// line ends with a newline.
func Paragraphs(width int, rows [][]string) string {
	var b strings.Builder
	if len(rows) == 0 {
		return ""
	}
	last := len(rows[0]) - 1
	widths := make([]int, last)
	indent := 0
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], cells(row[i]))
		}
		indent += widths[i] + gap
	}
	for _, row := range rows {
		head := ""
		for i, w := range widths {
			head += pad(row[i], w+gap)
		}
		b.WriteString(
			strings.TrimRight(
				head+strings.Join(wrap(row[last], width-indent), "\n"+strings.Repeat(" ", indent)),
				" ",
			) + "\n",
		)
	}
	return b.String()
}

// wrap breaks a text between words so that its lines fit the width. What a text begins
// with of spaces, all its lines do. A width below 20 is no width.
func wrap(s string, width int) []string {
	if width < 20 || cells(s) <= width {
		return []string{s}
	}
	margin := s[:len(s)-len(strings.TrimLeft(s, " "))]
	lines, line := []string{}, margin
	for word := range words(s) {
		if line != margin && cells(line)+1+cells(word) > width {
			lines, line = append(lines, line), margin
		}
		if line != margin {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
