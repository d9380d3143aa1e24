package main

// This file puts events in order of time, and begins and ends where --from and --until of replay say.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

// later is an input in order of time whose events before a time are left out.
type later struct {
	*input
	order  *replay.Ordered
	clocks *format.Clocks
	clock  format.Clock // newest pair, by which reading is led to the time
	from   time.Time    // zero: none are left out
	end    format.Clock // of END, if it is known before it is read
	none   bool         // no event came at the time or later
	lastNS int64        // boot time of the last event before, 0: there was none

	examination *evidence.Examination // takes all batches; nil if not all are read
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

// newLater puts an input in order of time. A --from that is not "" is the time, and if the
// input has an index, reading begins there.
func newLater(in *input, from string) (*later, error) {
	l := &later{input: in, clock: in.Clock(), clocks: format.NewClocks(in.Clock())}
	var frames []format.Frame
	var index error
	if in.bytes > 0 && len(in.more) == 0 {
		frames, index = format.ReadIndex(in.source, in.bytes)
	}
	if from != "" {
		if err := l.begin(from, frames, index); err != nil {
			return nil, err
		}
	}
	if in.opts.Salvage { // frames can be missing, or other ones than the index says
		frames = nil
	}
	if from == "" {
		l.examination = evidence.Examine(in.Start(), analysis.Options{VerdictOnly: true})
	}
	l.order = replay.Order(examined{in, l.examination}, replay.OrderOptions{Frames: frames, Live: in.bytes == 0})
	return l, nil
}

// untilOf reads an --until; zero without one.
func (l *later) untilOf(until string) (time.Time, error) {
	if until == "" {
		return time.Time{}, nil
	}
	if !l.end.Known() && l.bytes > 0 {
		if frames, err := format.ReadIndex(l.source, l.bytes); err == nil {
			l.end = l.input.endClock(frames)
		}
	}
	t, err := timeOf("--until", until, l.Start(), l.end, l.zone)
	switch {
	case err != nil:
		return t, err
	case !l.clock.Known():
		return t, &hinted{fmt.Errorf("%s: --until needs a clock, and that of the capture is lost with its header",
			l.name), "without --until, all is printed"}
	case !l.from.IsZero() && t.Before(l.from):
		return t, &usageError{
			errors.New("--until is before --from"),
			"times of the day are in the zone in which they are shown: the recorded host's, or that of --utc or " +
				"--local",
		}
	}
	return t, nil
}

// errUntil ends a replay where --until says.
var errUntil = errors.New("the time of --until has come")

// examined is an input whose batches an examination takes in the order of the file.
type examined struct {
	*input
	examination *evidence.Examination // nil: not all are read
}

func (e examined) Next() (*format.Batch, error) {
	b, err := e.input.Next()
	if err == nil && e.each != nil {
		e.each(b)
	}
	if err == nil && e.examination != nil {
		err = e.examination.Add(b, len(e.Skipped()))
	}
	return b, err
}

// begin reads a --from, and goes to where its time is if the input has an index.
func (l *later) begin(from string, frames []format.Frame, index error) error {
	if len(frames) > 0 {
		l.end = l.input.endClock(frames)
	}
	t, err := timeOf("--from", from, l.Start(), l.end, l.zone)
	if err != nil {
		return err
	}
	if !l.clock.Known() {
		return &hinted{fmt.Errorf("%s: --from needs a clock, and that of the capture is lost with its header", l.name),
			"without --from, times are since the host's start"}
	}
	l.from, l.none = t, true
	if l.bytes == 0 || l.whole || errors.Is(index, format.ErrNoIndex) {
		return nil // reading on leads there, too
	}
	if index != nil {
		return fmt.Errorf("%s: %w", l.name, index)
	}
	if !l.wasSteady() {
		return nil // only all clock pairs tell where the time is
	}
	if err := l.SkipTo(frames, l.boot(-clockSlack)); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	l.SkipEvents(l.boot(-clockDrift))
	return nil
}

// endClock is the clock pair of END, where the index leads.
func (in *input) endClock(frames []format.Frame) (none format.Clock) {
	r, err := format.NewReader(io.NewSectionReader(in.source, 0, in.bytes), format.ReaderOptions{})
	if err != nil || r.SkipTo(frames, math.MaxInt64) != nil {
		return none
	}
	for {
		b, err := r.Next()
		if err != nil {
			return none
		}
		if b.End != nil {
			return b.End.Clock
		}
	}
}

// wasSteady reports whether nobody set the clock while recording: the clock pair of END is
// what the header's makes expect.
func (l *later) wasSteady() bool {
	return l.end.Known() && l.clock.Time(l.end.BootNS).Sub(time.Unix(0, l.end.RealNS)).Abs() <= clockDrift
}

// fromLayout is a time in what is said of --from.
const fromLayout = "2006-01-02 15:04:05.000 -07:00"

// early says that a time is before the recording began; "" if it is not.
func early(at, start time.Time, zone *time.Location) string {
	if !at.Before(start.Truncate(time.Second)) {
		return ""
	}
	return fmt.Sprintf("%s is before the recording, which is shown from its start, %s", at.In(zone).Format(fromLayout),
		start.In(zone).Format(fromLayout))
}

// nothing says, after the last batch, that no event came at the time or later; "" if one
// did. The recording began at start; end is its END, nil if that was not read.
func (l *later) nothing(start time.Time, end *format.End, zone *time.Location) string {
	if !l.none {
		return ""
	}
	at, began := l.from.In(zone).Format(fromLayout), start.In(zone).Format(fromLayout)
	switch {
	case end != nil && end.Clock.Known():
		ended := time.Unix(0, end.Clock.RealNS)
		if l.from.After(ended) {
			return fmt.Sprintf("%s is after the recording: it began at %s and ended at %s", at, began,
				ended.In(zone).Format(fromLayout))
		}
		return fmt.Sprintf("no event is recorded from %s on, until the recording ended at %s", at,
			ended.In(zone).Format(fromLayout))
	case l.lastNS != 0:
		return fmt.Sprintf("no event that can be read is of %s or later: recording began at %s, the last one is of %s",
			at, began, l.clocks.Time(l.lastNS).In(zone).Format(fromLayout))
	}
	return fmt.Sprintf("no event that can be read is of %s or later: recording began at %s", at, began)
}

// boot is the boot time of what is d after the time, by the newest clock pair.
func (l *later) boot(d time.Duration) int64 {
	return l.clock.BootNS + l.from.Add(d).UnixNano() - l.clock.RealNS
}

// Next gives the next batch without the events before the time.
func (l *later) Next() (*format.Batch, error) {
	b, err := l.order.Next()
	if err != nil {
		return b, err
	}
	if l.clocks.Add(b.Clocks); l.from.IsZero() {
		return b, nil
	}
	for _, c := range b.Clocks {
		l.clock = c
		l.skipEvents(l.boot(-pairDrift))
	}
	return b.WithParts(func(yield func([]format.Event) bool) {
		for events := range b.Parts() {
			if events = l.since(events); len(events) > 0 && !yield(events) {
				return
			}
		}
	}), nil
}

// since gives the events from the time on.
func (l *later) since(events []format.Event) []format.Event {
	for !l.from.IsZero() && len(events) > 0 {
		if !l.clocks.Time(events[0].BootNS).Before(l.from) {
			l.from, l.none = time.Time{}, false
			l.skipEvents(math.MinInt64)
			break
		}
		l.lastNS = events[0].BootNS
		events = events[1:]
	}
	return events
}

// skipEvents passes over events before a boot time. What is read live is being read meanwhile.
func (l *later) skipEvents(bootNS int64) {
	if l.bytes > 0 {
		l.SkipEvents(bootNS)
	}
}

// startOf is when a recording began.
func startOf(h *format.Header) time.Time {
	if h.StartNS == 0 { // lost
		return h.Clock.Time(h.Clock.BootNS)
	}
	return time.Unix(0, h.StartNS)
}

// timeOf reads a time of a capture: of the day, with date and zone, or how long
// after the start. One of a day that is before the start is of the next day if the recording
// went on past midnight: until the clock of its end, or, where that is not known, if it is nearer. zone is that
// in which times are shown, nil: the recorded host's.
func timeOf(flag, s string, h *format.Header, end format.Clock, zone *time.Location) (time.Time, error) {
	start := startOf(h)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse("15:04:05", s); err == nil {
		day := start.In(cmp.Or(zone, report.Zone(h.ZoneSec)))
		at := time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(),
			day.Location())
		if next := at.AddDate(0, 0, 1); at.Before(day.Truncate(time.Second)) {
			if end.Known() && !next.After(time.Unix(0, end.RealNS)) || !end.Known() && next.Sub(day) < day.Sub(at) {
				at = next
			}
		}
		return at, nil
	}
	d, err := durationOf(flag, s)
	if err != nil {
		return time.Time{}, &usageError{fmt.Errorf("%s %q is not a time", flag, s),
			fmt.Sprintf("like %s 15:04:05, %[1]s 2026-11-24T15:04:05Z, or %[1]s 90s", flag)}
	}
	return start.Add(d), nil
}
