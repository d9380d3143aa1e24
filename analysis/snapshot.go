package analysis

// This file uses the lists of sockets that were taken at the start and the end.

import (
	"net/netip"

	"github.com/acc-project/acc/format"
)

// finalList is what the snapshot at the end says of connections.
type finalList struct {
	known  bool  // it has all of them
	bootNS int64 // when it was taken
}

// left takes a part of the snapshot. Only connections that are followed are kept.
func (cs *conns) left(s *format.Snapshot) {
	cs.final = finalList{s.ConnectionsKnown, s.BootNS}
	for i := range s.Connections {
		x := &s.Connections[i]
		l, err1 := netip.ParseAddr(x.LAddr)
		r, err2 := netip.ParseAddr(x.RAddr)
		k := tuple{l, r, x.NetNS, x.LPort, x.RPort}
		c := cs.byTuple[k]
		if err1 != nil || err2 != nil || c == nil || c.closed() || c.cookie != 0 && x.Cookie != 0 &&
			c.cookie != x.Cookie {
			continue
		}
		kept := *x
		c.more().left = &kept
	}
}

// leftAs says how a connection that has no end was left when the capture ended.
func (cs *conns) leftAs(c *conn) End {
	end := cs.leftAtEnd(c)
	if cs.cut {
		switch end {
		case EndOpen:
			return EndOpenCut
		case EndWaiting:
			return EndWaitingCut
		}
	}
	return end
}

func (cs *conns) leftAtEnd(c *conn) End {
	var s *format.Connection
	if c.rare != nil {
		s = c.rare.left
	}
	switch {
	case s == nil && cs.missing(c):
		return EndGone
	case s == nil && c.skips != cs.skips: // its end can be in a part that is missing
		return EndNotRecorded
	case (cs.blind || c.skips != cs.skips && c.acceptSeq == 0) && c.queuedSeq != 0:
		if s != nil && s.Inode == 0 && queueable(s.State) {
			return EndWaiting
		}
	case c.acceptSeq == 0 && c.queuedSeq != 0:
		return EndWaiting
	case c.acceptSeq == 0 && c.before && c.inQueue &&
		(s == nil && !cs.blind || s != nil && s.Inode == 0 && queueable(s.State)):
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
func (cs *conns) missing(c *conn) bool {
	last := max(c.queuedNS, c.acceptNS)
	if c.first == 0 {
		last = cs.ps.startNS
	}
	return cs.final.known && !c.multipath && last < cs.final.bootNS-listingNS && c.listener != nil &&
		c.listener.snap.ended && c.listener.addr.Port() == c.key.lport
}

// snapshot takes the connections that were there when recording began.
func (cs *conns) snapshot(shot *format.Snapshot) error {
	cs.shotNS, cs.listedAll = shot.BootNS, shot.ConnectionsKnown && (cs.shotNS == 0 || cs.listedAll)
	for i := range shot.Listeners {
		if l := &shot.Listeners[i]; l.LPort != 0 {
			if cs.listed == nil {
				cs.listed = map[port]bool{}
			}
			cs.listed[port{l.NetNS, l.LPort}] = true
		}
	}
	if len(shot.Connections) > 0 {
		cs.start()
	}
	for i := range shot.Connections {
		s := &shot.Connections[i]
		l, err1 := netip.ParseAddr(s.LAddr)
		r, err2 := netip.ParseAddr(s.RAddr)
		k := tuple{l, r, s.NetNS, s.LPort, s.RPort}
		if err1 != nil || err2 != nil || cs.byTuple[k] != nil || cs.open.n+cs.ended.n >= cs.max {
			continue
		}
		c, err := cs.add(k, s.Cookie, 0)
		if err != nil {
			return err
		}
		c.before, c.listed, c.inode = true, true, s.Inode
		c.unowned = s.Inode == 0 && queueable(s.State)
		c.inQueue = c.unowned && cs.ps.claim(port{s.NetNS, s.LPort})
		c.listener = cs.ps.ports[port{s.NetNS, s.LPort}]
	}
	return nil
}
