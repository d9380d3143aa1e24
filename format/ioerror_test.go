package format

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/iotest"
)

// failing gives an error at a place of its bytes instead of what follows.
type failing struct {
	*bytes.Reader
	at int64
}

func (f *failing) left() int64 { n, _ := f.Seek(0, io.SeekCurrent); return f.at - n }

func (f *failing) Read(p []byte) (int, error) {
	left := f.left()
	if left <= 0 {
		return 0, syscall.EIO
	}
	return f.Reader.Read(p[:min(int64(len(p)), left)])
}

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.at {
		return 0, syscall.EIO
	}
	return f.Reader.ReadAt(p, at)
}

// An input that can't be read is told as that, never as the end of the capture, as
// truncation or as corruption; what was read before is given.
func TestReadErrors(t *testing.T) {
	events := sample(60, 8)
	data := write(t, events, perFrame)
	for at := range len(data) {
		for _, salvage := range []bool{false, true} {
			if salvage && at%5 != 0 {
				continue
			}
			r, err := NewReader(&failing{bytes.NewReader(data), int64(at)}, ReaderOptions{Salvage: salvage})
			n := 0
			for err == nil {
				var b *Batch
				if b, err = r.Next(); err == nil {
					n += len(b.Events)
				}
			}
			if !errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) || errors.Is(err, ErrTruncated) || errors.As(err, new(*CorruptError)) || errors.Is(err, ErrNotCapture) {
				t.Fatalf("an error at byte %d of %d (salvage %v): %v", at, len(data), salvage, err)
			}
			if r != nil {
				if _, again := r.Next(); !errors.Is(again, syscall.EIO) {
					t.Fatalf("after the error: %v", again)
				}
			}
			whole := 0
			for end, list := 0, parts(data); whole < len(list)-1 && end+len(list[whole]) <= at; whole++ {
				end += len(list[whole])
			}
			if want := min(max(whole-1, 0)*perFrame, len(events)); n != want {
				t.Fatalf("an error at byte %d: %d events, want %d", at, n, want)
			}
		}
		if _, err := ReadIndex(&failing{bytes.NewReader(data), int64(at)}, int64(len(data))); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrNoIndex) {
			t.Fatalf("the index, an error at byte %d: %v", at, err)
		}
	}
	frames, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{bytes.NewReader(data), int64(len(data))}
	r, err := NewReader(f, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.at = frames[2].At + 20
	if err := r.SkipTo(frames, frames[3].MinNS); !errors.Is(err, syscall.EIO) {
		t.Errorf("skipping: %v", err)
	}
}

// In whatever pieces an input comes, it is read alike.
func TestPieces(t *testing.T) {
	events := sample(100, 6)
	data := write(t, events, perFrame)
	for name, in := range map[string]io.Reader{
		"bytes": iotest.OneByteReader(bytes.NewReader(data)), "halves": iotest.HalfReader(bytes.NewReader(data)),
		"the end with the last bytes": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		r, err := NewReader(in, ReaderOptions{})
		n := 0
		for err == nil {
			var b *Batch
			if b, err = r.Next(); err == nil {
				for i := range b.Events {
					if b.Events[i] != events[n] {
						t.Fatalf("%s: event %d is %+v", name, n, b.Events[i])
					}
					n++
				}
			}
		}
		if !errors.Is(err, io.EOF) || n != len(events) {
			t.Errorf("%s: %d events, %v", name, n, err)
		}
	}
}

// A table of keys forgets, also when its count of blocks begins anew, and grows.
func TestKeyTable(t *testing.T) {
	var table keyTable
	table.round = 1<<32 - 3
	for block := range 5 {
		table.forget()
		for _, again := range []bool{false, true} {
			for i := range uint64(1000) {
				if num, known := table.number(i<<40, i%3); num != int32(i) || known != again {
					t.Fatalf("in block %d key %d has number %d, known: %v, want %v", block, i, num, known, again)
				}
			}
		}
	}
}
