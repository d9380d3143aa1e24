package analysis

// This file has the Analyzer: it takes batches of a capture and hands each event on.

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Options are an Analyzer's settings; the zero value is the default. The bounds
// keep memory within 256 MiB whatever the capture; when one is hit,
// Result.LimitHit is set and a caveat says what it made inexact.
type Options struct {
	// Pair is called with each attempt when what became of it is known, which for
	// one whose return is not there can be at the end. The pair is overwritten
	// afterwards. An error of it ends the analysis.
	Pair func(*pairing.Pair) error
	Top  int  // rows in each list of the result; 0: 10, negative: all
	Sort Sort // order of listeners, processes and peers, before they are cut to Top rows

	// Connection is called with each TCP connection when it has ended, or at the
	// end, as Pair is.
	Connection func(*conntrack.Connection) error

	// Account takes the batches, too, if it is not nil.
	Account *audit.Account

	MaxTasks     int // threads in accept at once; 0: 450,000
	MaxConns     int // connections at once; 0: 200,000
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
	set(&o.MaxTasks, 450_000)
	set(&o.MaxConns, 200_000)
	set(&o.MaxPeers, 100_000)
	set(&o.MaxListeners, 10_000)
	set(&o.MaxProcesses, 50_000)
}

// Analyzer takes a capture's batches one after another. It is for one goroutine.
type Analyzer struct {
	o      Options
	header format.Header
	clock  format.Clock // the newest pair
	free   bool         // a pair says that nothing synchronised the host's wall clock
	clocks *format.Clocks
	end    *format.End
	tasks  *pairing.Tasks
	spare  pairing.Task // of a thread that is not followed
	pairs  pairing.Pairs
	places places
	check  *crosscheck.Check

	events          uint64
	firstNS, lastNS int64
	totals          Totals
	errors          [1024]uint64
	via             [256]uint64
	unpaired        map[pairing.Why]uint64
	waits, badWaits stats.Histogram
	rate            stats.Series
	lost            [format.NumHooks][format.NumKinds]uint64 // by hook and kind, of loss records
	unfollowed      uint64                                   // entries of threads beyond the bound

	conns    *conntrack.Tracker
	cut      bool // the capture stops before its end
	inAccept inAccept
	uring    stats.Mark // accepts through io_uring

	multishotEnds [format.NumUringEnds]uint64
	gapMark       stats.Mark // what was read when a loss was told
	lastSeq       uint64
	seqNS         int64           // time of that event
	behind        bool            // a part was left out since the last event
	startKnown    bool            // the list of listeners at the start is complete
	startSpaces   map[uint32]bool // the network namespaces that it has; nil: all
}

// New begins the analysis of the capture with header h, of which it keeps a copy.
func New(h *format.Header, o Options) *Analyzer {
	o.defaults()
	a := &Analyzer{
		o: o, header: *h, clock: h.Clock, clocks: format.NewClocks(h.Clock), unpaired: map[pairing.Why]uint64{},
		waits: stats.NewHistogram(3), badWaits: stats.NewHistogram(3),
		firstNS: math.MaxInt64, lastNS: math.MinInt64, rate: stats.NewSeries(h.Clock.BootNS, int64(time.Second), 4096),
	}
	a.check = crosscheck.New(h)
	a.places = newPlaces(h, &a.o)
	a.pairs.Emit = a.book
	a.conns = conntrack.New(conntrack.Options{
		StartNS: h.Clock.BootNS, Max: a.o.MaxConns, Blind: crosscheck.Blind(h), Listeners: &a.places, Emit: a.connection(),
		Causes: slices.ContainsFunc(h.Fields, func(f format.FieldSpec) bool { return f.Name == "cause" }),
	})
	for _, p := range h.Probes {
		if p.Kind > format.Return {
			a.beyondAccept()
		}
	}
	a.tasks = pairing.NewTasks(o.MaxTasks, a.pairs.Settle)
	return a
}

// connection is Options.Connection for connections that lack their names.
func (a *Analyzer) connection() func(*conntrack.Connection) error {
	give := a.o.Connection
	if give == nil {
		return nil
	}
	return func(c *conntrack.Connection) error {
		a.places.name(c)
		return give(c)
	}
}

// beyondAccept makes room for what captures of accept alone don't have.
func (a *Analyzer) beyondAccept() {
	a.conns.Start()
	a.places.live = true
}

// Clocks are the clock pairs so far, by which times are placed.
func (a *Analyzer) Clocks() *format.Clocks { return a.clocks }

