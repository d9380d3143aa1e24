package main

import (
	"errors"
	"io"
	"math"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// smallCapture is up to how many bytes info reads all of a capture, which then takes
// a fraction of a second.
var smallCapture int64 = 4 << 20

// readIndex reads the first frame, END, index and tail, which must fit each other. It
// reports false for a file that was not closed in order, or whose parts do not fit:
// only reading all of it tells more. The verdict is nil, or an *unclean.
func (i *info) readIndex(in *input) (verdict error, ok bool) {
	frames, err := format.ReadIndex(in.file, in.bytes)
	if err != nil || len(frames) < 3 {
		return nil, false
	}
	if err := in.begin(in.source, false); err != nil {
		return nil, false
	}
	if err := in.SkipTo(frames, math.MaxInt64); err != nil {
		return nil, false
	}
	for n := 0; ; n++ {
		b, err := in.Next()
		if errors.Is(err, io.EOF) && n == 2 && i.End != nil {
			break
		}
		if err != nil || n == 2 {
			return nil, false
		}
		if b.End != nil {
			end := *b.End
			i.End, i.InFrames = &end, b.Offset+b.Bytes
		}
	}
	i.Read, i.Frames = readIndex, len(frames)
	for _, f := range frames {
		i.Events += uint64(f.Events)
	}
	if i.Events != i.End.Events {
		return nil, false
	}
	i.Integrity = audit.File{State: audit.Unchecked, Why: []string{}}
	i.Recording = evidence.ByEnd(in.Header(), i.End)
	i.Lost = i.Recording.Lost
	return in.verdict(io.EOF, i.End, nil), true
}

// outline prints what beginning, end and index say.
func (i *info) outline(row func(name, format string, args ...any)) {
	row("events", "%s, by the index", report.Count(i.Events))
	row("size", "%s, by the index", i.size())
	tasks(row, "at the end", i.End.Blocked, len(i.End.Blocked), i.End.BlockedKnown)
	row("not read", "how many were accepted, processes, listeners, the kernel's own counters: acc info --full")
}
