package analysis

import (
	"math"
	"time"

	"github.com/acc-project/acc/format"
)

// Options are an Analyzer's settings; the zero value is the default. The bounds
// keep memory within 256 MiB whatever the capture; when one is hit,
// Result.LimitHit is set and a caveat says what it made inexact.
type Options struct {
	// Pair is called with each attempt when what became of it is known, which for
	// one whose return is not there can be at the end. The pair is overwritten
	// afterwards. An error of it ends the analysis.
	Pair func(*Pair) error
	Top  int // rows in each list of the result; 0: 10, negative: all

	MaxTasks     int // threads in accept at once; 0: 500,000
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
	set(&o.MaxTasks, 500_000)
	set(&o.MaxPeers, 100_000)
	set(&o.MaxListeners, 10_000)
	set(&o.MaxProcesses, 50_000)
}

// Analyzer takes a capture's batches one after another. It is for one goroutine.
type Analyzer struct {
	o      Options
	header format.Header
	clock  format.Clock // the newest pair
	end    *format.End
	tasks  *tasks
	spare  task // of a thread that is not followed
	pairs  pairs
	places places

	events          uint64
	firstNS, lastNS int64
	totals          Totals
	errors          [1024]uint64
	via             [256]uint64
	unpaired        map[Why]uint64
	waits, badWaits waits
	rate            series
	lost            [format.NumHooks][3]uint64 // by hook and kind, of loss records
	unfollowed      uint64                     // entries of threads beyond the bound
}

// New begins the analysis of the capture with header h, of which it keeps a copy.
func New(h *format.Header, o Options) *Analyzer {
	o.defaults()
	a := &Analyzer{
		o: o, header: *h, clock: h.Clock, unpaired: map[Why]uint64{}, waits: newWaits(3), badWaits: newWaits(3),
		firstNS: math.MaxInt64, lastNS: math.MinInt64, rate: newSeries(h.Clock.BootNS, int64(time.Second), 4096),
	}
	a.places = newPlaces(h, &a.o)
	a.pairs.emit = a.book
	a.tasks = newTasks(o.MaxTasks, a.pairs.settle)
	return a
}

// Add takes the next batch; nothing of it is kept. Skipped says that a part of
// the capture before it was left out. The error is that of Options.Pair.
func (a *Analyzer) Add(b *format.Batch, skipped bool) error {
	if skipped {
		a.pairs.skips++
	}
	for i := range b.Processes {
		a.places.record(&b.Processes[i])
	}
	for _, c := range b.Clocks {
		a.clock = c
	}
	for _, l := range b.Losses {
		if int(l.Hook) < len(a.lost) && l.Kind <= format.Return {
			a.lost[l.Hook][l.Kind] += l.Count
		}
		a.pairs.losses.add(l)
	}
	if len(b.Losses) > 0 && len(a.pairs.undecided) > 0 {
		if err := a.pairs.decide(); err != nil {
			return err
		}
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
	a.events++
	a.firstNS = min(a.firstNS, e.BootNS)
	a.lastNS = max(a.lastNS, e.BootNS)
	t, err := a.tasks.get(e.TID)
	if err != nil {
		return err
	}
	if t == nil {
		return a.unfollow(e)
	}
	a.places.place(t, e)
	if err := a.pairs.add(t, e, a.tasks.forgot); err != nil {
		return err
	}
	a.tasks.put(t)
	return nil
}

// unfollow takes an event of a thread beyond the bound: an attempt of its own.
func (a *Analyzer) unfollow(e *format.Event) error {
	a.unfollowed++
	t := &a.spare
	*t = task{tid: e.TID, skips: a.pairs.skips}
	a.places.place(t, e)
	if err := a.pairs.add(t, e, true); err != nil {
		return err
	}
	if t.open {
		return a.pairs.alone(t, WhyLimit)
	}
	return a.pairs.settle(t)
}

// book counts an attempt whose fate is known.
func (a *Analyzer) book(p *Pair) error {
	l, proc := p.listener, p.process
	a.totals.Attempts++
	l.attempts++
	proc.attempts++
	a.via[p.Via]++
	switch {
	case !p.Returned():
		a.totals.EntryOnly++
		a.unpaired[p.Why]++
		if p.Why == WhyBlocked {
			l.waiting++
		}
	case p.Ret >= 0:
		a.accepted(l, proc, p)
	case p.Armed:
		a.totals.Armed++
	default:
		a.failed(l, proc, p)
	}
	if p.Returned() && p.EnterSeq == 0 && p.Why != WhyNoCall && p.Why != WhyDenied {
		a.totals.ReturnOnly++
		a.unpaired[p.Why]++
	}
	if p.Inverted {
		a.totals.Inverted++
	}
	if p.Why == WhyRestarted {
		a.totals.Restarted++
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
	if l.firstNS == 0 {
		l.firstNS = p.ReturnNS
	}
	l.lastNS = max(l.lastNS, p.ReturnNS)
	if l.detailed {
		*l.took.at(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		a.waits.add(p.WaitNS)
		l.waits.add(p.WaitNS)
	}
	a.places.peer(p.Remote.Addr())
}

func (a *Analyzer) failed(l *listener, proc *process, p *Pair) {
	a.totals.Failed++
	proc.failed++
	if p.ClientLost {
		a.totals.ClientsLost++
	}
	a.errors[min(uint32(p.Errno), uint32(len(a.errors)-1))]++
	l.fail(p.Errno)
	if l.detailed {
		*l.bad.at(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		a.badWaits.add(p.WaitNS)
	}
}
