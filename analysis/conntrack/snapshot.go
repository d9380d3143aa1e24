package conntrack

// This file uses the lists of sockets that were taken at the start and the end.

import (
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// finalList is what the snapshot at the end says of connections.
type finalList struct {
	known  bool  // it has all of them
	bootNS int64 // when it was taken
}

// maxHolders bounds the processes that are kept of those that have a connection open at the end. A recorder names four.
const maxHolders = 8

// Port is where a listener listens.
type Port struct {
	NetNS uint32
	Port  uint16
}

// Left takes a part of the snapshot of the end. Only connections that are followed are kept.
func (t *Tracker) Left(s *format.Snapshot) {
	t.final = finalList{s.ConnectionsKnown, s.BootNS}
	for i := range s.Connections {
		x := &s.Connections[i]
		l, err1 := netip.ParseAddr(x.LAddr)
		r, err2 := netip.ParseAddr(x.RAddr)
		k := tuple{l, r, x.NetNS, x.LPort, x.RPort}
		c := t.ofTuple(&k)
		if err1 != nil || err2 != nil || c == nil || c.closed() || c.cookie != 0 && x.Cookie != 0 &&
			c.cookie != x.Cookie {
			continue
		}
		kept := *x // but texts, which the connection has
		kept.LAddr, kept.RAddr, kept.Holders = "", "", slices.Clone(x.Holders[:min(len(x.Holders), maxHolders)])
		kept.MoreHolders += uint32(len(x.Holders) - len(kept.Holders))
		t.more(c).left = &kept
	}
}

// leftAs says how a connection that has no end was left when the capture ended.
func (t *Tracker) leftAs(c *conn) End {
	end := t.leftAtEnd(c)
	if t.cut {
		switch end {
		case EndOpen:
			return EndOpenCut
		case EndWaiting:
			return EndWaitingCut
		}
	}
	return end
}

func (t *Tracker) leftAtEnd(c *conn) End {
	var s *format.Connection
	if c.rare != nil {
		s = c.rare.left
	}
	switch {
	case c.acceptSeq != 0 && c.state == format.StateClosed: // it had ended before it was accepted, and that is not here
		return EndNotRecorded
	case s == nil && t.missing(c):
		return EndGone
	case s == nil && c.skips != t.skips: // its end can be in a part that is missing
		return EndNotRecorded
	case (t.o.Blind || t.o.Partly || c.skips != t.skips && c.acceptSeq == 0) && c.queuedSeq != 0:
		if s != nil && s.Inode == 0 && queueable(s.State) {
			return EndWaiting
		}
	case c.acceptSeq == 0 && c.queuedSeq != 0:
		return EndWaiting
	case c.acceptSeq == 0 && c.before && c.inQueue &&
		(s == nil && !t.o.Blind && !t.o.Partly || s != nil && s.Inode == 0 && queueable(s.State)):
		return EndWaiting
	}
	return EndOpen
}

// queueable reports whether a connection in an accept queue can have a state: the program
// has not seen it, so only the client can have closed it.
func queueable(state uint8) bool {
	// fast open
	return state == format.StateEstablished || state == format.StateCloseWait || state == format.StateSynRecv
}

// listingNS is more than taking the snapshot lasts.
const listingNS = 2e9

// missing reports whether a connection must have ended without an event: it is not
// in the snapshot at the end, which has all connections of ports that are still listened on.
func (t *Tracker) missing(c *conn) bool {
	last := max(c.queuedNS, c.acceptNS)
	if c.first == 0 {
		last = t.o.StartNS
	}
	return t.final.known && !c.multipath && last < t.final.bootNS-listingNS &&
		c.listener != 0 && t.o.Listeners.ListenedAtEnd(c.listener, c.key.lport)
}

// ListedBefore reports whether all connections are known that were there when recording began.
func (t *Tracker) ListedBefore() bool { return t.listedAll }

// Snapshot takes the connections that were there when recording began. At gives the listener of a port, 0 if it is not
// known.
func (t *Tracker) Snapshot(shot *format.Snapshot, at func(Port) Ref) error {
	t.shotNS, t.listedAll = shot.BootNS, shot.ConnectionsKnown && (t.shotNS == 0 || t.listedAll)
	for i := range shot.Listeners {
		if l := &shot.Listeners[i]; l.LPort != 0 {
			if t.listed == nil {
				t.listed = map[Port]bool{}
			}
			p := Port{l.NetNS, l.LPort}
			t.listed[p] = true
			t.waiting[p] += l.Backlog
		}
	}
	if len(shot.Connections) > 0 {
		t.Start()
	}
	for i := range shot.Connections {
		s := &shot.Connections[i]
		l, err1 := netip.ParseAddr(s.LAddr)
		r, err2 := netip.ParseAddr(s.RAddr)
		k := tuple{l, r, s.NetNS, s.LPort, s.RPort}
		if err1 != nil || err2 != nil || t.ofTuple(&k) != nil || t.open.n+t.ended.n >= t.o.Max {
			continue
		}
		c, err := t.add(k, s.Cookie, 0)
		if err != nil {
			return err
		}
		c.before, c.listed, c.inode = true, true, s.Inode
		c.unowned = s.Inode == 0 && queueable(s.State)
		p := Port{s.NetNS, s.LPort}
		c.inQueue = c.unowned && t.claim(p)
		if c.listener = at(p); c.listener != 0 && s.Inode != 0 {
			t.o.Listeners.Stood(c.listener)
		}
	}
	return nil
}

// claim takes one of the connections that were in the queues of a port at the start.
func (t *Tracker) claim(p Port) bool {
	if t.waiting[p] == 0 {
		return false
	}
	t.waiting[p]--
	return true
}
