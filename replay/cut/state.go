package cut

// This file follows what is there at each moment: listeners, connections, and who sits in accept.

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// Bounds of what is kept. What is beyond them is not carried into a part, and the lists do not count as complete.
const (
	maxConnections = 200_000
	maxListeners   = 10_000
	maxBlocked     = 450_000
	maxRecent      = 1 << 14
)

// state is what is there after the events so far.
type state struct {
	conns     map[tuple]*open
	listeners map[listenerKey]*format.ListenSocket
	blocked   map[uint32]format.Blocked
	recent    map[tuple]uint64 // cookies of connections that closed last: an event of them may come yet
	ring      [maxRecent]tuple
	next      int
	netns     []uint32

	known struct{ conns, listeners, blocked bool } // the list is complete
	life  bool                                     // the ends of connections are recorded
	queue bool                                     // so are all changes of a queue's length
	lists bool                                     // so is who begins to listen, and who stops
	sits  bool                                     // so are all returns of accept
}

// open is a connection that has not closed.
type open struct {
	format.Connection
	seq uint64 // its first event, 0: it was there when the recording began
}

// tuple names a connection.
type tuple struct {
	local, remote netip.Addr
	netns         uint32
	lport, rport  uint16
}

// listenerKey names a listener.
type listenerKey struct {
	netns uint32
	inode uint64
}

// newState makes the state before the first event of a recording.
func newState(h *format.Header, end *format.End) *state {
	s := &state{conns: map[tuple]*open{}, listeners: map[listenerKey]*format.ListenSocket{},
		blocked: map[uint32]format.Blocked{}, recent: map[tuple]uint64{}}
	closes := false
	for _, p := range h.Probes {
		closes = closes || p.Hook == format.HookSetState || p.Hook == format.HookTCPDone
		s.queue = s.queue || p.Hook == format.HookHashdance || p.Hook == format.HookQueueAdd
		s.lists = s.lists || p.Hook == format.HookListenStop || p.Hook == format.HookListenStart
	}
	missed := map[format.Kind]bool{} // nobody knows when
	if end != nil {
		for _, t := range end.Totals {
			missed[t.Kind] = missed[t.Kind] || t.Missed > 0
		}
	}
	s.queue = s.queue && h.Selection.WholeListeners()
	s.life = s.queue && closes && !missed[format.Closed]
	s.lists = s.lists && !missed[format.Stop] && !missed[format.Listen]
	s.sits = !missed[format.Return]
	return s
}

// begin takes a list of what was there when the recording began.
func (s *state) begin(x *format.Snapshot) {
	s.known.conns, s.known.blocked = x.ConnectionsKnown && s.life, x.BlockedKnown && s.sits
	s.known.listeners = x.ListenersKnown && s.lists
	for _, ns := range x.NetNS {
		if !slices.Contains(s.netns, ns) && len(s.netns) < maxListeners {
			s.netns = append(s.netns, ns)
		}
	}
	for i := range x.Listeners {
		l := x.Listeners[i]
		l.Holders = nil // which the lists of the end alone have
		s.listen(listenerKey{l.NetNS, l.Listener}, &l)
	}
	for i := range x.Connections {
		c := &x.Connections[i]
		local, err1 := netip.ParseAddr(c.LAddr)
		remote, err2 := netip.ParseAddr(c.RAddr)
		if err1 == nil && err2 == nil && s.life {
			o := &open{Connection: *c}
			o.Holders = nil
			s.add(tuple{local, remote, c.NetNS, c.LPort, c.RPort}, o)
		}
	}
	for _, b := range x.Blocked {
		s.block(b)
	}
}

func (s *state) listen(k listenerKey, l *format.ListenSocket) {
	if k.inode == 0 || s.listeners[k] == nil && len(s.listeners) >= maxListeners {
		s.known.listeners = s.known.listeners && k.inode == 0
		return
	}
	s.listeners[k] = l
}

func (s *state) add(k tuple, c *open) {
	if s.conns[k] == nil && len(s.conns) >= maxConnections {
		s.known.conns = false
		return
	}
	s.conns[k] = c
}

func (s *state) block(b format.Blocked) {
	if len(s.blocked) >= maxBlocked {
		s.known.blocked = false
		return
	}
	s.blocked[b.TID] = b
}

// lose takes a loss, or a gap: what was there may have gone meanwhile.
func (s *state) lose() {
	clear(s.conns)
	clear(s.blocked)
	s.known.conns, s.known.listeners, s.known.blocked = false, false, false
}

