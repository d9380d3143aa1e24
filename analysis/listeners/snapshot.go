package listeners

// This file uses the lists of sockets that were taken at the start and the end.

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/format"
)

// Snapshot takes the lists of sockets of the start, or of the end.
func (reg *Registry) Snapshot(s *format.Snapshot) {
	for i := range s.Listeners {
		reg.snapshot(&s.Listeners[i], s.Final)
	}
	if s.Final {
		reg.listed = s.BootNS != 0
		return
	}
	reg.startKnown = s.ListenersKnown
	for _, ns := range s.NetNS {
		if reg.startSpaces == nil {
			reg.startSpaces = map[uint32]bool{}
		}
		reg.startSpaces[ns] = true
	}
}

// snapshot takes a listener that was there when recording began, or ended.
func (reg *Registry) snapshot(s *format.ListenSocket, final bool) {
	addr, err := netip.ParseAddr(s.LAddr)
	at := netip.AddrPort{}
	if err == nil {
		at = netip.AddrPortFrom(addr, s.LPort)
	}
	k := listenerKey{s.NetNS, s.Listener}
	l := reg.listeners[k]
	if l == nil || at.IsValid() && l.addr.IsValid() && l.addr != at {
		if s.Listener == 0 || final && s.Backlog == 0 {
			return
		}
		if len(reg.all) >= reg.o.MaxListeners {
			reg.limited = true
			return
		}
		l = reg.newListener(listener{key: k, idle: true})
		reg.keep(l)
	}
	if final {
		l.snap.end, l.snap.ended, l.snap.endLimit = s.Backlog, true, s.BacklogMax
		l.snap.holders, l.snap.more, l.snap.held = slices.Clone(s.Holders[:min(len(s.Holders), maxHolders)]),
			s.MoreHolders, s.HoldersKnown
		for i := range l.snap.holders {
			l.snap.holders[i].Comm = short(l.snap.holders[i].Comm, 64)
		}
		if s.Halted != "" && s.PID != 0 {
			l.snap.halted = format.ListenSocket{PID: s.PID, Comm: short(s.Comm, 64), Halted: s.Halted}
		}
		if l.attempts+l.seq == 0 && !l.snap.before { // nothing else tells of it
			l.family, l.proto, l.addr, l.queueMax = s.Family, s.Proto, at, s.BacklogMax
		}
		return
	}
	l.family, l.proto, l.addr = s.Family, s.Proto, at
	if s.PID != 0 {
		l.owned = nameOf(s.Comm, s.PID)
	}
	if s.LName != "" {
		l.bound = short(s.LName, 108)
	}
	l.snap.before, l.snap.start, l.snap.limit, l.queueMax = true, s.Backlog, s.BacklogMax, s.BacklogMax
	if s.BacklogMax > 0 { // else it is 0, or not known
		l.limits = append(l.limits[:0], limit{max: s.BacklogMax, ns: reg.startNS})
	}
	if s.Backlog > 0 {
		l.raise(high{n: s.Backlog, max: cmp.Or(s.BacklogMax, unknownLimit), ns: reg.startNS})
	}
	if s.LPort != 0 {
		reg.listensAt(conntrack.Port{NetNS: s.NetNS, Port: s.LPort}, l)
	}
}
