package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acc-project/acc/format"
)

type batches [][]format.Event

func (b *batches) Next() (*format.Batch, error) {
	if len(*b) == 0 {
		return nil, io.EOF
	}
	events := (*b)[0]
	*b = (*b)[1:]
	return &format.Batch{Events: events}, nil
}

// Pauses add up to the capture's own time, by speed and longest gap, whatever
// the pauses really take.
func TestPace(t *testing.T) {
	events := func() *batches {
		return &batches{{{BootNS: 1e9}, {BootNS: 3e9}}, {{BootNS: 2.9e9}, {BootNS: 13e9}}}
	}
	cases := []struct {
		o    PlayOptions
		want time.Duration
	}{
		{PlayOptions{}, 0},
		{PlayOptions{Speed: 1}, 12 * time.Second},
		{PlayOptions{Speed: 4}, 3 * time.Second},
		{PlayOptions{Speed: 1, MaxGap: time.Second}, 2 * time.Second},
	}
	for _, c := range cases {
		var slept time.Duration
		idle, n := 0, 0
		o := c.o
		o.Idle = func() error { idle++; return nil }
		o.Sleep = func(_ context.Context, d time.Duration) error {
			slept = max(slept, d) // pauses are against one schedule, which does not move here
			return nil
		}
		err := Play(context.Background(), events(), o, func(*format.Batch) error { return nil }, func(*format.Event) error { n++; return nil })
		if !errors.Is(err, io.EOF) || n != 4 {
			t.Errorf("%+v: %d events, %v", c.o, n, err)
		}
		if slept > c.want || slept < c.want-100*time.Millisecond {
			t.Errorf("%+v: the schedule ends after %v, want %v", c.o, slept, c.want)
		}
		if idle == 0 {
			t.Error("nothing was shown before pausing")
		}
	}
}

func TestPlayIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := Play(ctx, &batches{{{BootNS: 1}, {BootNS: 1e18}}}, PlayOptions{Speed: 1},
		func(*format.Batch) error { return nil }, func(*format.Event) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A pause that is too long is taken off the next ones: against one schedule
// nothing adds up.
func TestPaceDoesNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []format.Event
		for i := range int64(50) {
			events = append(events, format.Event{BootNS: i * 10e6})
		}
		begin := time.Now()
		pauses := 0
		o := PlayOptions{Speed: 1, Sleep: func(ctx context.Context, d time.Duration) error {
			if pauses++; pauses == 3 {
				d += 65 * time.Millisecond
			}
			return sleep(ctx, d+time.Microsecond)
		}}
		err := Play(t.Context(), &batches{events}, o, func(*format.Batch) error { return nil }, func(*format.Event) error { return nil })
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 490*time.Millisecond+time.Microsecond || pauses != 49-6 {
			t.Errorf("it took %v in %d pauses", took, pauses)
		}
	})
}

func TestHostileTimes(t *testing.T) {
	events := []format.Event{{BootNS: math.MinInt64}, {BootNS: 5}, {BootNS: math.MaxInt64}, {BootNS: -7}, {BootNS: math.MaxInt64}}
	for _, speed := range []float64{1e-300, 1, 1e300} {
		n := 0
		o := PlayOptions{Speed: speed, Sleep: func(_ context.Context, d time.Duration) error {
			if d < 0 {
				t.Errorf("speed %g: pause of %v", speed, d)
			}
			return nil
		}}
		err := Play(t.Context(), &batches{slices.Clone(events)}, o, func(*format.Batch) error { return nil }, func(*format.Event) error { n++; return nil })
		if !errors.Is(err, io.EOF) || n != len(events) {
			t.Errorf("speed %g: %d events, %v", speed, n, err)
		}
	}
}

// What was recorded comes back in its order, with what else the capture holds.
func TestPlayCapture(t *testing.T) {
	var file bytes.Buffer
	w, err := format.NewWriter(&file, format.Header{ID: "x"}, format.WriterOptions{FrameEvents: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(10) {
		if err := w.Event(&format.Event{Kind: format.Enter, Hook: format.HookSysAccept4, BootNS: 100 - i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(format.End{Clean: true}); err != nil {
		t.Fatal(err)
	}
	s, err := format.NewReader(bytes.NewReader(file.Bytes()), format.ReaderOptions{})
	if err != nil || s.Header().ID != "x" {
		t.Fatal(s, err)
	}
	var seq []uint64
	ended := false
	err = Play(t.Context(), s, PlayOptions{}, func(b *format.Batch) error { ended = ended || b.End != nil; return nil },
		func(e *format.Event) error { seq = append(seq, e.Seq); return nil })
	if !errors.Is(err, io.EOF) || !ended || !slices.Equal(seq, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) || len(s.Skipped()) != 0 {
		t.Errorf("%v %v %v", seq, ended, err)
	}
}
