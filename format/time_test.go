package format

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"
)

// AppendTime writes what time.Time does.
func TestAppendTime(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000000000Z07:00"
	r := rand.New(rand.NewPCG(5, 6))
	times := []int64{0, 1, -1, 999_999_999, math.MaxInt64, math.MinInt64, 951_782_400_000_000_000, 951_868_799_999_999_999}
	for range 10_000 {
		times = append(times, int64(r.Uint64()))
	}
	for _, ns := range times {
		want := Clock{}.Time(ns).Format(layout)
		if got := string(AppendTime(nil, ns, Clock{})); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}

// Reading and printing allocate nothing for an event: what a frame needs is all.
func TestAllocations(t *testing.T) {
	events := sample(1<<14, 9)
	var line []byte
	if n := testing.AllocsPerRun(20, func() {
		for i := range events {
			line = AppendJSON(line[:0], &events[i], Clock{})
		}
	}); n > 2 {
		t.Errorf("printing %d events as JSON allocates %v times", len(events), n)
	}
	small, large := write(t, events[:1<<12], 0), write(t, events, 0)
	reading := func(data []byte) float64 {
		return testing.AllocsPerRun(5, func() {
			if _, _, _, err := readOnly(data); err != nil {
				t.Error(err)
			}
		})
	}
	if a, b := reading(small), reading(large); b > a+200 {
		t.Errorf("reading allocates %v times for %d events, %v times for %d", a, 1<<12, b, len(events))
	}
}

// readOnly reads a capture and keeps nothing.
func readOnly(data []byte) (frames, events int, lastSeq uint64, err error) {
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
	if err != nil {
		return 0, 0, 0, err
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames, events, lastSeq, nil
		}
		if err != nil {
			return frames, events, lastSeq, err
		}
		frames++
		if n := len(b.Events); n > 0 {
			events += n
			lastSeq = b.Events[n-1].Seq
		}
	}
}
