package cut

// This file writes a part of a capture as a capture.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"github.com/acc-project/acc/format"
)

// Source is where batches of a capture come from, from its beginning.
type Source interface {
	Next() (*format.Batch, error)
	SkipEvents(bootNS int64)
}

// skipper is a Source that can go to a frame without reading those before.
type skipper interface {
	SkipToFrame(frames []format.Frame, to int) error
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

// probe names what an account is of.
type probe struct {
	hook format.Hook
	kind format.Kind
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

// header makes the part's.
func (c *cutter) header() error {
	in, o := c.in, c.o
	c.h = in.Header
	if len(c.h.Cuts) >= format.MaxCuts {
		return ErrTooOften
	}
	start, end := in.StartNS(), in.EndNS()
	if o.FromNS > end || o.UntilNS < start || o.FromNS > o.UntilNS {
		return ErrOutside
	}
	n := format.Cut{Files: in.Files, Tool: o.Tool, FromNS: max(o.FromNS, start), UntilNS: min(o.UntilNS, end),
		Begin: o.FromNS <= start, End: o.UntilNS >= end, Filter: o.Filter, Connections: append([]string{}, o.Connections...),
		StartNS: c.h.StartNS, Events: in.Events}
	if e := in.End; e != nil {
		n.EndNS, n.Lost, n.Reason, n.Clean = e.Clock.RealNS, e.Lost, e.Reason, e.Clean
		for _, t := range e.Totals {
			n.Missed += t.Missed
		}
	}
	c.h.Cuts = append(slices.Clone(c.h.Cuts), n)
	c.note = c.h.Cut()
	c.h.Set = nil
	c.h.ID = idOf(c.note)
	if !n.Begin && in.Clocks.Known(n.FromNS) {
		c.h.Clock = clockAt(in.Clocks, n.FromNS)
		c.h.StartNS = c.h.Clock.RealNS
	}
	if o.Chooser != nil {
		s := format.Selection{}
		if c.h.Selection != nil {
			s = *c.h.Selection
		}
		words := "what meets " + o.Filter
		if o.Filter == "" {
			words = "connections that were named"
		}
		s.Words, s.Cut = append(slices.Clone(s.Words), words), true
		c.h.Selection = &s
	}
	return nil
}

// idOf makes the id of a part: the same one for the same part.
func idOf(n *format.Cut) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "acc cut %v %d %d %q %q", n.Files, n.FromNS, n.UntilNS, n.Filter, n.Connections))
	sum[6], sum[8] = sum[6]&15|0x80, sum[8]&63|0x80 // version 8: of its own making
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// clockAt is the clock pair by which a boot time is placed, moved there.
func clockAt(clocks *format.Clocks, bootNS int64) format.Clock {
	p := clocks.At(bootNS)
	by := bootNS - p.BootNS
	p.BootNS, p.MonoNS, p.RealNS = bootNS, p.MonoNS+by, p.RealNS+by
	return p
}

// span finds the frames that have events of the part.
func (c *cutter) span() {
	c.first, c.last = len(c.in.Frames), 0
	for i := range c.in.Frames {
		if f := &c.in.Frames[i]; f.Events > 0 && f.MaxNS >= c.note.FromNS && f.MinNS <= c.note.UntilNS {
			c.first, c.last = min(c.first, i), i
		}
	}
	if c.note.End {
		c.last = len(c.in.Frames) - 1
	}
	if c.first = min(c.first, len(c.in.Frames)); c.note.Begin {
		c.first = 0
	}
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

// read gives the frames from one to another one. Records are given of all; skipNS: frames whose events are all
// earlier may be given without them.
func (c *cutter) read(from, to int, skipNS int64, do func(i int, b *format.Batch) error) error {
	if from > to || from >= len(c.in.Frames) {
		return nil
	}
	r, err := c.in.Open()
	if err != nil {
		return err
	}
	if s, ok := r.(skipper); ok && c.in.Seek && from > 1 {
		if err := s.SkipToFrame(c.in.Frames, from); err != nil {
			return err
		}
	}
	r.SkipEvents(skipNS)
	n := 0
	for {
		if c.in.Stop != nil {
			if err := c.in.Stop(); err != nil {
				return err
			}
		}
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			return nil
		}
		if err != nil {
			return err
		}
		if n = max(n, c.frameOf(b, n)); n > to {
			return nil
		}
		if n >= from {
			if err := do(n, b); err != nil {
				return err
			}
		}
		n++
	}
}

