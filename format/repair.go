package format

// This file writes the captures that acc repair makes.

import (
	"errors"
	"fmt"
	"io"
)

// Repaired says, in a header, of which capture this one is what could be read.
type Repaired struct {
	SHA256  string   `msgpack:"sha256" json:"sha256"`   // of the original file, hexadecimal
	Bytes   int64    `msgpack:"bytes" json:"bytes"`     // its length
	Tool    string   `msgpack:"tool" json:"tool"`       // "acc VERSION" that repaired it
	Verdict string   `msgpack:"verdict" json:"verdict"` // what is wrong with it: "truncated", "corrupt" ...
	Why     string   `msgpack:"why" json:"why"`         // the same in a sentence, with the place
	Places  int      `msgpack:"places" json:"places"`   // stretches that were left out
	Lost    int64    `msgpack:"lost" json:"lost"`       // their bytes
	Events  uint64   `msgpack:"events" json:"events"`   // events known to be missing with them
	Ended   bool     `msgpack:"ended" json:"ended"`     // the original has an END
	Notes   []string `msgpack:"notes" json:"notes"`     // what else is not as it was, a sentence each
}

// Gap says, in a repaired capture, that a part of the original is missing here.
type Gap struct {
	Next   uint64 `msgpack:"next" json:"next"`     // Seq of the next event
	Events uint64 `msgpack:"events" json:"events"` // events known to be missing
	Offset int64  `msgpack:"offset" json:"offset"` // of the part in the original, in bytes
	// its length, 0 if whole frames are missing and nothing stands in their place
	Bytes  int64  `msgpack:"bytes" json:"bytes"`
	Reason string `msgpack:"reason" json:"reason"` // what was wrong with it
}

// NewCopy begins a capture of frames of another one, with the header h, which is
// written as it is. The frames come by [Writer.Copy]; Event gives an error.
func NewCopy(w io.Writer, h Header) (*Writer, error) {
	return newWriter(w, h, WriterOptions{FrameEvents: 1 << 14}, true)
}

// Copy writes the frame that a Reader gave last, byte for byte, behind a link of
// this capture. The batch must not be of a header or an END, and its events must
// follow those before it, but for a Gap.
func (w *Writer) Copy(b *Batch) error {
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case !w.copies || b.Header != nil || b.End != nil:
		return errors.New("copy frame: it is not one that can be copied")
	case b.FirstSeq != w.seq:
		return fmt.Errorf("copy frame: it begins with event %d, not %d", b.FirstSeq, w.seq)
	}
	l := *b.link
	w.seq += uint64(l.events)
	w.count += uint64(l.events)
	for _, g := range b.Gaps {
		w.seq = g.Next
	}
	return w.frame(&l, b.raw)
}

// Gap records a gap, in a frame of its own.
func (w *Writer) Gap(g Gap) error {
	if w.block.numbered { // numbers jump there anyway
		g.Next = w.seq
	}
	if g.Next < w.seq {
		return fmt.Errorf("record gap: event %d comes before %d", g.Next, w.seq)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.record("gap", &g); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w.seq = g.Next
	return nil
}
