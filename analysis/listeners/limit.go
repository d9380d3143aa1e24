package listeners

// This file keeps the limits that an accept queue had, and its longest.

import (
	"time"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// maxLimits is how many limits of one listener's queue are kept, the first ones.
const maxLimits = 16

// settleNS is for how long after listen() an event may still have the limit of before.
const settleNS = 10e6

// unknownLimit is of a queue whose limit is not known.
const unknownLimit = ^uint32(0)

// limit is a limit of an accept queue, and since when it was seen.
type limit struct {
	max uint32
	ns  int64
	seq uint64 // event, 0: the snapshot at the start
}

// high is a length of an accept queue with the limit that it had then.
type high struct {
	n, max uint32
	ns     int64
	seq    uint64
}

func (h *high) raise(x high) {
	if x.n > h.n {
		*h = x
	}
}

// raise takes a length of the queue with the limit of that moment.
func (l *listener) raise(x high) {
	l.high.raise(x)
	if x.n > x.max {
		l.fullHigh.raise(x)
	}
}

// limited takes the limit that the queue has at an event. What listen() sets, its event tells; others are
// looked at because not all of it is seen. They may be a little late, and come in another order.
func (l *listener) limited(e *format.Event) {
	n := len(l.limits)
	if n > 0 {
		last := l.limits[n-1]
		if last.max == e.BacklogMax || e.Kind != format.Listen && e.BootNS < last.ns+settleNS {
			return
		}
	}
	if l.proto == format.ProtoMPTCP && e.BacklogMax == 0 {
		return // its subflow is gone, which has it
	}
	if l.queueMax = e.BacklogMax; n < maxLimits {
		l.limits = append(l.limits, limit{e.BacklogMax, e.BootNS, e.Seq})
		return
	}
	l.moreLimits++
}

// listens takes a listen(): the first one, or another, which sets the queue's limit.
func (l *listener) listens(e *format.Event) {
	l.zero.listens(e, l.queueMax)
	l.limited(e)
	if l.stop != nil {
		l.stop.again = true
	}
	if l.life != nil && !l.life.Blind {
		l.life.depth(e.BootNS, e.Backlog > e.BacklogMax)
	}
}

// zeroLimit is what is kept of a queue whose limit was set to 0, by which some servers refuse clients for a while.
type zeroLimit struct {
	mark    stats.Mark
	ns      int64  // for how long in all
	toNS    int64  // until when, the last time
	sinceNS int64  // 0: it is not 0 now
	by      string // who did it first, name[pid]
}

// listens takes a listen() of a queue that had the limit of before.
func (z *zeroLimit) listens(e *format.Event, before uint32) {
	switch {
	case e.BacklogMax == 0 && before > 0 && z.sinceNS == 0:
		if z.mark.Count == 0 {
			z.by = nameOf(e.Comm, e.PID)
		}
		z.mark.Note(e.Seq, e.BootNS, 0)
		z.sinceNS = e.BootNS
	case e.BacklogMax > 0:
		z.until(e.BootNS)
	}
}

// until ends a time with a limit of 0.
func (z *zeroLimit) until(ns int64) {
	if z.sinceNS != 0 {
		z.toNS = max(ns, z.sinceNS)
		z.ns += z.toNS - z.sinceNS
		z.sinceNS = 0
	}
}

// Limit is a limit of an accept queue.
type Limit struct {
	Max    uint32     `json:"max"`     // the queue is full when it is longer
	Time   *time.Time `json:"ts"`      // since when it is known, null if the clock is lost
	BootNS int64      `json:"boot_ns"` // the same by the boot clock
	Seq    uint64     `json:"seq"`     // number of the event that tells it first, 0: it was so when recording began
}

// queueInfo tells of the queue and its limits.
func (reg *Registry) queueInfo(i *ListenerInfo, l *listener) {
	if i.QueueHighSeq = l.high.seq; l.high.n > 0 {
		i.QueueHighAt = reg.o.Time(l.high.ns)
	}
	if l.high.max != unknownLimit {
		i.QueueHighMax = l.high.max
	}
	i.FullHigh, i.FullHighMax = l.fullHigh.n, l.fullHigh.max
	i.Limits, i.MoreLimits, i.Steered = []Limit{}, l.moreLimits, l.steered
	for _, x := range l.limits {
		i.Limits = append(i.Limits, Limit{x.max, reg.o.Time(x.ns), x.ns, x.seq})
	}
}