// Add takes the next batch; nothing of it is kept. Skipped says that a part of
// the capture before it was left out. The error is that of Options.Pair.
func (a *Analyzer) Add(b *format.Batch, skipped bool) error {
	if skipped {
		a.pairs.Skips++
		a.behind = true
	}
	a.check.Records(b)
	if a.o.Account != nil {
		a.o.Account.Records(b)
	}
	for i := range b.Processes {
		a.places.record(&b.Processes[i])
	}
	for _, c := range b.Clocks {
		a.clock = c
		a.free = a.free || c.Keeping == format.KeepingFree
	}
	a.clocks.Add(b.Clocks)
	if err := a.snapshots(b, false); err != nil {
		return err
	}
	for _, l := range b.Losses {
		if int(l.Hook) < len(a.lost) && int(l.Kind) < format.NumKinds {
			a.lost[l.Hook][l.Kind] += l.Count
		}
		a.pairs.Losses.Add(l)
		a.conns.Lose(l.Kind)
		a.gapMark.Note(a.lastSeq, a.seqNS, 0)
	}
	if len(b.Losses) > 0 {
		if err := a.pairs.Decide(); err != nil {
			return err
		}
	}
	for events := range b.Parts() {
		if a.o.Account != nil {
			a.o.Account.Events(events)
		}
		for i := range events {
			a.check.Event(&events[i])
			if err := a.event(&events[i]); err != nil {
				return err
			}
		}
	}
	if err := a.snapshots(b, true); err != nil {
		return err
	}
	if a.o.Account != nil {
		a.o.Account.Close(b)
	}
	if b.End != nil {
		end := *b.End
		a.end = &end
		a.clock = end.Clock
		a.free = a.free || end.Clock.Keeping == format.KeepingFree
	}
	return nil
}

// event takes one event.
func (a *Analyzer) event(e *format.Event) error {
	a.events++
	a.firstNS = min(a.firstNS, e.BootNS)
	a.lastNS = max(a.lastNS, e.BootNS)
	if a.behind {
		a.behind = false
		if e.Seq != a.lastSeq+1 { // there were events in it
			a.conns.Skip()
		}
	}
	a.lastSeq, a.seqNS = e.Seq, e.BootNS
	if e.Kind > format.Return {
		return a.live(e)
	}
	t, err := a.tasks.Get(e.TID)
	if err != nil {
		return err
	}
	if t == nil {
		return a.unfollow(e)
	}
	a.places.place(t, e)
	if err := a.socket(t, e); err != nil {
		return err
	}
	if err := a.pairs.Add(t, e, a.tasks.Forgot); err != nil {
		return err
	}
	a.tasks.Put(t)
	return nil
}

// socket takes what a return tells of a connection.
func (a *Analyzer) socket(t *pairing.Task, e *format.Event) error {
	if e.Kind != format.Return || e.Ret < 0 && e.Mark&format.MarkClientLost == 0 {
		return nil
	}
	if e.Ret >= 0 && e.Mark&format.MarkAddrDiffers != 0 {
		spotOf(t).listener.marks.Note(findings.AddressMismatch, e.Seq, e.BootNS, 0)
	}
	if e.Proto != format.ProtoTCP && e.Proto != format.ProtoMPTCP || !e.RAddr.IsValid() {
		return nil
	}
	by := conntrack.Accept{}
	at := spotOf(t)
	if at.process != nil {
		by.Process = at.process.ref
	}
	if at.listener != nil && at.listener.key.inode != 0 {
		by.Listener = at.listener.ref
	}
	const noEntry = format.MarkEnterLost | format.MarkBefore | format.MarkDenied
	if call := e.Via != format.ViaIOUring && e.Via != format.ViaKernel; call && t.Open && e.Mark&noEntry == 0 &&
		(e.SockFD == t.Entry.SockFD || e.SockFD == -1) {
		by.EnterSeq, by.EnterNS = t.Entry.Seq, t.Entry.NS
	}
	return a.conns.Accepted(e, &by)
}

