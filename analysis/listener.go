package analysis

import (
	"net/netip"
	"strings"
	"time"

	"github.com/acc-project/acc/format"
)

// Bounds on what is kept of listeners and processes, beside those of Options.
const (
	maxDetailed = 256      // listeners with a histogram and a timeline; the others are counted only
	maxErrnos   = 32       // errors that are told apart for one listener
	maxLinks    = 100_000  // pairs of a listener and a process
	maxText     = 16 << 20 // bytes of the texts of process records
)

type listenerKey struct {
	netns uint32
	inode uint64
}

type errnoCount struct {
	errno int32
	count uint64
}

// listener is what is known of a listening socket. An inode number that comes
// with another address is another listener: numbers are used again.
type listener struct {
	key             listenerKey
	addr            netip.AddrPort // invalid: not known, or the family has none
	bound           string         // the name it is bound to where that is no address
	family          format.Family
	proto           uint16
	attempts        uint64
	accepted        uint64
	failed          uint64
	waiting         uint64
	errors          []errnoCount
	queueHigh       uint32
	queueMax        uint32
	full            uint64
	firstNS, lastNS int64 // first and last accepted, 0: none
	waits           waits
	detailed        bool
	took, bad       series
	queue           series
	processes       []*process
}

// process is what is known of a process.
type process struct {
	key                        processKey
	comm                       string
	attempts, accepted, failed uint64
}

type processKey struct{ num, pid uint32 }

// record is what is kept of a process record.
type record struct {
	comm, exe, cgroup, container, runtime, unit, pod string
	nsPID                                            uint32
	netNS, pidNS                                     uint64
}

type link struct {
	l *listener
	p *process
}

// places holds listeners, processes and peers, and their bounds.
type places struct {
	startNS   int64
	o         *Options
	limited   bool
	listeners map[listenerKey]*listener // the newest of each key
	all       []*listener
	none      *listener // of events without a listening socket
	more      *listener // of all listeners beyond the bound
	processes map[processKey]*process
	moreProcs *process
	records   map[uint32]record
	text      int
	links     map[link]struct{}
	peers     map[netip.Addr]uint32
	counts    []uint64 // of peers, by number
	lastPeer  netip.Addr
	lastNum   uint32
	morePeers uint64 // connections of peers beyond the bound
}

func newPlaces(h *format.Header, o *Options) places {
	return places{
		startNS: h.Clock.BootNS, o: o,
		listeners: map[listenerKey]*listener{}, none: &listener{}, more: &listener{},
		processes: map[processKey]*process{}, moreProcs: &process{}, records: map[uint32]record{},
		links: map[link]struct{}{}, peers: map[netip.Addr]uint32{},
	}
}

// place finds the listener and the process of an event for its task. The return
// of an open attempt that does not tell a listener is of the attempt's.
func (ps *places) place(t *task, e *format.Event) {
	l := t.listener
	switch {
	case e.Listener == 0 && e.Kind == format.Return && t.open:
	case e.Listener == 0:
		l = ps.none
	case l == nil || l.key.inode != e.Listener || l.key.netns != e.NetNS:
		l = ps.find(e)
	case !e.Accepted() && e.LAddr.IsValid() && e.Local() != l.addr:
		l = ps.find(e)
	}
	if l != t.listener {
		t.listener, t.linked = l, false
	}
	if p := t.process; p == nil || p.key.num != e.Proc || p.key.pid != e.PID {
		t.process, t.linked = ps.process(e), false
	}
	if e.Listener == 0 || l == ps.more {
		return
	}
	if !t.linked {
		ps.link(l, t.process)
		t.linked = true
	}
	l.queueMax = e.BacklogMax
	if e.Backlog == 0 {
		return
	}
	l.queueHigh = max(l.queueHigh, e.Backlog)
	if e.Backlog > e.BacklogMax {
		l.full++
	}
	if l.detailed {
		q := l.queue.at(e.BootNS)
		*q = max(*q, uint64(e.Backlog))
	}
}

