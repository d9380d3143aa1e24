package format

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

// faulty is a disk whose k-th write fails, having taken so many bytes.
type faulty struct {
	bytes.Buffer
	k, took int // took -1: all
	err     error
	writes  int
	broken  bool
}

func (f *faulty) Write(b []byte) (int, error) {
	if f.writes++; f.writes != f.k {
		if f.broken {
			return 0, errors.New("written to after an error")
		}
		return f.Buffer.Write(b)
	}
	f.broken = true
	n, _ := f.Buffer.Write(b[:min(len(b), max(f.took, 0))])
	return n, f.err
}

// Whichever write fails, and however: the error is told, by every later call too;
// nothing is written behind it; and all frames before it are read.
func TestEveryWriteFails(t *testing.T) {
	events := sample(600, 3)
	good := func(w io.Writer, done func(n int)) error {
		c, err := NewWriter(w, testHeader(), WriterOptions{FrameEvents: 50})
		if err != nil {
			return err
		}
		for i := range events {
			if err := c.Event(&events[i]); err != nil {
				if again := c.Flush(); again == nil || again.Error() != err.Error() {
					t.Errorf("after %q comes %v", err, again)
				}
				if end := c.Close(End{}); end == nil {
					t.Error("a capture that could not be written was closed")
				}
				return err
			}
			if done != nil && (i+1)%50 == 0 {
				done(i + 1)
			}
		}
		return c.Close(End{Reason: "signal", Clean: true})
	}
	var whole faulty
	if err := good(&whole, nil); err != nil {
		t.Fatal(err)
	}
	if whole.writes < 14 {
		t.Fatalf("only %d writes", whole.writes)
	}
	for k := 1; k <= whole.writes; k++ {
		for _, fault := range []struct {
			err  error
			took int
		}{{syscall.ENOSPC, 0}, {syscall.EIO, 0}, {syscall.ENOSPC, 100}, {syscall.EIO, 37}, {nil, 100}, {nil, 0}} {
			disk := &faulty{k: k, took: fault.took, err: fault.err}
			before := 0
			err := good(disk, func(n int) { before = n })
			if err == nil || fault.err != nil && !errors.Is(err, fault.err) || fault.err == nil && !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("write %d, %+v: the error is %v", k, fault, err)
			}
			if strings.Contains(err.Error(), "written to after") {
				t.Errorf("write %d, %+v: %v", k, fault, err)
			}
			got, _, _, err := read(disk.Bytes(), ReaderOptions{})
			if err == nil || !errors.Is(err, ErrTruncated) && !(k == 1 && errors.Is(err, ErrNotCapture)) || len(got) != before {
				t.Errorf("write %d, %+v: %d events of %d are read, then %v", k, fault, len(got), before, err)
			}
		}
	}
}

// Without room for a frame, the capture leaves it out and is whole; its events are
// given back.
func TestNoRoom(t *testing.T) {
	events := sample(600, 3)
	full := errors.New("full")
	for k := 2; k <= 13; k++ { // the first frame is the header
		var out bytes.Buffer
		asked := 0
		w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 50, Room: func(n int) error {
			if asked++; asked == k {
				return full
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		written := 0
		var none *NoRoomError
		for i := range events {
			if err := w.Event(&events[i]); err != nil {
				if !errors.As(err, &none) || !errors.Is(err, full) {
					t.Fatal(err)
				}
				break
			}
			if w.seq-1 == uint64(i+1) && w.block.rows == 0 {
				written = i + 1
			}
		}
		if none == nil || len(none.Hits) != 50 || none.Hits[0] != hit(&events[written]) || none.Hits[49] != hit(&events[written+49]) {
			t.Fatalf("frame %d: given back %+v", k, none)
		}
		if err := w.Loss(Loss{Count: 50}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(End{Reason: EndDiskFull, Clean: true, Lost: 50}); err != nil {
			t.Fatal(err)
		}
		got, end, _, err := read(out.Bytes(), ReaderOptions{})
		if !errors.Is(err, io.EOF) || len(got) != written || end == nil || end.Events != uint64(written) || end.Reason != EndDiskFull {
			t.Errorf("frame %d: read %d of %d events, %+v, %v", k, len(got), written, end, err)
		}
	}
}

func hit(e *Event) Hit { return Hit{BootNS: e.BootNS, CPU: e.CPU, Kind: e.Kind, Hook: e.Hook} }
