package format

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"testing"
)

// A reader that skips gives the same events from there on, and still sees what is
// wrong behind.
func TestSkipTo(t *testing.T) {
	events := sample(5000, 3)
	data := write(t, events, 300)
	frames, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	skipped := func(data []byte, bootNS int64) (got []Event, end bool, err error) {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
		if err != nil {
			return nil, false, err
		}
		if err := r.SkipTo(frames, bootNS); err != nil {
			return nil, false, err
		}
		for {
			b, err := r.Next()
			if err != nil {
				return got, end, err
			}
			got = append(got, b.Events...)
			end = end || b.End != nil
		}
	}
	for _, at := range []int{0, 1, 299, 300, 599, 600, 1234, 4999} {
		got, end, err := skipped(data, events[at].BootNS)
		if !errors.Is(err, io.EOF) || !end {
			t.Fatalf("from event %d: %v", at, err)
		}
		want := 0 // the events before the first 300 of which one is as late
		for slices.MaxFunc(events[want:min(want+300, len(events))], func(a, b Event) int { return cmp.Compare(a.BootNS, b.BootNS) }).BootNS < events[at].BootNS {
			want += 300
		}
		if n := len(events) - len(got); n != want {
			t.Errorf("from event %d: %d events were skipped, want %d", at, n, want)
		}
		for i, e := range got {
			if want := events[len(events)-len(got)+i]; e != want {
				t.Fatalf("from event %d: got %+v, want %+v", at, e, want)
			}
		}
	}
	if got, end, err := skipped(data, 1<<62); len(got) != 0 || !end || !errors.Is(err, io.EOF) {
		t.Errorf("past the end: %d events, %v", len(got), err)
	}
	for _, at := range []int64{frames[8].At + 20, frames[9].At + 200, frames[12].At + 60} { // the link before, the frame, one behind
		bad := bytes.Clone(data)
		bad[at] ^= 4
		if _, _, err := skipped(bad, frames[9].MinNS); !errors.As(err, new(*CorruptError)) {
			t.Errorf("a flip at %d: %v", at, err)
		}
	}
	if _, _, err := skipped(data[:frames[12].At+9], frames[9].MinNS); !errors.Is(err, ErrTruncated) {
		t.Errorf("cut: %v", err)
	}
	// An index of other places, whose sums fit.
	ns := frames[9].MinNS
	for i, edit := range []func(f []Frame){
		func(f []Frame) { f[8].At++ }, func(f []Frame) { f[9].At++ }, func(f []Frame) { f[8] = f[7] }, func(f []Frame) { f[8].At = int64(len(data)) - 5 },
	} {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		other := slices.Clone(frames)
		edit(other)
		if err := r.SkipTo(other, ns); !errors.As(err, new(*CorruptError)) {
			t.Errorf("index %d: %v", i, err)
		}
	}
}

// Events before a time are passed over frame by frame, with nothing else missing.
func TestSkipEvents(t *testing.T) {
	events := sample(5000, 3)
	data := write(t, events, 300)
	for _, ahead := range []bool{false, true} {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{Ahead: ahead})
		if err != nil {
			t.Fatal(err)
		}
		r.SkipEvents(events[2000].BootNS)
		var got []Event
		frames := 0
		for {
			var b *Batch
			if b, err = r.Next(); err != nil {
				break
			}
			if frames++; len(b.Events) > 0 && b.MaxNS < events[2000].BootNS {
				t.Errorf("frame %d ends at %d and has events", b.Frame, b.MaxNS)
			}
			got = append(got, b.Events...)
		}
		if n := len(events) - len(got); !errors.Is(err, io.EOF) || frames != len(parts(data))-1 || n > 2000 || n < 2000-300 || got[0] != events[n] {
			t.Errorf("%d events and %d frames, %v", len(got), frames, err)
		}
	}
}
