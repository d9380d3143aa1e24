package main

import (
	"io"

	"github.com/acc-project/acc/format"
)

// Clock is what places the capture's events in time, from its first event on: the
// header's pair, or if that is lost the first one that comes later. A clock that is not
// known has the time of the first event alone.
func (in *input) Clock() format.Clock { return in.clock }

// Start is the header as analysis wants it: with the clock of Clock.
func (in *input) Start() *format.Header {
	h := *in.Header()
	h.Clock = in.clock
	return &h
}

// Next gives the next batch, as format.Reader does.
func (in *input) Next() (*format.Batch, error) {
	if b := in.taken; b != nil {
		in.taken = nil
		return b, nil
	}
	return in.Reader.Next()
}

// scanClock looks for the clock of a file, where its header is lost.
func (in *input) scanClock() error {
	if in.clock = in.Header().Clock; in.clock.Known() {
		return nil
	}
	at, err := in.source.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err = in.source.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if r, err := format.NewReader(in.source, format.ReaderOptions{Salvage: true}); err == nil {
		in.findClock(r)
	}
	_, err = in.source.Seek(at, io.SeekStart)
	return err
}

// findClock reads until it finds the clock.
func (in *input) findClock(r *format.Reader) {
	f := finder{}
	for !f.done() {
		b, err := r.Next()
		if err != nil {
			break
		}
		f.add(b)
	}
	in.clock = f.clock()
}

// takeClock does so for what can be read once only: in its header and first frame.
func (in *input) takeClock() {
	if in.clock = in.Header().Clock; in.clock.Known() {
		return
	}
	b, err := in.Reader.Next()
	if err != nil {
		return // it gives that again
	}
	in.taken = b
	f := finder{}
	f.add(b)
	in.clock = f.clock()
}

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
