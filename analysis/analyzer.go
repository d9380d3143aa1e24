package analysis

import (
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/acc-project/acc/format"
)

// Options are an Analyzer's settings; the zero value is the default.
type Options struct {
	// Pair is called with each attempt when what became of it is known. The pair
	// is overwritten afterwards. An error of it ends the analysis.
	Pair func(*Pair) error
	Top  int // rows in each list of the result; 0: 10, negative: all

	MaxTasks     int // threads with an open attempt; 0: 200,000
	MaxPeers     int // remote addresses that are told apart; 0: 100,000
	MaxListeners int // listening sockets; 0: 10,000
	MaxProcesses int // processes; 0: 50,000
}

func (o *Options) defaults() {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Top, 10)
	set(&o.MaxTasks, 200_000)
	set(&o.MaxPeers, 100_000)
	set(&o.MaxListeners, 10_000)
	set(&o.MaxProcesses, 50_000)
}

type listenerKey struct {
	netns uint32
	inode uint64
}

type listener struct {
	key       listenerKey
	addr      netip.AddrPort
	family    format.Family
	attempts  uint64
	accepted  uint64
	failed    uint64
	waiting   uint64
	errors    map[int32]uint64
	queueHigh uint32
	queueMax  uint32
	full      uint64
	wait      *hdrhistogram.Histogram
	waitMax   int64
	procs     map[uint32]string // comm by process number
	lastProc  uint32
	took, bad series
	queue     series
}

type process struct {
	num                        uint32
	pid                        uint32
	comm                       string
	attempts, accepted, failed uint64
}

// maxDetailed is how many listeners get a histogram and a timeline; the rest is
// counted only.
const maxDetailed = 256

// Analyzer takes a capture's batches one after another. It is for one goroutine.
type Analyzer struct {
	o      Options
	header *format.Header
	clock  format.Clock // the newest pair
	end    *format.End
	pairs  pairs

	events          uint64
	firstNS, lastNS int64
	totals          Totals
	errors          [1024]uint64
	via             [256]uint64
	unpaired        map[Why]uint64
	waitOK, waitBad *hdrhistogram.Histogram
	maxOK, maxBad   int64
	rate            series
	listeners       map[listenerKey]*listener
	processes       map[uint32]*process
	records         map[uint32]format.Process
	peers           map[netip.Addr]*uint64
	lastPeer        netip.Addr
	lastCount       *uint64
	morePeers       uint64 // connections of peers beyond the bound
	lost            uint64 // by loss records
	limited         bool
}

// New begins the analysis of the capture with header h.
func New(h *format.Header, o Options) *Analyzer {
	o.defaults()
	a := &Analyzer{
		o: o, header: h, clock: h.Clock, unpaired: map[Why]uint64{},
		waitOK: newHistogram(3), waitBad: newHistogram(3),
		listeners: map[listenerKey]*listener{}, processes: map[uint32]*process{},
		records: map[uint32]format.Process{}, peers: map[netip.Addr]*uint64{},
	}
	a.rate = series{startNS: h.Clock.BootNS, widthNS: int64(time.Second), max: 4096}
	a.pairs = pairs{tasks: map[uint32]*task{}, max: o.MaxTasks, emit: a.pair}
	return a
}

// Add takes the next batch; nothing of it is kept. Skipped says that a part of
// the capture before it was left out. The error is that of Options.Pair.
func (a *Analyzer) Add(b *format.Batch, skipped bool) error {
	if skipped {
		a.pairs.skipped = true
	}
	for _, p := range b.Processes {
		if len(a.records) >= a.o.MaxProcesses {
			a.limited = true
			break
		}
		a.records[p.Num] = p
	}
	for _, c := range b.Clocks {
		a.clock = c
	}
	for _, l := range b.Losses {
		a.lost += l.Count
	}
	for i := range b.Events {
		if err := a.event(&b.Events[i]); err != nil {
			return err
		}
	}
	if b.End != nil {
		end := *b.End
		a.end = &end
		a.clock = end.Clock
	}
	return nil
}

// event takes one event.
func (a *Analyzer) event(e *format.Event) error {
	if a.events == 0 {
		a.firstNS = e.BootNS
	}
	a.events++
	a.lastNS = max(a.lastNS, e.BootNS)
	t := a.pairs.task(e.TID)
	a.place(t, e)
	return a.pairs.add(t, e)
}

