package analysis

// This file has the Analyzer: it takes batches of a capture and hands each event on.

import (
	"math"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/listeners"
	"github.com/acc-project/acc/analysis/meanwhile"
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
	Top  int            // rows in each list of the result; 0: 10, negative: all
	Sort listeners.Sort // order of listeners, processes and peers, before they are cut to Top rows

	// Connection is called with each TCP connection when it has ended, or at the
	// end, as Pair is.
	Connection func(*conntrack.Connection) error

	// VerdictOnly says that what is asked for is whether the capture is intact and complete, which costs less: Capture,
	// Integrity, Recording, Complete, Doubts, Caveats, CrossCheck and Totals of the Result are as without it, and the rest
	// is empty.
	VerdictOnly bool

	// Functions names functions of programs that the recorder could not name, if it is not nil.
	Functions meanwhile.Names

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
	o         Options
	header    format.Header
	clock     format.Clock // the newest pair
	free      bool         // a pair says that nothing synchronised the host's wall clock
	clocks    *format.Clocks
	end       *format.End
	tasks     *pairing.Tasks
	spare     pairing.Task // of a thread that is not followed
	pairs     pairing.Pairs
	listeners *listeners.Registry
	check     *crosscheck.Check

	marks           []format.Mark
	markRoom        format.Room
	counted         map[countedKey]*CountedCalls
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
	blind    bool // accepts are not recorded
	inAccept inAccept

	multishotEnds [format.NumUringEnds]uint64
	gapMark       stats.Mark // what was read when a loss was told
	lastSeq       uint64
	seqNS         int64 // time of that event
	behind        bool  // a part was left out since the last event
}

// How many marks are kept, and how many bytes of them: as many of the longest that a recorder takes.
const (
	maxMarks     = 1000
	maxMarkBytes = maxMarks * (4096 + 256)
)

// New begins the analysis of the capture with header h, of which it keeps a copy.
func New(h *format.Header, o Options) *Analyzer {
	o.defaults()
	a := &Analyzer{
		o: o, header: *h, markRoom: format.Room{Max: maxMarkBytes}, clock: h.Clock, clocks: format.NewClocks(h.Clock),
		unpaired: map[pairing.Why]uint64{},
		firstNS:  math.MaxInt64, lastNS: math.MinInt64, rate: stats.NewSeries(h.Clock.BootNS, int64(time.Second), 4096),
	}
	if !o.VerdictOnly {
		a.waits, a.badWaits = stats.NewHistogram(3), stats.NewHistogram(3)
	}
	a.check, a.blind = crosscheck.New(h), crosscheck.Blind(h)
	a.listeners = listeners.New(&a.header, listeners.Options{
		MaxPeers: o.MaxPeers, MaxListeners: o.MaxListeners, MaxProcesses: o.MaxProcesses, Time: a.at,
		Bare: o.VerdictOnly, Functions: o.Functions,
	})
	a.pairs.Emit = a.book
	a.conns = conntrack.New(conntrack.Options{
		StartNS: h.Clock.BootNS, Max: a.o.MaxConns, Blind: a.blind, Partly: !h.Selection.WholeListeners(),
		Listeners: a.listeners, Emit: a.connection(), Bare: o.VerdictOnly,
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
		a.listeners.Name(c)
		return give(c)
	}
}

// live takes an event of a connection's life, or of a listener's.
func (a *Analyzer) live(e *format.Event) error {
	a.beyondAccept()
	at := a.listeners.Life(e)
	switch {
	case e.Kind == format.Queued && e.Cause == format.CauseMoved:
		return a.conns.Moved(e, at.Listener, at.Accepted)
	case e.Kind == format.Queued:
		tried, err := a.conns.Queued(e, at.Listener, at.Accepted)
		if tried >= 0 {
			a.listeners.Tried(at.Listener, tried)
		}
		return err
	case e.Kind == format.Closed:
		return a.conns.Closed(e, at.Listener)
	case e.Kind == format.State:
		a.conns.State(e)
	case e.Kind == format.Drop && e.Hook == format.HookChildForget:
		return a.conns.Forgotten(e, at.Listener, at.By)
	case e.Kind == format.Drop:
		first, err := a.conns.Refused(e, at.Listener)
		if first {
			a.listeners.RefusedFirst(at.Listener)
		}
		return err
	}
	return nil
}

// beyondAccept makes room for what captures of accept alone don't have.
func (a *Analyzer) beyondAccept() {
	a.conns.Start()
	a.listeners.BeyondAccept()
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
		a.listeners.Record(&b.Processes[i])
	}
	for _, c := range b.Clocks {
		a.clock = c
		a.free = a.free || c.Keeping == format.KeepingFree
	}
	a.clocks.Add(b.Clocks)
	a.listeners.Looked(b)
	for i := range b.Marks {
		if m := &b.Marks[i]; len(a.marks) < maxMarks && a.markRoom.Takes(m) {
			a.marks = append(a.marks, *m)
		}
	}
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
	a.counts(b.Counted)
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
	a.listeners.Place(t, e)
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
		a.listeners.AddressDiffers(t, e)
	}
	if e.Proto != format.ProtoTCP && e.Proto != format.ProtoMPTCP || !e.RAddr.IsValid() {
		return nil
	}
	by := a.listeners.AcceptedBy(t, e)
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
	a.listeners.Snapshot(s)
	if s.Final {
		a.inAccept.take(s)
		a.conns.Left(s)
		return nil
	}
	if len(s.Connections) > 0 {
		a.beyondAccept()
	}
	return a.conns.Snapshot(s, a.listeners.ListensAt)
}

// unfollow takes an event of a thread beyond the bound: an attempt of its own.
func (a *Analyzer) unfollow(e *format.Event) error {
	a.unfollowed++
	t := &a.spare
	*t = pairing.Task{TID: e.TID, Skips: a.pairs.Skips}
	a.listeners.Place(t, e)
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
