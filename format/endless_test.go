package format

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// forever gives a text again and again.
type forever struct {
	text []byte
	at   int
}

func (f *forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = f.text[f.at]
		f.at = (f.at + 1) % len(f.text)
	}
	return len(p), nil
}

// Salvaging gives up behind MaxSkip bytes without a frame, and not before.
func TestMaxSkip(t *testing.T) {
	const most = 1 << 20
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Event(&Event{Kind: Enter}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(End{Clean: true}); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	read := func(in io.Reader) (events int, err error) {
		r, err := NewReader(in, ReaderOptions{Salvage: true, MaxSkip: most})
		for err == nil {
			var b *Batch
			if b, err = r.Next(); err == nil {
				events += len(b.Events)
			}
		}
		return events, err
	}
	zeros := func(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }
	corrupt := new(CorruptError)
	for name, text := range map[string][]byte{"zeros": {0}, "beginnings of links": linkHead, "a frame that comes again": whole} {
		n, err := read(io.MultiReader(bytes.NewReader(whole), &forever{text: text}))
		if !errors.As(err, &corrupt) || n != 1 || corrupt.Offset > int64(len(whole)) {
			t.Errorf("a capture and %s without end: %d events, %v", name, n, err)
		}
	}
	if n, err := read(&forever{text: []byte{0}}); !errors.Is(err, ErrNotCapture) || n != 0 {
		t.Errorf("zeros without end: %d events, %v", n, err)
	}
	if n, err := read(io.MultiReader(bytes.NewReader(linkHead), &forever{text: []byte{0}})); !errors.As(err, &corrupt) || n != 0 {
		t.Errorf("the beginning of a link and zeros without end: %d events, %v", n, err)
	}
	if n, err := read(io.MultiReader(zeros(most-1<<16), bytes.NewReader(whole))); !errors.Is(err, io.EOF) || n != 1 {
		t.Errorf("a capture behind fewer than may be skipped: %d events, %v", n, err)
	}
	// Only what was skipped counts, not what stands before it.
	long := write(t, sample(120_000, 5), 1000)
	if len(long) < most/2 {
		t.Fatalf("%d bytes", len(long))
	}
	cut := long[:len(long)*2/3]
	if n, err := read(io.MultiReader(bytes.NewReader(cut), zeros(most-1<<17), bytes.NewReader(long[len(long)*2/3:]))); !errors.Is(err, io.EOF) || n < 100_000 {
		t.Errorf("zeros in the middle of a long capture: %d events, %v", n, err)
	}
	if n, err := read(io.MultiReader(zeros(most+1<<17), bytes.NewReader(whole))); !errors.Is(err, ErrNotCapture) || n != 0 {
		t.Errorf("a capture behind more than may be skipped: %d events, %v", n, err)
	}
}