// place finds the listener and the process of an event and notes its queue.
func (a *Analyzer) place(t *task, e *format.Event) {
	if k := (listenerKey{e.NetNS, e.Listener}); t.listener == nil || k != t.key {
		t.listener, t.key = a.listener(k), k
	}
	if t.process == nil || e.Proc != t.proc || e.PID != t.process.pid {
		t.process, t.proc = a.process(e), e.Proc
	}
	l := t.listener
	if l == nil || e.Listener == 0 {
		return
	}
	if e.Proc != l.lastProc || len(l.procs) == 0 {
		l.lastProc = e.Proc
		if len(l.procs) < 1000 {
			l.procs[e.Proc] = e.Comm
		}
	}
	if !l.addr.IsValid() && !e.Accepted() {
		l.addr, l.family = e.Local(), e.Family
	}
	l.queueMax = e.BacklogMax
	if e.Backlog > l.queueHigh {
		l.queueHigh = e.Backlog
	}
	if e.Backlog > e.BacklogMax {
		l.full++
	}
	if l.wait != nil && e.Backlog > 0 {
		q := l.queue.at(e.BootNS)
		*q = max(*q, uint64(e.Backlog))
	}
}

func (a *Analyzer) listener(k listenerKey) *listener {
	l := a.listeners[k]
	if l != nil {
		return l
	}
	if len(a.listeners) >= a.o.MaxListeners {
		a.limited = true
		return nil
	}
	l = &listener{key: k, errors: map[int32]uint64{}, procs: map[uint32]string{}}
	if len(a.listeners) < maxDetailed {
		l.wait = newHistogram(2)
		s := series{startNS: a.header.Clock.BootNS, widthNS: int64(time.Second), max: 120}
		l.took, l.bad, l.queue = s, s, s
		l.queue.peak = true
	}
	a.listeners[k] = l
	return l
}

func (a *Analyzer) process(e *format.Event) *process {
	num := e.Proc
	p := a.processes[num]
	if p == nil {
		p = &process{num: num, pid: e.PID, comm: e.Comm}
		if len(a.processes) >= a.o.MaxProcesses {
			a.limited = true
			return p
		}
		a.processes[num] = p
	}
	return p
}

// pair books an attempt whose fate is known.
func (a *Analyzer) pair(t *task, p *Pair) error {
	l, proc := t.listener, t.process
	if k := (listenerKey{p.NetNS, p.Listener}); k != t.key {
		l = a.listener(k) // the task has gone on to another one
	}
	if l == nil {
		l = new(listener) // beyond the bound: counted in the totals only
	}
	a.totals.Attempts++
	l.attempts++
	proc.attempts++
	a.via[p.Via]++
	if p.Why == WhyRestarted {
		a.totals.Restarted++
	}
	switch {
	case !p.Returned():
		a.totals.EntryOnly++
		a.unpaired[p.Why]++
		if p.Why == WhyBlocked {
			l.waiting++
		}
	case p.Accepted():
		a.accepted(l, proc, p)
	default:
		a.failed(l, proc, p)
	}
	if p.Returned() && p.WaitNS < 0 && p.Why != WhyNoCall {
		a.totals.ReturnOnly++
		a.unpaired[p.Why]++
	}
	if a.o.Pair != nil {
		return a.o.Pair(p)
	}
	return nil
}

func (a *Analyzer) accepted(l *listener, proc *process, p *Pair) {
	a.totals.Accepted++
	l.accepted++
	proc.accepted++
	if p.State == 7 {
		a.totals.ClosedEarly++
	}
	*a.rate.at(p.ReturnNS)++
	if l.wait != nil {
		*l.took.at(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		record(a.waitOK, p.WaitNS)
		a.maxOK = max(a.maxOK, p.WaitNS)
		if l.wait != nil {
			record(l.wait, p.WaitNS)
			l.waitMax = max(l.waitMax, p.WaitNS)
		}
	}
	a.peer(p.Remote.Addr())
}

func (a *Analyzer) peer(addr netip.Addr) {
	if a.lastCount != nil && addr == a.lastPeer {
		*a.lastCount++
		return
	}
	if !addr.IsValid() {
		return
	}
	n := a.peers[addr]
	if n == nil {
		if len(a.peers) >= a.o.MaxPeers {
			a.limited = true
			a.morePeers++
			return
		}
		n = new(uint64)
		a.peers[addr] = n
	}
	*n++
	a.lastPeer, a.lastCount = addr, n
}

func (a *Analyzer) failed(l *listener, proc *process, p *Pair) {
	a.totals.Failed++
	l.failed++
	proc.failed++
	a.errors[min(uint32(p.Errno), uint32(len(a.errors)-1))]++
	if l.errors != nil && len(l.errors) < 100 {
		l.errors[p.Errno]++
	}
	if l.wait != nil {
		*l.bad.at(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		record(a.waitBad, p.WaitNS)
		a.maxBad = max(a.maxBad, p.WaitNS)
	}
}
