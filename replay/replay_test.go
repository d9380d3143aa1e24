package replay

import (
	"context"
	"errors"
	"io"
	"testing"
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
