package analysis

import (
	"cmp"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// port is where a listener listens.
type port struct {
	netns uint32
	port  uint16
}

// life is what the events of connections tell of a listener.
type life struct {
	blind    bool // accepts are not recorded
	queued   uint64
	waits    stats.Histogram // in the accept queue, of the accepted
	over     uint64          // of them, slowNS or longer
	slow     uint64          // of those, not because the server had others to take
	slower   uint64          // of them, slowerNS or longer
	worst    stats.Worst     // of them, the longest
	stuck    uint64          // not accepted by the end
	oldestNS int64           // the longest of those
	stuckAt  stats.Mark      // when they were queued
	quit     uint64          // of them, the client has closed its side
	lateGone uint64          // of the accepted, waited goneNS or longer, and the peer had closed its side
	lateDead uint64          // of the accepted, dead already, waited slowNS or longer
	closedIn uint64          // ended in the queue, never accepted
	left     uint64          // of them, and of those lost, slowNS or later
	leftLost uint64          // of them, lost with the listener
	leftNS   int64           // the longest in the queue of all of these
	leftAt   stats.Mark      // their ends

	oldestAtLeast, leftAtLeast bool       // the longest began before the recording
	gone                       stats.Mark // the accepted that had given up
	lost                       uint64     // when it was closed
	lostAt                     stats.Mark
	lostQuit                   uint64          // of them, the client had closed its side
	syns                       uint64          // refused: at the SYN
	acks                       uint64          // at the last ACK
	synQueue                   uint64          // at the SYN, the SYN queue was full
	clients                    uint64          // connections that were refused at least once
	neverIn                    uint64          // of them, not queued by the end
	tried                      stats.Histogram // of the others, until they were queued
	aborted                    uint64          // of acks, answered with a reset
	lostClosed, lostShut       uint64          // of lost, the listener was closed, or only stopped listening
	limit, limitHigh           uint32          // the least and the largest when they were
	begun                      bool            // what it was at the start is in what follows
	startNS                    int64
	full                       bool
	sinceNS                    int64
	lastNS                     int64
	fullNS                     int64 // how long the queue was full
	longestNS                  int64 // without a break
	fullAtNS                   int64 // when the longest began
}

// waited notes a connection that was accepted after it had been queued. others were
// accepted meanwhile: a wait behind them, who were taken quickly, is of a server that has
// much to do. atLeast: it was queued at that time or before.
func (f *life) waited(queuedNS int64, others uint64, e *format.Event, atLeast bool) {
	ns := max(e.BootNS-queuedNS, 0)
	if !e.Accepted() {
		return
	}
	f.waits.RecordBound(ns, atLeast)
	if ns >= slowNS {
		f.over++
	}
	if ns >= slowNS && (ns >= slowerNS/2 || ns/int64(others+1) >= paceNS) {
		f.slow++
		f.worst.Add(e.Seq, e.BootNS, ns)
	}
	if ns >= slowerNS {
		f.slower++
	}
	if e.State == format.StateClosed && ns >= slowNS {
		f.lateDead++
	}
	if e.State == format.StateCloseWait && ns >= goneNS {
		f.lateGone++
		f.gone.Note(e.Seq, e.BootNS, ns)
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
	f.fullNS += d
	if d > f.longestNS {
		f.longestNS, f.fullAtNS = d, f.sinceNS
	}
}

// ended notes a connection that is told of.
func (f *life) ended(c *Connection) {
	ns, atLeast := c.InQueue()
	switch {
	case ns < 0 || c.AcceptedSeq != 0 || c.AcceptUnknown && !c.End.Waiting() && c.End != EndListener:
	case c.End.Waiting():
		if c.GoneSeq != 0 || c.LeftState == format.StateCloseWait {
			f.quit++
		}
		if f.stuck++; f.stuck == 1 || ns > f.oldestNS {
			f.oldestNS, f.oldestAtLeast = ns, atLeast
		}
		if c.QueuedSeq != 0 && ns >= slowNS {
			f.stuckAt.Note(c.QueuedSeq, c.QueuedNS, ns)
		}
	case c.End == EndListener:
		f.leave(c, c.DropSeq)
	case c.End.Known() && c.End != EndAccept:
		f.closedIn++
		f.leave(c, c.ClosedSeq)
	}
}

// leave notes a connection that left the queue without being accepted.
func (f *life) leave(c *Connection, seq uint64) {
	ns, atLeast := c.InQueue()
	if ns > f.leftNS {
		f.leftNS, f.leftAtLeast = ns, atLeast
	}
	if ns >= slowNS {
		f.left++
		if c.End == EndListener {
			f.leftLost++
		}
		f.leftAt.Note(seq, c.EndNS, ns)
	}
}

// life gives what events of connections tell of a listener.
func (ps *places) life(l *listener) *life {
	if l.life == nil {
		l.life = &life{blind: ps.blind, startNS: ps.startNS}
		if l.detailed {
			l.life.waits = stats.NewHistogram(2)
		}
	}
	return l.life
}

// at finds the listener of an event of a connection.
func (ps *places) at(e *format.Event) *listener {
	if e.Listener != 0 {
		return ps.find(e)
	}
	return ps.ports[port{e.NetNS, e.LPort}]
}

// live takes an event of a connection's life.
func (a *Analyzer) live(e *format.Event) error {
	a.conns.start()
	l := a.places.at(e)
	if l != nil && l.idle {
		a.places.wake(l)
	}
	switch e.Kind {
	case format.Queued:
		if e.Cause == format.CauseMoved {
			if l != nil {
				a.places.life(l)
				l.look(e, e.Backlog+1)
			}
			return a.conns.moved(e, l)
		}
		if l != nil {
			a.places.life(l).queued++
			if l.addr.IsValid() && l.addr.Port() != e.LPort {
				l.steered++
			}
			l.look(e, e.Backlog+1) // the probe runs before the connection is put in
		}
		return a.conns.queued(e, l)
	case format.Closed:
		return a.conns.closed(e, l)
	case format.State:
		a.conns.state(e)
	case format.Drop:
		return a.dropped(e, l)
	case format.Listen:
		if l == nil {
			break
		}
		if e.Hook != format.HookInetListen && l.began == 0 {
			l.began = e.Seq
			a.listening.note(l, e)
		}
		l.listens(e)
	}
	return nil
}

// dropped takes a connection that a listener refused or lost.
func (a *Analyzer) dropped(e *format.Event, l *listener) error {
	if l == nil {
		l = a.places.none
	}
	f := a.places.life(l)
	if e.Hook == format.HookChildForget {
		f.lost++
		switch e.Cause {
		case format.CauseListenerClosed:
			f.lostClosed++
		case format.CauseListenerShut:
			f.lostShut++
		}
		if e.State == format.StateCloseWait {
			f.lostQuit++
		}
		f.lostAt.Note(e.Seq, e.BootNS, 0)
		l.raise(high{queueBefore(e), e.BacklogMax, e.BootNS, e.Seq})
		l.look(e, e.Backlog)
		return a.conns.forgotten(e, l)
	}
	l.marks.note(queueOverflow, e.Seq, e.BootNS, int64(e.Backlog))
	if f.limitHigh = max(f.limitHigh, e.BacklogMax); f.syns+f.acks+f.synQueue == 0 || e.BacklogMax < f.limit {
		f.limit = e.BacklogMax
	}
	switch {
	case e.Mark&format.MarkSynQueue != 0:
		f.synQueue++
	case e.Hook == format.HookSynRecv:
		f.acks++
		if e.Cause == format.CauseAborted {
			f.aborted++
		}
		l.look(e, e.Backlog)
	default:
		f.syns++
		l.look(e, e.Backlog)
	}
	return a.conns.refused(e, l)
}
