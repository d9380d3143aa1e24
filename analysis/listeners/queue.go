package listeners

// This file keeps what the events of connections say of a listener's accept queue.

import (
	"cmp"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// life is what the events of connections tell of a listener.
type life struct {
	findings.Queue
	begun   bool // what it was at the start is in what follows
	startNS int64
	full    bool
	sinceNS int64
	lastNS  int64
}

// waited notes a connection that was accepted after it had been queued. others were
// accepted meanwhile: a wait behind them, who were taken quickly, is of a server that has
// much to do. atLeast: it was queued at that time or before.
func (f *life) waited(queuedNS int64, others uint64, e *format.Event, atLeast bool) {
	ns := max(e.BootNS-queuedNS, 0)
	if !e.Accepted() {
		return
	}
	f.Waits.RecordBound(ns, atLeast)
	if ns >= findings.SlowNS {
		f.Over++
	}
	if ns >= findings.SlowNS && (ns >= findings.SlowerNS/2 || ns/int64(others+1) >= findings.PaceNS) {
		f.Slow++
		f.Worst.Add(e.Seq, e.BootNS, ns)
		f.SlowAt.Add(e.BootNS-ns, e.BootNS)
	}
	if ns >= findings.SlowerNS {
		f.Slower++
	}
	if e.State == format.StateClosed && ns >= findings.SlowNS {
		f.LateDead++
	}
	if e.State == format.StateCloseWait && ns >= findings.GoneNS {
		f.LateGone++
		f.Gone.Note(e.Seq, e.BootNS, ns)
	}
}

// begin notes whether the queue was full when recording began. limit is what an event says.
func (f *life) begin(l *listener, limit uint32) {
	if limit = cmp.Or(l.snap.limit, limit); !f.begun && l.snap.before && limit > 0 {
		f.depth(f.startNS, l.snap.start > limit)
		l.raise(high{n: l.snap.start, max: limit, ns: f.startNS})
	}
	f.begun = true
}

// depth notes whether the queue was full from now on.
func (f *life) depth(ns int64, full bool) {
	ns = max(ns, f.lastNS)
	f.lastNS = ns
	if full == f.full {
		return
	}
	f.full = full
	if full {
		f.sinceNS = ns
		return
	}
	f.drained(ns)
}

func (f *life) drained(ns int64) {
	d := max(ns-f.sinceNS, 0)
	f.FullAt.Add(f.sinceNS, f.sinceNS+d)
	f.FullNS += d
	if d > f.LongestNS {
		f.LongestNS, f.FullAtNS = d, f.sinceNS
	}
}

// ended notes a connection that is told of.
func (f *life) ended(c *conntrack.Connection) {
	ns, atLeast := c.InQueue()
	switch {
	case ns < 0 || c.AcceptedSeq != 0 || c.AcceptUnknown && !c.End.Waiting() && c.End != conntrack.EndListener:
	case c.End.Waiting():
		if c.GoneSeq != 0 || c.LeftState == format.StateCloseWait {
			f.Quit++
		}
		if f.Stuck++; f.Stuck == 1 || ns > f.OldestNS {
			f.OldestNS, f.OldestAtLeast = ns, atLeast
		}
		if from := cmp.Or(c.QueuedNS, f.startNS); ns >= findings.SlowNS {
			f.SlowAt.Add(from, from+ns)
		}
		if c.QueuedSeq != 0 && ns >= findings.SlowNS {
			f.StuckAt.Note(c.QueuedSeq, c.QueuedNS, ns)
		}
	case c.End == conntrack.EndListener:
		f.leave(c, c.DropSeq)
	case c.End.Known() && c.End != conntrack.EndAccept:
		f.ClosedIn++
		f.leave(c, c.ClosedSeq)
	}
}

// leave notes a connection that left the queue without being accepted.
func (f *life) leave(c *conntrack.Connection, seq uint64) {
	ns, atLeast := c.InQueue()
	if ns > f.LeftNS {
		f.LeftNS, f.LeftAtLeast = ns, atLeast
	}
	if ns >= findings.SlowNS {
		f.Left++
		if c.End == conntrack.EndListener {
			f.LeftLost++
		}
		f.LeftAt.Note(seq, c.EndNS, ns)
		f.SlowAt.Add(c.EndNS-ns, c.EndNS)
	}
}

// life gives what events of connections tell of a listener.
func (reg *Registry) life(l *listener) *life {
	if l.life == nil {
		l.life = &life{startNS: reg.startNS}
		l.life.Blind = reg.blind
		if l.detailed {
			l.life.Waits = stats.NewHistogram(2)
		}
	}
	return l.life
}
