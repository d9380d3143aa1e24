package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

// later is an input whose events before a time are left out.
type later struct {
	*input
	clock format.Clock
	from  time.Time // zero: none are
}

// clockSlack is how long before the time reading begins, for a clock pair that is
// nearer to it than the header's; the recorder writes one every ten seconds.
const clockSlack = 12 * time.Second

// By how much wall time and boot time may drift apart from the header's clock pair to
// the time, and between two pairs of the recorder's.
const (
	clockDrift = 5 * time.Second
	pairDrift  = 100 * time.Millisecond
)

// begin reads a --from, and goes to where its time is if the input has an index.
func (l *later) begin(from string) error {
	t, err := timeOf(from, l.Start())
	if err != nil {
		return err
	}
	if !l.clock.Known() {
		return &hinted{fmt.Errorf("%s: --from needs a clock, and that of the capture is lost with its header", l.name), "without --from, times are since the host's start"}
	}
	l.from = t
	if l.bytes == 0 {
		return nil
	}
	frames, err := format.ReadIndex(l.file, l.bytes)
	if errors.Is(err, format.ErrNoIndex) {
		return nil // reading on leads there, too
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	if !l.wasSteady(frames) {
		return nil // only all clock pairs tell where the time is
	}
	if err := l.SkipTo(frames, l.boot(-clockSlack)); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	l.SkipEvents(l.boot(-clockDrift))
	return nil
}

// wasSteady reports whether nobody set the clock while recording: the clock pair of END is
// what the header's makes expect.
func (l *later) wasSteady(frames []format.Frame) bool {
	r, err := format.NewReader(io.NewSectionReader(l.file, 0, l.bytes), format.ReaderOptions{})
	if err != nil || r.SkipTo(frames, math.MaxInt64) != nil {
		return false
	}
	for {
		b, err := r.Next()
		if err != nil {
			return false
		}
		if b.End != nil {
			return l.clock.Time(b.End.Clock.BootNS).Sub(time.Unix(0, b.End.Clock.RealNS)).Abs() <= clockDrift
		}
	}
}

// boot is the boot time of what is d after the time, by the newest clock pair.
func (l *later) boot(d time.Duration) int64 {
	return l.clock.BootNS + l.from.Add(d).UnixNano() - l.clock.RealNS
}

// Next gives the next batch without the events before the time.
func (l *later) Next() (*format.Batch, error) {
	b, err := l.input.Next()
	if err != nil || l.from.IsZero() {
		return b, err
	}
	for _, c := range b.Clocks {
		l.clock = c
		l.SkipEvents(l.boot(-pairDrift))
	}
	for len(b.Events) > 0 && l.clock.Time(b.Events[0].BootNS).Before(l.from) {
		b.Events = b.Events[1:]
	}
	if len(b.Events) > 0 {
		l.from = time.Time{}
		l.SkipEvents(math.MinInt64)
	}
	return b, nil
}

// timeOf reads a time of a capture: of the day, with date and zone, or how long
// after the start.
func timeOf(s string, h *format.Header) (time.Time, error) {
	start := time.Unix(0, h.StartNS)
	if h.StartNS == 0 { // lost
		start = h.Clock.Time(h.Clock.BootNS)
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse("15:04:05", s); err == nil {
		day := start.In(report.Zone(h.ZoneSec))
		at := time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), day.Location())
		if at.Before(day.Truncate(time.Second)) {
			at = at.AddDate(0, 0, 1) // the recording went on past midnight
		}
		return at, nil
	}
	d, err := durationOf("--from", s)
	if err != nil {
		return time.Time{}, &usageError{fmt.Errorf("--from %q is not a time", s), "like --from 15:04:05, --from 2026-11-24T15:04:05Z, or --from 90s"}
	}
	return start.Add(d), nil
}