func (ps *places) find(e *format.Event) *listener {
	k := listenerKey{e.NetNS, e.Listener}
	l := ps.listeners[k]
	tells := !e.Accepted() && e.LAddr.IsValid()
	if l != nil && (!tells || !l.addr.IsValid() || l.addr == e.Local()) {
		if tells && !l.addr.IsValid() {
			l.describe(e)
		}
		return l
	}
	if len(ps.all) >= ps.o.MaxListeners {
		ps.limited = true
		return ps.more
	}
	l = &listener{key: k}
	if !e.Accepted() {
		l.describe(e)
	}
	if len(ps.all) < maxDetailed {
		l.detailed, l.waits = true, newWaits(2)
		l.took = newSeries(ps.startNS, int64(time.Second), 120)
		l.bad, l.queue = l.took, l.took
		l.queue.peak = true
	}
	ps.listeners[k] = l
	ps.all = append(ps.all, l)
	return l
}

// describe takes the listener's own facts from an event that has them.
func (l *listener) describe(e *format.Event) {
	l.family, l.proto = e.Family, e.Proto
	if e.LAddr.IsValid() {
		l.addr = e.Local()
	}
	if e.LName != "" {
		l.bound = short(e.LName, 108)
	}
}

func (ps *places) process(e *format.Event) *process {
	k := processKey{e.Proc, e.PID}
	p := ps.processes[k]
	if p == nil {
		if len(ps.processes) >= ps.o.MaxProcesses {
			ps.limited = true
			return ps.moreProcs
		}
		p = &process{key: k, comm: short(e.Comm, 64)}
		ps.processes[k] = p
	}
	return p
}

func (ps *places) link(l *listener, p *process) {
	if _, ok := ps.links[link{l, p}]; ok || p == ps.moreProcs {
		return
	}
	if len(ps.links) >= maxLinks {
		ps.limited = true
		return
	}
	ps.links[link{l, p}] = struct{}{}
	l.processes = append(l.processes, p)
}

// record keeps what the result tells of a process.
func (ps *places) record(p *format.Process) {
	r := record{
		comm: short(p.Comm, 64), exe: short(p.Exe, 4096), cgroup: short(p.Cgroup, 4096), container: short(p.Container, 128), runtime: short(p.Runtime, 32),
		unit: short(p.Unit, 256), pod: short(p.Pod, 512), nsPID: p.NSPID, netNS: p.NetNS, pidNS: p.PIDNS,
	}
	size := len(r.comm) + len(r.exe) + len(r.cgroup) + len(r.container) + len(r.runtime) + len(r.unit) + len(r.pod)
	if _, ok := ps.records[p.Num]; ok || len(ps.records) >= ps.o.MaxProcesses || ps.text+size > maxText {
		ps.limited = ps.limited || !ok
		return
	}
	ps.text += size
	ps.records[p.Num] = r
}

// short copies the beginning of a text, so that nothing larger stays in memory.
func short(s string, n int) string { return strings.Clone(s[:min(len(s), n)]) }

func (l *listener) fail(errno int32) {
	l.failed++
	for i := range l.errors {
		if l.errors[i].errno == errno {
			l.errors[i].count++
			return
		}
	}
	if len(l.errors) < maxErrnos {
		l.errors = append(l.errors, errnoCount{errno, 1})
	}
}

// peer counts an accepted connection of a remote address. An IPv4 address is the
// same peer on an IPv6 listener.
func (ps *places) peer(addr netip.Addr) {
	if !addr.IsValid() {
		return
	}
	if addr.Is4In6() {
		addr = addr.Unmap()
	}
	if addr == ps.lastPeer {
		ps.counts[ps.lastNum]++
		return
	}
	n, ok := ps.peers[addr]
	if !ok {
		if len(ps.peers) >= ps.o.MaxPeers {
			ps.limited = true
			ps.morePeers++
			return
		}
		n = uint32(len(ps.counts))
		ps.peers[addr] = n
		ps.counts = append(ps.counts, 0)
	}
	ps.counts[n]++
	ps.lastPeer, ps.lastNum = addr, n
}
