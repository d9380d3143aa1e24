package findings

// This file has the table of rules, and sorts what they find.

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/stats"
)

// Thresholds; docs/FINDINGS.md gives the reasons.
const (
	SlowNS      = 100e6 // in the accept queue: a client feels it
	PaceNS      = 20e6  // between two accepts: a server that takes clients faster has much to do
	SlowerNS    = 1e9   // as long as TCP waits before it sends again
	GoneNS      = 1e9   // a client that sent FIN after so long in the queue gave up
	verySlowNS  = 5e9   // as long as clients commonly wait at all
	fullNS      = 1e9   // the queue full for so long in all is no burst
	manyRefused = 10
	manyDead    = 10
	manyLost    = 10
	manyTurned  = 10
	fewTurned   = 3
	herdEmpty   = 100 // wake-ups for nothing, fewer are no herd
	unevenEach  = 50  // accepts for each worker, fewer say nothing
	unevenAll   = 200
)

// rule finds one kind of thing, at each listener or in the whole capture.
type rule struct {
	kind    Kind
	at      func(*Capture, *Listener) []found
	capture func(*Capture) []found
}

// rules are all of them.
var rules = []rule{
	{kind: QueueOverflow, at: overflow},
	{kind: SlowAccept, at: slowAccept},
	{kind: QueueFull, at: queueFull},
	{kind: FDExhausted, at: fdExhausted},
	{kind: Abandon, at: abandoned},
	{kind: LimitZero, at: zeroLimit},
	{kind: UringEnded, at: shotEnded},
	{kind: ConcurrencyLimit, at: concurrency},
	{kind: TurnedAway, at: turnedAway},
	{kind: Unanswered, at: unanswered},
	{kind: AcceptAborted, at: aborted},
	{kind: ClientLost, at: cutOff},
	{kind: ClientLost, capture: lostWithListeners},
	{kind: DeadOnArrival, at: dead},
	{kind: AddressMismatch, at: address},
	{kind: Herd, at: herd},
	{kind: NewAcceptor, at: newAcceptor},
	{kind: UnevenWorkers, capture: uneven},
	{kind: NewListener, capture: newListeners},
	{kind: IOUringAccept, capture: uring},
	{kind: CrossCheck, capture: crossCheck},
	{kind: ListenDrops, capture: listenDrops},
	{kind: ClockFree, capture: clockFree},
	{kind: Incomplete, capture: incomplete},
}

// found is what a rule says: a finding and what it is sorted by.
type found struct {
	severity Severity
	weight   uint64 // how much of it there is: the more, the worse among its like
	evidence []stats.Sample
	next     string
	text     string
	netNS    uint32    // of what is about a namespace and no listener
	listener *Listener // of what a rule for the whole capture says of one listener
	when     Times     // when it was; zero: from the first evidence to the last
	parts    []found   // of the same kind, or an effect
	effect   bool      // of a part: it is slow-accept
	kept     bool      // of the dead and the unanswered: they had been kept waiting before accept
	who      string    // name[pid] of the process that next calls PID; "": not known, or several
}

// Judge applies all rules. At most keep findings of each kind are listed, negative: all, and
// of the same kind three of one process; left is how many are not. The counts are of all. Alike findings of several
// listeners of one program are one.
func Judge(c *Capture, keep int) (list []Finding, left int, counts Counts) {
	var all []judged
	for _, r := range rules {
		if r.capture != nil {
			for _, f := range r.capture(c) {
				all = append(all, c.finding(r.kind, f.listener, f))
			}
		}
	}
	for _, l := range c.Listeners {
		var of []judged
		for _, r := range rules {
			if r.at == nil {
				continue
			}
			for _, f := range r.at(c, l) {
				of = append(of, c.finding(r.kind, l, f))
			}
		}
		all = append(all, joined(of)...)
	}
	for i := range all {
		all[i].Since, all[i].Until = c.times(all[i].span)
	}
	list = Alike(sorted(all), keep)
	for i := range list {
		counts.Add(list[i].Severity)
	}
	list, left = leading(list, keep)
	return list, left, counts
}

// judged is a finding with what it is sorted by.
type judged struct {
	Finding
	kind   Kind
	weight uint64
	span   span // when it was
	kept   bool
}

// times gives the wall clock of a time, nil if that is not known.
func (c *Capture) times(s span) (since, until *time.Time) {
	if !s.known() {
		return nil, nil
	}
	return c.Time(s.from), c.Time(s.to)
}

