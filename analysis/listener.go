package analysis

// This file keeps what is known of each listening socket.

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Bounds on what is kept of listeners and processes, beside those of Options.
const (
	maxDetailed = 256      // listeners with a histogram and a timeline; the others are counted only
	maxForeign  = 8        // network namespaces of tasks that are kept of one listener
	maxHolders  = 8        // processes that have one listener open at the end
	maxErrnos   = 32       // errors that are counted by themselves for one listener
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
	ref             conntrack.Ref
	key             listenerKey
	addr            netip.AddrPort // invalid: not known, or the family has none
	bound           string         // the name it is bound to where that is no address
	family          format.Family
	proto           uint16
	attempts        uint64
	accepted        uint64
	failed          uint64
	restarted       uint64 // of the failed
	oneAccept       bool   // it is one of several that took one connection each
	waiting         uint64
	errors          []errnoCount
	high, fullHigh  high    // the longest that the queue was, and of when it was full
	limits          []limit // of the queue, in the order in which it had them
	moreLimits      uint64  // beyond those
	queueMax        uint32  // the last of them
	steered         uint64  // connections that came by another port than its own
	full            uint64
	refused         uint64 // connects of UNIX clients, the queue was full
	firstNS, lastNS int64  // first and last accepted, 0: none
	waits           stats.Histogram
	detailed        bool
	took, bad       stats.Series
	depth           depth
	shares          []*share
	life            *life // what is known of its connections beyond accept; nil: nothing
	marks           findings.Marks
	programs        []program // that accepted at it
	snap            snap
	guess           uint16     // port of a connection of it, while its address is not known
	idle            bool       // nothing happened at it
	deadAhead       uint64     // accepted and dead already, and others waited behind
	uring           *process   // the last one that accepted at it through io_uring
	twin            string     // what tells it apart from others of its name, "" if there are none
	owned           string     // the process that began to listen, "" unknown
	opener          uint32     // its record, if it may be another recorder
	strangers       bool       // somebody else than the accepting process connected, or it is not known who
	short           *process   // the one that had no descriptor left, nil: none, or several
	crowd           *crowd     // how many of its connections are open; nil: none was accepted
	zero            zeroLimit  // that the limit of its queue was set to 0
	shot            *multishot // how multishot accepts at it ended, nil: none did
	beganNS         int64
	began           uint64   // event that says that it began to listen, 0 without one
	stop            *stop    // how it stopped listening, the last time; nil: it did not
	seq             uint64   // its first event
	seenNS          int64    // and when that was
	came            *process // the last one that accepted at it for the first time, when others had
	foreign         []uint32 // network namespaces, other than its own, of tasks that called accept on it; the first few
}

// snap is what the snapshots say of a listener.
type snap struct {
	before     bool                // it listened when recording began
	start, end uint32              // connections in its queue then and at the end
	limit      uint32              // of the queue at the start, 0 if it is not known
	endLimit   uint32              // and at the end
	ended      bool                // end is known
	sits       uint64              // tasks in accept at the end
	sitter     format.Blocked      // one of them
	halted     format.ListenSocket // with a process that did not run then
	holders    []format.Holder     // processes that had it open then, where connections were in its queue
	more       uint32              // further ones
	held       bool                // all processes were looked at for that
}

// share is what one process did at one listener.
type share struct {
	p                         *process
	accepted, empty, attempts uint64 // empty: attempts that found the queue empty
	firstNS, lastNS           int64  // of its attempts
	tid                       uint32
	threads                   bool // more than one
}

// attempt counts an attempt of the process.
func (s *share) attempt(p *pairing.Pair) {
	ns := p.ReturnNS
	if p.EnterSeq != 0 {
		ns = p.EnterNS
	}
	if s.attempts++; s.attempts == 1 {
		s.firstNS, s.lastNS, s.tid = ns, ns, p.TID
	}
	s.firstNS, s.lastNS = min(s.firstNS, ns), max(s.lastNS, ns, p.ReturnNS)
	s.threads = s.threads || s.tid != p.TID
}

// process is what is known of a process.
type process struct {
	ref                        conntrack.Ref
	key                        processKey
	comm                       string
	attempts, accepted, failed uint64
	restarted                  uint64 // of the failed
	nowhere, beyond            *spot  // of events without a listener, and at listeners beyond the bound
}

type processKey struct{ num, pid uint32 }

type link struct {
	l *listener
	p *process
}

