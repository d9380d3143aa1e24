package crosscheck

import (
	"fmt"

	"github.com/acc-project/acc/analysis/humanize"
)

// This file judges a difference between the kernel's counters and the events: each
// reason has a bound, and what goes beyond all of them is not explained.

// maxTwice bounds how many connections the kernel can have counted twice.
const maxTwice = 100

// twice is how much of the difference the kernel can have counted twice, on more than
// one CPU: a few in 10,000, as measured (docs/RELIABILITY.md), and if what was put into queues is known
// and as much as what left them, no more than was not
// (tcp_create_openreq_child counts before inet_csk_complete_hashdance finds that it
// does not own the request).
func (x *Namespace) twice(blind bool) int64 {
	most := min(1+int64(x.Opened)/10_000, maxTwice)
	if x.Queued >= 0 && !blind {
		most = min(most, int64(x.Opened)-x.Queued-int64(x.Joined)-x.Discarded)
	}
	if x.Unexplained > 0 && x.Unexplained <= most {
		return x.Unexplained
	}
	return 0
}

// excuse is a reason of a known size that is not of one namespace. What one namespace
// takes of it is not there for the others.
type excuse struct {
	left int64
	one  string // of a single one
	text string // of several
}

// excuses are those that the capture holds.
func (w *Check) excuses() []*excuse {
	one, what := "return of accept", "returns of accept"
	if w.blind {
		one, what = "queued connection", "queued connections"
	}
	lost, missed, left := w.losses()
	unseen := int64(max(w.unseen, missed) - missed)
	if w.blind {
		unseen = 0
	}
	return []*excuse{
		{unseen, "return of accept was missed, and the kernel did not count it",
			"returns of accept were missed, and the kernel did not count them"},
		{int64(lost), fmt.Sprintf("%s was lost, %s", one, w.cause()), fmt.Sprintf("%s were lost, %s", what, w.cause())},
		{int64(left), fmt.Sprintf("%s was recorded, and %s", one, w.gone()),
			fmt.Sprintf("%s were recorded, and %s", what, w.gone())},
		{int64(missed), one + " was missed by the kernel", what + " were missed by the kernel"},
		{max(w.noFacts-w.facts, 0), "was accepted with an unknown protocol", "were accepted with an unknown protocol"},
		{w.underWay(), "call of accept had not returned at the end", "calls of accept had not returned at the end"},
	}
}

// judge says whether what is left of a namespace can be.
func (w *Check) judge(x *Namespace, pool []*excuse) {
	x.Verdict = VerdictAgrees
	if x.Unexplained == 0 {
		return
	}
	lost, missed, left := w.losses()
	if twice := x.twice(w.blind); twice > x.UnsureEnd && !w.oneCPU && lost+missed+left == 0 &&
		(w.end == nil || w.end.Clean) {
		x.Verdict = VerdictExplained
		x.Reasons = append(x.Reasons, fmt.Sprintf("the kernel may have counted %d twice: when two CPUs end one "+
			"handshake at the same time, it makes two sockets and drops one", twice))
		return
	}
	rest := max(x.Unexplained, -x.Unexplained)
	reason := func(n int64, one, text string) {
		switch {
		case n == 1:
			x.Reasons = append(x.Reasons, "1 "+one)
		case n > 1:
			x.Reasons = append(x.Reasons, humanize.Count(uint64(n))+" "+text)
		}
	}
	own := func(unsure, moved int64) {
		rest = max(rest-max(unsure, 0), 0)
		rest = max(rest-max(moved, 0), 0)
		reason(unsure, "was accepted while acc read the counters", "were accepted while acc read the counters")
		reason(moved, "came while acc read the accept queues", "came while acc read the accept queues")
	}
	if x.Unexplained > 0 {
		own(x.UnsureEnd, x.MovedEnd)
		for _, e := range pool {
			taken := min(rest, max(e.left, 0))
			reason(e.left, e.one, e.text)
			rest, e.left = rest-taken, e.left-taken
		}
	} else {
		own(x.UnsureStart, x.MovedStart)
	}
	if x.Verdict = VerdictExplained; rest == 0 {
		return
	}
	x.Verdict = VerdictDiffers
	if w.before && x.Unexplained > 0 { // how many is not known either
		x.Reasons = append(x.Reasons, "acc could not look for calls that began before the recording")
	}
	if !w.blind && !w.forgotKnown && x.Unexplained > 0 {
		x.Reasons = append(x.Reasons, "this recording has no events of connections that waited when their listener "+
			"stopped")
	}
}