// frameOf is the place of a frame in the survey, at least at: frames that were passed over are not counted.
func (c *cutter) frameOf(b *format.Batch, at int) int {
	if !c.in.Seek {
		return at
	}
	return sort.Search(len(c.in.Frames), func(i int) bool { return c.in.Frames[i].At >= b.Offset })
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

// processes keeps the records of processes that events of the part name.
func (c *cutter) processes(b *format.Batch) error {
	for i := range b.Processes {
		p := &b.Processes[i]
		if c.procs != nil && (!c.procs[p.Num] || c.wrote[p.Num]) {
			continue
		}
		if c.procs != nil {
			c.wrote[p.Num] = true
		}
		if err := c.out.Process(*p); err != nil {
			return err
		}
	}
	return nil
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

// losses writes the records of losses of some frames that can be of the part's time, and those of calls that were
// counted, all of which are.
func (c *cutter) losses(from, to int) error {
	for _, l := range c.in.losses {
		if l.frame < from || l.frame >= to || l.is.ToNS < c.note.FromNS || l.is.FromNS > c.note.UntilNS {
			continue
		}
		c.lost[probe{l.is.Hook, l.is.Kind}] += l.is.Count
		if err := c.out.Loss(l.is); err != nil {
			return err
		}
	}
	for _, l := range c.in.counted { // of which none is of an attempt that is chosen
		if l.frame < from || l.frame >= to || !c.inside(l.is.FromNS) || !c.inside(l.is.ToNS) || c.o.Chooser != nil {
			continue
		}
		c.counted[probe{l.is.Hook, format.Return}] += l.is.Calls
		c.counted[probe{format.HookSysAccept4, format.Enter}] += l.is.Entries
		if err := c.out.Counted(l.is); err != nil {
			return err
		}
	}
	return nil
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

// records writes those of a frame that are of the part.
func (c *cutter) records(i int, b *format.Batch) error {
	if len(b.Losses) > 0 || len(b.Gaps) > 0 { // they are of after the events before them
		if err := c.out.Flush(); err != nil {
			return err
		}
		c.state.lose()
	}
	if err := c.processes(b); err != nil {
		return err
	}
	for _, p := range b.Clocks {
		if c.inside(p.BootNS) {
			if err := c.out.Clock(p); err != nil {
				return err
			}
		}
	}
	for k := range b.Snapshots {
		s := b.Snapshots[k]
		if s.Final || !c.note.Begin {
			continue
		}
		c.state.begin(&s)
		if err := c.out.Snapshot(c.chosen(s)); err != nil {
			return err
		}
	}
	if err := c.losses(i, i+1); err != nil {
		return err
	}
	if err := c.watches(b); err != nil {
		return err
	}
	for _, m := range b.Marks {
		if c.inside(m.BootNS) {
			if err := c.out.Mark(m); err != nil {
				return err
			}
		}
	}
	for _, g := range b.Gaps {
		if err := c.out.Gap(g); err != nil {
			return err
		}
	}
	return nil
}

// finals writes the lists of the end, where the part has that.
func (c *cutter) finals(b *format.Batch) error {
	for k := range b.Snapshots {
		if s := b.Snapshots[k]; s.Final && c.note.End {
			if err := c.out.Flush(); err != nil {
				return err
			}
			if err := c.out.Snapshot(c.chosen(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// chosen leaves out of a list the connections that the part has not.
func (c *cutter) chosen(s format.Snapshot) format.Snapshot {
	if c.o.Chooser == nil {
		return s
	}
	list := []format.Connection{}
	for i := range s.Connections {
		x, seq := &s.Connections[i], uint64(0)
		if o := c.state.find(x); o != nil {
			seq = o.seq
		}
		if c.o.Chooser.Connection(x, seq) {
			list = append(list, *x)
		}
	}
	s.Connections, s.ConnectionsKnown = list, false
	return s
}

// end makes the part's END: the account is of what it has.
func (c *cutter) end() format.End {
	end := format.End{Reason: format.EndCut, Clock: clockAt(c.in.Clocks, c.note.UntilNS)}
	whole := c.in.End
	switch {
	case whole == nil:
		end.Detail = "the original stops before its end"
	case c.in.lossesMore:
		end.Detail = "the original has more records of losses than can be placed"
	default:
		end.Clean = whole.Clean
		if !whole.Clean {
			end.Detail = "the whole recording was not closed cleanly: " + whole.Reason
		}
	}
	end.Blocked, end.BlockedKnown = c.state.inAccept(), c.state.known.blocked
	var totals []format.ProbeTotal
	if whole != nil {
		totals = slices.Clone(whole.Totals)
		end.Unread = whole.Unread
		if c.note.End {
			end.Reason, end.Detail = whole.Reason, whole.Detail
			if whole.Clock.BootNS >= c.note.FromNS {
				end.Clock = whole.Clock
			}
			end.Blocked, end.BlockedKnown = whole.Blocked, whole.BlockedKnown
		}
		if c.note.End && c.note.Begin && c.o.Chooser == nil {
			end.UnixCounted, end.UnixRefused, end.UnixUnseen = whole.UnixCounted, whole.UnixRefused, whole.UnixUnseen
			end.SimultaneousOpens = whole.SimultaneousOpens
		}
	}
	for _, counts := range []map[probe]uint64{c.has, c.lost, c.counted} {
		for p, n := range counts {
			if n > 0 && !slices.ContainsFunc(totals, func(t format.ProbeTotal) bool {
				return t.Hook == p.hook && t.Kind == p.kind
			}) {
				totals = append(totals, format.ProbeTotal{Hook: p.hook, Kind: p.kind})
			}
		}
	}
	for i := range totals {
		t := &totals[i]
		p := probe{t.Hook, t.Kind}
		*t = format.ProbeTotal{Hook: t.Hook, Kind: t.Kind, Recorded: c.has[p], Lost: c.lost[p], Missed: t.Missed,
			Counted: c.counted[p], Seen: c.has[p] + c.lost[p] + c.counted[p]}
		end.Lost += t.Lost
	}
	slices.SortStableFunc(totals, func(a, b format.ProbeTotal) int {
		return int(a.Hook)<<8 + int(a.Kind) - int(b.Hook)<<8 - int(b.Kind)
	})
	end.Totals = totals
	return end
}
