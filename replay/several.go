package replay

// This file puts the events of captures of several hosts into one order, as far as their clocks allow one.

import (
	"context"
	"io"
	"iter"
	"math"
	"time"

	"github.com/acc-project/acc/format"
)

// Source is one of several captures.
type Source struct {
	Reader Reader         // with events in order of time
	Clocks *format.Clocks // has the clock pairs of each batch before its events are taken
	// names the clock since boot: captures with the same one are ordered by it, exactly; "": it has its own
	Boot string
}

// Moment is an event of one of several captures.
type Moment struct {
	Source int // number of the capture, from 0
	Event  *format.Event
	Clock  format.Clock  // that places it
	Within time.Duration // by how much its time can be wrong; -1: not known
	// Unknown is above 0 if it may have been before an event of another host that was given before it: their times
	// lie no further apart than this, and so no more than both can be wrong. It is -1 if that can be
	// wrong by any time.
	Unknown time.Duration
}

// several gives the events of several captures in order of their hosts' clocks.
type several struct {
	hosts []*host
	batch func(int, *format.Batch) error
	ended []error // by source, why it ended
}

// host is captures with one clock since boot, and how far its events were given.
type host struct {
	streams []*stream
	wallNS  int64 // never goes back, unlike the clock
	within  time.Duration
	given   bool
}

// stream is a capture that is read.
type stream struct {
	source int
	clocks *format.Clocks
	next   func() (step, bool)
	head   step
}

// step is what a capture has next: a batch, then its events.
type step struct {
	batch *format.Batch
	event *format.Event
	err   error
}

// PlaySeveral gives the batches and events of several captures, like [Play]: batch before the events of it, each with
// the number of its capture. A capture whose reading fails ends there, and the others go on. It gives the errors by
// capture, io.EOF at the end of a whole one; or the error of batch or event, or of the context, which end it.
func PlaySeveral(ctx context.Context, sources []Source, o PlayOptions, batch func(int, *format.Batch) error,
	event func(*Moment) error) ([]error, error) {
	s := &several{batch: batch, ended: make([]error, len(sources))}
	boots := map[string]*host{}
	for i, x := range sources {
		h := boots[x.Boot]
		if h == nil || x.Boot == "" {
			h = &host{wallNS: math.MinInt64}
			s.hosts = append(s.hosts, h)
			boots[x.Boot] = h
		}
		m := &stream{source: i, clocks: x.Clocks}
		next, stop := iter.Pull(steps(x.Reader))
		defer stop()
		m.next = next
		h.streams = append(h.streams, m)
		if err := s.advance(m); err != nil {
			return s.ended, err
		}
	}
	p := newPacer(o)
	for {
		h, m := s.earliest()
		if m == nil {
			return s.ended, p.o.Idle()
		}
		moment := s.moment(h, m)
		if err := p.pace(ctx, h.wallNS); err != nil {
			return s.ended, err
		}
		if err := event(moment); err != nil {
			return s.ended, err
		}
		if err := s.advance(m); err != nil {
			return s.ended, err
		}
	}
}

// steps gives the batches of a capture, each before its events, and at last the error that ended it.
func steps(r Reader) iter.Seq[step] {
	return func(yield func(step) bool) {
		for {
			b, err := r.Next()
			if err != nil {
				yield(step{err: err})
				return
			}
			if !yield(step{batch: b}) {
				return
			}
			for events := range b.Parts() {
				for i := range events {
					if !yield(step{event: &events[i]}) {
						return
					}
				}
			}
		}
	}
}

// advance goes to the next event of a capture, past its batches.
func (s *several) advance(m *stream) error {
	for {
		var ok bool
		if m.head, ok = m.next(); !ok {
			m.head.err = io.EOF
		}
		switch {
		case m.head.err != nil:
			s.ended[m.source] = m.head.err
			return nil
		case m.head.event != nil:
			return nil
		}
		if err := s.batch(m.source, m.head.batch); err != nil {
			return err
		}
	}
}

// earliest is the capture whose next event is the earliest, and its host; nil: all have ended.
func (s *several) earliest() (h *host, m *stream) {
	least := int64(0)
	for _, x := range s.hosts {
		n := x.earliest()
		if n == nil {
			continue
		}
		if wall := max(n.wallNS(), x.wallNS); m == nil || wall < least {
			h, m, least = x, n, wall
		}
	}
	return h, m
}

// earliest is the one whose next event is the earliest by the clock since boot; nil: all have ended.
func (h *host) earliest() (first *stream) {
	for _, m := range h.streams {
		if m.head.event != nil && (first == nil || m.head.event.BootNS < first.head.event.BootNS) {
			first = m
		}
	}
	return first
}

// wallNS is the wall time of the next event.
func (m *stream) wallNS() int64 {
	c := m.clocks.At(m.head.event.BootNS)
	return c.RealNS + (m.head.event.BootNS - c.BootNS)
}

// moment gives the next event of a capture of a host.
func (s *several) moment(h *host, m *stream) *Moment {
	e := m.head.event
	x := &Moment{Source: m.source, Event: e, Clock: m.clocks.At(e.BootNS), Within: -1}
	if within, ok := x.Clock.Within(e.BootNS); ok {
		x.Within = within
	}
	h.wallNS, h.within, h.given = max(h.wallNS, m.wallNS()), x.Within, true
	for _, o := range s.hosts {
		switch {
		case o == h || !o.given:
		case x.Within < 0 || o.within < 0:
			x.Unknown = -1
			return x
		case h.wallNS-o.wallNS <= int64(x.Within+o.within):
			x.Unknown = max(x.Unknown, x.Within+o.within)
		}
	}
	return x
}