// event takes the next event.
func (s *state) event(e *format.Event) {
	l := s.listeners[listenerKey{e.NetNS, e.Listener}]
	switch e.Kind {
	case format.Enter:
		if e.Via != format.ViaIOUring {
			s.block(format.Blocked{PID: e.PID, TID: e.TID, SockFD: e.SockFD, Listener: e.Listener})
		}
		if l == nil && e.Listener != 0 {
			l = &format.ListenSocket{NetNS: e.NetNS, Listener: e.Listener, Family: e.Family, Proto: e.Proto, LName: e.LName}
			l.LAddr, l.LPort = address(e.LAddr), e.LPort
			s.listen(listenerKey{e.NetNS, e.Listener}, l)
		}
	case format.Return:
		if e.Via != format.ViaIOUring && e.Hook != format.HookDoAccept {
			delete(s.blocked, e.TID)
		}
		s.accepted(e)
	case format.Listen:
		s.listen(listenerKey{e.NetNS, e.Listener}, &format.ListenSocket{NetNS: e.NetNS, Listener: e.Listener, PID: e.PID,
			Comm: e.Comm, Family: e.Family, Proto: e.Proto, LAddr: address(e.LAddr), LPort: e.LPort, LName: e.LName,
			Backlog: e.Backlog, BacklogMax: e.BacklogMax})
		return
	case format.Stop:
		delete(s.listeners, listenerKey{e.NetNS, e.Listener})
		return
	case format.Queued:
		s.queued(e)
	case format.State:
		if c := s.conns[tupleOf(e)]; c != nil && sameCookie(c.Cookie, e.Cookie) {
			c.State = e.State
		}
	case format.Closed:
		s.closed(e)
		return // its backlog is no queue's length
	case format.Drop:
		if e.Hook == format.HookChildForget {
			delete(s.conns, tupleOf(e))
		}
	}
	if l == nil || e.Kind == format.State {
		return
	}
	l.BacklogMax = cmp.Or(e.BacklogMax, l.BacklogMax)
	if l.Backlog = e.Backlog; e.Kind == format.Queued { // which comes before it is put in
		l.Backlog++
	}
}

// queued takes a connection that was put into a queue.
func (s *state) queued(e *format.Event) {
	k := tupleOf(e)
	c := s.conns[k]
	switch {
	case !s.life || e.Cookie != 0 && s.recent[k] == e.Cookie:
	case c != nil && sameCookie(c.Cookie, e.Cookie): // it was moved, or its accept came before
		c.Cookie = cmp.Or(c.Cookie, e.Cookie)
	default:
		s.add(k, &open{format.Connection{NetNS: e.NetNS, LAddr: address(e.LAddr), LPort: e.LPort, RAddr: address(e.RAddr),
			RPort: e.RPort, State: e.State, Cookie: e.Cookie}, e.Seq})
	}
}

// accepted takes the return of an accept.
func (s *state) accepted(e *format.Event) {
	k := tupleOf(e)
	if e.Ret < 0 || !s.life || !e.RAddr.IsValid() || e.Proto != format.ProtoTCP || e.State == format.StateClosed ||
		e.Cookie != 0 && s.recent[k] == e.Cookie {
		return
	}
	c := s.conns[k]
	if c == nil || !sameCookie(c.Cookie, e.Cookie) {
		c = &open{format.Connection{NetNS: e.NetNS, LAddr: address(e.LAddr), LPort: e.LPort, RAddr: address(e.RAddr),
			RPort: e.RPort, Cookie: e.Cookie}, e.Seq}
		s.add(k, c)
	}
	if c.State, c.Inode = e.State, e.Inode; e.Inode == 0 { // a list would have it as one that waits
		delete(s.conns, k)
		s.known.conns = false
	}
}

// closed takes the end of a connection.
func (s *state) closed(e *format.Event) {
	k := tupleOf(e)
	if c := s.conns[k]; c != nil && sameCookie(c.Cookie, e.Cookie) {
		delete(s.conns, k)
	}
	if e.Cookie == 0 || !s.life {
		return
	}
	if s.recent[k] == 0 {
		delete(s.recent, s.ring[s.next])
		s.ring[s.next], s.next = k, (s.next+1)%maxRecent
	}
	s.recent[k] = e.Cookie
}

// sameCookie reports whether two cookies can be those of one connection.
func sameCookie(a, b uint64) bool { return a == 0 || b == 0 || a == b }

func tupleOf(e *format.Event) tuple { return tuple{e.LAddr, e.RAddr, e.NetNS, e.LPort, e.RPort} }

// address is an address as a list has it.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// snapshot lists what is there at a time, of the connections those that the chooser has.
func (s *state) snapshot(ns int64, final bool, chooser Chooser) format.Snapshot {
	x := format.Snapshot{BootNS: ns, Final: final, ListenersKnown: s.known.listeners, ConnectionsKnown: s.known.conns,
		BlockedKnown: s.known.blocked, NetNS: slices.Clone(s.netns)}
	for _, k := range slices.SortedFunc(maps.Keys(s.listeners), func(a, b listenerKey) int {
		return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.netns, b.netns))
	}) {
		l := *s.listeners[k]
		if !s.queue { // nobody saw who came
			l.Backlog = 0
		}
		x.Listeners = append(x.Listeners, l)
	}
	for _, c := range s.conns {
		if chooser == nil || chooser.Connection(&c.Connection, c.seq) {
			x.Connections = append(x.Connections, c.Connection)
		}
	}
	slices.SortFunc(x.Connections, func(a, b format.Connection) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.LPort, b.LPort), cmp.Compare(a.RAddr, b.RAddr),
			cmp.Compare(a.RPort, b.RPort), cmp.Compare(a.LAddr, b.LAddr))
	})
	x.ConnectionsKnown = x.ConnectionsKnown && chooser == nil
	x.Blocked = s.inAccept()
	return x
}

// inAccept lists who sits in accept.
func (s *state) inAccept() []format.Blocked {
	return slices.SortedFunc(maps.Values(s.blocked), func(a, b format.Blocked) int { return cmp.Compare(a.TID, b.TID) })
}

// find gives a connection of a list.
func (s *state) find(c *format.Connection) *open {
	local, err1 := netip.ParseAddr(c.LAddr)
	remote, err2 := netip.ParseAddr(c.RAddr)
	if err1 != nil || err2 != nil {
		return nil
	}
	return s.conns[tuple{local, remote, c.NetNS, c.LPort, c.RPort}]
}
