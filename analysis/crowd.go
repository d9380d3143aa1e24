package analysis

// This file follows how many connections of a listener are open, and how slow accepts follow the ends of others.

import (
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// nearNS is how soon after the end of a connection an accept is taken to follow from it.
const nearNS = 10e6

// maxCrowds bounds the numbers of open connections that are counted by themselves at slow accepts.
const maxCrowds = 256

// crowd is what is kept of that.
type crowd struct {
	open, low int64  // low: of those there before the recording, it is only known that there were so many
	ends      uint32 // that no accept has followed yet
	lastEndNS int64
	slow      uint64           // accepts of clients that had waited long
	after     uint64           // of them, those right after an end
	gaps      stats.Histogram  // between those ends and accepts
	counts    map[int64]uint64 // slow accepts, by how many connections were open then
	held      findings.Held    // the connection that was open for longest
}

// joins takes an accepted connection that had waited in the queue for so long.
func (x *crowd) joins(ns, waited int64) {
	x.open++
	after := x.ends > 0 && ns-x.lastEndNS <= nearNS
	x.ends = max(x.ends, 1) - 1
	if waited < findings.SlowNS {
		return
	}
	if x.slow++; x.counts == nil {
		x.counts, x.gaps = map[int64]uint64{}, stats.NewHistogram(2)
	}
	if after {
		x.after++
		x.gaps.Record(max(ns-x.lastEndNS, 0))
	}
	if _, ok := x.counts[x.open]; ok || len(x.counts) < maxCrowds {
		x.counts[x.open]++
	}
}

// ended takes a connection that is told of.
func (x *crowd) ended(o *Connection) {
	if o.ClosedSeq != 0 && (o.AcceptedSeq != 0 || o.Before) {
		x.open--
		x.low = min(x.low, x.open)
		x.ends++
		x.lastEndNS = o.ClosedNS
	}
	if ns := o.EndNS - o.AcceptedNS; o.AcceptedNS != 0 && ns > x.held.NS {
		x.held = findings.Held{NS: ns, Peer: o.Remote, Seq: o.AcceptedSeq, Silent: o.Counted && o.BytesIn == 0,
			Open: o.End.Open()}
	}
}

// summary is what the rules look at of it.
func (x *crowd) summary() *findings.Crowd {
	if x.slow == 0 {
		return nil
	}
	s := &findings.Crowd{Slow: x.slow, After: x.after, Gaps: x.gaps, Held: x.held}
	for open, n := range x.counts {
		if n > s.Same || n == s.Same && open-x.low > s.Open {
			s.Same, s.Open = n, open-x.low
		}
	}
	return s
}

// joined takes an accept at a listener, of a connection that was queued then.
func (l *listener) joined(e *format.Event, queuedNS int64) {
	if l.crowd == nil {
		l.crowd = &crowd{}
	}
	l.crowd.joins(e.BootNS, e.BootNS-queuedNS)
}
