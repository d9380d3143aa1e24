// Package replay gives the events of captures in the order in which they happened
// ([Order]) and at the pace at which they did ([Play]).
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package replay

import (
	"context"
	"math"
	"time"

	"github.com/acc-project/acc/format"
)

// PlayOptions say how fast events come. The zero value gives them as fast as
// they can be read.
type PlayOptions struct {
	Speed  float64       // 1: as they happened, 2: twice as fast; 0: at once
	MaxGap time.Duration // longest pause, at any speed; 0: as long as it was
	// Idle is called before each pause, so that what is buffered can be shown.
	Idle func() error
	// Sleep pauses; nil: time. Tests replace it.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Reader is where batches come from: an Ordered or a format.Reader.
type Reader interface {
	Next() (*format.Batch, error)
}

// Play calls batch for each batch before its events and event for each event, in
// the order in which r gives them, until one of them or reading gives an error, which it
// returns; io.EOF at the end of a whole capture. Events of a live stream come
// no later than they arrive.
func Play(ctx context.Context, r Reader, o PlayOptions, batch func(*format.Batch) error,
	event func(*format.Event) error) error {
	p := newPacer(o)
	for {
		b, err := r.Next()
		if err != nil {
			return err
		}
		if err := batch(b); err != nil {
			return err
		}
		for events := range b.Parts() {
			for i := range events {
				if err := p.pace(ctx, events[i].BootNS); err != nil {
					return err
				}
				if err := event(&events[i]); err != nil {
					return err
				}
			}
		}
		if err := p.o.Idle(); err != nil {
			return err
		}
	}
}

// longest is as far as a schedule goes; hostile times and speeds would overflow it.
const longest = time.Duration(math.MaxInt64 / 4)

// pacer holds events back against a schedule that began with the first one, so
// that small delays do not add up.
type pacer struct {
	o       PlayOptions
	started bool
	begin   time.Time // when the first event was given
	lastNS  int64     // time of the event before
	due     time.Duration
}

func newPacer(o PlayOptions) *pacer {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Idle == nil {
		o.Idle = func() error { return nil }
	}
	return &pacer{o: o}
}

func (p *pacer) pace(ctx context.Context, ns int64) error {
	if p.o.Speed <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if !p.started {
		p.started, p.begin, p.lastNS = true, now, ns
		return ctx.Err()
	}
	gap := time.Duration(min(float64(max(ns-p.lastNS, 0))/p.o.Speed, float64(longest)))
	if p.o.MaxGap > 0 {
		gap = min(gap, p.o.MaxGap)
	}
	p.lastNS = max(p.lastNS, ns)
	p.due = min(p.due+gap, longest)
	wait := p.begin.Add(p.due).Sub(now)
	if wait < time.Millisecond {
		if wait < -time.Second { // a live stream, or a slow terminal: go on from here
			p.begin, p.due = now, 0
		}
		return ctx.Err()
	}
	if err := p.o.Idle(); err != nil {
		return err
	}
	return p.o.Sleep(ctx, wait)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
