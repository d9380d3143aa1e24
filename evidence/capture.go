package evidence

// This file has a capture as all commands read it: with the clock of its events, also where
// the header is lost, and with what to say when reading ends.

import (
	"errors"
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// Verdicts on a capture beside those of package audit.
const (
	Unclean     = "unclean"     // intact, but the recording was not closed cleanly, or it was repaired
	Unsigned    = "unsigned"    // it has no valid signature by somebody who may sign
	Unconfirmed = "unconfirmed" // no kept chain head vouches for it
)

// Capture is a capture that is read from its beginning: a [format.Reader] that knows the clock
// of the events, too.
type Capture struct {
	*format.Reader
	name  string
	clock format.Clock
	taken *format.Batch // read to find the clock, and not yet given

	joined *joined // nil: it is one file
}

// NewCapture goes on with a reader that has read the header and given no batch yet. name is what
// errors call the capture. again is the same file, if it can be read twice: where the header is
// lost, its clock is looked for in all of it, and again is left where it was. Of what can be
// read once (nil) the first frame alone is looked at.
func NewCapture(name string, r *format.Reader, again io.ReadSeeker) (*Capture, error) {
	c := &Capture{Reader: r, name: name}
	if c.clock = r.Header().Clock; c.clock.Known() {
		return c, nil
	}
	if again == nil {
		c.takeClock()
		return c, nil
	}
	return c, c.scanClock(again)
}

// Clock is what places the capture's events in time, from its first event on: the
// header's pair, or if that is lost the first one that comes later. A clock that is not
// known has the time of the first event alone.
func (c *Capture) Clock() format.Clock { return c.clock }

// Start is the header as analysis wants it: with the clock of Clock.
func (c *Capture) Start() *format.Header {
	h := *c.Header()
	h.Clock = c.clock
	return &h
}

// scanClock looks for the clock in the whole file.
func (c *Capture) scanClock(file io.ReadSeeker) error {
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if r, err := format.NewReader(file, format.ReaderOptions{Salvage: true}); err == nil {
		f := finder{}
		for !f.done() {
			b, err := r.Next()
			if err != nil {
				break
			}
			f.add(b)
		}
		c.clock = f.clock()
	}
	_, err = file.Seek(at, io.SeekStart)
	return err
}

// takeClock looks for it in the first frame.
func (c *Capture) takeClock() {
	b, err := c.Reader.Next()
	if err != nil {
		return // it gives that again
	}
	c.taken = b
	f := finder{}
	f.add(b)
	c.clock = f.clock()
}

// Verdict turns what ended reading into what to say: nil at the end of an intact
// capture that was closed cleanly and not repaired. The result is nil if not all was read.
func (c *Capture) Verdict(err error, end *format.End, r *analysis.Result) error {
	skipped := c.Skipped()
	ended := errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated)
	switch {
	case ended && len(skipped) > 0:
		err = &SalvagedError{&format.CorruptError{Offset: skipped[0].Offset,
			Reason: skipped[0].Reason + skippedNote(skipped)}}
	case ended && r != nil && r.Integrity.State == audit.Corrupt:
		return &MismatchError{Name: c.name, Why: r.Integrity.Why}
	case errors.Is(err, io.EOF) && end != nil && (!end.Clean || c.Header().Repaired != nil):
		return &UncleanError{c.name, end, c.Header().Repaired}
	case err == nil, errors.Is(err, io.EOF):
		return nil
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// SalvagedError is the verdict on a corrupt file of which all that can be read was read.
type SalvagedError struct{ first *format.CorruptError }

// Error says where the first corrupt place is, and how much was left out at all of them.
func (e *SalvagedError) Error() string { return e.first.Error() }

func (e *SalvagedError) Unwrap() error { return e.first }

func skippedNote(skipped []format.Skip) string {
	bytes, events := int64(0), uint64(0)
	for _, s := range skipped {
		bytes += s.Bytes
		events += s.Events
	}
	return fmt.Sprintf(" (salvage left out %s)", humanize.LeftOut(bytes, len(skipped), events))
}

// UncleanError is the verdict on an intact file whose recording was not closed cleanly, or that was repaired.
type UncleanError struct {
	name     string
	end      *format.End
	repaired *format.Repaired
}

// Error says why.
func (e *UncleanError) Error() string { return e.name + ": " + uncleanWhy(e.end, e.repaired) }

// uncleanWhy says what is wrong with a capture that is unclean; r is nil if it was not repaired.
func uncleanWhy(end *format.End, r *format.Repaired) string {
	if r == nil {
		why := fmt.Sprintf("the recording was not closed cleanly (%s)", end.Reason)
		if end.Detail != "" {
			why += ": " + end.Detail
		}
		return why
	}
	why := fmt.Sprintf("this was repaired from a %s capture; left out: %s", r.Verdict,
		humanize.LeftOut(r.Lost, max(r.Places, 1), r.Events))
	switch {
	case r.Ended && !end.Clean:
		return why + "; " + uncleanWhy(end, nil)
	case end.Detail != "":
		why += "; " + end.Detail
	}
	return why
}

// Is makes it the same kind of verdict as a truncated capture.
func (e *UncleanError) Is(target error) bool { return target == format.ErrTruncated }

// finder finds the first clock pair and the first event behind a header that is lost.
type finder struct {
	pair   format.Clock
	first  int64 // boot time of the first event
	events bool  // there is one
}

func (f *finder) done() bool { return f.pair.Known() && f.events }

func (f *finder) add(b *format.Batch) {
	switch {
	case f.pair.Known():
	case len(b.Clocks) > 0:
		f.pair = b.Clocks[0]
	case b.End != nil:
		f.pair = b.End.Clock
	}
	for events := range b.Parts() {
		if !f.events {
			f.first, f.events = events[0].BootNS, true
		}
		break
	}
}

// clock is the pair moved to the first event.
func (f *finder) clock() format.Clock {
	if !f.events {
		return f.pair
	}
	c := format.Clock{BootNS: f.first}
	if f.pair.Known() {
		c.RealNS, c.MonoNS = f.pair.RealNS+f.first-f.pair.BootNS, f.pair.MonoNS+f.first-f.pair.BootNS
	}
	return c
}
