package main

// This file opens the capture in a report of acc report.

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
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

// partFile is a file whose content is in another one: in a report, in a merged file, or encrypted.
type partFile struct {
	captureFile // the other one
	part        part
}

// part is what a partFile reads.
type part interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	Size() int64
}

func (f *partFile) Read(p []byte) (int, error)             { return f.part.Read(p) }
func (f *partFile) ReadAt(p []byte, at int64) (int, error) { return f.part.ReadAt(p, at) }
func (f *partFile) Seek(at int64, from int) (int64, error) { return f.part.Seek(at, from) }

// enter makes an input that of a part of its file.
func (in *input) enter(p part) {
	in.file, in.size, in.bytes = &partFile{in.file, p}, p.Size(), p.Size()
}

// pageProbe is how much of a file tells whether it is a web page.
const pageProbe = 64

// openReport makes an input that is a report the capture in it. One that was changed on its way is read like a pipe.
func (in *input) openReport() error {
	f := in.file
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
	in.enter(capture)
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
