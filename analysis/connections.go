package analysis

// This file gives listeners what is found out of their connections.

import (
	"cmp"
	"fmt"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// listensAt gives the listener of a port, 0 if it is not known.
func (ps *places) listensAt(p conntrack.Port) conntrack.Ref { return ps.ports[p].refOr0() }

// ListenedAtEnd is of [conntrack.Listeners].
func (ps *places) ListenedAtEnd(ref conntrack.Ref, port uint16) bool {
	l := ps.byRef[ref]
	return l.snap.ended && l.addr.Port() == port
}

// Waited is of [conntrack.Listeners].
func (ps *places) Waited(ref conntrack.Ref, e *format.Event, sinceNS int64, accepted uint64, atLeast bool) {
	l := ps.byRef[ref]
	if l.life == nil && !atLeast {
		return
	}
	ps.life(l).waited(sinceNS, l.accepted-accepted, e, atLeast)
	l.joined(e, sinceNS)
}

// Ended is of [conntrack.Listeners].
func (ps *places) Ended(c *conntrack.Connection) {
	l := ps.byRef[c.ListenerRef]
	switch {
	case l == nil:
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
		ps.life(l).ended(c)
	}
}

// name gives a connection the names of its listener, and of who accepted it.
func (ps *places) name(c *conntrack.Connection) {
	if l := ps.byRef[c.ListenerRef]; l != nil && l.key.inode != 0 {
		c.Listener, c.ListenAddr, c.ListenOwner = l.key.inode, l.name(), l.owned
	}
	if p := ps.procByRef[c.ProcessRef]; p != nil {
		c.PID, c.Proc, c.Comm = p.key.pid, p.key.num, cmp.Or(ps.recordOf(p.key.num).Comm, p.comm)
		c.Process = ps.records[p.key.num]
	}
	if l := ps.byRef[c.MovedFromRef]; l != nil {
		c.MovedFrom = l.name()
		if l.key.inode != 0 {
			c.MovedFrom += fmt.Sprintf(", socket %d", l.key.inode)
		}
	}
}

// refOr0 is the listener's ref; 0 of none.
func (l *listener) refOr0() conntrack.Ref {
	if l == nil {
		return 0
	}
	return l.ref
}

// acceptedOr0 is how many a listener accepted; 0 of none.
func (l *listener) acceptedOr0() uint64 {
	if l == nil {
		return 0
	}
	return l.accepted
}

// tried takes for how long a connection had been refused until it was queued.
func (l *listener) tried(ns int64) {
	if !l.life.Tried.On() && l.detailed {
		l.life.Tried = stats.NewHistogram(2)
	}
	l.life.Tried.Record(ns)
}

// fared counts how a connection fared that was accepted and seen to end.
func (l *listener) fared(c *conntrack.Connection) {
	if c.AcceptedSeq == 0 || c.ClosedSeq == 0 {
		return
	}
	x := &l.life.Outcomes
	ns := max(c.ClosedNS-c.AcceptedNS, 0)
	x.Ended++
	if c.BytesOut > 0 {
		x.Answered++
	}
	switch c.Outcome() {
	case conntrack.OutcomeTurnedAway:
		x.Turned++
		x.TurnedAt.Note(c.ClosedSeq, c.ClosedNS, ns)
	case conntrack.OutcomeUnread:
		x.Unread++
		x.UnreadAt.Note(c.ClosedSeq, c.ClosedNS, ns)
	case conntrack.OutcomeUnanswered:
		if x.Unanswered++; !x.Waited.On() && l.detailed {
			x.Waited = stats.NewHistogram(2)
		}
		x.Waited.Record(ns)
		x.UnansweredAt.Note(c.ClosedSeq, c.ClosedNS, ns)
	case conntrack.OutcomeProbe:
		x.Probes++
	}
	if c.Read == format.ReadAll || c.Read == format.ReadPart || c.Read == format.ReadUnknown && c.BytesOut > 0 {
		x.Served++
	}
}
