package format

// This file reads the bytes of a capture, past holes.

import (
	"bytes"
	"errors"
	"io"
)

// source reads ahead, so that bytes can be looked at before they are taken, and
// counts what was taken.
type source struct {
	r     io.Reader
	buf   []byte
	start int   // of what is not yet taken, in buf
	at    int64 // bytes taken
	err   error // of r, final
}

// peek gives the next n bytes, fewer at the end of the input. They are never
// overwritten. It waits for no more than it needs.
func (s *source) peek(n int) ([]byte, error) {
	for len(s.buf)-s.start < n && s.err == nil {
		if cap(s.buf)-s.start < n {
			grown := make([]byte, 0, max(64<<10, n, min(2*cap(s.buf), 1<<20)))
			s.buf = append(grown, s.buf[s.start:]...)
			s.start = 0
		}
		var got int
		got, s.err = s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+got]
	}
	b := s.buf[s.start:]
	if len(b) >= n {
		return b[:n], nil
	}
	if errors.Is(s.err, io.EOF) {
		return b, io.EOF
	}
	return b, s.err
}

// HoleSkipper is a reader of a sparse file.
type HoleSkipper interface {
	// SkipHole moves the reader past zeros that the file does not store, to what it does or to
	// its end, and gives their number.
	SkipHole() (int64, error)
}

// skipHole moves past a hole in a sparse file, if nothing is read ahead.
func (s *source) skipHole() error {
	sparse, ok := s.r.(HoleSkipper)
	if !ok || len(s.buf) > s.start || s.err != nil {
		return nil
	}
	n, err := sparse.SkipHole()
	s.at += n
	return err
}

// mayBegin gives how many bytes at the end of b can be the beginning of a link.
func mayBegin(b []byte) int {
	for n := min(len(b), len(linkHead)-1); n > 0; n-- {
		if bytes.HasPrefix(linkHead, b[len(b)-n:]) {
			return n
		}
	}
	return 0
}

// take consumes n bytes that were peeked.
func (s *source) take(n int) {
	s.start += n
	s.at += int64(n)
}
