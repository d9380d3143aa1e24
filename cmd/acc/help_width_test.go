package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Help fits the terminal, whatever its width, but for commands that are there to be copied, and loses no word.
func TestHelpFits(t *testing.T) {
	root := newRootCommand()
	for i, cmd := range append(root.Commands(), append(root.Commands(), root)...) {
		var b strings.Builder
		writeHelp(&b, cmd, i < len(root.Commands()), 100) // in full, and in short
		for _, columns := range []int{60, 80, 100} {
			text := fitHelp(b.String(), columns)
			for line := range strings.SplitSeq(text, "\n") {
				if n := utf8.RuneCountInString(line); n > columns && !isCommand(line) && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("acc help %s at %d columns: %d in %q", cmd.Name(), columns, n, line)
				}
			}
			if got, want := strings.Fields(text), strings.Fields(b.String()); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("acc help %s at %d columns has other words", cmd.Name(), columns)
			}
		}
	}
}
