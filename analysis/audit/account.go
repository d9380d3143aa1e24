// Package audit compares what a capture says of itself, in its END, its records of losses
// and its events' numbers, with what it holds.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// maxContradictions bounds what an Account lists.
const maxContradictions = 100

// maxLossesOn is of how many probes on CPUs an Account adds up losses.
const maxLossesOn = 1 << 17

// How far times may be apart. A recorder's own are far within.
const (
	momentNS = int64(time.Second) // by which an event may be later than END
	// by which an event may be before the header's clock: the recorder tests its probes first
	earlyNS = int64(10 * time.Minute)
	// by which the times of a hook on a CPU may go back: a task can be preempted between time and ring
	backNS = int64(10 * time.Second)
	longNS = int64(50 * 365 * 24 * time.Hour) // no host was up for so long
)

// maxProcs is how many processes an Account looks for; after that, for none.
const maxProcs = 1 << 20

// Account holds what a capture says of itself against what it holds. Its zero
// value is ready for the first batch. It is for one goroutine.
type Account struct {
	events     uint64
	counts     map[counted]uint64
	losses     map[counted]uint64
	lossesOn   map[hitOn]uint64
	counted    map[counted]uint64 // of failed calls that have no events
	lossesMore bool               // there were too many CPUs to keep all
	began      format.Clock
	firstNS    int64 // of the events
	lastNS     int64
	partFirst  int64 // of the events of the batch so far
	partLast   int64
	inBatch    bool                           // it has events
	tally      [hooks][format.NumKinds]uint64 // events that are not in counts yet, of the hooks that acc knows
	end        *format.End
	repair     bool
	cut        *format.Cut // it is a part of a recording; nil: the whole
	outside    uint64      // the first event that is not of the cut's time
	numbers    numbers
	procs      map[uint32]bool // that were introduced
	proc       uint32          // the last one that an event named
	stranger   uint64          // the first event of a process that was not
	doubled    bool            // two have the same number
	against    []string
}

type counted struct {
	hook format.Hook
	kind format.Kind
}

// Add takes the next batch of the capture; nothing of it is kept.
func (a *Account) Add(b *format.Batch) {
	a.Records(b)
	for events := range b.Parts() {
		a.Events(events)
	}
	a.Close(b)
}

// Records takes the records of the next batch. Its events follow in as many calls of
// Events as there are parts, and then Close: Add is all three.
func (a *Account) Records(b *format.Batch) {
	if a.counts == nil {
		a.counts, a.losses, a.lossesOn, a.procs = map[counted]uint64{}, map[counted]uint64{}, map[hitOn]uint64{},
			map[uint32]bool{}
		a.counted = map[counted]uint64{}
	}
	if b.Header != nil {
		a.repair, a.began, a.cut = b.Header.Repaired != nil, b.Header.Clock, b.Header.Cut()
		a.numbers.beganNS = a.began.BootNS
		if set := b.Header.Set; set != nil {
			a.numbers.goOn(set.Numbers)
		}
	}
	for _, l := range b.Losses {
		a.losses[counted{l.Hook, l.Kind}] += l.Count
		if on := (hitOn{l.CPU, l.Hook, l.Kind}); len(a.lossesOn) < maxLossesOn || a.lossesOn[on] > 0 {
			a.lossesOn[on] = sum(a.lossesOn[on], l.Count)
		} else {
			a.lossesMore = true
		}
	}
	for i := range b.Counted {
		c := &b.Counted[i]
		add := func(p counted, n uint64) { a.counted[p] = sum(a.counted[p], n) }
		add(counted{c.Hook, format.Return}, c.Calls)
		add(counted{format.HookSysAccept4, format.Enter}, c.Entries)
	}
	for i := range b.Processes {
		num := b.Processes[i].Num
		a.doubled = a.doubled || a.procs[num]
		if len(a.procs) < maxProcs {
			a.procs[num] = true
		}
	}
	a.partFirst, a.partLast, a.inBatch = 0, 0, false
}

