package main

// This file prints lines of a name and a text.

import (
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis/report"
)

// sheet collects lines of a name and a text, as info and verify print them.
type sheet struct{ rows [][]string }

// row adds a line; without a name it goes on with what the line before began.
func (s *sheet) row(name, format string, args ...any) {
	s.rows = append(s.rows, []string{name, fmt.Sprintf(format, args...)})
}

// write prints the lines, broken to the width; 0: as long as they are.
func (s *sheet) write(w io.Writer, width int) error {
	_, err := io.WriteString(w, report.Paragraphs(width, s.rows))
	return err
}