// snapshots takes those of the start, which come before the events of a batch, or of the
// end, which come after: it tells of connections that these begin.
func (a *Analyzer) snapshots(b *format.Batch, final bool) error {
	for i := range b.Snapshots {
		if s := &b.Snapshots[i]; s.Final == final {
			if err := a.snapshot(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshot takes what was there when recording began or ended.
func (a *Analyzer) snapshot(s *format.Snapshot) error {
	for i := range s.Listeners {
		a.places.snapshot(&s.Listeners[i], s.Final)
	}
	if s.Final {
		a.inAccept.take(s)
		a.conns.Left(s)
		return nil
	}
	a.startKnown = s.ListenersKnown
	for _, ns := range s.NetNS {
		if a.startSpaces == nil {
			a.startSpaces = map[uint32]bool{}
		}
		a.startSpaces[ns] = true
	}
	if len(s.Connections) > 0 {
		a.beyondAccept()
	}
	return a.conns.Snapshot(s, a.places.listensAt)
}

// unfollow takes an event of a thread beyond the bound: an attempt of its own.
func (a *Analyzer) unfollow(e *format.Event) error {
	a.unfollowed++
	t := &a.spare
	*t = pairing.Task{TID: e.TID, Skips: a.pairs.Skips}
	a.places.place(t, e)
	if err := a.socket(t, e); err != nil {
		return err
	}
	if err := a.pairs.Add(t, e, true); err != nil {
		return err
	}
	if t.Open {
		return a.pairs.Alone(t, pairing.WhyLimit)
	}
	return a.pairs.Settle(t)
}

// book counts an attempt whose fate is known.
func (a *Analyzer) book(p *pairing.Pair) error {
	at := p.Place.(*spot)
	l, proc := at.listener, at.process
	if l.addr.IsValid() {
		p.ListenAddr = l.addr
	}
	p.Name = cmp.Or(p.Name, l.bound)
	a.totals.Attempts++
	l.attempts++
	proc.attempts++
	if s := at.share; s != nil {
		s.attempt(p)
	}
	a.via[p.Via]++
	l.shoots(p)
	if p.UringEnd != format.UringGoesOn {
		a.multishotEnds[min(p.UringEnd, format.NumUringEnds-1)]++
	}
	if ns := p.TaskNetNS; ns != 0 && p.Via != format.ViaKernel && l != a.places.none && len(l.foreign) < maxForeign &&
		!slices.Contains(l.foreign, ns) {
		l.foreign = append(l.foreign, ns)
	}
	switch {
	case !p.Returned():
		a.totals.EntryOnly++
		a.unpaired[p.Why]++
		if p.Why == pairing.WhyBlocked {
			l.waiting++
		}
	case p.Ret >= 0:
		a.accepted(l, proc, p)
	case p.Armed:
		a.totals.Armed++
	default:
		a.failed(l, proc, p)
	}
	if p.Returned() && p.EnterSeq == 0 && p.Why != pairing.WhyNoCall && p.Why != pairing.WhyDenied {
		a.totals.ReturnOnly++
		a.unpaired[p.Why]++
	}
	if p.Inverted {
		a.totals.Inverted++
	}
	if p.Why == pairing.WhyRestarted {
		a.totals.Restarted++
		l.restarted++
		proc.restarted++
	}
	if a.o.Pair != nil {
		return a.o.Pair(p)
	}
	return nil
}

func (a *Analyzer) accepted(l *listener, proc *process, p *pairing.Pair) {
	a.totals.Accepted++
	l.accepted++
	proc.accepted++
	if p.State == format.StateClosed {
		a.totals.ClosedEarly++
		l.marks.Note(findings.DeadOnArrival, p.ReturnSeq, p.ReturnNS, 0)
		if p.QueueReturn > 0 {
			l.deadAhead++
		}
	}
	l.strangers = l.strangers || p.PeerPID != p.PID
	if p.Via == format.ViaIOUring {
		if a.isRecorder(proc.key.num) { // it may try its probes
			l.marks.Note(findings.IOUringAccept, p.ReturnSeq, p.ReturnNS, 0)
		} else {
			a.uring.Note(p.ReturnSeq, p.ReturnNS, 0)
		}
		l.uring = proc
	}
	if s := p.Place.(*spot).share; s != nil {
		if s.accepted++; s.accepted == 1 {
			a.arrived(l, proc, p.ReturnSeq, p.ReturnNS)
		}
	}
	*a.rate.At(p.ReturnNS)++
	if l.firstNS == 0 {
		l.firstNS = p.ReturnNS
	}
	l.lastNS = max(l.lastNS, p.ReturnNS)
	if l.detailed {
		*l.took.At(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		a.waits.Record(p.WaitNS)
		l.waits.Record(p.WaitNS)
	}
	a.places.peers.add(p.Remote.Addr())
}

func (a *Analyzer) failed(l *listener, proc *process, p *pairing.Pair) {
	a.totals.Failed++
	proc.failed++
	if p.ClientLost {
		a.totals.ClientsLost++
		l.marks.Note(findings.ClientLost, p.ReturnSeq, p.ReturnNS, 0)
	}
	a.errors[min(uint32(p.Errno), uint32(len(a.errors)-1))]++
	l.fail(p.Errno)
	switch {
	case p.Errno == 11:
		if s := p.Place.(*spot).share; s != nil {
			if s.empty++; s.empty > s.accepted+1 {
				l.marks.Note(findings.Herd, p.ReturnSeq, p.ReturnNS, 0)
			}
		}
	case p.Errno == 23 || p.Errno == 24:
		if l.marks[findings.FDExhausted] == nil {
			l.short = proc
		} else if l.short != proc {
			l.short = nil
		}
		l.marks.Note(findings.FDExhausted, p.ReturnSeq, p.ReturnNS, 0)
	case findings.Aborted(p.Errno):
		l.marks.Note(findings.AcceptAborted, p.ReturnSeq, p.ReturnNS, 0)
	}
	if l.detailed {
		*l.bad.At(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		a.badWaits.Record(p.WaitNS)
	}
}
