package findings

// This file has the rule about clients that wait in the accept queue.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/stats"
)

// lookAtOwner is what to do where nobody calls accept.
func (l *Listener) lookAtOwner() string {
	list := "ss -ltnp"
	if l.Unix {
		list = "ss -lxnp"
	}
	return "look at the threads of the process that owns the listener (" + list + "): why does none call accept?"
}

// slowAccept finds clients that waited long in the accept queue, or still do.
func slowAccept(c *Capture, l *Listener) []found {
	if list := neverCame(c, l); list != nil || l.Queue == nil {
		return list
	}
	if l.Queue.onlyLost() {
		return nil // it is a part of client-lost
	}
	return slowWaits(c, l)
}

// onlyLost reports whether those that waited for long were all lost with their listener.
func (q *Queue) onlyLost() bool {
	return q.Lost > 0 && q.Slow == 0 && q.Stuck == 0 && q.Left > 0 && q.Left == q.LeftLost
}

// slowWaits is slowAccept of a listener at which somebody accepts, or accepted.
func slowWaits(c *Capture, l *Listener) []found {
	s := l.Queue.slowness()
	if s == "" {
		return nil
	}
	q, say := l.Queue, c.say()
	var parts []string
	evidence := q.Worst.List
	if q.Left > 0 {
		parts = append(parts, q.unaccepted(say))
		evidence = append(q.LeftAt.Samples(), evidence...)
		evidence = slices.Clone(evidence[:min(len(evidence), 2*stats.KeepSamples)])
	}
	if w := q.Waits.Quantiles(); w.Count > 0 && (q.Over > 0 || q.Left+q.Stuck == 0) {
		parts = append(parts, q.waited(&w, l.By, c.Before, say))
		if q.Slow > 0 && len(parts) == 2 {
			slices.Reverse(parts)
		}
	}
	if q.Stuck > 0 {
		parts = append(parts, stillWaiting(c, l))
		if q.OldestNS >= SlowNS {
			evidence = append(q.StuckAt.Samples(), evidence...)
		}
	}
	who, next := slowNext(c, l)
	return []found{{
		severity: s, weight: q.Slow + q.Stuck + q.Left, evidence: inOrder(evidence), next: next,
		who: l.alone(), text: l.Label + who + strings.Join(parts, "; "), when: q.SlowAt,
	}}
}

// slowness is how bad the waits are, "" if they are no finding.
func (q *Queue) slowness() Severity {
	w := q.Waits.Quantiles()
	stuck := q.Stuck > 0 && q.OldestNS >= SlowNS || q.Left > 0
	longest := q.LeftNS // of those that nobody accepted
	if q.Stuck > 0 {
		longest = max(longest, q.OldestNS)
	}
	if q.Slow == 0 && q.Stuck == 0 && q.Left == q.LeftLost &&
		q.LeftNS < SlowerNS { // client-lost says all there is to say of them
		return ""
	}
	if q.Slow < 3 && !(q.Slow > 0 && 2*q.Slow >= w.Count) && !stuck {
		if q.Slow > 0 && w.Max >= verySlowNS { // one client, but for so long
			return Notice
		}
		return ""
	}
	switch {
	case w.Count > 0 && w.P50 >= SlowerNS, q.Slower >= 10 && w.P99 >= verySlowNS, stuck && longest >= verySlowNS,
		stuck && w.Count == 0 && longest >= SlowerNS:
		return Critical
	case w.P99 >= SlowerNS/2, stuck && longest >= SlowerNS:
		return Warning
	case w.P99 >= SlowNS || q.Slower >= 3 || stuck || w.Max >= verySlowNS:
		return Notice
	}
	return ""
}

// neverCame finds listeners with clients in the queue at which nobody called accept.
func neverCame(c *Capture, l *Listener) []found {
	n := &l.Snapshot
	if l.Attempts > 0 || !n.Ended || n.End == 0 {
		return nil
	}
	called, because, next := l.called(), "", l.lookAtOwner()
	if l.Stands != "" {
		because, next = ": "+l.Stands, l.StandsDo
	}
	all := n.Start > 0 && n.End >= n.Start || l.Queue == nil && (n.Limit > 0 && n.End > n.Limit || n.Halted)
	switch {
	case n.Before && !c.Blind && c.SpanNS >= 1e9 && all:
		var evidence []stats.Sample
		s, gone := Critical, ""
		if q := l.Queue; q != nil {
			evidence = q.StuckAt.Samples()
			switch {
			case q.Quit >= uint64(n.End): // nobody waits any more
				s, gone = Warning, ", whose clients had all sent FIN by then"
			case q.Quit > 0:
				gone = fmt.Sprintf(", %d of whose clients had sent FIN by then", q.Quit)
			}
		}
		list := one(s, uint64(n.End), evidence, next,
			"%s%s: nobody %s in %s, and %s in the queue at the start, %d at the end%s%s",
			l.Label, l.suffix(), called, c.say().SpanOf(c.SpanNS), connsWere(n.Start), n.End, gone, because)
		list[0].when = Times{c.EndNS - c.SpanNS, c.EndNS}
		return list
	case l.Queue == nil && !n.Before:
		return one(Warning, uint64(n.End), nil, next,
			"%s%s began to listen during the recording, and nobody %s: %s in its queue at the end%s",
			l.Label, l.suffix(), called, connsWere(n.End), because)
	}
	return nil
}

