package listeners

// This file takes the events of connections and of listeners, for the listener that they are of.

import (
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Spot is where an event happened.
type Spot struct {
	Listener conntrack.Ref // 0: not known
	Accepted uint64        // so many connections the listener had accepted
	By       string        // name[pid] of who stopped it, where that lost the connection of the event; "" not known
}

// BeyondAccept says that there are events beyond accept.
func (reg *Registry) BeyondAccept() { reg.live = true }

// at finds the listener of an event of a connection.
func (reg *Registry) at(e *format.Event) *listener {
	if e.Listener != 0 {
		return reg.find(e)
	}
	return reg.atPort(conntrack.Port{NetNS: e.NetNS, Port: e.LPort})
}

// Life takes an event of a connection's life, or of a listener's, and gives its spot.
func (reg *Registry) Life(e *format.Event) Spot {
	l := reg.at(e)
	if e.Kind == format.Drop && l == nil {
		l = reg.none
	}
	if l == nil {
		return Spot{}
	}
	if l.idle {
		reg.wake(l)
	}
	spot := Spot{Listener: l.ref, Accepted: l.accepted}
	switch e.Kind {
	case format.Queued:
		f := reg.life(l)
		if e.Cause != format.CauseMoved {
			f.Queued++
			if l.addr.IsValid() && l.addr.Port() != e.LPort {
				l.steered++
			}
		}
		l.look(e, e.Backlog+1) // the probe runs before the connection is put in
	case format.Drop:
		if e.Hook == format.HookChildForget {
			spot.By = reg.forgot(l, e)
		} else {
			reg.refused(l, e)
		}
	case format.Listen:
		if e.Hook != format.HookInetListen && l.began == 0 {
			l.began = e.Seq
			l.opens(e, reg.isRecorder(e.Proc))
		}
		l.listens(e)
	case format.Stop:
		l.stopped(e)
	}
	return spot
}

// forgot takes a connection that a listener lost when it stopped, and says who stopped it.
func (reg *Registry) forgot(l *listener, e *format.Event) (by string) {
	f := reg.life(l)
	by = l.stop.who(e.Cause)
	if f.Lost++; f.Lost == 1 {
		f.LostCause, f.LostBy = e.Cause, by
	}
	if f.LostCause != e.Cause {
		f.LostCause = 0
	}
	if f.LostBy != by {
		f.LostBy = ""
	}
	if e.State == format.StateCloseWait {
		f.LostQuit++
	}
	f.LostAt.Note(e.Seq, e.BootNS, 0)
	l.raise(high{queueBefore(e), e.BacklogMax, e.BootNS, e.Seq})
	l.look(e, e.Backlog)
	return by
}

// refused takes a packet of a new client that a listener dropped, because a queue was full.
func (reg *Registry) refused(l *listener, e *format.Event) {
	f := reg.life(l)
	l.marks.Note(findings.QueueOverflow, e.Seq, e.BootNS, int64(e.Backlog))
	if f.LimitHigh = max(f.LimitHigh, e.BacklogMax); f.SYNs+f.ACKs+f.SYNQueue == 0 || e.BacklogMax < f.LimitLow {
		f.LimitLow = e.BacklogMax
	}
	switch {
	case e.Mark&format.MarkSynQueue != 0:
		f.SYNQueue++
		return
	case e.Hook == format.HookSynRecv:
		f.ACKs++
		if e.Cause == format.CauseAborted {
			f.Aborted++
		}
	default:
		f.SYNs++
	}
	l.look(e, e.Backlog)
}

// RefusedFirst counts a client of which a packet was dropped for the first time.
func (reg *Registry) RefusedFirst(ref conntrack.Ref) { reg.life(reg.byRef[ref]).Clients++ }

// Tried takes for how long a connection had been refused until it was queued.
func (reg *Registry) Tried(ref conntrack.Ref, ns int64) {
	l := reg.byRef[ref]
	if l == nil {
		return
	}
	f := reg.life(l)
	if !f.Tried.On() && l.detailed {
		f.Tried = stats.NewHistogram(2)
	}
	f.Tried.Record(ns)
}
