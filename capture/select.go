package capture

// This file says what a recording is of.

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/acc-project/acc/format"
)

// Selection says of what the recording is: of events that every criterion with values fits, of each criterion one of
// its values. The zero value is everything. The kernel's programs decide; what they leave out is counted
// (format.ProbeTotal.Filtered).
type Selection struct {
	Ports    []PortRange     // local ports, of the listener
	Families []format.Family // of sockets
	NetNS    []uint32        // inode numbers of the sockets' network namespaces
	Addrs    []netip.Prefix  // that a connection's local or its peer's address is in
	LAddrs   []netip.Prefix  // its local one
	RAddrs   []netip.Prefix  // its peer's

	PIDs   []uint32 // processes, initial pid namespace
	Follow bool     // with all that they start, and what that starts
	// OnlyCommand: the processes of Options.Command, whatever PIDs says
	OnlyCommand bool
	Comms       []string // names of threads, or of processes
	UIDs        []uint32 // real user ids
	Cgroups     []Cgroup // with those below

	FailedOnly bool // accept calls that failed, and connections that were dropped

	Words []string // as the user said it, a criterion each: "port 443 or 8443"
}

// PortRange is ports from one to another one, with both.
type PortRange struct{ First, Last uint16 }

func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// Cgroup is a control group of version 2.
type Cgroup struct {
	ID    uint64
	Path  string // from the root of the hierarchy
	Level int    // how far below that it is
}

// Any reports whether there is a criterion.
func (s *Selection) Any() bool { return s.criteria() != 0 }

// The criteria, as in the programs (bpf/select.h).
const (
	selectPort uint32 = 1 << iota
	selectFamily
	selectNetNS
	selectAddr
	selectLAddr
	selectRAddr
	selectPID
	selectComm
	selectUID
	selectCgroup
	selectFailed

	selectSocket = selectPort | selectFamily | selectNetNS
	selectAddrs  = selectAddr | selectLAddr | selectRAddr
	selectTask   = selectPID | selectComm | selectUID | selectCgroup
	selectLate   = selectAddrs | selectFailed
)

func (s *Selection) criteria() (bits uint32) {
	for bit, used := range map[uint32]bool{
		selectPort: len(s.Ports) > 0, selectFamily: len(s.Families) > 0, selectNetNS: len(s.NetNS) > 0,
		selectAddr: len(s.Addrs) > 0, selectLAddr: len(s.LAddrs) > 0, selectRAddr: len(s.RAddrs) > 0,
		selectPID: len(s.PIDs) > 0 || s.OnlyCommand, selectComm: len(s.Comms) > 0, selectUID: len(s.UIDs) > 0,
		selectCgroup: len(s.Cgroups) > 0, selectFailed: s.FailedOnly,
	} {
		if used {
			bits |= bit
		}
	}
	return bits
}

// matchesSocket reports whether the criteria of listeners fit one.
func (s *Selection) matchesSocket(family format.Family, netns uint32, port uint16) bool {
	return (len(s.Families) == 0 || slices.Contains(s.Families, family)) &&
		(len(s.NetNS) == 0 || slices.Contains(s.NetNS, netns)) &&
		(len(s.Ports) == 0 || slices.ContainsFunc(s.Ports, func(p PortRange) bool {
			return port != 0 && p.First <= port && port <= p.Last
		}))
}

// matchesListener reports whether a listener can have connections that the criteria of addresses fit.
func (s *Selection) matchesListener(laddr string) bool {
	a, err := netip.ParseAddr(laddr)
	if err != nil { // another family
		return len(s.Addrs)+len(s.LAddrs)+len(s.RAddrs) == 0
	}
	return len(s.LAddrs) == 0 || a.IsUnspecified() || within(s.LAddrs, a.Unmap())
}

// matchesEnds reports whether the criteria of addresses fit a connection.
func (s *Selection) matchesEnds(local, remote string) bool {
	if len(s.Addrs)+len(s.LAddrs)+len(s.RAddrs) == 0 {
		return true
	}
	l, err1 := netip.ParseAddr(local)
	r, err2 := netip.ParseAddr(remote)
	if err1 != nil || err2 != nil {
		return false
	}
	l, r = l.Unmap(), r.Unmap()
	return (len(s.Addrs) == 0 || within(s.Addrs, l) || within(s.Addrs, r)) &&
		(len(s.LAddrs) == 0 || within(s.LAddrs, l)) && (len(s.RAddrs) == 0 || within(s.RAddrs, r))
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// record is what the header says of it, nil of a recording of everything.
func (s *Selection) record() *format.Selection {
	if !s.Any() {
		return nil
	}
	r := &format.Selection{Words: s.Words, Follow: s.Follow, OnlyCommand: s.OnlyCommand, FailedOnly: s.FailedOnly,
		NetNS: s.NetNS, PIDs: s.PIDs, Comms: s.Comms, UIDs: s.UIDs}
	for _, p := range s.Ports {
		r.Ports = append(r.Ports, p.String())
	}
	for _, f := range s.Families {
		r.Families = append(r.Families, f.String())
	}
	for to, from := range map[*[]string][]netip.Prefix{&r.Addrs: s.Addrs, &r.LAddrs: s.LAddrs, &r.RAddrs: s.RAddrs} {
		for _, p := range from {
			*to = append(*to, p.String())
		}
	}
	for _, c := range s.Cgroups {
		r.Cgroups = append(r.Cgroups, format.SelectedCgroup{ID: c.ID, Path: c.Path})
	}
	return r
}

// limits say what a recording of this selection does not show.
func (s *Selection) limits() (list []string) {
	bits := s.criteria()
	if bits != 0 {
		list = append(list, "connects that a full queue of a UNIX listener refuses (EAGAIN) are not counted")
	}
	if bits&selectLate != 0 {
		list = append(list, "the entry of an accept call is recorded when it returns, if that is within 150 ms: of calls "+
			"that wait for longer only the return is in it, and calls that wait at the end are not")
	}
	if bits&selectTask != 0 {
		list = append(list, "of connections, those of listeners that a selected process listened at, accepted from or had "+
			"open: who else accepts from such a listener is not recorded, so that some of its connections can have no accept "+
			"call here")
	}
	if bits&selectFailed != 0 {
		list = append(list, "of connections, only those that were dropped")
	}
	return list
}

// UnknownError says that nothing on this host has a name that was asked for.
type UnknownError struct {
	What string   // "container"
	Name string   // as asked for
	All  []string // what there is of its kind
}

func (e *UnknownError) Error() string {
	return "there is no " + e.What + " " + strconv.Quote(e.Name) + " on this host now"
}
