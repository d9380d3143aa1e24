package conntrack

// This file has what is kept of a connection while it is followed.

import "github.com/acc-project/acc/format"

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
	taken      uint64 // so many the listener had accepted when it was queued
	listener   Ref
	process    Ref
	links      [numWays]link
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
	dropBy                string // who stopped the listener
	movedSeq              uint64
	movedNS               int64
	movedFrom             Ref
	refusal               *refusal
	left                  *format.Connection // what the snapshot at the end says of it
	end                   closing
}

// closing is what is kept of a Closed event.
type closing struct {
	seq, inode                                     uint64
	ns                                             int64
	serverNS, clientNS                             int64 // when each side closed, 0: it did not, or not known
	in, out                                        uint64
	segsIn, segsOut, retransmits, srttUS, minRTTUS uint32
	sockErr                                        uint16
	oldState, shutdown                             uint8
	read                                           format.Reading
	unacked                                        bool
}

func (x *closing) set(e *format.Event) {
	*x = closing{
		seq: e.Seq, inode: e.Inode, ns: e.BootNS, segsIn: e.SegsIn, segsOut: e.SegsOut, retransmits: e.Retransmits,
		srttUS:   e.SRTTUS,
		minRTTUS: e.MinRTTUS, sockErr: e.SockErr, oldState: e.OldState, shutdown: e.Shutdown, read: e.Read(),
		unacked: e.Unacked(),
	}
	x.in, x.out = e.StreamBytes()
	if e.ClosingUS != 0 {
		x.serverNS = e.BootNS - int64(e.ClosingUS)*1000
	}
	if e.FinUS != 0 {
		x.clientNS = e.BootNS - int64(e.FinUS)*1000
	}
}

// more gives a connection room for what is rare.
func (t *Tracker) more(c *conn) *rare {
	if c.rare != nil {
		return c.rare
	}
	if n := len(t.freeRare); n > 0 {
		c.rare, t.freeRare = t.freeRare[n-1], t.freeRare[:n-1]
	} else {
		c.rare = &rare{}
	}
	return c.rare
}

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
