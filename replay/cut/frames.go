package cut

// This file reads the frames of the capture that is cut.

import (
	"errors"
	"io"
	"sort"

	"github.com/acc-project/acc/format"
)

// skipper is a Source that can go to a frame without reading those before.
type skipper interface {
	SkipToFrame(frames []format.Frame, to int) error
}

// span finds the frames that have events of the part.
func (c *cutter) span() {
	c.first, c.last = len(c.in.Frames), 0
	for i := range c.in.Frames {
		if f := &c.in.Frames[i]; f.Events > 0 && f.MaxNS >= c.note.FromNS && f.MinNS <= c.note.UntilNS {
			c.first, c.last = min(c.first, i), i
		}
	}
	if c.note.End {
		c.last = len(c.in.Frames) - 1
	}
	if c.first = min(c.first, len(c.in.Frames)); c.note.Begin {
		c.first = 0
	}
}

// read gives the frames from one to another one. Records are given of all; skipNS: frames whose events are all
// earlier may be given without them.
func (c *cutter) read(from, to int, skipNS int64, do func(i int, b *format.Batch) error) error {
	if from > to || from >= len(c.in.Frames) {
		return nil
	}
	r, err := c.in.Open()
	if err != nil {
		return err
	}
	if s, ok := r.(skipper); ok && c.in.Seek && from > 1 {
		if err := s.SkipToFrame(c.in.Frames, from); err != nil {
			return err
		}
	}
	r.SkipEvents(skipNS)
	n := 0
	for {
		if c.in.Stop != nil {
			if err := c.in.Stop(); err != nil {
				return err
			}
		}
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			return nil
		}
		if err != nil {
			return err
		}
		if n = max(n, c.frameOf(b, n)); n > to {
			return nil
		}
		if n >= from {
			if err := do(n, b); err != nil {
				return err
			}
		}
		n++
	}
}

// frameOf is the place of a frame in the survey, at least at: frames that were passed over are not counted.
func (c *cutter) frameOf(b *format.Batch, at int) int {
	if !c.in.Seek {
		return at
	}
	return sort.Search(len(c.in.Frames), func(i int) bool { return c.in.Frames[i].At >= b.Offset })
}
