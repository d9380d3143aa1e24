package main

// This file opens the capture in a report of acc report.

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/acc-project/acc/format"
)

// captureFile is what a capture is read from: a file, or a part of one.
type captureFile interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	SetReadDeadline(time.Time) error
}

// reportFile is the capture in a report, as a file of its own.
type reportFile struct {
	*os.File
	capture *format.Embedded
}

func (f *reportFile) Read(p []byte) (int, error)             { return f.capture.Read(p) }
func (f *reportFile) ReadAt(p []byte, at int64) (int, error) { return f.capture.ReadAt(p, at) }
func (f *reportFile) Seek(at int64, from int) (int64, error) { return f.capture.Seek(at, from) }
func (f *reportFile) WriteTo(w io.Writer) (int64, error)     { return io.Copy(w, struct{ io.Reader }{f}) }
func (f *reportFile) ReadFrom(io.Reader) (int64, error)      { return 0, errors.ErrUnsupported }

// pageProbe is how much of a file tells whether it is a web page.
const pageProbe = 64

// openReport makes an input that is a report the capture in it. One that was changed on its way is read like a pipe.
func (in *input) openReport(f *os.File) error {
	head := make([]byte, pageProbe)
	if n, _ := f.ReadAt(head, 0); !format.IsPage(head[:n]) {
		return nil
	}
	capture, err := format.FindEmbedded(f, in.size)
	switch {
	case errors.Is(err, format.ErrNotCapture):
		return &hinted{err, "acc report -o FILE.html writes a page with the capture in it"}
	case err != nil:
		return err
	case capture == nil:
		in.bytes = 0
		return nil
	}
	in.file, in.size, in.bytes = &reportFile{f, capture}, capture.Size(), capture.Size()
	return nil
}

// unwrapReport finds the capture in a page that can be read once.
func unwrapReport(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 4096)
	if first, _ := b.Peek(1); len(first) == 0 || first[0] != '<' && first[0] != 0xef {
		return b, nil
	}
	if head, _ := b.Peek(pageProbe); !format.IsPage(head) {
		return b, nil
	}
	capture, err := format.ReadEmbedded(b)
	if errors.Is(err, format.ErrNotCapture) {
		err = &hinted{err, "acc report -o FILE.html writes a page with the capture in it"}
	}
	return capture, err
}

// contents gives the bytes of the capture, also where it is in a page that can be read once.
func (in *input) contents() (io.Reader, error) {
	if in.bytes > 0 {
		return in.source, nil
	}
	return unwrapReport(in.source)
}
