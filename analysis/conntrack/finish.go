package conntrack

// This file ends the following of a connection, and makes what is given of it.

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// finish gives a connection and forgets it. The end is worked out unless it is given.
func (t *Tracker) finish(c *conn, end End) error {
	x := c.rare
	switch {
	case x != nil && x.failed:
		end = EndAccept
	case x != nil && x.dropSeq != 0:
		end = EndListener
	case x != nil && x.closed:
		end = endOf(x.end.oldState, x.end.sockErr, x.end.shutdown, c.served())
	}
	if end.Open() && (x == nil || x.left == nil) {
		t.unsure++
	}
	t.fill(c, end)
	o := &t.out
	t.totals.Seen++
	t.count(c.acceptSeq != 0, end)
	if c.first == 0 { // nothing happened to it
		t.totals.Before++
		if end != EndNotRecorded {
			t.totals.Silent++
		}
		switch end {
		case EndGone:
			t.totals.SilentGone++
		case EndWaiting, EndWaitingCut:
			t.totals.SilentWaiting++
			if end == EndWaiting {
				t.totals.Waiting++
				t.totals.NeverAccepted++
				t.never.RecordBound(o.InQueue())
			}
		}
	} else {
		t.sum(c, o)
	}
	t.o.Listeners.Ended(o)
	var err error
	if t.o.Emit != nil {
		err = t.o.Emit(o)
	}
	t.remove(c)
	return err
}

// served reports whether a program had a connection that closed, and could write to it.
func (c *conn) served() bool {
	accepted := c.acceptSeq != 0 && c.state != format.StateClosed // else it was dead on arrival
	return accepted || c.rare.end.inode != 0 || c.rare.end.oldState == format.StateLastAck
}

func (t *Tracker) count(accepted bool, end End) {
	*t.ends.of(end)++
	if accepted {
		t.totals.Accepted++
	}
}

// sum adds a connection to totals and quantiles.
func (t *Tracker) sum(c *conn, o *Connection) {
	n := &t.totals
	switch {
	case o.Before && c.listed:
		n.Before++
	case o.Before:
		t.unlisted++
	case o.BeginUnknown:
		n.BeginUnknown++
	}
	if o.QueuedSeq != 0 {
		n.Queued++
	}
	if o.ClosedSeq != 0 {
		n.Closed++
	}
	if o.Dead {
		n.Dead++
	}
	waited, atLeast := o.InQueue()
	switch {
	case o.AcceptedSeq != 0 || o.QueuedSeq == 0 && !atLeast || !o.End.Known() || o.End == EndWaitingCut:
	case o.AcceptUnknown && o.End != EndListener && o.End != EndWaiting:
	default:
		if o.End == EndWaiting {
			n.Waiting++
		}
		n.NeverAccepted++
		if waited >= 0 {
			t.never.RecordBound(waited, atLeast)
		}
	}
	if o.HandshakeNS >= 0 {
		t.shakes.Record(o.HandshakeNS)
	}
	if waited >= 0 && o.AcceptedSeq != 0 {
		t.queue.RecordBound(waited, atLeast)
	}
	if o.AliveNS >= 0 && o.ClosedSeq != 0 {
		t.alive.Record(o.AliveNS)
	}
	if o.ServedNS >= 0 {
		t.served.Record(o.ServedNS)
	}
	if o.ServerEndNS != 0 {
		t.closing.Record(o.ClosedNS - o.ServerEndNS)
	}
	switch o.Outcome() {
	case OutcomeTurnedAway:
		n.TurnedAway++
	case OutcomeUnread:
		n.Unread++
	case OutcomeUnanswered:
		n.Unanswered++
	case OutcomeProbe:
		n.Probes++
	}
}

// fill makes what is given of a connection.
func (t *Tracker) fill(c *conn, end End) {
	k := &c.key
	o := &t.out
	*o = Connection{
		ID: c.first, NetNS: k.netns, Local: netip.AddrPortFrom(k.local, k.lport),
		Remote: netip.AddrPortFrom(k.remote, k.rport), Cookie: c.cookie,
		Inode: c.inode, Before: c.before, BeginUnknown: c.headless, StartNS: t.o.StartNS,
		QueuedNS:  c.queuedNS,
		QueuedSeq: c.queuedSeq, AcceptedNS: c.acceptNS, AcceptedSeq: c.acceptSeq,
		EnterNS: c.enterNS, EnterSeq: c.enterSeq, HandshakeNS: -1, QueueWaitNS: -1, AliveNS: -1, DeadNS: -1,
		ServedNS: -1,
		TID:      c.tid, Via: c.via, Ret: c.ret, Mark: c.mark, Cause: c.cause, StateAtAccept: c.state,
		TaskNetNS: c.taskNetNS, SockFD: c.sockfd, Uring: c.uring, UringEnd: c.uringEnd, End: end,
		ListenerRef: c.listener, ProcessRef: c.process,
	}
	if c.queuedSeq != 0 && c.mark&(format.MarkFastOpen|format.MarkDeferred) == 0 {
		o.EstablishedNS = c.queuedNS
	}
	if c.handshake != 0 && c.queuedSeq != 0 {
		ns := int64(c.handshake) * 1000
		o.SynNS = c.queuedNS - ns
		if c.mark&format.MarkDeferred == 0 { // else it was the data that took so long
			o.HandshakeNS = ns
		}
	}
	if end.Known() {
		o.EndNS = t.endNS
	}
	if x := c.rare; x != nil {
		t.fillRare(o, x)
	}
	o.AcceptUnknown = o.AcceptedSeq == 0 && (t.o.Blind || t.o.Partly || t.acceptMissing(c))
	t.fillDurations(o, c)
}

