package analysis

// This file follows connections from the queue to their end.

import (
	"net/netip"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// maxEnded bounds the connections that ended before an accept that is yet to come.
const maxEnded = 1 << 15

// tuple names a connection where the kernel gives no cookie.
type tuple struct {
	local, remote netip.Addr
	netns         uint32
	lport, rport  uint16
}

func tupleOf(e *format.Event) tuple { return tuple{e.LAddr, e.RAddr, e.NetNS, e.LPort, e.RPort} }

// conn is a connection that is being followed.
type conn struct {
	key        tuple
	cookie     uint64
	first      uint64 // event; 0: known by the snapshot only
	inode      uint64
	queuedSeq  uint64
	queuedNS   int64
	acceptSeq  uint64
	acceptNS   int64
	enterSeq   uint64
	enterNS    int64
	handshake  uint32
	tid        uint32
	ret        int32
	mark       uint16
	via        format.Via
	state      uint8 // at accept
	uring      uint8
	uringEnd   format.UringEnd
	sockfd     int32
	taskNetNS  uint32
	cause      format.Cause
	before     bool
	listed     bool   // by the snapshot at the start
	headless   bool   // its beginning can be in a part that is missing
	skips      uint32 // parts that were left out before its last event
	unowned    bool   // when recording began, no file had it, and it was in a state in which it can be in a queue
	inQueue    bool   // and there was room for it in the queue's length
	multipath  bool   // of MPTCP: what is accepted is another socket
	taken      uint64 // accepted at the listener when it was queued
	listener   *listener
	process    *process
	rare       *rare
	prev, next *conn
}

// rare is what most connections have only when they end.
type rare struct {
	establishedNS, goneNS int64
	goneSeq               uint64
	dropSeq               uint64
	dropNS                int64
	dropCause             format.Cause
	failed                bool // accept took it and failed
	closed                bool
	moves                 uint32
	dropStop              *stop // of the listener
	movedSeq              uint64
	movedNS               int64
	movedFrom             *listener
	refusal               *refusal
	left                  *format.Connection // what the snapshot at the end says of it
	end                   closing
}

// closing is what is kept of a Closed event.
type closing struct {
	seq, inode                                     uint64
	ns                                             int64
	in, out                                        uint64
	segsIn, segsOut, retransmits, srttUS, minRTTUS uint32
	sockErr                                        uint16
	oldState, shutdown                             uint8
	read                                           format.Reading
}

func (x *closing) set(e *format.Event) {
	*x = closing{
		seq: e.Seq, inode: e.Inode, ns: e.BootNS, segsIn: e.SegsIn, segsOut: e.SegsOut, retransmits: e.Retransmits,
		srttUS:   e.SRTTUS,
		minRTTUS: e.MinRTTUS, sockErr: e.SockErr, oldState: e.OldState, shutdown: e.Shutdown, read: e.Read(),
	}
	x.in, x.out = e.StreamBytes()
}

func (c *conn) more() *rare {
	if c.rare == nil {
		c.rare = &rare{}
	}
	return c.rare
}

// partial reports whether the beginning of a connection can be in a part of the capture
// that is missing.
func (cs *conns) partial() bool { return cs.skips > 0 || cs.lostIn }

func (c *conn) closed() bool { return c.rare != nil && c.rare.closed }

// ring is a list of connections, the one that was put in first at its head.
type ring struct {
	head conn
	n    int
}

func (r *ring) init() { r.head.prev, r.head.next = &r.head, &r.head }

func (r *ring) put(c *conn) {
	c.prev, c.next = r.head.prev, &r.head
	c.prev.next, c.next.prev = c, c
	r.n++
}

func (r *ring) take(c *conn) {
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
	r.n--
}

// conns follows connections from the queue, or the snapshot, to their end. Events
// of one connection are joined by its cookie, else by addresses and ports, where a
// connection that is queued is a new one.
type conns struct {
	on        bool // there are events beyond accept
	blind     bool // there are none of accept
	ps        *places
	max       int
	emit      func(*Connection) error
	byCookie  map[uint64]*conn
	byTuple   map[tuple]*conn
	open      ring // not closed
	ended     ring // closed, their accept may come yet
	free      []*conn
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
	ends      map[End]uint64
	alive     stats.Histogram
	served    stats.Histogram
	shakes    stats.Histogram
	queue     stats.Histogram
	never     stats.Histogram // in the queue, of those that nobody accepted
	tries     stats.Histogram // of the refused, until they were queued
	endNS     int64
	refusals  map[tuple]*refusal
	final     finalList
	unsure    uint64        // that seem open, and do not stand in the list at the end
	shotNS    int64         // when the snapshot at the start was taken
	listed    map[port]bool // that were listened on then
	listedAll bool          // it has all of their connections
	causes    bool          // the capture is of an acc that recorded causes
	only      uint64        // accepted ones of which nothing else is recorded, and that nobody is told of
}

func newConns(ps *places, max int) *conns {
	cs := &conns{
		ps: ps, max: max, byCookie: map[uint64]*conn{}, byTuple: map[tuple]*conn{}, ends: map[End]uint64{},
		refusals: map[tuple]*refusal{}}
	cs.open.init()
	cs.ended.init()
	return cs
}

// start makes room for what captures of accept alone don't have.
func (cs *conns) start() {
	if !cs.on {
		cs.on, cs.ps.live = true, true
		for _, w := range []*stats.Histogram{&cs.alive, &cs.served, &cs.shakes, &cs.queue, &cs.never, &cs.tries} {
			*w = stats.NewHistogram(3)
		}
	}
}

func (cs *conns) find(e *format.Event) *conn {
	if e.Cookie != 0 {
		if c := cs.byCookie[e.Cookie]; c != nil {
			return c
		}
	}
	c := cs.byTuple[tupleOf(e)]
	if c != nil && c.cookie != 0 && e.Cookie != 0 {
		return nil // another one before it
	}
	return c
}

// add begins to follow a connection.
func (cs *conns) add(k tuple, cookie, seq uint64) (*conn, error) {
	if cs.open.n+cs.ended.n >= cs.max {
		cs.limited = true
		oldest := cs.ended.head.next
		if cs.ended.n == 0 {
			oldest = cs.open.head.next
		}
		if err := cs.finish(oldest, EndNotRecorded); err != nil {
			return nil, err
		}
	}
	var c *conn
	if n := len(cs.free); n > 0 {
		c, cs.free = cs.free[n-1], cs.free[:n-1]
	} else {
		c = new(conn)
	}
	*c = conn{key: k, cookie: cookie, first: seq, skips: cs.skips}
	if cookie != 0 {
		cs.byCookie[cookie] = c
	}
	cs.byTuple[k] = c
	cs.open.put(c)
	return c, nil
}

// meet begins to follow a connection of which this is not the first event that there was: it was there before, or its
// beginning can be in a part that is missing.
func (cs *conns) meet(e *format.Event, l *listener) (*conn, error) {
	c, err := cs.add(tupleOf(e), e.Cookie, e.Seq)
	if err != nil {
		return nil, err
	}
	c.listener = l
	c.headless, c.before = cs.partial(), !cs.partial()
	cs.refusedUnseen(c)
	return c, nil
}

func (cs *conns) remove(c *conn) {
	if c.cookie != 0 && cs.byCookie[c.cookie] == c {
		delete(cs.byCookie, c.cookie)
	}
	if cs.byTuple[c.key] == c {
		delete(cs.byTuple, c.key)
	}
	if c.closed() {
		cs.ended.take(c)
	} else {
		cs.open.take(c)
	}
	c.rare, c.listener, c.process = nil, nil, nil
	cs.free = append(cs.free, c)
}

// moved takes a connection that the kernel moved from the queue of a listener that stopped into that of another one.
func (cs *conns) moved(e *format.Event, l *listener) error {
	c := cs.find(e)
	if c == nil {
		var err error
		if c, err = cs.meet(e, nil); err != nil { // its listener is set below
			return err
		}
	}
	if c.first == 0 {
		c.first = e.Seq
	}
	x := c.more()
	if x.moves == 0 || c.listener != l {
		x.movedFrom = c.listener
	}
	x.moves++
	x.movedSeq, x.movedNS = e.Seq, e.BootNS
	c.skips, c.listener = cs.skips, l
	if l != nil {
		c.taken = l.accepted
	}
	return nil
}

// queued takes a connection that was put into a queue.
func (cs *conns) queued(e *format.Event, l *listener) error {
	c := cs.find(e)
	switch {
	case c != nil && c.queuedSeq != 0 && e.Cookie != 0 && c.cookie == e.Cookie:
		return nil // told twice
	case c != nil && c.before && c.queuedSeq == 0 && c.acceptSeq == 0 && !c.closed() &&
		(c.inode == 0 || e.BootNS <= cs.shotNS || c.cookie != 0 && c.cookie == e.Cookie):
		// it was queued, and may have been accepted, after the probes were live and before the snapshot
	case c != nil && c.closed() && c.acceptSeq == 0: // the new one has its addresses; the old one waits for accept
		c = nil
	case c != nil:
		if err := cs.finish(c, EndNotRecorded); err != nil {
			return err
		}
		c = nil
	}
	if c == nil {
		var err error
		if c, err = cs.add(tupleOf(e), e.Cookie, e.Seq); err != nil {
			return err
		}
	}
	c.before, c.headless, c.skips = false, false, cs.skips
	c.multipath = e.Proto == format.ProtoMPTCP
	c.first = e.Seq
	if l != nil {
		c.taken = l.accepted
	}
	if err := cs.refusedBefore(c, e, l); err != nil {
		return err
	}
	c.queuedSeq, c.queuedNS, c.handshake, c.mark, c.listener = e.Seq, e.BootNS, e.HandshakeUS, c.mark|e.Mark, l
	c.cause = e.Why()
	return nil
}

// accepted takes the return of an accept that gave, or lost, a connection.
func (cs *conns) accepted(e *format.Event, t *pairing.Task) error {
	if !cs.on {
		return cs.alone(e, t)
	}
	c := cs.find(e)
	if c != nil && (c.acceptSeq != 0 || c.rare != nil && c.rare.failed) {
		if err := cs.finish(c, EndNotRecorded); err != nil { // its close was lost, or the cookie is not known
			return err
		}
		c = nil
	}
	if c == nil {
		var err error
		if c, err = cs.add(tupleOf(e), e.Cookie, e.Seq); err != nil {
			return err
		}
		c.headless = cs.partial()
		cs.refusedUnseen(c)
	}
	cs.take(c, e, t)
	switch l := c.listener; {
	case l == nil:
	case c.queuedSeq != 0 && l.life != nil:
		l.life.waited(c.queuedNS, l.accepted-c.taken, e, false)
		l.joined(e, c.queuedNS)
	case c.before && c.unowned: // it waits at least since then
		cs.ps.life(l).waited(cs.ps.startNS, l.accepted, e, true)
		l.joined(e, cs.ps.startNS)
	}
	if !c.closed() {
		return nil
	}
	return cs.finish(c, "")
}

// take notes who accepted a connection.
func (cs *conns) take(c *conn, e *format.Event, t *pairing.Task) {
	if c.first == 0 {
		c.first = e.Seq
	}
	c.skips = cs.skips
	at := spotOf(t)
	c.multipath = c.multipath || e.Proto == format.ProtoMPTCP
	c.tid, c.via, c.mark, c.process, c.inode = e.TID, e.Via, c.mark|e.Mark, at.process, e.Inode
	c.taskNetNS, c.sockfd, c.uring, c.uringEnd = e.TaskNetNS, e.SockFD, e.Uring, e.UringEnd
	if at.listener != nil && at.listener.key.inode != 0 {
		c.listener = at.listener
	}
	const noEntry = format.MarkEnterLost | format.MarkBefore | format.MarkDenied
	if call := e.Via != format.ViaIOUring && e.Via != format.ViaKernel; call && t.Open && e.Mark&noEntry == 0 &&
		(e.SockFD == t.Entry.SockFD || e.SockFD == -1) {
		c.enterSeq, c.enterNS = t.Entry.Seq, t.Entry.NS
	}
	if e.Ret < 0 {
		x := c.more()
		x.failed, x.dropSeq, x.dropNS = true, e.Seq, e.BootNS
		return
	}
	c.acceptSeq, c.acceptNS, c.ret, c.state = e.Seq, e.BootNS, e.Ret, e.State
}

// alone tells of a connection of which nothing more can come.
func (cs *conns) alone(e *format.Event, t *pairing.Task) error {
	if cs.emit == nil && e.Ret >= 0 {
		cs.only++
		return nil
	}
	cs.totals.Seen++
	c := conn{key: tupleOf(e), cookie: e.Cookie}
	cs.take(&c, e, t)
	end := EndNotRecorded
	if e.Ret < 0 {
		end = EndAccept
	}
	cs.count(e.Accepted(), end)
	if cs.emit == nil {
		return nil
	}
	cs.fill(&c, end)
	return cs.emit(&cs.out)
}

// state takes a change of state that matters.
func (cs *conns) state(e *format.Event) {
	c := cs.find(e)
	if c == nil {
		return
	}
	switch {
	case e.State == format.StateEstablished:
		c.more().establishedNS = e.BootNS
	case e.State == format.StateCloseWait && c.acceptSeq == 0 && (c.rare == nil || c.rare.goneSeq == 0):
		c.more().goneNS, c.rare.goneSeq = e.BootNS, e.Seq
	}
}

// closed takes the end of a connection.
func (cs *conns) closed(e *format.Event, l *listener) error {
	c := cs.find(e)
	if crosscheck.Discarded(e) && (c == nil || c.mark&format.MarkFastOpen == 0) {
		cs.totals.Discarded++ // c is the one that was kept
		return nil
	}
	if c != nil && c.closed() {
		c = nil
	}
	if c == nil && cs.foreign(e) {
		cs.totals.Foreign++
		return nil
	}
	if c == nil {
		var err error
		if c, err = cs.meet(e, l); err != nil {
			return err
		}
	}
	if c.first == 0 {
		c.first = e.Seq
	}
	cs.open.take(c)
	x := c.more()
	x.closed = true
	x.end.set(e)
	cs.ended.put(c)
	switch {
	case c.acceptSeq != 0, x.failed, x.dropSeq != 0, c.queuedSeq == 0 && (c.listed || e.SockErr == 0):
		// else it may have been in the queue, and accept gives it yet
		return cs.finish(c, "")
	case cs.ended.n > maxEnded:
		return cs.finish(cs.ended.head.next, "")
	}
	return nil
}

// forgotten takes a connection that a listener lost when it was closed.
func (cs *conns) forgotten(e *format.Event, l *listener) error {
	c := cs.find(e)
	if c == nil {
		var err error
		if c, err = cs.meet(e, l); err != nil {
			return err
		}
	}
	if c.first == 0 {
		c.first = e.Seq
	}
	x := c.more()
	x.dropSeq, x.dropNS, x.dropCause = e.Seq, e.BootNS, e.Cause
	if l != nil {
		x.dropStop = l.stop
	}
	if x.closed {
		return cs.finish(c, "")
	}
	return nil
}

// foreign reports whether an event ends a connection that is no listener's, though its port is listened on: of
// a socket that connected from there, which has no listener's limit, or of a subflow that joined a
// connection of MPTCP. It was not queued, and did not stand in the list at the start, which had all.
func (cs *conns) foreign(e *format.Event) bool {
	made := e.BacklogMax > 0 && e.Proto != format.ProtoMPTCP
	return cs.causes && !made && !cs.partial() && cs.listedAll && e.BootNS > cs.shotNS &&
		cs.listed[port{e.NetNS, e.LPort}]
}
