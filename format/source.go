package format

import (
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

// take consumes n bytes that were peeked.
func (s *source) take(n int) {
	s.start += n
	s.at += int64(n)
}