// Events takes the next events of the batch.
func (a *Account) Events(events []format.Event) {
	if len(events) == 0 {
		return
	}
	if a.events == 0 {
		a.firstNS, a.lastNS = events[0].BootNS, events[0].BootNS
	}
	a.events += uint64(len(events))
	first, last := a.partFirst, a.partLast
	if !a.inBatch {
		first, last, a.inBatch = events[0].BootNS, events[0].BootNS, true
	}
	for i := range events {
		e := &events[i]
		first, last = min(first, e.BootNS), max(last, e.BootNS)
		if e.Hook < hooks && e.Kind < format.NumKinds {
			a.tally[e.Hook][e.Kind]++
		} else {
			a.counts[counted{e.Hook, e.Kind}]++
		}
		a.numbers.add(e)
		if e.Proc != a.proc {
			if a.proc = e.Proc; e.Proc != 0 && !a.procs[e.Proc] && len(a.procs) < maxProcs && a.stranger == 0 {
				a.stranger = e.Seq
			}
		}
	}
	if a.cut != nil && a.outside == 0 && (first < a.cut.FromNS || last > a.cut.UntilNS) {
		a.outside = events[0].Seq
	}
	a.partFirst, a.partLast = first, last
	a.firstNS, a.lastNS = min(a.firstNS, first), max(a.lastNS, last)
}

// Close ends the batch.
func (a *Account) Close(b *format.Batch) {
	if a.partFirst != b.MinNS || a.partLast != b.MaxNS {
		a.contradict("the events of frame %d are of %d to %d ns, its link says %d to %d ns", b.Frame, a.partFirst,
			a.partLast, b.MinNS, b.MaxNS)
	}
	if b.End != nil {
		end := *b.End
		a.end = &end
	}
}

// count puts the tally into counts.
func (a *Account) count() {
	for hook := range a.tally {
		for kind, n := range a.tally[hook] {
			if n > 0 {
				a.counts[counted{format.Hook(hook), format.Kind(kind)}] += n
			}
		}
	}
	a.tally = [hooks][format.NumKinds]uint64{}
}

// Of is how many events of a kind there were so far.
func (a *Account) Of(kind format.Kind) (n uint64) {
	if a.counts == nil {
		return 0
	}
	a.count()
	for p, c := range a.counts {
		if p.kind == kind {
			n += c
		}
	}
	return n
}

func (a *Account) contradict(format string, args ...any) {
	if len(a.against) < maxContradictions {
		a.against = append(a.against, fmt.Sprintf(format, args...))
	}
}

// Contradictions gives what does not fit, a sentence each, after the last batch. Of a
// capture without END only its events are held against each other; of one whose recorder said
// itself that its account does not add up, and of a repaired one, less is asked.
func (a *Account) Contradictions() []string {
	if a.counts == nil {
		return nil
	}
	a.count()
	a.times()
	if a.outside != 0 {
		a.contradict("events from %d on are outside of the time of the cut", a.outside)
	}
	if a.end == nil || a.end.Clean {
		for _, s := range a.numbers.twice() {
			a.contradict("%s", s)
		}
	}
	if a.end == nil {
		return a.against
	}
	a.endTime()
	if a.numbers.without > 0 && a.end.Clean {
		a.contradict("%d events have no number", a.numbers.without)
	}
	if a.end.Events != a.events {
		a.contradict("END says %d events, there are %d", a.end.Events, a.events)
	}
	if a.stranger != 0 && !a.repair {
		a.contradict("event %d is of a process that has no record before it", a.stranger)
	}
	if a.doubled && !a.repair {
		a.contradict("two processes have the same number")
	}
	a.totals()
	return a.against
}

// totals compares the counts in END with the events and the records of losses.
func (a *Account) totals() {
	lost := uint64(0)
	known := map[counted]bool{}
	for _, t := range a.end.Totals {
		p := counted{t.Hook, t.Kind}
		if known[p] {
			a.contradict("END accounts for %s of %s twice", t.Kind, t.Hook)
		}
		again := known[p]
		known[p] = true
		lost += t.Lost
		if n := a.counts[p]; n != t.Recorded {
			a.contradict("END says %d recorded events of %s of %s, there are %d", t.Recorded, t.Kind, t.Hook, n)
		}
		if !a.end.Clean || again {
			continue
		}
		if t.Seen != t.Recorded+t.Lost+t.Filtered+t.Counted {
			a.contradict("%s of %s: %d seen is not %d recorded, %d lost, %d filtered and %d counted",
				t.Kind, t.Hook, t.Seen, t.Recorded, t.Lost, t.Filtered, t.Counted)
		}
		if n := a.counted[p]; n != t.Counted && !a.repair {
			a.contradict("END says %d counted events of %s of %s, the records of them %d", t.Counted, t.Kind, t.Hook, n)
		}
		a.gaps(p, &t)
		if n := a.losses[p]; n != t.Lost && !a.repair {
			a.contradict("END says %d lost events of %s of %s, the records of losses %d", t.Lost, t.Kind, t.Hook, n)
		}
	}
	if a.end.Lost != lost {
		a.contradict("END says %d lost events, its account %d", a.end.Lost, lost)
	}
	for _, p := range inOrder(a.losses) {
		if n := a.losses[p]; n > 0 && !known[p] && !a.repair {
			a.contradict("END does not account for %s of %s of %s, which its loss records count",
				humanize.Plural(n, "lost event"), p.kind, p.hook)
		}
	}
	for _, p := range inOrder(a.counted) {
		if n := a.counted[p]; n > 0 && !known[p] {
			a.contradict("END does not account for %s of %s of %s, which records count",
				humanize.Plural(n, "counted event"), p.kind, p.hook)
		}
	}
	for _, p := range inOrder(a.counts) {
		if n := a.counts[p]; n > 0 && !known[p] {
			a.contradict("END does not account for %s of %s of %s", humanize.Plural(n, "event"), p.kind, p.hook)
		}
	}
}

