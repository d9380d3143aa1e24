package format

// This file puts a capture into a web page, and reads it from there.

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// embedMark begins the element of a page that has the capture, as base64 on one line.
const embedMark = `<template id="acc-capture"`

// embedTag is the whole of that tag, with the size of the capture.
var embedTag = regexp.MustCompile(`^<template id="acc-capture"[^>]{0,512}? data-bytes="(\d{1,18})"[^>]{0,512}>`)

// maxEmbedTag is how long the tag can be.
const maxEmbedTag = 2048

// Embed writes a capture of so many bytes as an element of a web page, from which [FindEmbedded] and
// [ReadEmbedded] read it. It is an error if r has more bytes, or fewer.
func Embed(w io.Writer, r io.Reader, size int64) error {
	if _, err := fmt.Fprintf(w, "%s data-encoding=\"base64\" data-bytes=\"%d\">", embedMark, size); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, w)
	n, err := io.Copy(enc, r)
	if err == nil && n != size {
		err = fmt.Errorf("the capture has %d bytes, and had %d before", n, size)
	}
	if err = errors.Join(err, enc.Close()); err != nil {
		return err
	}
	_, err = io.WriteString(w, "</template>\n")
	return err
}

// IsPage reports whether an input that begins with head is a web page, and no capture.
func IsPage(head []byte) bool {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	for _, tag := range []string{"<!doctype html", "<html", "<!--"} {
		if len(head) >= len(tag) && bytes.EqualFold(head[:len(tag)], []byte(tag)) {
			return true
		}
	}
	return false
}

// Embedded is a capture within a web page, as a file: a byte of it can be read at any place.
type Embedded struct {
	*io.SectionReader
	page io.ReaderAt
	base int64 // where its base64 begins
}

// FindEmbedded finds the capture in a page of that many bytes, in memory that does not grow with it. It is
// nil without an error if the page was cut off or changed, so that its capture can only be read from
// its beginning on: by [ReadEmbedded]. The error is [ErrNotCapture] if there is none in it.
func FindEmbedded(page io.ReaderAt, size int64) (*Embedded, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(page, 0, size), 64<<10)
	base, bytes, err := findEmbedded(r)
	if err != nil {
		return nil, err
	}
	var after [1]byte
	if _, err := page.ReadAt(after[:], base+(bytes+2)/3*4); err != nil || after[0] != '<' {
		return nil, nil
	}
	e := &Embedded{page: page, base: base}
	e.SectionReader = io.NewSectionReader(decoded{e}, 0, bytes)
	return e, nil
}

// decoded is what the base64 of an [Embedded] stands for.
type decoded struct{ *Embedded }

func (d decoded) ReadAt(p []byte, at int64) (int, error) {
	from, to := at/3*4, (at+int64(len(p))+2)/3*4
	text := make([]byte, to-from)
	n, err := d.page.ReadAt(text, d.base+from)
	if n < len(text) {
		return 0, err
	}
	out := make([]byte, len(text)/4*3)
	m, err := base64.StdEncoding.Strict().Decode(out, text)
	if skip := int(at - at/3*3); err == nil && m >= skip+len(p) {
		return copy(p, out[skip:]), nil
	}
	return 0, &embedError{d.base + from}
}

// embedError says that the base64 of a capture is none.
type embedError struct{ at int64 }

func (e *embedError) Error() string {
	return fmt.Sprintf("the base64 of the capture is damaged, behind byte %d of the page", e.at)
}

func (e *embedError) Is(target error) bool { return target == ErrWrapper }

// ReadEmbedded gives the capture in a page, from its beginning to its end, or to where the page was cut off.
func ReadEmbedded(page io.Reader) (io.Reader, error) {
	r := bufio.NewReaderSize(page, 64<<10)
	base, _, err := findEmbedded(r)
	if err != nil {
		return nil, err
	}
	return &embedded{r: base64.NewDecoder(base64.StdEncoding, &element{r: r}), base: base}, nil
}

// findEmbedded reads until a capture begins, and gives where that is and how many bytes it has.
func findEmbedded(r *bufio.Reader) (base, size int64, err error) {
	at := int64(0)
	for {
		window, err := r.Peek(r.Size())
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		i := bytes.Index(window, []byte(embedMark))
		if i < 0 {
			if err != nil {
				return 0, 0, fmt.Errorf("%w: it is a web page, and no capture is in it", ErrNotCapture)
			}
			n, _ := r.Discard(len(window) - len(embedMark))
			at += int64(n)
			continue
		}
		n, _ := r.Discard(i)
		at += int64(n)
		tag, _ := r.Peek(maxEmbedTag)
		m := embedTag.FindSubmatch(tag)
		if m == nil {
			return 0, 0, fmt.Errorf("%w: it is a web page, and the capture in it has no size", ErrNotCapture)
		}
		size, _ := strconv.ParseInt(string(m[1]), 10, 64) // 18 digits at most
		n, _ = r.Discard(len(m[0]))
		return at + int64(n), size, nil
	}
}

// element reads the text of an element, up to the next tag, without blanks.
type element struct {
	r    *bufio.Reader
	done bool
}

func (e *element) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		if e.done {
			return 0, io.EOF
		}
		var m int
		m, err = e.r.Read(p)
		for _, c := range p[:m] {
			if c == '<' {
				e.done = true
				break
			}
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				p[n] = c
				n++
			}
		}
	}
	return n, err
}

// embedded gives errors of the base64 as such of what is around the capture; that it is cut off, the capture says.
type embedded struct {
	r    io.Reader
	base int64
	n    int64
}

func (e *embedded) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.n += int64(n)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.EOF
	case errors.As(err, new(base64.CorruptInputError)):
		err = &embedError{e.base + e.n/3*4}
	}
	return n, err
}
