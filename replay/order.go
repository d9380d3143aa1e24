package replay

// This file puts events in order of time.

import (
	"fmt"
	"math"
	"time"

	"github.com/acc-project/acc/format"
)

// orderWindow is how far back events may go where the times of what follows are not
// known, and how long an event of a live stream waits for earlier ones.
const orderWindow = 200 * time.Millisecond

// OrderOptions are settings of Order; the zero value suits a file without an index.
type OrderOptions struct {
	// Frames is the capture's index (see [format.ReadIndex]), which gives the times of
	// what follows. Without it, events may go back by 200 ms.
	Frames []format.Frame
	// Live is for input that can make wait. No event then waits for earlier ones for longer
	// than 200 ms. The reader is called on a goroutine of its own: between two calls of
	// Next, only its batches may be used.
	Live bool
}

// Ordered gives the batches of a capture with their events in order of time. Events of
// equal times keep the capture's order. It is for one goroutine.
//
// A capture holds events in the order in which the kernel's ring took them. CPUs take the time
// of an event before they ask the ring for room, so that events of two CPUs can stand the
// wrong way round. Records other than events keep their place: after all events of earlier frames
// except those that wait for a later frame, and END after all events.
//
// Its memory does not grow with the capture: at most 65,536 events wait. See [Ordered.Late].
type Ordered struct {
	r      Reader
	floors []int64 // by frame: least time of the events behind it; nil: not known
	live   *live

	hold     hold
	times    []int64 // of the batch
	strays   []int32
	spare    []heldEvent // memory for the next order of those that wait
	newestNS int64       // of the events read
	givenNS  int64       // of the events given
	offset   int64       // of the batch read last
	early    bool        // events were given for want of room
	late     Late
	err      error
}

// Order puts the batches of r in order of time. Their events must be in Events.
func Order(r Reader, o OrderOptions) *Ordered {
	d := &Ordered{r: r, newestNS: math.MinInt64, givenNS: math.MinInt64}
	if o.Live {
		d.live = &live{r: r, answers: make(chan answer, 1)}
	}
	if len(o.Frames) > 0 {
		d.floors = make([]int64, len(o.Frames))
		least := int64(math.MaxInt64)
		for i := len(o.Frames) - 1; i >= 0; i-- {
			d.floors[i] = least
			if f := &o.Frames[i]; f.Events > 0 {
				least = min(least, f.MinNS)
			}
		}
	}
	return d
}

// Late is what did not come in order of time.
type Late struct {
	Events uint64        // events that came after a later one
	By     time.Duration // the most that one of them went back
	Full   bool          // more would have had to wait than the memory is for, else longer than 200 ms
}

// String says it for people; "" if all came in order.
func (l Late) String() string {
	if l.Events == 0 {
		return ""
	}
	window := fmt.Sprintf("the window of %v", orderWindow)
	if l.Full {
		window = fmt.Sprintf("the window of %d events", maxHeld)
	}
	events := fmt.Sprintf("%d events are", l.Events)
	if l.Events == 1 {
		events = "1 event is"
	}
	return fmt.Sprintf("%s out of order by up to %v, more than %s holds", events, l.By, window)
}

// Late is what did not come in order of time so far.
func (o *Ordered) Late() Late { return o.late }

// Next gives the next batch. Its events are in Parts alone, which is to be taken once, to its
// end, before the next call. Errors are the reader's; all events come before.
func (o *Ordered) Next() (*format.Batch, error) {
	if o.err != nil {
		return o.last()
	}
	b, err := o.read()
	if err != nil {
		o.err = err
		return o.last()
	}
	if b == nil {
		return o.release(o.live.due()), nil
	}
	o.offset = b.Offset
	o.times = b.AppendTimes(o.times[:0])
	floor := o.floor(b)
	if o.inOrder(floor) {
		return b, nil
	}
	return b.WithParts(func(yield func([]format.Event) bool) { o.merge(b.Events, floor, yield) }), nil
}

// read gives the next batch; none if events have waited long enough for one.
func (o *Ordered) read() (*format.Batch, error) {
	if o.live == nil {
		return o.r.Next()
	}
	if o.hold.len() == 0 {
		return o.live.wait(nil)
	}
	return o.live.wait(&waiting{o.hold.order[0].ns, o.newestNS})
}

// last gives the events that still wait, and then the error that ended reading.
func (o *Ordered) last() (*format.Batch, error) {
	if o.hold.len() == 0 {
		return nil, o.err
	}
	return o.release(math.MaxInt64), nil
}

// release gives a batch of the waiting events up to a time.
func (o *Ordered) release(upTo int64) *format.Batch {
	return (&format.Batch{Offset: o.offset}).WithParts(func(yield func([]format.Event) bool) {
		o.times = o.times[:0]
		o.merge(nil, upTo, yield)
	})
}

// floor is the least time that is expected of the events behind a batch.
func (o *Ordered) floor(b *format.Batch) int64 {
	for _, ns := range o.times {
		o.newestNS = max(o.newestNS, ns)
	}
	switch {
	case b.End != nil:
		return math.MaxInt64
	case int(b.Frame) < len(o.floors):
		return o.floors[b.Frame]
	case o.newestNS < math.MinInt64+int64(orderWindow):
		return math.MinInt64
	}
	return o.newestNS - int64(orderWindow)
}

// inOrder reports whether the batch can be given as it is, and notes it as given.
func (o *Ordered) inOrder(floor int64) bool {
	if o.hold.len() > 0 {
		return false
	}
	last := o.givenNS
	for _, ns := range o.times {
		if ns < last {
			return false
		}
		last = ns
	}
	if len(o.times) > 0 && last > floor {
		return false
	}
	o.givenNS = last
	return true
}

// giveHeld gives an event that waited. Full: there was no room for it to wait longer.
func (o *Ordered) giveHeld(e heldEvent, full bool, yield func([]format.Event) bool) bool {
	o.note([]int64{e.ns}, full)
	return yield(o.hold.take(e))
}

// note books events that are given, which are in order among themselves. Full: the first could not wait.
func (o *Ordered) note(times []int64, full bool) {
	for _, ns := range times {
		if ns >= o.givenNS {
			break
		}
		o.late.Events++
		by := time.Duration(math.MaxInt64)
		if diff := uint64(o.givenNS) - uint64(ns); diff < math.MaxInt64 {
			by = time.Duration(diff)
		}
		o.late.By = max(o.late.By, by)
		o.late.Full = o.late.Full || o.early
	}
	o.early = o.early || full
	o.givenNS = max(o.givenNS, times[len(times)-1])
}
