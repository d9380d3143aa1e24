package report

// This file writes text for terminals that have nothing but ASCII.

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// asciiSigns stand for the characters that acc draws with. Each is as wide as what it stands
// for, ≥ and … aside, so that tables stay straight.
var asciiSigns = map[rune]string{
	'≥': ">=", '…': "...", '–': "-", '—': "-", 'µ': "u", '·': ".", '─': "-", '±': "+-", '×': "x",
	'▁': "_", '▂': ".", '▃': ":", '▄': "-", '▅': "=", '▆': "+", '▇': "*", '█': "#",
	'╌': "-", '░': ":", '▒': "%", '┤': "|", '✗': "X", '▸': ">",
}

// ASCII gives a writer that writes to w what it is given, with nothing but ASCII in it. What it
// has no sign for it writes as an escape: \u4e2d.
func ASCII(w io.Writer) io.Writer { return &asciiWriter{w: w} }

type asciiWriter struct {
	w    io.Writer
	part []byte // the beginning of a character whose end is still to come
}

func (a *asciiWriter) Write(p []byte) (int, error) {
	text := p
	if len(a.part) > 0 {
		text = append(a.part, p...)
		a.part = nil
	}
	var b bytes.Buffer
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			a.part = bytes.Clone(text)
			break
		}
		r, n := utf8.DecodeRune(text)
		switch sign, ok := asciiSigns[r]; {
		case r < utf8.RuneSelf:
			b.WriteByte(text[0])
		case ok:
			b.WriteString(sign)
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		text = text[n:]
	}
	if _, err := a.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
