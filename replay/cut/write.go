package cut

// This file writes a part of a capture as a capture.

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/acc-project/acc/format"
)

// Source is where batches of a capture come from, from its beginning.
type Source interface {
	Next() (*format.Batch, error)
	SkipEvents(bootNS int64)
}

// Input is the capture that is cut.
type Input struct {
	*Survey
	Files []format.CutFile       // what it is of
	Open  func() (Source, error) // reads it again from its beginning
	Seek  bool                   // its index leads to a frame: it is one file
	Stop  func() error           // an error of it ends the work; nil: nothing does
}

// Chooser says what is in a part beside its time.
type Chooser interface {
	// Event reports whether the part has an event.
	Event(e *format.Event) bool
	// Connection reports whether it has a connection that is on a list; seq is its first event's number, 0 if it was
	// there when the recording began.
	Connection(c *format.Connection, seq uint64) bool
}

// Options say which part is cut out.
type Options struct {
	Tool            string  // "acc VERSION", for the header
	FromNS, UntilNS int64   // CLOCK_BOOTTIME of its first and last moment; math.MinInt64, math.MaxInt64: all
	Chooser         Chooser // nil: all events of the time
	Filter          string  // by which it chooses, for the header
	Connections     []string
}

// ErrOutside says that no moment of the recording lies in the time that is cut out.
var ErrOutside = errors.New("the time lies outside of the recording")

// ErrTooOften says that a capture was cut too often.
var ErrTooOften = fmt.Errorf("it was cut out of a cut %d times, which is the most", format.MaxCuts)

// cutter cuts.
type cutter struct {
	in    *Input
	o     *Options
	h     format.Header
	note  *format.Cut
	out   *format.Writer
	state *state
	procs map[uint32]bool // that events of the part name; nil: there are too many, all are kept
	wrote map[uint32]bool
	looks looks
	lost  map[probe]uint64
	has   map[probe]uint64

	counted map[probe]uint64

	first int // frame with the first event of the part
	last  int // and with its last one
}

// maxProcs bounds the processes that are looked for.
const maxProcs = 1 << 20

// Write writes the part to w. It gives what the part's header says of it, and its END.
func Write(w io.Writer, in *Input, o Options) (*format.Cut, *format.End, error) {
	c := &cutter{in: in, o: &o, procs: map[uint32]bool{}, wrote: map[uint32]bool{}, looks: newLooks(),
		lost: map[probe]uint64{}, has: map[probe]uint64{}, counted: map[probe]uint64{}}
	if err := c.header(); err != nil {
		return nil, nil, err
	}
	c.state = newState(&in.Header, in.End)
	c.span()
	if err := c.needs(); err != nil {
		return nil, nil, err
	}
	var err error
	if c.out, err = format.NewWriter(w, c.h, format.WriterOptions{FrameEvents: 1 << 14}); err != nil {
		return nil, nil, err
	}
	if err := c.before(); err != nil {
		return nil, nil, err
	}
	if !c.note.Begin {
		if err := c.out.Snapshot(c.state.snapshot(c.note.FromNS, false, o.Chooser)); err != nil {
			return nil, nil, err
		}
	}
	if err := c.part(); err != nil {
		return nil, nil, err
	}
	end := c.end()
	if err := c.out.Close(end); err != nil {
		return nil, nil, err
	}
	end.Events = c.out.Events()
	return c.note, &end, nil
}

// inside reports whether the part's time has a moment.
func (c *cutter) inside(ns int64) bool { return ns >= c.note.FromNS && ns <= c.note.UntilNS }

// is reports whether an event is of the part.
func (c *cutter) is(e *format.Event) bool {
	if !c.inside(e.BootNS) {
		return false
	}
	return c.o.Chooser == nil || e.Kind == format.Listen || e.Kind == format.Stop || c.o.Chooser.Event(e)
}

// needs finds the processes that events of the part name.
func (c *cutter) needs() error {
	return c.read(c.first, c.last, c.note.FromNS, func(_ int, b *format.Batch) error {
		for events := range b.Parts() {
			for i := range events {
				if e := &events[i]; e.Proc != 0 && c.procs != nil && c.is(e) {
					c.procs[e.Proc] = true
				}
			}
		}
		if len(c.procs) > maxProcs {
			c.procs = nil
		}
		return nil
	})
}

// before follows what was there until the part begins.
func (c *cutter) before() error {
	if c.note.Begin {
		return nil
	}
	last := c.in.shotFrame
	for i := range c.in.Frames {
		if f := &c.in.Frames[i]; f.Events > 0 && f.MinNS < c.note.FromNS {
			last = max(last, i)
		}
	}
	err := c.read(0, max(last, c.first-1), math.MinInt64, func(i int, b *format.Batch) error {
		for k := range b.Snapshots {
			if s := &b.Snapshots[k]; !s.Final {
				c.state.begin(s)
			}
		}
		if i < c.first {
			if err := c.processes(b); err != nil {
				return err
			}
			if err := c.watches(b); err != nil {
				return err
			}
		}
		if len(b.Losses) > 0 || len(b.Gaps) > 0 {
			c.state.lose()
		}
		for events := range b.Parts() {
			for k := range events {
				if events[k].BootNS < c.note.FromNS {
					c.state.event(&events[k])
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.losses(0, c.first)
}

// part writes what lies in the time.
func (c *cutter) part() error {
	err := c.read(c.first, c.last, c.note.FromNS, func(i int, b *format.Batch) error {
		if err := c.records(i, b); err != nil {
			return err
		}
		for events := range b.Parts() {
			for k := range events {
				e := &events[k]
				if e.BootNS < b.MinNS || e.BootNS > b.MaxNS {
					return &format.CorruptError{Offset: b.Offset, Reason: fmt.Sprintf(
						"event %d is of another time than the frame's link says", e.Seq)}
				}
				if !c.inside(e.BootNS) {
					continue
				}
				if c.state.event(e); !c.is(e) {
					continue
				}
				c.has[probe{e.Hook, e.Kind}]++
				if err := c.out.Event(e); err != nil {
					return err
				}
			}
		}
		return c.finals(b)
	})
	if err != nil {
		return err
	}
	if err := c.losses(max(c.last+1, c.first), len(c.in.Frames)); err != nil {
		return err
	}
	if c.note.End && c.in.End != nil {
		return nil
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.out.Snapshot(c.state.snapshot(c.note.UntilNS, true, c.o.Chooser))
}