// connsWere is how many connections were somewhere.
func connsWere(n uint32) string {
	return humanize.Plural(uint64(n), "connection") + " " + were(uint64(n))
}

// called is what nobody did at a listener.
func (l *Listener) called() string {
	if l.Snapshot.Sits > 0 {
		return "returned from accept"
	}
	return "called accept"
}

// waited says how long those waited that were accepted.
func (q *Queue) waited(w *stats.Quantiles, by, before string, say stats.Figures) string {
	most := ""
	if w.AtLeast > 0 {
		most = "≥"
	}
	text := fmt.Sprintf("%s of %s waited %s or longer in the accept queue before %s accepted %s (longest %s%s, p99 "+
		"%s%s, median %s%s)",
		say.Conns(q.Over), say.ConnsOf(w.Count, "client"), humanize.Duration(SlowNS), by, themOrIt(w.Count),
		cmp.Or(say.Most(), most), humanize.Duration(w.Max),
		cmp.Or(say.Mid(), most), humanize.Duration(w.P99), cmp.Or(say.Mid(), most), humanize.Duration(w.P50))
	if q.Slow < q.Over && q.Slow > 0 {
		text += fmt.Sprintf(", %s of them while fewer than one client each %s was accepted", say.SortedConns(q.Slow),
			humanize.Duration(PaceNS))
	}
	if w.AtLeast > 0 {
		text += fmt.Sprintf(", %s of them since %s", say.Conns(w.AtLeast), before)
	}
	return text
}

// stillWaiting says who was in the queue at the end, and why.
func stillWaiting(c *Capture, l *Listener) string {
	q, say := l.Queue, c.say()
	text := fmt.Sprintf("%s %s still in the queue %s, the oldest for %s%s", say.Ended(q.Stuck), were(q.Stuck), c.AtEnd,
		atLeast(q.OldestAtLeast), say.EndedFor(q.OldestNS))
	switch {
	case q.Quit == 0:
	case q.Quit < q.Stuck:
		text += fmt.Sprintf(", and %s of them had sent FIN by then", say.Ended(q.Quit))
	case q.Stuck == 1:
		text += ", and had sent FIN by then"
	default:
		text += ", and all had sent FIN by then"
	}
	switch {
	case l.Stands != "" && q.OldestNS >= SlowNS:
		text += ": " + l.Stands
	case len(l.Workers) == 0 && l.Began != "":
		text += ": " + l.Began + " did not call accept"
	}
	return text
}

// slowNext gives how the sentence begins, and what to do.
func slowNext(c *Capture, l *Listener) (who, next string) {
	q := l.Queue
	who = ": "
	next = "the program does not call accept often enough: see what its accepting thread does between two calls (acc " +
		"analyze --pairs, perf top -p PID, strace -f -p PID); " +
		"then let a thread of its own accept, or start more workers"
	switch {
	case l.Attempts == 0 && !c.Blind:
		who, next = l.suffix()+": nobody "+l.called()+"; ", cmp.Or(l.StandsDo, l.lookAtOwner())
	case q.Slow == 0 && q.Stuck == 0 && c.Blind:
		who = l.suffix() + ": "
		next = "accepts are not recorded, or not all of them, so it is not known whether it accepted others meanwhile " +
			"(record with --events all); see what its accepting thread does"
	case q.Slow == 0 && q.Stuck == 0:
		who = l.suffix() + ": "
		next = "it accepted the others at once: see why it stopped, or failed, before it accepted these " +
			"(fd-exhausted, acc analyze --pairs)"
	}
	if q.Stuck > 0 && q.OldestNS >= SlowNS && l.Stands != "" {
		next = l.StandsDo
	}
	return who, next
}

// alone is the process that accepts, name[pid], "" if several do, or it is not known.
func (l *Listener) alone() string {
	if len(l.Workers) == 1 {
		return l.Workers[0].Who
	}
	return ""
}

// atLeast says that a duration is a lower bound.
func atLeast(yes bool) string {
	if yes {
		return "at least "
	}
	return ""
}

// unaccepted says what became of those that left the queue late without being accepted.
func (q *Queue) unaccepted(say stats.Figures) string {
	text := say.EndedOf(q.Left, "client") + " " + were(q.Left)
	text += fmt.Sprintf(" in the accept queue for up to %s%s and never accepted: ", atLeast(q.LeftAtLeast),
		say.EndedFor(q.LeftNS))
	ended := q.Left - q.LeftLost
	switch {
	case ended == 0:
		return text + "the listener stopped listening"
	case q.LeftLost == 0:
		return text + "until their connections ended"
	}
	return text + fmt.Sprintf("%s until the listener stopped listening, %s until their connections ended",
		say.Ended(q.LeftLost), say.Ended(ended))
}