// inOrder gives the probes of counts by hook and kind, so that each command lists the same.
func inOrder(counts map[counted]uint64) []counted {
	return slices.SortedFunc(maps.Keys(counts), func(x, y counted) int {
		return cmp.Or(cmp.Compare(x.hook, y.hook), cmp.Compare(x.kind, y.kind))
	})
}

// gaps holds the numbers that no event of p has against what END says of them. Those of
// the recorder's own hits, which were at its start, explain no gap behind it.
func (a *Account) gaps(p counted, t *format.ProbeTotal) {
	if a.numbers.full || a.repair || a.cut != nil { // a cut leaves numbers out
		return
	}
	missing, behind := a.numbers.missing(p)
	later := uint64(0) // numbers whose events are in a later file
	for i := range a.end.Numbers {
		if n := &a.end.Numbers[i]; n.Hook == p.hook && n.Kind == p.kind {
			later = sum(later, n.Opened())
			if of := behind[n.CPU]; of > 0 {
				behind[n.CPU] = of - min(of, n.Opened())
			}
		}
	}
	if missing > sum(sum(t.Lost, t.Own), later) {
		text := fmt.Sprintf("the numbers of %s of %s leave out %d, END knows of %d lost and %d of the recorder's own",
			t.Kind, t.Hook, missing, t.Lost, t.Own)
		if later > 0 {
			text += fmt.Sprintf(", and %d that a later file has", later)
		}
		a.contradict("%s", text)
		return
	}
	if a.lossesMore {
		return
	}
	for _, cpu := range slices.Sorted(maps.Keys(behind)) {
		if lost := a.lossesOn[hitOn{cpu, p.hook, p.kind}]; behind[cpu] > lost {
			a.contradict("the numbers of %s of %s on CPU %d leave out %d after the recorder's start, where it had no "+
				"hits of its own; the records of losses know of %d",
				t.Kind, t.Hook, cpu, behind[cpu], lost)
		}
	}
}

// times holds the times of events against each other and the header's clock.
func (a *Account) times() {
	if a.numbers.back > 0 {
		a.contradict("%s", a.numbers.backwards())
	}
	if a.events == 0 || !a.began.Known() {
		return
	}
	if a.firstNS < a.began.BootNS-earlyNS {
		a.contradict("an event is of %d ns, long before the header's clock, which is of %d ns", a.firstNS,
			a.began.BootNS)
	}
	if a.lastNS-longNS > a.began.BootNS {
		a.contradict("an event is of %d ns, the header of %d ns: no host is up for so long", a.lastNS, a.began.BootNS)
	}
}

// endTime holds the time of END, which is the last that a recorder takes, against the
// others. That of a repaired capture may be of before its last events.
func (a *Account) endTime() {
	end := a.end.Clock
	if !end.Known() {
		return
	}
	if a.began.Known() && end.BootNS-longNS > a.began.BootNS || end.BootNS > 2*longNS {
		a.contradict("END's time does not fit: it is of %d ns, the header of %d ns: no host is up for so long",
			end.BootNS, a.began.BootNS)
	} else if a.began.Known() && end.BootNS < a.began.BootNS {
		a.contradict("END's time does not fit: it is of %d ns, the header of %d ns", end.BootNS, a.began.BootNS)
	} else if end.BootNS < a.lastNS-momentNS && !a.repair {
		a.contradict("END's time does not fit: it is of %d ns, an event of %d ns", end.BootNS, a.lastNS)
	}
}

// Unchecked gives what could not be found out, a sentence each, after the last batch.
func (a *Account) Unchecked() (list []string) {
	if a.numbers.unsure > 0 {
		list = append(list, fmt.Sprintf("whether %d events are there twice could not be checked: too many were lost",
			a.numbers.unsure))
	}
	if a.numbers.full || a.lossesMore {
		list = append(list, "whether all events are there once could not be checked: they are of too many CPUs")
	}
	return list
}