// places holds listeners, processes and peers, and their bounds.
type places struct {
	startNS   int64
	blind     bool // accepts are not recorded
	live      bool // more than accepts are
	o         *Options
	limited   bool
	listeners map[listenerKey]*listener // the newest of each key
	all       []*listener
	detailed  int
	none      *listener // of events without a listening socket
	more      *listener // of all listeners beyond the bound
	processes map[processKey]*process
	moreProcs *process
	records   map[uint32]*format.Process
	text      int
	links     map[link]*spot
	ports     map[conntrack.Port]*listener // the newest that is known to listen on it
	byRef     []*listener                  // by their ref
	procByRef []*process
	peers     peers
}

func newPlaces(h *format.Header, o *Options) places {
	ps := places{
		startNS: h.Clock.BootNS, o: o, blind: crosscheck.Blind(h),
		listeners: map[listenerKey]*listener{}, processes: map[processKey]*process{}, records: map[uint32]*format.Process{},
		links: map[link]*spot{}, ports: map[conntrack.Port]*listener{}, peers: newPeers(o.MaxPeers),
		byRef: []*listener{nil}, procByRef: []*process{nil},
	}
	ps.none, ps.more, ps.moreProcs = ps.newListener(listener{}), ps.newListener(listener{}), ps.newProcess(process{})
	return ps
}

// newListener makes a listener with a ref.
func (ps *places) newListener(l listener) *listener {
	l.ref = conntrack.Ref(len(ps.byRef))
	ps.byRef = append(ps.byRef, &l)
	return &l
}

// newProcess makes a process with a ref.
func (ps *places) newProcess(p process) *process {
	p.ref = conntrack.Ref(len(ps.procByRef))
	ps.procByRef = append(ps.procByRef, &p)
	return &p
}

// spot is a process at a listener, by which the task of a thread says where it is.
type spot struct {
	listener *listener
	process  *process
	share    *share // of the process at the listener, nil beyond the bounds
}

// nowhere is the spot of a task before its first event.
var nowhere = &spot{}

// spotOf is where a task is.
func spotOf(t *pairing.Task) *spot {
	if s, ok := t.Place.(*spot); ok {
		return s
	}
	return nowhere
}

// place finds the listener and the process of an event for its task. The return
// of an open attempt that does not tell a listener is of the attempt's.
func (ps *places) place(t *pairing.Task, e *format.Event) {
	at := spotOf(t)
	l, p := at.listener, at.process
	switch {
	case e.Listener == 0 && e.Kind == format.Return && t.Open:
	case e.Listener == 0:
		l = ps.none
	case l == nil || l.key.inode != e.Listener || l.key.netns != e.NetNS:
		l = ps.find(e)
	case tellsAddress(e) && e.Local() != l.addr:
		l = ps.find(e)
	}
	if p == nil || p.key.num != e.Proc || p.key.pid != e.PID {
		p = ps.process(e)
	}
	if l != at.listener || p != at.process {
		t.Place = ps.spot(l, p)
	}
	if e.Listener != 0 && l != ps.more {
		l.look(e, e.Backlog)
	}
}

// look notes the length of the accept queue at an event.
func (l *listener) look(e *format.Event, queue uint32) {
	l.limited(e)
	if l.life != nil && !l.life.Blind {
		l.life.begin(l, e.BacklogMax)
		l.life.depth(e.BootNS, queue > e.BacklogMax)
	}
	if l.detailed {
		before := queueBefore(e)
		if l.life != nil && !l.life.Blind { // all that changes it is recorded
			before = l.depth.level
		}
		l.depth.carry(e.BootNS, before)
		l.depth.set(e.BootNS, queue)
	}
	if queue == 0 {
		return
	}
	l.raise(high{queue, e.BacklogMax, e.BootNS, e.Seq})
	if queue > e.BacklogMax {
		l.full++
		l.marks.Note(findings.QueueFull, e.Seq, e.BootNS, int64(queue))
	}
}

// ofListener reports whether the socket columns of an event describe the listener.
func ofListener(e *format.Event) bool {
	return e.Kind == format.Enter || e.Kind == format.Listen || e.Kind == format.Stop || e.Kind == format.Return &&
		e.Ret < 0 && e.Mark&format.MarkClientLost == 0
}

// tellsAddress reports whether an event has the listener's address. One that was shut down has given back a port that
// it
// had not chosen.
func tellsAddress(e *format.Event) bool { return ofListener(e) && e.LAddr.IsValid() && e.LPort != 0 }

