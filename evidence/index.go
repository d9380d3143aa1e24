package evidence

// This file describes a large capture by its index, without reading what lies between.

import (
	"encoding/hex"
	"errors"
	"io"
	"math"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/format"
)

// DescribeByIndex describes a file of that many bytes by its first frame, END, index and tail,
// which must fit each other. ok is false for a file that was not closed in order, or whose
// parts do not fit: only reading all of it tells more ([Describe]). open begins to read the
// file, without salvaging. The verdict is nil, or an [*UncleanError].
func DescribeByIndex(file io.ReaderAt, bytes int64, open func() (*Capture, error)) (i *Info, verdict error, ok bool) {
	frames, err := format.ReadIndex(file, bytes)
	if err != nil || len(frames) < 3 {
		return nil, nil, false
	}
	c, err := open()
	if err != nil {
		return nil, nil, false
	}
	if err := c.SkipTo(frames, math.MaxInt64); err != nil {
		return nil, nil, false
	}
	i = &Info{Schema: analysis.SchemaVersion, Read: ReadIndex, Frames: len(frames)}
	for n := 0; ; n++ {
		b, err := c.Next()
		if errors.Is(err, io.EOF) && n == 2 && i.End != nil {
			break
		}
		if err != nil || n == 2 {
			return nil, nil, false
		}
		if b.End != nil {
			end := *b.End
			i.End, i.InFrames, i.Head = &end, b.Offset+b.Bytes, hex.EncodeToString(b.Chain[:])
		}
	}
	for _, f := range frames {
		i.Events += uint64(f.Events)
	}
	if i.Events != i.End.Events {
		return nil, nil, false
	}
	i.Integrity = audit.File{State: audit.Unchecked, Why: []string{}}
	i.Recording = ByEnd(c.Header(), i.End)
	i.Lost = i.Recording.Lost
	verdict = c.Verdict(io.EOF, i.End, nil)
	i.judge(c, verdict)
	return i, verdict, true
}
