package analysis

// This file ends the following of a connection, and makes what is given of it.

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// finish tells of a connection and forgets it. The end is worked out unless it is given.
func (cs *conns) finish(c *conn, end End) error {
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
		cs.unsure++
	}
	cs.fill(c, end)
	o := &cs.out
	cs.totals.Seen++
	cs.count(c.acceptSeq != 0, end)
	if c.first == 0 { // nothing happened to it
		cs.totals.Before++
		if end != EndNotRecorded {
			cs.totals.Silent++
		}
		switch end {
		case EndGone:
			cs.totals.SilentGone++
		case EndWaiting, EndWaitingCut:
			cs.totals.SilentWaiting++
			if end == EndWaiting {
				cs.totals.Waiting++
				cs.totals.NeverAccepted++
				cs.never.RecordBound(o.InQueue())
			}
			if c.listener != nil {
				cs.ps.life(c.listener).ended(o)
			}
		}
	} else {
		cs.sum(c, o)
	}
	var err error
	if cs.emit != nil {
		err = cs.emit(o)
	}
	cs.remove(c)
	return err
}

// served reports whether a program had a connection that closed, and could write to it.
func (c *conn) served() bool {
	accepted := c.acceptSeq != 0 && c.state != format.StateClosed // else it was dead on arrival
	return accepted || c.rare.end.inode != 0 || c.rare.end.oldState == format.StateLastAck
}

func (cs *conns) count(accepted bool, end End) {
	cs.ends[end]++
	if accepted {
		cs.totals.Accepted++
	}
}

// sum adds a connection that is told of to totals and quantiles.
func (cs *conns) sum(c *conn, o *Connection) {
	t := &cs.totals
	switch {
	case o.Before && c.listed:
		t.Before++
	case o.Before:
		cs.unlisted++
	case o.BeginUnknown:
		t.BeginUnknown++
	}
	if o.QueuedSeq != 0 {
		t.Queued++
	}
	if o.ClosedSeq != 0 {
		t.Closed++
	}
	if o.Dead {
		t.Dead++
	}
	waited, atLeast := o.InQueue()
	switch {
	case o.AcceptedSeq != 0 || o.QueuedSeq == 0 && !atLeast || !o.End.Known() || o.End == EndWaitingCut:
	case o.AcceptUnknown && o.End != EndListener && o.End != EndWaiting:
	default:
		if o.End == EndWaiting {
			t.Waiting++
		}
		t.NeverAccepted++
		if waited >= 0 {
			cs.never.RecordBound(waited, atLeast)
		}
	}
	if o.HandshakeNS >= 0 {
		cs.shakes.Record(o.HandshakeNS)
	}
	if waited >= 0 && o.AcceptedSeq != 0 {
		cs.queue.RecordBound(waited, atLeast)
	}
	if o.AliveNS >= 0 && o.ClosedSeq != 0 {
		cs.alive.Record(o.AliveNS)
	}
	if o.AcceptedSeq != 0 && o.ClosedSeq != 0 && !o.Dead {
		cs.served.Record(max(o.ClosedNS-o.AcceptedNS, 0))
	}
	if l := c.listener; l != nil {
		if l.life != nil {
			l.life.ended(o)
		}
		if l.crowd != nil {
			l.crowd.ended(o)
		}
	}
	cs.fared(o, c.listener)
}

