package listeners

// This file finds the sockets that began to listen during the recording.

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

const (
	maxOpened  = 5 // places that are named
	fewPassive = 3 // sockets of one accept, fewer are told as any others
)

// opens takes a Listen event. Test: the process may be a recorder that tries its probes, which is found out
// in the end.
func (l *listener) opens(e *format.Event, test bool) {
	l.owned, l.beganNS = nameOf(e.Comm, e.PID), e.BootNS
	if test {
		l.opener = e.Proc
	}
}

// opened gives the sockets that began to listen, also those whose Listen event is not recorded, or was lost,
// and names the first of them, with who did that: those of one program at one address once. What
// a program opens for one connection each, as FTP does in its passive mode, is left out.
func (reg *Registry) opened(listeners []*listener) (mark stats.Mark, names []string, named uint64) {
	type place struct{ where, who string }
	var order []place
	count := map[place]uint64{}
	owner := map[place]string{}
	passive := reg.passives(listeners)
	for _, l := range listeners {
		who := l.owned
		switch {
		case isPassive(l) && passive[passiveOf(l)] >= fewPassive:
			continue
		case l.began != 0:
			mark.Note(l.began, l.beganNS, 0)
		case reg.unseen(l):
			mark.Note(l.seq, l.seenNS, 0)
			who = l.by(reg)
		default:
			continue
		}
		p := place{l.name(), programOf(who)}
		if count[p] == 0 {
			order = append(order, p)
		}
		count[p]++
		owner[p] = who
	}
	for _, p := range order[:min(len(order), maxOpened)] {
		name := p.where + " by " + owner[p]
		if n := count[p]; n > 1 {
			name += fmt.Sprintf(" (the last of %d)", n)
		}
		names, named = append(names, name), named+count[p]
	}
	return mark, names, named
}

// unseen reports whether a listener began to listen although no event says so.
func (reg *Registry) unseen(l *listener) bool {
	named := l.proto == format.ProtoTCP && l.addr.IsValid() || l.family == format.FamilyUnix && l.bound != ""
	if reg.startSpaces != nil && !reg.startSpaces[l.key.netns] { // it may have listened there before
		return false
	}
	return reg.startKnown && l.began == 0 && !l.snap.before && l.attempts > 0 && l.seq != 0 && named
}

// programOf is the name of a process without its id.
func programOf(who string) string {
	i := strings.LastIndexByte(who, '[')
	return who[:cmp.Or(max(i, 0), len(who))]
}

// passive is what sockets of one accept have in common.
type passive struct {
	netns uint32
	addr  netip.Addr
	who   string
}

func passiveOf(l *listener) passive { return passive{l.key.netns, l.addr.Addr(), programOf(l.owned)} }

// isPassive reports whether a socket listened for one connection, and not any more.
func isPassive(l *listener) bool {
	return l.began != 0 && l.stop != nil && l.accepted <= 1 && l.addr.IsValid() && l.owned != ""
}

// passives counts the sockets of one accept of each program that serves others at another listener.
func (reg *Registry) passives(listeners []*listener) map[passive]uint64 {
	count := map[passive]uint64{}
	first, several := map[passive]uint16{}, map[passive]bool{} // ports
	serves := map[string]bool{}
	for _, l := range listeners {
		if !isPassive(l) {
			if who := programOf(l.ownerOr("", reg)); who != "" && l.addr.IsValid() {
				serves[who] = true
			}
			continue
		}
		p := passiveOf(l)
		if count[p]++; count[p] == 1 {
			first[p] = l.addr.Port()
		}
		several[p] = several[p] || first[p] != l.addr.Port()
	}
	for p := range count {
		if !serves[p.who] || !several[p] { // one address is opened again and again
			delete(count, p)
		}
	}
	return count
}

// oneAccepts marks the listeners that were opened for one connection each, and gives those of each program together.
func (reg *Registry) oneAccepts(listeners []*listener) []OneAccept {
	list := []OneAccept{}
	place := map[passive]int{}
	count := reg.passives(listeners)
	for _, l := range listeners {
		if !isPassive(l) || count[passiveOf(l)] < fewPassive {
			continue
		}
		l.oneAccept = true
		p := passiveOf(l)
		i, ok := place[p]
		if !ok {
			i = len(list)
			place[p], list = i, append(list, OneAccept{Addr: p.addr.String(), NetNS: p.netns, Program: p.who})
		}
		x := &list[i]
		x.Sockets, x.Accepted, x.Failed = x.Sockets+1, x.Accepted+l.accepted, x.Failed+l.failed-l.restarted
	}
	slices.SortFunc(list, func(x, y OneAccept) int {
		return cmp.Or(cmp.Compare(y.Sockets, x.Sockets), cmp.Compare(x.Program, y.Program), cmp.Compare(x.Addr, y.Addr),
			cmp.Compare(x.NetNS, y.NetNS))
	})
	return list
}
