package format

// This file skips to a time by the index.

import (
	"errors"
	"fmt"
	"io"
)

// SkipTo moves the reader to the first frame that has an event at bootNS or later,
// or else to the last frame, without reading what lies between; frames is the
// capture's index, see [ReadIndex]. It is to be called before Next, which gives the
// header's batch first all the same. What is skipped is not checked; that what
// follows continues it is. It does nothing if the input can't be sought, or when
// salvaging. The error is a *CorruptError if the index does not match the file.
func (r *Reader) SkipTo(frames []Frame, bootNS int64) error {
	to := 1
	for to < len(frames)-1 && (frames[to].Events == 0 || frames[to].MaxNS < bootNS) {
		to++
	}
	return r.SkipToFrame(frames, to)
}

// SkipToFrame is SkipTo for the frame of a number.
func (r *Reader) SkipToFrame(frames []Frame, to int) error {
	s, ok := r.src.r.(io.ReadSeeker)
	if !ok || r.salvage || !r.first || r.frame != 1 || to < 2 || to >= len(frames) {
		return nil
	}
	before, next := frames[to-1], frames[to]
	if _, err := s.Seek(before.At, io.SeekStart); err != nil {
		return fmt.Errorf("seek in capture: %w", err)
	}
	var head [8 + linkSize]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &CorruptError{Offset: before.At, Reason: "the index does not match the frames"}
		}
		return fmt.Errorf("read capture: %w", err)
	}
	var l link
	if !l.parse(head[8:]) || int(l.frame) != to-1 || before.At+int64(len(head))+int64(l.size) != next.At {
		return &CorruptError{Offset: before.At, Reason: "the index does not match the frames"}
	}
	if _, err := s.Seek(next.At, io.SeekStart); err != nil {
		return fmt.Errorf("seek in capture: %w", err)
	}
	r.src = source{r: s, at: next.At}
	r.frame, r.seq, r.chain = uint32(to), next.FirstSeq, l.chain
	for _, f := range frames[1:to] {
		f.hash(r.index)
		r.events += uint64(f.Events)
	}
	return nil
}

// SkipEvents makes the reader pass over the events of frames that hold none at bootNS
// or later: their batches have all but events. It holds for frames that are not yet
// decoded ahead, and can be called again; math.MinInt64 passes over nothing.
func (r *Reader) SkipEvents(bootNS int64) { r.decoder.fromNS = bootNS }