// fill makes what is told of a connection.
func (cs *conns) fill(c *conn, end End) {
	k := &c.key
	o := &cs.out
	*o = Connection{
		ID: c.first, NetNS: k.netns, Local: netip.AddrPortFrom(k.local, k.lport),
		Remote: netip.AddrPortFrom(k.remote, k.rport), Cookie: c.cookie,
		Inode: c.inode, Before: c.before, BeginUnknown: c.headless, StartNS: cs.ps.startNS, QueuedNS: c.queuedNS,
		QueuedSeq: c.queuedSeq, AcceptedNS: c.acceptNS, AcceptedSeq: c.acceptSeq,
		EnterNS: c.enterNS, EnterSeq: c.enterSeq, HandshakeNS: -1, QueueWaitNS: -1, AliveNS: -1, DeadNS: -1,
		TID: c.tid, Via: c.via, Ret: c.ret, Mark: c.mark, Cause: c.cause, StateAtAccept: c.state,
		TaskNetNS: c.taskNetNS, SockFD: c.sockfd, Uring: c.uring, UringEnd: c.uringEnd, End: end, listener: c.listener,
	}
	if l := c.listener; l != nil && l.key.inode != 0 {
		o.Listener, o.ListenAddr, o.ListenOwner = l.key.inode, l.name(), l.owned
	}
	if p := c.process; p != nil {
		o.PID, o.Proc, o.Comm = p.key.pid, p.key.num, cmp.Or(cs.ps.recordOf(p.key.num).Comm, p.comm)
		o.Process = cs.ps.records[p.key.num]
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
		o.EndNS = cs.endNS
	}
	if x := c.rare; x != nil {
		cs.fillRare(o, x)
	}
	o.AcceptUnknown = o.AcceptedSeq == 0 && (cs.blind || cs.acceptMissing(c))
	cs.fillDurations(o, c)
}

// fillDurations works out how long a connection waited, lived, and was dead before it was accepted.
func (cs *conns) fillDurations(o *Connection, c *conn) {
	began := c.queuedNS
	switch end := o.End; {
	case c.queuedSeq != 0 && c.acceptSeq != 0:
		o.QueueWaitNS = max(c.acceptNS-c.queuedNS, 0)
	case o.AcceptUnknown && end != EndListener && !end.Waiting():
	case c.queuedSeq != 0 && o.EndNS != 0:
		o.QueueWaitNS = max(o.EndNS-c.queuedNS, 0)
	case c.before: // since when, is not known
		if (c.inQueue || c.unowned && c.acceptSeq != 0) && o.AcceptedNS+o.EndNS != 0 {
			o.WaitedNS = max(cmp.Or(c.acceptNS, o.EndNS)-cs.ps.startNS, 0)
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
}

// acceptMissing reports whether the accept of a connection, which has no event of it, can be
// in a part of the capture that is missing, or whether it must be: only a program sends, or
// closes its side first.
func (cs *conns) acceptMissing(c *conn) bool {
	switch x := c.rare; {
	case x == nil, !x.closed, x.dropSeq != 0, x.failed:
		return false
	case c.headless:
		return true
	case c.queuedSeq == 0 && !c.inQueue:
		return false
	}
	if c.skips != cs.skips || cs.cut && cs.ending {
		return true
	}
	x := &c.rare.end
	switch x.oldState {
	case format.StateFinWait1, format.StateFinWait2, format.StateClosing, format.StateLastAck:
		return cs.lostOut
	}
	return cs.lostOut && x.out > 0
}

func (cs *conns) fillRare(o *Connection, x *rare) {
	if x.establishedNS != 0 {
		o.EstablishedNS = x.establishedNS
	}
	o.GoneNS, o.GoneSeq, o.DropSeq = x.goneNS, x.goneSeq, x.dropSeq
	x.refusal.fill(o)
	o.MovedNS, o.MovedSeq, o.Moves, o.Lost, o.LostBy = x.movedNS, x.movedSeq, x.moves, x.dropCause,
		x.dropStop.who(x.dropCause)
	if x.movedFrom != nil {
		o.MovedFrom = x.movedFrom.name()
		if x.movedFrom.key.inode != 0 {
			o.MovedFrom += fmt.Sprintf(", socket %d", x.movedFrom.key.inode)
		}
	}
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
	if x.dropSeq == 0 {
		o.EndNS = e.ns
	}
	if o.Inode == 0 {
		o.Inode = e.inode
	}
}

// close tells of all connections that did not end.
func (cs *conns) close(endNS int64) error {
	cs.endNS, cs.ending = endNS, true
	var rest []*conn
	for c := cs.open.head.next; c != &cs.open.head && c != nil; c = c.next {
		rest = append(rest, c)
	}
	cs.pending = cs.ended.n
	for c := cs.ended.head.next; c != &cs.ended.head && c != nil; c = c.next {
		rest = append(rest, c)
	}
	slices.SortFunc(rest, func(a, b *conn) int { return cmp.Compare(a.first, b.first) })
	for _, c := range rest {
		if err := cs.finish(c, cs.leftAs(c)); err != nil {
			return err
		}
	}
	return cs.neverQueued()
}
