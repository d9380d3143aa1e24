package listeners

// This file takes what is found out of connections, for their listeners.

import (
	"cmp"
	"fmt"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// ListensAt gives the listener of a port, 0 if it is not known.
func (reg *Registry) ListensAt(p conntrack.Port) conntrack.Ref {
	if l := reg.atPort(p); l != nil {
		return l.ref
	}
	return 0
}

// ListenedAtEnd is of [conntrack.Listeners].
func (reg *Registry) ListenedAtEnd(ref conntrack.Ref, port uint16) bool {
	l := reg.byRef[ref]
	return l.snap.ended && l.addr.Port() == port
}

// Stood is of [conntrack.Listeners].
func (reg *Registry) Stood(ref conntrack.Ref) {
	if l := reg.byRef[ref]; l != nil && !reg.o.Bare {
		if l.crowd == nil {
			l.crowd = &crowd{}
		}
		l.crowd.stood()
	}
}

// Waited is of [conntrack.Listeners].
func (reg *Registry) Waited(ref conntrack.Ref, e *format.Event, sinceNS int64, accepted uint64, atLeast bool) {
	l := reg.byRef[ref]
	if reg.o.Bare || l.life == nil && !atLeast {
		return
	}
	reg.life(l).waited(sinceNS, l.accepted-accepted, e, atLeast)
	l.joined(e, sinceNS)
}

// Ended is of [conntrack.Listeners].
func (reg *Registry) Ended(c *conntrack.Connection) {
	l := reg.byRef[c.ListenerRef]
	if waited, _ := c.InQueue(); l != nil && waited >= findings.SlowNS {
		from := cmp.Or(c.QueuedNS, reg.startNS)
		reg.meanwhile.Wait(meanwhile.Key{NetNS: l.key.netns, Listener: l.key.inode}, from, from+waited)
	}
	switch {
	case l == nil, reg.o.Bare:
	case c.End == conntrack.EndRefused:
		l.life.NeverIn++
	case c.ID != 0:
		if l.life != nil {
			l.life.ended(c)
			l.fared(c)
		}
		if l.crowd != nil {
			l.crowd.ended(c)
		}
	case c.End.Waiting(): // all the time
		reg.life(l).ended(c)
	}
}

// Looked takes what the recorder saw of threads when it looked at them.
func (reg *Registry) Looked(b *format.Batch) { reg.meanwhile.Batch(b) }

// FullOfRecords reports whether there was no memory for all of that.
func (reg *Registry) FullOfRecords() bool { return reg.meanwhile.Limited() }

// Meanwhile is what the threads of servers did while clients waited for them.
func (reg *Registry) Meanwhile() []meanwhile.Seen { return reg.meanwhile.Results() }

// Name gives a connection the names of its listener, and of who accepted it.
func (reg *Registry) Name(c *conntrack.Connection) {
	if l := reg.byRef[c.ListenerRef]; l != nil && l.key.inode != 0 {
		c.Listener, c.ListenAddr, c.ListenOwner = l.key.inode, l.name(), l.owned
	}
	if p := reg.procByRef[c.ProcessRef]; p != nil {
		c.PID, c.Proc, c.Comm = p.key.pid, p.key.num, cmp.Or(reg.recordOf(p.key.num).Comm, p.comm)
		c.Process = reg.records[p.key.num]
	}
	if l := reg.byRef[c.MovedFromRef]; l != nil {
		c.MovedFrom = l.name()
		if l.key.inode != 0 {
			c.MovedFrom += fmt.Sprintf(", socket %d", l.key.inode)
		}
	}
}

// fared counts how a connection fared that was accepted and seen to end.
func (l *listener) fared(c *conntrack.Connection) {
	if c.AcceptedSeq == 0 || c.ClosedSeq == 0 {
		return
	}
	x := &l.life.Outcomes
	x.Ended++
	if c.BytesOut > 0 {
		x.Answered++
	}
	switch c.Outcome() {
	case conntrack.OutcomeTurnedAway:
		x.Turned++
		x.TurnedAt.Note(c.ClosedSeq, c.ClosedNS, c.ServedNS)
	case conntrack.OutcomeUnread:
		x.Unread++
		x.UnreadAt.Note(c.ClosedSeq, c.ClosedNS, c.ServedNS)
	case conntrack.OutcomeUnanswered:
		x.Unanswered++
		ns := cmp.Or(c.ClientEndNS, c.EndNS) - c.AcceptedNS
		if c.GoneNS != 0 && c.GoneNS <= c.AcceptedNS || ns <= 0 {
			x.UnansweredGone++
			ns = 0
		} else {
			if !x.Waited.On() && l.detailed {
				x.Waited = stats.NewHistogram(2)
			}
			x.Waited.Record(ns)
		}
		x.UnansweredAt.Note(c.ClosedSeq, c.ClosedNS, ns)
	case conntrack.OutcomeProbe:
		x.Probes++
	}
	if c.Read == format.ReadAll || c.Read == format.ReadPart || c.Read == format.ReadUnknown && c.BytesOut > 0 {
		x.Served++
	}
}