func (ps *places) find(e *format.Event) *listener {
	k := listenerKey{e.NetNS, e.Listener}
	l := ps.listeners[k]
	tells := tellsAddress(e)
	if l != nil && (!tells || l.addr.Port() == 0 || l.addr == e.Local()) {
		if tells && l.addr != e.Local() {
			l.describe(e)
		}
		if l.idle {
			l.seq, l.seenNS = e.Seq, e.BootNS
			ps.wake(l)
		}
		return l
	}
	if len(ps.all) >= ps.o.MaxListeners {
		ps.limited = true
		return ps.more
	}
	l = ps.newListener(listener{key: k, seq: e.Seq, seenNS: e.BootNS})
	if ofListener(e) {
		l.describe(e)
	} else {
		l.guess = e.LPort
	}
	ps.wake(l)
	ps.listeners[k] = l
	ps.all = append(ps.all, l)
	if e.LPort != 0 {
		ps.ports[conntrack.Port{NetNS: e.NetNS, Port: e.LPort}] = l
	}
	return l
}

// wake makes room for what happens at a listener.
func (ps *places) wake(l *listener) {
	l.idle = false
	ps.detail(l)
	if l.snap.start > 0 && ps.live { // so that it is there at the first event
		ps.life(l)
	}
}

func (ps *places) detail(l *listener) {
	if ps.detailed >= maxDetailed {
		return
	}
	ps.detailed++
	l.detailed, l.waits = true, stats.NewHistogram(2)
	l.took = stats.NewSeries(ps.startNS, int64(time.Second), 120)
	l.bad, l.depth = l.took, newDepth(ps.startNS, l.took)
	if l.snap.before {
		l.depth.set(ps.startNS, l.snap.start)
	}
}

// snapshot takes a listener that was there when recording began, or ended.
func (ps *places) snapshot(s *format.ListenSocket, final bool) {
	addr, err := netip.ParseAddr(s.LAddr)
	at := netip.AddrPort{}
	if err == nil {
		at = netip.AddrPortFrom(addr, s.LPort)
	}
	k := listenerKey{s.NetNS, s.Listener}
	l := ps.listeners[k]
	if l == nil || at.IsValid() && l.addr.IsValid() && l.addr != at {
		if s.Listener == 0 || final && s.Backlog == 0 {
			return
		}
		if len(ps.all) >= ps.o.MaxListeners {
			ps.limited = true
			return
		}
		l = ps.newListener(listener{key: k, idle: true})
		ps.listeners[k] = l
		ps.all = append(ps.all, l)
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
		l.limits = append(l.limits[:0], limit{max: s.BacklogMax, ns: ps.startNS})
	}
	if s.Backlog > 0 {
		l.raise(high{n: s.Backlog, max: cmp.Or(s.BacklogMax, unknownLimit), ns: ps.startNS})
	}
	if s.LPort != 0 {
		ps.ports[conntrack.Port{NetNS: s.NetNS, Port: s.LPort}] = l
	}
}

// nameOf is a process for people.
func nameOf(comm string, pid uint32) string {
	return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(short(comm, 64)), "?"), pid)
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
		p = ps.newProcess(process{key: k, comm: short(e.Comm, 64)})
		ps.processes[k] = p
	}
	return p
}

// spot gives that of a process at a listener; beyond the bound, that of all further processes.
func (ps *places) spot(l *listener, p *process) *spot {
	switch {
	case l == ps.none:
		return p.at(&p.nowhere, l)
	case l == ps.more:
		return p.at(&p.beyond, l)
	}
	s := ps.links[link{l, p}]
	if s != nil {
		return s
	}
	if len(ps.links) >= maxLinks && p != ps.moreProcs {
		ps.limited = true
		return ps.spot(l, ps.moreProcs)
	}
	s = &spot{listener: l, process: p}
	ps.links[link{l, p}] = s
	if p != ps.moreProcs {
		s.share = &share{p: p}
		l.shares = append(l.shares, s.share)
	}
	return s
}

// at gives a spot without a share, made once.
func (p *process) at(s **spot, l *listener) *spot {
	if *s == nil {
		*s = &spot{listener: l, process: p}
	}
	return *s
}

// record keeps a process record.
func (ps *places) record(p *format.Process) {
	r := *p
	size := 0
	for _, text := range []struct {
		s   *string
		max int
	}{
		{&r.Comm, 64}, {&r.Exe, 4096}, {&r.ExeDev, 32}, {&r.Cgroup, 4096}, {&r.Container, 128}, {&r.Runtime, 32},
		{&r.Unit, 256}, {&r.Pod, 512}, {&r.PodUID, 64},
	} {
		*text.s = short(*text.s, text.max)
		size += len(*text.s)
	}
	if _, ok := ps.records[p.Num]; ok || len(ps.records) >= ps.o.MaxProcesses || ps.text+size > maxText {
		ps.limited = ps.limited || !ok
		return
	}
	ps.text += size
	ps.records[p.Num] = &r
}

// recordOf gives a process record; an empty one if there is none.
func (ps *places) recordOf(num uint32) *format.Process {
	if r := ps.records[num]; r != nil {
		return r
	}
	return &noRecord
}

var noRecord format.Process

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
