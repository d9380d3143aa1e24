package listeners

// This file has the Registry, and how events find their listener.

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/meanwhile"
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

// Options are the settings of a Registry: bounds on its memory, and the wall clock.
type Options struct {
	MaxPeers     int                           // remote addresses that are counted by themselves
	MaxListeners int                           // listening sockets
	MaxProcesses int                           // processes
	Bare         bool                          // queues and addresses alone are kept, and no histories
	Time         func(bootNS int64) *time.Time // places a boot time on the wall clock, nil: that is not known
	Functions    meanwhile.Names               // names functions that the recorder could not name, or nil
}

// Registry holds listeners, processes and peers, and their bounds.
type Registry struct {
	o       Options
	header  *format.Header
	startNS int64
	blind   bool // not all accepts of a listener are recorded
	live    bool // more than accepts are
	limited bool

	startKnown  bool            // the list of listeners at the start is complete
	startSpaces map[uint32]bool // the network namespaces that it has; nil: all
	uring       stats.Mark      // accepts through io_uring

	end    *format.End // nil: it is missing
	endNS  int64
	listed bool // the list of the end is there

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
	near      near
	byRef     []*listener // by their ref
	procByRef []*process
	peers     peers
	meanwhile meanwhile.Collector // what threads did while clients waited
}

// New makes an empty Registry for the capture with header h, which it keeps.
func New(h *format.Header, o Options) *Registry {
	reg := &Registry{
		o: o, header: h, startNS: h.Clock.BootNS, blind: crosscheck.Blind(h) || !h.Selection.WholeListeners(),
		listeners: map[listenerKey]*listener{}, processes: map[processKey]*process{},
		records: map[uint32]*format.Process{},
		links:   map[link]*spot{}, ports: map[conntrack.Port]*listener{}, peers: newPeers(o.MaxPeers),
		byRef: []*listener{nil}, procByRef: []*process{nil},
	}
	reg.meanwhile.Names = o.Functions
	reg.none, reg.more = reg.newListener(listener{}), reg.newListener(listener{})
	reg.moreProcs = reg.newProcess(process{})
	return reg
}

// newListener makes a listener with a ref.
func (reg *Registry) newListener(l listener) *listener {
	l.ref = conntrack.Ref(len(reg.byRef))
	reg.byRef = append(reg.byRef, &l)
	return &l
}

// newProcess makes a process with a ref.
func (reg *Registry) newProcess(p process) *process {
	p.ref = conntrack.Ref(len(reg.procByRef))
	reg.procByRef = append(reg.procByRef, &p)
	return &p
}

// Place finds the listener and the process of an event for its task, and notes the length of the queue. The return
// of an open attempt that names no listener is of the attempt's.
func (reg *Registry) Place(t *pairing.Task, e *format.Event) {
	at := spotOf(t)
	l, p := at.listener, at.process
	switch {
	case e.Listener == 0 && e.Kind == format.Return && t.Open:
	case e.Listener == 0:
		l = reg.none
	case l == nil || l.key.inode != e.Listener || l.key.netns != e.NetNS:
		l = reg.find(e)
	case tellsAddress(e) && e.Local() != l.addr:
		l = reg.find(e)
	}
	if p == nil || p.key.num != e.Proc || p.key.pid != e.PID {
		p = reg.process(e)
	}
	if l != at.listener || p != at.process {
		t.Place = reg.spot(l, p)
	}
	if e.Listener != 0 && l != reg.more {
		l.look(e, e.Backlog)
	}
}

func (reg *Registry) find(e *format.Event) *listener {
	k := listenerKey{e.NetNS, e.Listener}
	l := reg.known(k)
	tells := tellsAddress(e)
	if l != nil && (!tells || l.addr.Port() == 0 || l.addr == e.Local()) {
		if tells && l.addr != e.Local() {
			l.describe(e)
		}
		if l.idle {
			l.seq, l.seenNS = e.Seq, e.BootNS
			reg.wake(l)
		}
		return l
	}
	if len(reg.all) >= reg.o.MaxListeners {
		reg.limited = true
		return reg.more
	}
	l = reg.newListener(listener{key: k, seq: e.Seq, seenNS: e.BootNS})
	if ofListener(e) {
		l.describe(e)
	} else {
		l.guess = e.LPort
	}
	reg.wake(l)
	reg.keep(l)
	if e.LPort != 0 {
		reg.listensAt(conntrack.Port{NetNS: e.NetNS, Port: e.LPort}, l)
	}
	return l
}

// numNear is how many listeners are found without a map: a power of two.
const numNear = 16

// near are listeners that were asked for last, by the lowest bits of their inode number and of their port.
type near struct {
	byInode [numNear]*listener
	byPort  [numNear]struct {
		port conntrack.Port
		*listener
	}
}

// known gives the listener of a key, nil if there is none.
func (reg *Registry) known(k listenerKey) *listener {
	at := &reg.near.byInode[k.inode%numNear]
	if *at == nil || (*at).key != k {
		*at = reg.listeners[k]
	}
	return *at
}

// keep takes a new listener.
func (reg *Registry) keep(l *listener) {
	reg.listeners[l.key], reg.near.byInode[l.key.inode%numNear] = l, l
	reg.all = append(reg.all, l)
}

// atPort gives the listener of a port, nil if it is not known.
func (reg *Registry) atPort(p conntrack.Port) *listener {
	at := &reg.near.byPort[p.Port%numNear]
	if at.listener == nil || at.port != p {
		at.port, at.listener = p, reg.ports[p]
	}
	return at.listener
}

// listensAt notes who listens on a port.
func (reg *Registry) listensAt(p conntrack.Port, l *listener) {
	reg.ports[p] = l
	at := &reg.near.byPort[p.Port%numNear]
	at.port, at.listener = p, l
}

// wake makes room for what happens at a listener.
func (reg *Registry) wake(l *listener) {
	l.idle = false
	reg.detail(l)
	if l.snap.start > 0 && reg.live { // so that it is there at the first event
		reg.life(l)
	}
}

func (reg *Registry) detail(l *listener) {
	if reg.detailed >= maxDetailed || reg.o.Bare {
		return
	}
	reg.detailed++
	l.detailed, l.waits = true, stats.NewHistogram(2)
	l.took = stats.NewSeries(reg.startNS, int64(time.Second), 120)
	l.bad, l.depth = l.took, newDepth(reg.startNS, l.took)
	if l.snap.before {
		l.depth.set(reg.startNS, l.snap.start)
	}
}

// nameOf is a process for people.
func nameOf(comm string, pid uint32) string {
	return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(short(comm, 64)), "?"), pid)
}

// short copies the beginning of a text, so that nothing larger stays in memory.
func short(s string, n int) string { return strings.Clone(s[:min(len(s), n)]) }