func (c *Capture) finding(kind Kind, l *Listener, f found) judged {
	j := judged{kind: kind, weight: f.weight, span: spanOf(f.evidence), kept: f.kept}
	if f.when != (Times{}) {
		j.span = span{f.when.FromNS, f.when.ToNS}
	}
	j.Finding = Finding{ID: ids[kind], Severity: f.severity, Text: f.text, Next: f.next,
		Evidence: c.evidence(f.evidence), NetNS: f.netNS, Parts: []Part{}}
	for _, p := range f.parts {
		part := Part{ID: ids[kind], Severity: p.severity, Text: p.text, Evidence: c.evidence(p.evidence)}
		if p.effect {
			part.ID = ids[SlowAccept]
		}
		if p.listener != nil {
			part.Listener, part.NetNS = p.listener.Inode, p.listener.NetNS
		}
		j.Parts = append(j.Parts, part)
		if !j.Severity.AtLeast(p.severity) {
			j.Severity = p.severity
		}
	}
	if l != nil {
		j.Listener, j.NetNS, j.Owner, j.Listeners = l.Inode, l.NetNS, l.Owner, 1
		if slices.Contains(explained, kind) || kind == ClientLost && slices.ContainsFunc(f.parts, isEffect) {
			l.explain(&j.Finding)
		}
	}
	j.general = j.Next
	if at := named.FindStringSubmatch(f.who); at != nil {
		j.Next = placeholder.ReplaceAllString(j.Next, at[1])
	}
	return j
}

// isEffect reports whether a part is slow-accept, of another kind of finding.
func isEffect(f found) bool { return f.effect }

// placeholder is a process id in what to do.
var placeholder = regexp.MustCompile(`\bPID\b`)

// named has the id of a process at its end. Its name may be anything, "x[1; rm -rf" too, and next is typed.
var named = regexp.MustCompile(`\[(\d+)\]$`)

// evidence gives the events that show something, with their times.
func (c *Capture) evidence(samples []stats.Sample) []Evidence {
	list := []Evidence{}
	for _, e := range samples {
		if e.Seq != 0 { // else before the first event
			list = append(list, Evidence{e.Seq, c.Time(e.NS), e.NS})
		}
	}
	return list
}

// perOwner is how many findings of a kind are shown for the listeners of one process, so that
// they don't hide those of others.
const perOwner = 3

// sorted gives them worst first.
func sorted(all []judged) []Finding {
	slices.SortStableFunc(all, func(x, y judged) int {
		return cmp.Or(cmp.Compare(slices.Index(Severities, x.Severity), slices.Index(Severities, y.Severity)),
			cmp.Compare(x.kind, y.kind),
			cmp.Compare(y.weight, x.weight), cmp.Compare(x.Text, y.Text))
	})
	list := make([]Finding, len(all))
	for i := range all {
		list[i] = all[i].Finding
	}
	return list
}

// leading gives at most keep of each kind, and perOwner of one process; negative: all.
func leading(all []Finding, keep int) (list []Finding, left int) {
	type group struct {
		id       string
		severity Severity
		owner    string
	}
	list = []Finding{}
	of := map[string]int{}
	last := map[group]int{} // in list
	shown := map[group]int{}
	for _, f := range all {
		g := group{f.ID, f.Severity, f.Owner}
		switch {
		case keep < 0:
		case f.Owner != "" && shown[g] == perOwner:
			list[last[g]].More += f.Listeners
			left++
			continue
		case of[f.ID] == keep:
			left++
			continue
		}
		of[f.ID]++
		shown[g]++
		last[g] = len(list)
		list = append(list, f)
	}
	return list, left
}

// one is the result of a rule that found one thing.
func one(s Severity, weight uint64, evidence []stats.Sample, next, text string, args ...any) []found {
	return []found{{severity: s, weight: weight, evidence: evidence, next: next, text: fmt.Sprintf(text, args...)}}
}

// inOrder gives evidence in the order of the capture, at most as much as a finding shows.
func inOrder(evidence []stats.Sample) []stats.Sample {
	evidence = slices.Clone(evidence[:min(len(evidence), 2*stats.KeepSamples)])
	slices.SortFunc(evidence, func(a, b stats.Sample) int { return cmp.Compare(a.Seq, b.Seq) })
	return evidence
}

func were(n uint64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
