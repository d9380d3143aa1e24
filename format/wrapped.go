package format

// This file opens captures that gzip or zstd compressed once more.

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrWrapper is wrapped by the error for damage of the compression around a capture.
var ErrWrapper = errors.New("the compression around the capture is damaged")

// wrappers are programs that people compress captures with, once more and as a whole.
var wrappers = []struct {
	name  string
	magic []byte
	open  func(io.Reader) (io.Reader, error)
}{
	{"gzip", []byte{0x1f, 0x8b, 8}, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxContent))
	}},
}

// wrapperProbe is how much of an input is looked at for a capture that is wrapped.
const wrapperProbe = 256 << 10

// Unwrap finds a capture that gzip or zstd has compressed as a whole: by names the
// program, and content gives what is inside; "" if the input is none, and content then
// gives the same bytes as r. It looks at the first 256 KiB, and waits for no more bytes
// than it needs. A zstd window of more than 32 MiB is not unwrapped. A wrapper that was cut
// ends content; for other damage content gives ErrWrapper.
func Unwrap(r io.Reader) (content io.Reader, by string) {
	head := make([]byte, 4)
	n, _ := io.ReadFull(r, head) // an error of r comes again
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	for _, w := range wrappers {
		if !bytes.HasPrefix(head[:n], w.magic) {
			continue
		}
		var seen bytes.Buffer
		first := make([]byte, len(linkHead))
		inside, err := w.open(io.TeeReader(io.LimitReader(r, wrapperProbe), &seen))
		if err == nil {
			_, err = io.ReadFull(inside, first)
		}
		r = io.MultiReader(&seen, r)
		if err != nil || !bytes.Equal(first, linkHead) {
			break
		}
		u := &unwrapped{input: &inputError{r: r}}
		u.r, u.err = w.open(u.input)
		return u, w.name
	}
	return r, ""
}

// unwrapped reads what is inside of a wrapper.
type unwrapped struct {
	r     io.Reader
	input *inputError
	err   error
}

func (u *unwrapped) Read(p []byte) (n int, err error) {
	if u.err == nil {
		n, u.err = u.r.Read(p)
	}
	switch {
	case u.err == nil, errors.Is(u.err, io.EOF), errors.Is(u.err, ErrWrapper):
	case u.input.err != nil:
		u.err = u.input.err
	case errors.Is(u.err, io.ErrUnexpectedEOF):
		u.err = io.EOF // the capture says that it is truncated
	default:
		u.err = fmt.Errorf("%w: %w", ErrWrapper, u.err)
	}
	return n, u.err
}

// inputError keeps the error of an input that is not its end.
type inputError struct {
	r   io.Reader
	err error
}

func (e *inputError) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}
