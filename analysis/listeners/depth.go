package listeners

// This file keeps the length of an accept queue over time, and when it was full.

import (
	"cmp"
	"time"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// fineBuckets is how many pieces the length of a queue is drawn from, at most; there
// are half as many at least, if the recording lasts half a second.
const fineBuckets = 512

// depth follows the length of an accept queue over time: between two events it is what
// it was. Where not all that changes it is recorded, that is the least that it can have
// been, so of what one event left and what the next one found, the smaller counts.
type depth struct {
	level        uint32 // since the last event that tells it
	sinceNS      int64
	coarse, fine stats.Series
}

func newDepth(startNS int64, coarse stats.Series) depth {
	d := depth{sinceNS: startNS, coarse: coarse, fine: stats.NewSeries(startNS, int64(time.Millisecond), fineBuckets)}
	d.coarse.Peak, d.fine.Peak = true, true
	return d
}

// carry takes the length that the queue had just before a time.
func (d *depth) carry(ns int64, before uint32) {
	if n := min(d.level, before); n > 0 && ns > d.sinceNS {
		d.coarse.Raise(d.sinceNS, ns, uint64(n))
		d.fine.Raise(d.sinceNS, ns, uint64(n))
	}
	d.sinceNS = max(d.sinceNS, ns)
}

// set takes the length that it has from then on.
func (d *depth) set(ns int64, level uint32) {
	d.level = level
	if level > 0 {
		d.coarse.Raise(ns, ns, uint64(level))
		d.fine.Raise(ns, ns, uint64(level))
	}
}

// queueBefore is the length of the listener's queue just before an event.
func queueBefore(e *format.Event) uint32 {
	if e.Kind == format.Return && (e.Accepted() || e.Mark&format.MarkClientLost != 0) || e.Kind == format.Drop &&
		e.Hook == format.HookChildForget {
		return e.Backlog + 1 // it is taken out already
	}
	return e.Backlog
}

// lastDepths carries the lengths of queues on to the end of the recording.
func (reg *Registry) lastDepths() {
	for _, l := range reg.all {
		if l.snap.end > 0 {
			l.raise(high{n: l.snap.end, max: cmp.Or(l.snap.endLimit, l.queueMax, unknownLimit), ns: reg.endNS})
		}
		if !l.detailed {
			continue
		}
		final := l.depth.level
		if l.snap.ended || reg.listed || reg.blind {
			final = l.snap.end // 0 if it was gone
		}
		l.depth.carry(reg.endNS, final)
	}
}
