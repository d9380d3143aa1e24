package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/stats"
)

func (fs *findings) slow(l *listener) {
	f := l.life
	idle, wake := l.stands(&fs.a.places)
	called, look := "called accept", "look at the threads of the process that owns the listener (ss -ltnp): why does none come to accept?"
	if l.snap.sits > 0 {
		called = "returned from accept"
	}
	because := ""
	if idle != "" {
		because, look = ": "+idle, wake
	}
	if n := l.snap; n.before && n.ended && l.attempts == 0 && !fs.a.conns.blind && fs.a.seconds() >= 1 &&
		(n.start > 0 && n.end >= n.start || f == nil && n.end > 0 && (n.limit > 0 && n.end > n.limit || n.halted.Halted != "")) {
		var evidence []stats.Sample
		if f != nil {
			evidence = f.stuckAt.Samples()
		}
		fs.add(slowAccept, Critical, uint64(n.end), evidence, look, "%s%s: nobody %s in %s, and %d connections were in the queue at the start, %d at the end%s",
			l.label(&fs.a.places), l.owner(&fs.a.places), called, fs.say.SpanOf(fs.a.spanNS()), n.start, n.end, because)
		return
	}
	if f == nil {
		if n := l.snap; n.ended && n.end > 0 && !n.before && l.attempts == 0 {
			fs.add(slowAccept, Warning, uint64(n.end), nil, look, "%s%s began to listen during the recording, and nobody %s: %d connections were in its queue at the end%s",
				l.label(&fs.a.places), l.owner(&fs.a.places), called, n.end, because)
		}
		return
	}
	q := f.waits.Quantiles()
	stuck := f.stuck > 0 && f.oldestNS >= slowNS || f.left > 0
	longest := int64(0) // of those that nobody accepted
	if f.stuck > 0 {
		longest = f.oldestNS
	}
	longest = max(longest, f.leftNS)
	if f.slow < 3 && !(f.slow > 0 && 2*f.slow >= q.Count) && !stuck {
		return
	}
	var s Severity
	switch {
	case q.Count > 0 && q.P50 >= slowerNS, f.slower >= 10 && q.P99 >= verySlowNS, stuck && longest >= verySlowNS,
		stuck && q.Count == 0 && longest >= slowerNS:
		s = Critical
	case q.P99 >= slowerNS/2, stuck && longest >= slowerNS:
		s = Warning
	case q.P99 >= slowNS || f.slower >= 3 || stuck:
		s = Notice
	default:
		return
	}
	var parts []string
	evidence := f.worst.List
	if f.left > 0 {
		parts = append(parts, f.unaccepted(fs.say))
		evidence = append(f.leftAt.Samples(), evidence...)
		evidence = slices.Clone(evidence[:min(len(evidence), 2*stats.KeepSamples)])
	}
	if q.Count > 0 && (f.over > 0 || f.left+f.stuck == 0) {
		most := ""
		if q.AtLeast > 0 {
			most = "≥"
		}
		parts = append(parts, fmt.Sprintf("%s of %s clients waited %s or longer in the accept queue before %s took them (longest %s%s, p99 %s%s, median %s%s)",
			fs.say.Conns(f.over), fs.say.Conns(q.Count), Duration(slowNS), l.by(&fs.a.places), cmp.Or(fs.say.Most(), most), Duration(q.Max),
			cmp.Or(fs.say.Mid(), most), Duration(q.P99), cmp.Or(fs.say.Mid(), most), Duration(q.P50)))
		if f.slow < f.over && f.slow > 0 {
			parts[len(parts)-1] += fmt.Sprintf(", %s of them while fewer than one each %s was accepted", fs.say.SortedConns(f.slow), Duration(paceNS))
		}
		if q.AtLeast > 0 {
			parts[len(parts)-1] += fmt.Sprintf(", %s of them since before the recording", fs.say.Conns(q.AtLeast))
		}
		if f.slow > 0 && len(parts) == 2 {
			slices.Reverse(parts)
		}
	}
	if f.stuck > 0 {
		text := fmt.Sprintf("%s %s still in the queue %s, the oldest for %s%s", fs.say.Ended(f.stuck), were(f.stuck), fs.a.atEnd(), atLeast(f.oldestAtLeast), fs.say.EndedFor(f.oldestNS))
		switch {
		case f.quit == 0:
		case f.quit < f.stuck:
			text += fmt.Sprintf(", and %s of them had hung up by then", fs.say.Ended(f.quit))
		default:
			text += ", and " + all(f.stuck) + "had hung up by then"
		}
		switch {
		case idle != "" && f.oldestNS >= slowNS:
			text += because
		case len(l.shares) == 0 && l.owned != "":
			text += ": " + l.owned + " did not come"
		}
		parts = append(parts, text)
		if f.oldestNS >= slowNS {
			evidence = append(f.stuckAt.Samples(), evidence...)
			evidence = evidence[:min(len(evidence), 2*stats.KeepSamples)]
		}
	}
	text := l.label(&fs.a.places)
	next := "the program comes to accept too seldom: see what its accepting thread does between two calls (acc analyze --pairs, perf, strace -p); " +
		"accept in a thread of its own, or more workers"
	switch {
	case l.attempts == 0 && !fs.a.conns.blind:
		text += l.owner(&fs.a.places) + ": nobody " + called + "; "
		next = look
	case f.slow == 0 && f.stuck == 0 && fs.a.conns.blind:
		text += l.owner(&fs.a.places) + ": "
		next = "whether it took others meanwhile is not recorded (--events all does): see what its accepting thread does"
	case f.slow == 0 && f.stuck == 0:
		text += l.owner(&fs.a.places) + ": "
		next = "it took the others at once: see why it stopped, or failed, before it came to these (fd-exhausted, acc analyze --pairs)"
	default:
		text += ": "
	}
	if f.stuck > 0 && f.oldestNS >= slowNS && idle != "" {
		next = wake
	}
	text += strings.Join(parts, "; ")
	slices.SortFunc(evidence, func(a, b stats.Sample) int { return cmp.Compare(a.Seq, b.Seq) })
	fs.add(slowAccept, s, f.slow+f.stuck+f.left, evidence, next, "%s", text)
}

// atLeast says that a duration is a lower bound.
func atLeast(yes bool) string {
	if yes {
		return "at least "
	}
	return ""
}

// unaccepted says what became of those that left the queue late without being accepted.
func (f *life) unaccepted(say stats.Figures) string {
	text := say.EndedOf(f.left, "client") + " " + were(f.left)
	text += fmt.Sprintf(" in the accept queue for up to %s%s and never accepted: ", atLeast(f.leftAtLeast), say.EndedFor(f.leftNS))
	ended := f.left - f.leftLost
	switch {
	case ended == 0:
		return text + "the listener stopped listening"
	case f.leftLost == 0:
		return text + "until their connections ended"
	}
	return text + fmt.Sprintf("%s until the listener stopped listening, %s until their connections ended", say.Ended(f.leftLost), say.Ended(ended))
}

func all(n uint64) string {
	if n == 1 {
		return ""
	}
	return "all "
}
