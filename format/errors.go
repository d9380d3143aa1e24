package format

// This file has the errors of reading.

import (
	"errors"
	"fmt"
)

// ErrTruncated is what [Reader.Next] gives, wrapped with the place, when a
// capture stops before its end: the recorder died, is still writing, or the file
// was cut. Everything read before it is whole.
var ErrTruncated = errors.New("capture is truncated")

// ErrNotCapture is wrapped by the error for input that is no capture at all.
var ErrNotCapture = errors.New("not an acc capture")

// CorruptError says that a capture holds something its recorder did not write.
type CorruptError struct {
	Offset int64  `json:"offset"` // of the frame, in bytes from the start of the file
	Reason string `json:"reason"` // what is wrong with it
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("capture is corrupt at byte %d: %s", e.Offset, e.Reason)
}

// VersionError says that a capture needs a newer reader.
type VersionError struct {
	Format   int      // the capture's format version
	Features []string // features that this reader does not know
}

func (e *VersionError) Error() string {
	if len(e.Features) > 0 {
		return fmt.Sprintf("capture needs features that this version does not know: %q", e.Features)
	}
	return fmt.Sprintf("capture has format version %d, this version reads %d", e.Format, Version)
}

// NoRoomError says that a Writer left out a frame for want of room, and can go on
// without it.
type NoRoomError struct {
	Hits []Hit // the events that were in it
	err  error // of WriterOptions.Room
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("leave out %d events: %v", len(e.Hits), e.err)
}

func (e *NoRoomError) Unwrap() error { return e.err }

// Skip is a stretch of a capture that a salvaging reader left out.
type Skip struct {
	Offset int64  `json:"offset"` // where it begins, in bytes from the start of the file
	Bytes  int64  `json:"bytes"`  // its length
	Reason string `json:"reason"` // what was wrong
	Events uint64 `json:"events"` // events known to be missing with it, by the numbers around it
}