// fillDurations works out how long a connection waited, lived, and was dead before it was accepted.
func (t *Tracker) fillDurations(o *Connection, c *conn) {
	began := c.queuedNS
	switch end := o.End; {
	case c.queuedSeq != 0 && c.acceptSeq != 0:
		o.QueueWaitNS = max(c.acceptNS-c.queuedNS, 0)
	case o.AcceptUnknown && end != EndListener && !end.Waiting():
	case c.queuedSeq != 0 && o.EndNS != 0:
		o.QueueWaitNS = max(o.EndNS-c.queuedNS, 0)
	case c.before: // since when, is not known
		if (c.inQueue || c.unowned && c.acceptSeq != 0) && o.AcceptedNS+o.EndNS != 0 {
			o.WaitedNS = max(cmp.Or(c.acceptNS, o.EndNS)-t.o.StartNS, 0)
		}
	case c.queuedSeq == 0:
		began = c.acceptNS
	}
	if began != 0 && o.EndNS != 0 {
		o.AliveNS = max(o.EndNS-began, 0)
	}
	if o.Dead = c.acceptSeq != 0 && c.state == format.StateClosed; o.Dead && o.ClosedSeq != 0 {
		o.DeadNS = max(c.acceptNS-o.ClosedNS, 0)
	}
	if o.AcceptedSeq != 0 && o.ClosedSeq != 0 && !o.Dead {
		o.ServedNS = max(o.ServerDone()-o.AcceptedNS, 0)
	}
}

// acceptMissing reports whether the accept of a connection, which has no event of it, can be
// in a part of the capture that is missing, or whether it must be: only a program sends, or
// closes its side first.
func (t *Tracker) acceptMissing(c *conn) bool {
	switch x := c.rare; {
	case x == nil, !x.closed, x.dropSeq != 0, x.failed:
		return false
	case c.headless:
		return true
	case c.queuedSeq == 0 && !c.inQueue:
		return false
	}
	if c.skips != t.skips || t.cut && t.ending {
		return true
	}
	x := &c.rare.end
	switch x.oldState {
	case format.StateFinWait1, format.StateFinWait2, format.StateClosing, format.StateLastAck:
		return t.lostOut
	}
	return t.lostOut && x.out > 0
}

func (t *Tracker) fillRare(o *Connection, x *rare) {
	if x.establishedNS != 0 {
		o.EstablishedNS = x.establishedNS
	}
	o.GoneNS, o.GoneSeq, o.DropSeq = x.goneNS, x.goneSeq, x.dropSeq
	x.refusal.fill(o)
	o.MovedNS, o.MovedSeq, o.Moves, o.MovedFromRef = x.movedNS, x.movedSeq, x.moves, x.movedFrom
	o.Lost, o.LostBy = x.dropCause, x.dropBy
	if s := x.left; s != nil {
		o.LeftState, o.Retransmits, o.SRTTUS, o.Counted = s.State, s.Retransmits, s.SRTTUS, s.Counted
		o.BytesIn, o.BytesOut = s.StreamBytes()
		o.Holders, o.MoreHolders, o.HoldersKnown = s.Holders, s.MoreHolders, s.HoldersKnown
	}
	if x.dropSeq != 0 {
		o.EndNS = x.dropNS
	}
	if !x.closed {
		return
	}
	e := &x.end
	o.ClosedSeq, o.ClosedNS, o.OldState, o.SockErr, o.Read = e.seq, e.ns, e.oldState, e.sockErr, e.read
	o.SegsIn, o.SegsOut, o.Retransmits, o.SRTTUS, o.MinRTTUS = e.segsIn, e.segsOut, e.retransmits, e.srttUS, e.minRTTUS
	o.BytesIn, o.BytesOut, o.Counted = e.in, e.out, true
	o.ServerEndNS, o.ClientEndNS, o.Unacked = e.serverNS, e.clientNS, e.unacked
	if x.dropSeq == 0 {
		o.EndNS = e.ns
	}
	if o.Inode == 0 {
		o.Inode = e.inode
	}
}

// Close gives all connections that did not end. Cut says that the capture stops before its end.
func (t *Tracker) Close(endNS int64, cut bool) error {
	t.endNS, t.ending, t.cut = endNS, true, cut
	var rest []*conn
	for c := t.open.head.next; c != &t.open.head && c != nil; c = c.next {
		rest = append(rest, c)
	}
	t.pending = t.ended.n
	for c := t.ended.head.next; c != &t.ended.head && c != nil; c = c.next {
		rest = append(rest, c)
	}
	slices.SortFunc(rest, func(a, b *conn) int { return cmp.Compare(a.first, b.first) })
	for _, c := range rest {
		if err := t.finish(c, t.leftAs(c)); err != nil {
			return err
		}
	}
	return t.neverQueued()
}
