package export

// This file writes rows as lines of text: JSON, CSV, TSV.

import (
	"io"
	"strings"

	"github.com/acc-project/acc/format"
)

// lines writes the rows of one table, one a line.
type lines struct {
	w       io.Writer
	columns []Column
	line    func(l *lines, row []Value)
	buf     []byte
	labels  []string // of JSON
}

// lineBuffer is how much is written at once.
const lineBuffer = 64 << 10

func newLines(w io.Writer, t Table, line func(*lines, []Value)) *lines {
	l := &lines{w: w, columns: t.Columns, line: line, buf: make([]byte, 0, lineBuffer+4096)}
	sign := "{"
	for _, c := range t.Columns {
		l.labels = append(l.labels, sign+`"`+c.Name+`":`)
		sign = ","
	}
	return l
}

// heads writes the line of names.
func (l *lines) heads(separator, end string) {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.Name
	}
	l.buf = append(append(l.buf, strings.Join(names, separator)...), end...)
}

func (l *lines) Begin(*Source) error { return nil }
func (l *lines) End(*Source) error   { return nil }

func (l *lines) Row(_ int, row []Value) error {
	l.line(l, row)
	if len(l.buf) < lineBuffer {
		return nil
	}
	return l.flush()
}

func (l *lines) flush() error {
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *lines) Close() error { return l.flush() }

// json writes an object.
func (l *lines) json(row []Value) {
	for i := range row {
		l.buf = row[i].AppendJSON(append(l.buf, l.labels[i]...), l.columns[i].Kind)
	}
	l.buf = append(l.buf, '}', '\n')
}

// csv writes a record of RFC 4180.
func (l *lines) csv(row []Value) {
	for i := range row {
		if i > 0 {
			l.buf = append(l.buf, ',')
		}
		if l.columns[i].Kind == Text && row[i].Known {
			l.buf = appendCSV(l.buf, row[i].S)
		} else {
			l.buf = row[i].AppendText(l.buf, l.columns[i].Kind)
		}
	}
	l.buf = append(l.buf, '\r', '\n')
}

// appendCSV appends text as one cell that no spreadsheet executes: text that begins like a formula gets a ' before
// it. What is not printable is written as an escape.
func appendCSV(dst []byte, s string) []byte {
	s = format.Quote(s)
	if s == "" {
		return append(dst, `""`...)
	}
	begins := strings.TrimLeft(s, " ")
	formula := begins != "" && strings.IndexByte("=+-@|%", begins[0]) >= 0 || strings.HasPrefix(s, `\t`) ||
		strings.HasPrefix(s, `\r`) || strings.HasPrefix(s, `\n`)
	if !formula && !strings.ContainsAny(s, "\",;") && s == strings.TrimSpace(s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	if formula {
		dst = append(dst, '\'')
	}
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// tsv writes a line as PostgreSQL, MySQL and ClickHouse have it: \N is not known.
func (l *lines) tsv(row []Value) {
	for i := range row {
		if i > 0 {
			l.buf = append(l.buf, '\t')
		}
		switch {
		case !row[i].Known:
			l.buf = append(l.buf, `\N`...)
		case l.columns[i].Kind == Text:
			l.buf = appendTSV(l.buf, row[i].S)
		default:
			l.buf = row[i].AppendText(l.buf, l.columns[i].Kind)
		}
	}
	l.buf = append(l.buf, '\n')
}

// appendTSV appends text as one cell. What is not printable is written as acc prints it, and each backslash of that
// twice.
func appendTSV(dst []byte, s string) []byte {
	s = format.Quote(s)
	for i := range len(s) {
		if s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}
