package checkpoints

// This file finds lines of a log that contradict each other.

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Of gives the checkpoints of one capture in the order of frames, each once, and where the
// log contradicts itself about it, which it can't if all of them are acc's. Where root
// and others wrote of the capture, only root's count: passed is how many others there are.
func (l *Log) Of(id string) (lines []Line, contradictions []string, passed int) {
	root := false
	for _, c := range l.Lines {
		if c.Capture == id {
			lines = append(lines, c)
			root = root || c.Writer.UID == "0"
		}
	}
	if root {
		all := len(lines)
		lines = slices.DeleteFunc(lines, func(c Line) bool { return c.Writer.UID != "0" })
		passed = all - len(lines)
	}
	writers := []Writer{}
	for _, c := range lines {
		if len(writers) < 2 && !slices.Contains(writers, c.Writer) {
			writers = append(writers, c.Writer)
		}
	}
	if len(writers) > 1 { // a capture has one recorder
		contradictions = append(contradictions, fmt.Sprintf("two processes wrote heads of it: %v; %v", writers[0],
			writers[1]))
	}
	slices.SortStableFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Frame, b.Frame), bytes.Compare(a.Head[:], b.Head[:]), cmp.Compare(a.Bytes, b.Bytes),
			cmp.Compare(a.Events, b.Events))
	})
	lines = slices.CompactFunc(lines, func(a, b Line) bool { return same(a, b) })
	for i := 1; i < len(lines); i++ {
		a, b := lines[i-1], lines[i]
		switch {
		case a.Frame == b.Frame && a.Head != b.Head:
			contradictions = append(contradictions,
				fmt.Sprintf("frame %d has two heads, %.8x… and %.8x…", a.Frame, a.Head, b.Head))
		case a.Frame == b.Frame && a.Events == b.Events: // the end: once before the index, once behind it
		case a.Frame == b.Frame:
			contradictions = append(contradictions,
				fmt.Sprintf("frame %d ends at byte %d, after %d events, and at byte %d, after %d events", a.Frame,
					a.Bytes, a.Events, b.Bytes, b.Events))
		case b.Bytes <= a.Bytes || b.Events < a.Events:
			contradictions = append(contradictions,
				fmt.Sprintf("frame %d ends at byte %d, after %d events, and frame %d, which is later, at byte %d, "+
					"after %d events",
					a.Frame, a.Bytes, a.Events, b.Frame, b.Bytes, b.Events))
		case a.Head == b.Head:
			contradictions = append(contradictions,
				fmt.Sprintf("frames %d and %d have the same head, %.8x…", a.Frame, b.Frame, a.Head))
		}
	}
	return lines, contradictions, passed
}

// same says whether two lines say the same of the capture.
func same(a, b Line) bool {
	return a.Frame == b.Frame && a.Bytes == b.Bytes && a.Events == b.Events && a.Head == b.Head
}
