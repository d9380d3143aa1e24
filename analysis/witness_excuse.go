package analysis

import "fmt"

// This file judges a difference between the kernel's counters and the events: each
// reason has a bound, and what goes beyond all of them is not explained.

// maxTwice bounds how many connections the kernel can have counted twice.
const maxTwice = 100

// twice is how much of the difference the kernel can have counted twice, on more than
// one CPU: a few in 10,000, as measured (docs/RELIABILITY.md), and if what was put into queues is known
// and as much as what left them, no more than was not
// (tcp_create_openreq_child counts before inet_csk_complete_hashdance finds that it
// does not own the request).
func (x *WitnessSpace) twice(blind bool) int64 {
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
	text string
}

// excuses are those that the capture holds.
func (w *Witness) excuses() []*excuse {
	what := "returns of accept"
	if w.blind {
		what = "queued connections"
	}
	lost, missed, left := w.losses()
	unseen := int64(max(w.unseen, missed) - missed)
	if w.blind {
		unseen = 0
	}
	return []*excuse{
		{unseen, "returns of accept were missed, and the kernel did not count them"},
		{int64(lost), fmt.Sprintf("%s were lost, %s", what, w.cause())},
		{int64(left), fmt.Sprintf("%s were recorded and %s", what, w.gone())},
		{int64(missed), fmt.Sprintf("%s were missed by the kernel", what)},
		{max(w.noFacts-w.facts, 0), "accepted without what says of which protocol"},
		{w.underWay(), "calls had not returned at the end"},
	}
}

// judge says whether what is left of a namespace can be.
func (w *Witness) judge(x *WitnessSpace, pool []*excuse) {
	x.Verdict = WitnessAgrees
	if x.Unexplained == 0 {
		return
	}
	lost, missed, left := w.losses()
	if twice := x.twice(w.blind); twice > x.UnsureEnd && !w.oneCPU && lost+missed+left == 0 && (w.end == nil || w.end.Clean) {
		x.Verdict = WitnessExplained
		x.Reasons = append(x.Reasons, fmt.Sprintf("%d may have been counted twice: of one handshake the kernel makes two sockets if two CPUs end it at the same time, and drops one", twice))
		return
	}
	rest := max(x.Unexplained, -x.Unexplained)
	reason := func(n int64, text string) {
		if n > 0 {
			x.Reasons = append(x.Reasons, fmt.Sprintf("%d %s", n, text))
		}
	}
	own := func(unsure, moved int64) {
		rest = max(rest-max(unsure, 0), 0)
		rest = max(rest-max(moved, 0), 0)
		reason(unsure, "accepted while the counters were read")
		reason(moved, "came while the accept queues were read")
	}
	if x.Unexplained > 0 {
		own(x.UnsureEnd, x.MovedEnd)
		for _, e := range pool {
			taken := min(rest, max(e.left, 0))
			reason(e.left, e.text)
			rest, e.left = rest-taken, e.left-taken
		}
	} else {
		own(x.UnsureStart, x.MovedStart)
	}
	if x.Verdict = WitnessExplained; rest == 0 {
		return
	}
	x.Verdict = WitnessDiffers
	if w.before && x.Unexplained > 0 { // how many is not known either
		x.Reasons = append(x.Reasons, "calls that began before the recording could not be looked for")
	}
	if !w.blind && !w.forgotKnown && x.Unexplained > 0 {
		x.Reasons = append(x.Reasons, "connections that waited when their listener stopped listening are not recorded here")
	}
}
