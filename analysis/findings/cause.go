package findings

// This file joins findings that have one cause.

import (
	"math"
	"slices"

	"github.com/acc-project/acc/analysis/stats"
)

// causes are kinds of findings of one listener that follow from each other: what stands before is the cause of what
// stands behind.
var causes = []Kind{Abandon, LimitZero, FDExhausted, UringEnded, ConcurrencyLimit, SlowAccept, QueueOverflow, QueueFull}

// follows reports whether one of these kinds can be the cause of a finding. Who has no descriptor left may accept with a
// spare one and close at once. Clients that are kept waiting leave: the connection is dead when it is accepted, or the
// answer comes too late.
func (f *judged) follows(cause Kind) bool {
	at := slices.Index(causes, cause)
	switch {
	case at < 0:
		return false
	case f.kind == TurnedAway:
		return cause == FDExhausted
	case f.kind == DeadOnArrival, f.kind == Unanswered:
		return f.kept && at <= slices.Index(causes, SlowAccept)
	}
	return slices.Index(causes, f.kind) > at
}

// graceNS is how long after a cause its effects may begin, and end.
const graceNS = 2e9

// span is when something was.
type span struct{ from, to int64 }

// always is the span of what is not known to have been at a time.
var always = span{math.MinInt64, math.MaxInt64}

func (s span) known() bool { return s != always }

// spanOf is when something was: at its events.
func spanOf(evidence []stats.Sample) span {
	s := span{math.MaxInt64, math.MinInt64}
	for _, e := range evidence {
		s.from, s.to = min(s.from, e.NS), max(s.to, e.NS)
	}
	if s.from > s.to {
		return always
	}
	return s
}

// meets reports whether two times overlap, or nearly.
func (s span) meets(t span) bool {
	return s.from <= grace(t.to) && t.from <= grace(s.to)
}

func grace(ns int64) int64 {
	if ns > math.MaxInt64-graceNS {
		return ns
	}
	return ns + graceNS
}

// part is a finding as a part of another one, without what is to do.
func (f *Finding) part() Part {
	return Part{f.ID, f.Severity, f.Text, f.Evidence, f.Meanwhile, f.Listener, f.NetNS}
}

// joined makes one finding of those of a listener that have one cause and were at the same time: the others
// become its parts. The finding is as bad as the worst of them.
func joined(all []judged) []judged {
	place := func(f *judged) int { // causes come before what they cause
		if i := slices.Index(causes, f.kind); i >= 0 {
			return i
		}
		return len(causes)
	}
	slices.SortStableFunc(all, func(x, y judged) int { return place(&x) - place(&y) })
	var list []judged
	for _, f := range all {
		i := slices.IndexFunc(list, func(cause judged) bool {
			return f.follows(cause.kind) && cause.span.meets(f.span)
		})
		if i < 0 {
			list = append(list, f)
			continue
		}
		cause := &list[i]
		cause.Parts = append(cause.Parts, f.part())
		if !cause.Severity.AtLeast(f.Severity) {
			cause.Severity = f.Severity
		}
		if f.span.known() && cause.span.known() {
			cause.span.from, cause.span.to = min(cause.span.from, f.span.from), max(cause.span.to, f.span.to)
		}
	}
	return list
}
