package listeners

// This file follows how many connections of a listener are open, and how slow accepts follow the ends of others.

import (
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// nearNS is how soon after the end of a connection an accept is taken to follow from it.
const nearNS = 10e6

// maxCrowds bounds the numbers of open connections that are counted by themselves at slow accepts.
const maxCrowds = 256

// The server's close of a connection is known when the client has acknowledged it, and accepts come in between: both wait
// for so long, and at most so many, to be taken in order of time. What comes later is taken when it comes.
const (
	settledNS  = 1e9
	maxMoments = 1024
)

// crowd is what is kept of that.
type crowd struct {
	moments   []moment // in order of time; those before settled were taken
	settled   int
	open, low int64  // low: of those there before the recording, it is only known that there were so many
	ends      uint32 // that no accept has followed yet
	lastEndNS int64
	slow      uint64           // accepts of clients that had waited long
	after     uint64           // of them, those right after an end
	gaps      stats.Histogram  // between those ends and accepts
	counts    map[int64]uint64 // slow accepts, by how many connections were open then
	held      findings.Held    // the connection that was open for longest
}

// moment is an accept, or the server's close of a connection.
type moment struct {
	ns       int64
	accepted bool
	slow     bool // the client had waited long
}

// note takes a moment, and settles those that nothing can come before any more.
func (x *crowd) note(m moment, nowNS int64) {
	i := len(x.moments)
	for i > x.settled && x.moments[i-1].ns > m.ns {
		i--
	}
	x.moments = slices.Insert(x.moments, i, m)
	for n := len(x.moments); n-x.settled > maxMoments || x.settled < n && nowNS-x.moments[x.settled].ns > settledNS; {
		x.settleNext()
	}
	if x.settled > maxMoments {
		x.moments, x.settled = x.moments[:copy(x.moments, x.moments[x.settled:])], 0
	}
}

// settleNext counts the first moment that was not.
func (x *crowd) settleNext() {
	m := x.moments[x.settled]
	x.settled++
	if !m.accepted {
		x.open--
		x.low = min(x.low, x.open)
		x.ends++
		x.lastEndNS = m.ns
		return
	}
	x.open++
	after := x.ends > 0 && m.ns-x.lastEndNS <= nearNS
	x.ends = max(x.ends, 1) - 1
	if !m.slow {
		return
	}
	if x.slow++; x.counts == nil {
		x.counts, x.gaps = map[int64]uint64{}, stats.NewHistogram(2)
	}
	if _, ok := x.counts[x.open]; ok || len(x.counts) < maxCrowds {
		x.counts[x.open]++
	}
	if after {
		x.after++
		x.gaps.Record(max(m.ns-x.lastEndNS, 0))
	}
}

// ended takes a connection that is told of.
func (x *crowd) ended(o *conntrack.Connection) {
	done := o.ServerDone()
	if o.ClosedSeq != 0 && (o.AcceptedSeq != 0 || o.Before) {
		x.note(moment{ns: done}, o.ClosedNS)
	}
	if ns := done - o.AcceptedNS; o.AcceptedNS != 0 && ns > x.held.NS {
		x.held = findings.Held{NS: ns, Peer: o.Remote, Seq: o.AcceptedSeq, Silent: o.Counted && o.BytesIn == 0,
			Open: o.End.Open()}
	}
}

// summary is what the rules look at of it.
func (x *crowd) summary() *findings.Crowd {
	for x.settled < len(x.moments) {
		x.settleNext()
	}
	x.moments, x.settled = nil, 0
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
	l.crowd.note(moment{ns: e.BootNS, accepted: true, slow: e.BootNS-queuedNS >= findings.SlowNS}, e.BootNS)
}
