// Package conntrack follows TCP connections from a listener's queue, or from the list of what was there when
// recording began, to their end. It takes events and gives a [Connection] for each. It knows listeners and processes
// by a [Ref] alone, and asks [Listeners] what it has to know of them.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package conntrack

// This file has the Tracker, and what it does at each kind of event.

import (
	"net/netip"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// maxEnded bounds the connections that ended before an accept that is yet to come.
const maxEnded = 1 << 15

// Ref names a listener or a process to those who keep them; 0 is none.
type Ref uint32

// Listeners are those who keep the listeners. The Tracker gives them what it finds out of each one's connections.
type Listeners interface {
	// Waited takes an accept of a connection that had been in the queue since a time, when the listener had accepted so
	// many. AtLeast: it was queued at that time or before.
	Waited(l Ref, e *format.Event, sinceNS int64, accepted uint64, atLeast bool)

	// Ended takes each connection that has ended, or is still there at the end. It is overwritten afterwards.
	Ended(c *Connection)

	// Stood takes a connection that had been accepted when recording began.
	Stood(l Ref)

	// ListenedAtEnd reports whether the list of the end has the listener, at a port.
	ListenedAtEnd(l Ref, port uint16) bool
}

// Options are the settings of a Tracker.
type Options struct {
	StartNS   int64                   // when recording began
	Max       int                     // connections at once
	Blind     bool                    // accepts are not recorded
	Partly    bool                    // not all of those of a listener are
	Causes    bool                    // the recorder is one that recorded causes
	Bare      bool                    // nobody asks for Totals: no durations are collected for them
	Listeners Listeners               // never nil
	Emit      func(*Connection) error // called with each connection, if it is not nil; it is overwritten afterwards
}

// Tracker follows connections. Events of one connection are joined by its cookie, else by addresses and ports, where a
// connection that is queued is a new one.
type Tracker struct {
	o         Options
	on        bool // there are events beyond accept
	cookies   index
	tuples    index
	bare      int  // connections without a cookie that are followed
	open      ring // not closed
	ended     ring // closed, their accept may come yet
	free      []*conn
	freeRare  []*rare
	limited   bool
	cut       bool   // the capture stops before its end
	skips     uint32 // parts of the capture that were left out so far
	ending    bool   // all events were given
	pending   int    // connections that had ended then, and can have been accepted
	unlisted  uint64 // there before, by their own events alone
	lostIn    bool   // events of connections that were queued are known to be lost
	lostOut   bool   // and returns of accept
	out       Connection
	totals    ConnectionTotals
	ends      ends
	alive     stats.Histogram
	served    stats.Histogram
	closing   stats.Histogram // from the server's close to the end
	shakes    stats.Histogram
	queue     stats.Histogram
	never     stats.Histogram // in the queue, of those that nobody accepted
	tries     stats.Histogram // of the refused, until they were queued
	endNS     int64
	refusals  map[tuple]*refusal
	final     finalList
	unsure    uint64          // that seem open, and do not stand in the list at the end
	shotNS    int64           // when the snapshot at the start was taken
	listed    map[Port]bool   // that were listened on then
	listedAll bool            // it has all of their connections
	waiting   map[Port]uint32 // connections in queues then that no event has named yet
	only      uint64          // accepted, with no other event, and nobody asked for them
}

// New makes a Tracker without connections.
func New(o Options) *Tracker {
	t := &Tracker{
		o: o, cookies: index{way: byCookie}, tuples: index{way: byTuple},
		refusals: map[tuple]*refusal{}, waiting: map[Port]uint32{},
	}
	t.open.init()
	t.ended.init()
	return t
}

// Start makes room for what captures of accept alone don't have: there are events beyond accept.
func (t *Tracker) Start() {
	if t.on {
		return
	}
	t.on = true
	if t.o.Bare {
		return
	}
	for _, w := range []*stats.Histogram{&t.alive, &t.served, &t.closing, &t.shakes, &t.queue, &t.never, &t.tries} {
		*w = stats.NewHistogram(3)
	}
}

// On reports whether there are events beyond accept.
func (t *Tracker) On() bool { return t.on }

// Limited reports whether there were too many connections at once to follow them all.
func (t *Tracker) Limited() bool { return t.limited }

// Skip says that a part of the capture was left out that can have had events.
func (t *Tracker) Skip() { t.skips++ }

// Skipped reports whether any was.
func (t *Tracker) Skipped() bool { return t.skips > 0 }

// Lose says that events of a kind were lost.
func (t *Tracker) Lose(kind format.Kind) {
	t.lostIn = t.lostIn || kind == format.Queued
	t.lostOut = t.lostOut || kind == format.Return
}

// LostQueued reports whether events of connections that were queued are known to be lost.
func (t *Tracker) LostQueued() bool { return t.lostIn }

// partial reports whether the beginning of a connection can be in a part of the capture
// that is missing.
func (t *Tracker) partial() bool { return t.skips > 0 || t.lostIn }

// find gives the connection of an event, nil if it is not followed.
func (t *Tracker) find(e *format.Event) *conn {
	if e.Cookie != 0 {
		if c := t.ofCookie(e.Cookie); c != nil {
			return c
		}
		if t.bare == 0 {
			return nil
		}
	}
	k := tupleOf(e)
	c := t.ofTuple(&k)
	if c != nil && c.cookie != 0 && e.Cookie != 0 {
		return nil // another one before it
	}
	return c
}

// add begins to follow a connection.
func (t *Tracker) add(k tuple, cookie, seq uint64) (*conn, error) {
	if t.open.n+t.ended.n >= t.o.Max {
		t.limited = true
		oldest := t.ended.head.next
		if t.ended.n == 0 {
			oldest = t.open.head.next
		}
		if err := t.finish(oldest, EndNotRecorded); err != nil {
			return nil, err
		}
	}
	var c *conn
	if n := len(t.free); n > 0 {
		c, t.free = t.free[n-1], t.free[:n-1]
	} else {
		c = new(conn)
	}
	*c = conn{key: k, cookie: cookie, first: seq, skips: t.skips}
	t.enter(c)
	t.open.put(c)
	return c, nil
}

// meet begins to follow a connection whose first events are not in the capture: it was there before the recording, or
// its beginning can be in a part that is missing.
func (t *Tracker) meet(e *format.Event, l Ref) (*conn, error) {
	c, err := t.add(tupleOf(e), e.Cookie, e.Seq)
	if err != nil {
		return nil, err
	}
	c.listener = l
	c.headless, c.before = t.partial(), !t.partial()
	t.refusedUnseen(c)
	return c, nil
}

func (t *Tracker) remove(c *conn) {
	t.leave(c)
	if c.closed() {
		t.ended.take(c)
	} else {
		t.open.take(c)
	}
	if c.rare != nil {
		*c.rare = rare{}
		t.freeRare = append(t.freeRare, c.rare)
		c.rare = nil
	}
	t.free = append(t.free, c)
}

// Moved takes a connection that the kernel moved from the queue of a listener that stopped into that of another one,
// which has accepted so many.
func (t *Tracker) Moved(e *format.Event, l Ref, accepted uint64) error {
	c := t.find(e)
	if c == nil {
		var err error
		if c, err = t.meet(e, 0); err != nil { // its listener is set below
			return err
		}
	}
	if c.first == 0 {
		c.first = e.Seq
	}
	x := t.more(c)
	if x.moves == 0 || c.listener != l {
		x.movedFrom = c.listener
	}
	x.moves++
	x.movedSeq, x.movedNS = e.Seq, e.BootNS
	c.skips, c.listener = t.skips, l
	if l != 0 {
		c.taken = accepted
	}
	return nil
}

// Queued takes a connection that was put into the queue of a listener, which has accepted so many. triedNS is for how
// long it had been refused before, -1 if it had not been.
func (t *Tracker) Queued(e *format.Event, l Ref, accepted uint64) (triedNS int64, err error) {
	c := t.find(e)
	switch {
	case c != nil && c.queuedSeq != 0 && e.Cookie != 0 && c.cookie == e.Cookie:
		return -1, nil // it is known already
	case c != nil && c.before && c.queuedSeq == 0 && c.acceptSeq == 0 && !c.closed() &&
		(c.inode == 0 || e.BootNS <= t.shotNS || c.cookie != 0 && c.cookie == e.Cookie):
		// it was queued, and may have been accepted, after the probes were live and before the snapshot
	case c != nil && c.closed() && c.acceptSeq == 0: // the new one has its addresses; the old one waits for accept
		c = nil
	case c != nil:
		if err := t.finish(c, EndNotRecorded); err != nil {
			return -1, err
		}
		c = nil
	}
	if c == nil {
		if c, err = t.add(tupleOf(e), e.Cookie, e.Seq); err != nil {
			return -1, err
		}
	}
	c.before, c.headless, c.skips = false, false, t.skips
	c.multipath = e.Proto == format.ProtoMPTCP
	c.first = e.Seq
	if l != 0 {
		c.taken = accepted
	}
	triedNS, err = t.refusedBefore(c, e)
	if err != nil {
		return -1, err
	}
	c.queuedSeq, c.queuedNS, c.handshake, c.mark, c.listener = e.Seq, e.BootNS, e.HandshakeUS, c.mark|e.Mark, l
	c.cause = e.Why()
	return triedNS, nil
}

// Accept says by whom a connection was accepted.
type Accept struct {
	Listener, Process Ref
	EnterSeq          uint64 // the call's entry, 0 if it is not known
	EnterNS           int64
}

// Accepted takes the return of an accept that gave, or lost, a connection.
func (t *Tracker) Accepted(e *format.Event, by *Accept) error {
	if !t.on {
		return t.alone(e, by)
	}
	c := t.find(e)
	if c != nil && (c.acceptSeq != 0 || c.rare != nil && c.rare.failed) {
		if err := t.finish(c, EndNotRecorded); err != nil { // its close was lost, or the cookie is not known
			return err
		}
		c = nil
	}
	if c == nil {
		var err error
		if c, err = t.add(tupleOf(e), e.Cookie, e.Seq); err != nil {
			return err
		}
		c.headless = t.partial()
		t.refusedUnseen(c)
	}
	t.takeAccept(c, e, by)
	switch {
	case c.listener == 0:
	case c.queuedSeq != 0:
		t.o.Listeners.Waited(c.listener, e, c.queuedNS, c.taken, false)
	case c.before && c.unowned: // it waits at least since then
		t.o.Listeners.Waited(c.listener, e, t.o.StartNS, 0, true)
	}
	if !c.closed() {
		return nil
	}
	return t.finish(c, "")
}

// takeAccept notes who accepted a connection.
func (t *Tracker) takeAccept(c *conn, e *format.Event, by *Accept) {
	if c.first == 0 {
		c.first = e.Seq
	}
	c.skips = t.skips
	c.multipath = c.multipath || e.Proto == format.ProtoMPTCP
	c.tid, c.via, c.mark, c.process, c.inode = e.TID, e.Via, c.mark|e.Mark, by.Process, e.Inode
	c.taskNetNS, c.sockfd, c.uring, c.uringEnd = e.TaskNetNS, e.SockFD, e.Uring, e.UringEnd
	if by.Listener != 0 {
		c.listener = by.Listener
	}
	if by.EnterSeq != 0 {
		c.enterSeq, c.enterNS = by.EnterSeq, by.EnterNS
	}
	if e.Ret < 0 {
		x := t.more(c)
		x.failed, x.dropSeq, x.dropNS = true, e.Seq, e.BootNS
		return
	}
	c.acceptSeq, c.acceptNS, c.ret, c.state = e.Seq, e.BootNS, e.Ret, e.State
}

// alone gives a connection that has this one event: no other can come.
func (t *Tracker) alone(e *format.Event, by *Accept) error {
	if t.o.Emit == nil && e.Ret >= 0 {
		t.only++
		return nil
	}
	t.totals.Seen++
	c := conn{key: tupleOf(e), cookie: e.Cookie}
	t.takeAccept(&c, e, by)
	end := EndNotRecorded
	if e.Ret < 0 {
		end = EndAccept
	}
	t.count(e.Accepted(), end)
	if t.o.Emit == nil {
		return nil
	}
	t.fill(&c, end)
	return t.o.Emit(&t.out)
}

// State takes a change of a connection's state that matters.
func (t *Tracker) State(e *format.Event) {
	c := t.find(e)
	if c == nil {
		return
	}
	switch {
	case e.State == format.StateEstablished:
		t.more(c).establishedNS = e.BootNS
	case e.State == format.StateCloseWait && c.acceptSeq == 0 && (c.rare == nil || c.rare.goneSeq == 0):
		t.more(c).goneNS, c.rare.goneSeq = e.BootNS, e.Seq
	}
}

// Closed takes the end of a connection.
func (t *Tracker) Closed(e *format.Event, l Ref) error {
	c := t.find(e)
	if crosscheck.Discarded(e) && (c == nil || c.mark&format.MarkFastOpen == 0) {
		t.totals.Discarded++ // c is the one that was kept
		return nil
	}
	if c != nil && c.closed() {
		c = nil
	}
	if c == nil && t.foreign(e) {
		t.totals.Foreign++
		return nil
	}
	c, err := t.known(c, e, l)
	if err != nil {
		return err
	}
	t.open.take(c)
	x := t.more(c)
	x.closed = true
	x.end.set(e)
	t.ended.put(c)
	switch {
	case c.acceptSeq != 0, x.failed, x.dropSeq != 0, c.queuedSeq == 0 && (c.listed || e.SockErr == 0):
		// else it may have been in the queue, and accept gives it yet
		return t.finish(c, "")
	case t.ended.n > maxEnded:
		return t.finish(t.ended.head.next, "")
	}
	return nil
}

// known gives the connection of an event: c, or if that is nil, one that is met.
func (t *Tracker) known(c *conn, e *format.Event, l Ref) (*conn, error) {
	if c == nil {
		return t.meet(e, l)
	}
	if c.first == 0 {
		c.first = e.Seq
	}
	return c, nil
}

// Forgotten takes a connection that a listener lost when by stopped it, "" if that is not known.
func (t *Tracker) Forgotten(e *format.Event, l Ref, by string) error {
	c := t.find(e)
	c, err := t.known(c, e, l)
	if err != nil {
		return err
	}
	x := t.more(c)
	x.dropSeq, x.dropNS, x.dropCause, x.dropBy = e.Seq, e.BootNS, e.Cause, by
	if x.closed {
		return t.finish(c, "")
	}
	return nil
}

// foreign reports whether an event ends a connection that is no listener's, though its port is listened on: of
// a socket that connected from there, which has no listener's limit, or of a subflow that joined a
// connection of MPTCP. It was not queued, and did not stand in the list at the start, which had all.
func (t *Tracker) foreign(e *format.Event) bool {
	made := e.BacklogMax > 0 && e.Proto != format.ProtoMPTCP
	return t.o.Causes && !made && !t.partial() && t.listedAll && e.BootNS > t.shotNS &&
		t.listed[Port{e.NetNS, e.LPort}]
}

// tuple names a connection where the kernel gives no cookie.
type tuple struct {
	local, remote netip.Addr
	netns         uint32
	lport, rport  uint16
}

func tupleOf(e *format.Event) tuple { return tuple{e.LAddr, e.RAddr, e.NetNS, e.LPort, e.RPort} }
