// Package cut makes a capture of a part of another one: of a time, and of what a condition selects. What was there when
// the part began is carried in, as the lists with which a recording begins.
package cut

// This file reads a capture without its events.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/acc-project/acc/format"
)

// Bounds of the records of losses, and of counted calls, that are kept: how many of each, and the bytes of those calls.
const (
	maxLosses       = 1 << 17
	maxCountedBytes = 48 << 20
)

// Survey is what a capture says beside its events.
type Survey struct {
	File    format.CutFile
	Header  format.Header
	Clocks  *format.Clocks
	Frames  []format.Frame
	End     *format.End // nil: it stops before its end
	Events  uint64
	FirstNS int64 // of its events; greater than LastNS without any
	LastNS  int64

	losses     []placed[format.Loss]
	counted    []placed[format.Counted]
	lossesMore bool // there are more
	room       format.Room
	shotFrame  int // the last frame with a list of what was there when recording began
}

// placed is a record, and the frame that has it.
type placed[T any] struct {
	is    T
	frame int
}

// Take reads a capture to its end, but for its events, and gives its SHA-256, too. The capture is checked as a strict
// reader does; one that stops early has no END.
func Take(src io.Reader) (*Survey, error) {
	sum := sha256.New()
	counted := &countedReader{r: io.TeeReader(src, sum)}
	r, err := format.NewReader(counted, format.ReaderOptions{})
	if err != nil {
		return nil, err
	}
	r.SkipEvents(math.MaxInt64)
	s := &Survey{Header: *r.Header(), Clocks: format.NewClocks(r.Header().Clock), FirstNS: math.MaxInt64,
		LastNS: math.MinInt64}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			break
		}
		if err != nil {
			return nil, err
		}
		s.add(b)
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	s.File.ID, s.File.SHA256, s.File.Bytes = s.Header.ID, hex.EncodeToString(sum.Sum(nil)), counted.n
	return s, nil
}

// add takes the next frame.
func (s *Survey) add(b *format.Batch) {
	s.Clocks.Add(b.Clocks)
	f := format.Frame{At: b.Offset, Events: b.Count(), FirstSeq: b.FirstSeq, MinNS: b.MinNS, MaxNS: b.MaxNS}
	s.Frames = append(s.Frames, f)
	s.File.Head = hex.EncodeToString(b.Chain[:])
	if s.Events += uint64(f.Events); f.Events > 0 {
		s.FirstNS, s.LastNS = min(s.FirstNS, b.MinNS), max(s.LastNS, b.MaxNS)
	}
	for _, l := range b.Losses {
		if s.lossesMore = s.lossesMore || len(s.losses) == maxLosses; !s.lossesMore {
			s.losses = append(s.losses, placed[format.Loss]{l, len(s.Frames) - 1})
		}
	}
	for _, l := range b.Counted {
		s.room.Max = maxCountedBytes
		s.lossesMore = s.lossesMore || len(s.counted) == maxLosses || !s.room.Takes(&l)
		if !s.lossesMore {
			s.counted = append(s.counted, placed[format.Counted]{l, len(s.Frames) - 1})
		}
	}
	for i := range b.Snapshots {
		if !b.Snapshots[i].Final {
			s.shotFrame = len(s.Frames) - 1
		}
	}
	if b.End != nil {
		end := *b.End
		s.End = &end
	}
}

// Join puts the surveys of the files of one recording, in their order, into one. Its files are those of all.
func Join(list []*Survey) (*Survey, []format.CutFile) {
	all := *list[0]
	files := []format.CutFile{all.File}
	for _, s := range list[1:] {
		base, seq := len(all.Frames), all.Events
		for _, f := range s.Frames {
			f.FirstSeq += seq
			all.Frames = append(all.Frames, f)
		}
		for _, l := range s.losses {
			all.losses = append(all.losses, placed[format.Loss]{l.is, base + l.frame})
		}
		for _, l := range s.counted {
			all.counted = append(all.counted, placed[format.Counted]{l.is, base + l.frame})
		}
		all.Clocks.Add(s.Clocks.All())
		all.Events += s.Events
		all.FirstNS, all.LastNS = min(all.FirstNS, s.FirstNS), max(all.LastNS, s.LastNS)
		all.lossesMore = all.lossesMore || s.lossesMore
		all.End = s.End
		files = append(files, s.File)
	}
	return &all, files
}

// countedReader counts what was read.
type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// StartNS is the boot time of the recording's beginning.
func (s *Survey) StartNS() int64 { return min(s.Header.Clock.BootNS, s.FirstNS) }

// EndNS is that of its end, or of its last event.
func (s *Survey) EndNS() int64 {
	if s.End != nil && s.End.Clock.Known() {
		return max(s.End.Clock.BootNS, s.LastNS)
	}
	return max(s.LastNS, s.Header.Clock.BootNS)
}
