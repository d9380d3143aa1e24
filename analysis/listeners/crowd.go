package listeners

// This file follows how many connections of a listener are open, and how slow accepts follow the ends of others.

import (
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// How soon after the end of a connection an accept is taken to follow from it: nearNS, or an eighth of what the client
// had waited, at most farNS. A server that forks for each client on a busy machine takes as long.
const (
	nearNS = 10e6
	farNS  = 50e6
)

// maxCrowds bounds the numbers of open connections that are counted by themselves at slow accepts.
const maxCrowds = 256

// The server's close of a connection is known when the client has acknowledged it, and accepts come in between: both
// wait for so long, and at most so many, to be taken in order of time. What comes later is taken when it comes.
const (
	settledNS  = 5e9 // a FIN that is lost is sent again some times
	maxMoments = 2048
)

// crowd is what is kept of that.
type crowd struct {
	moments   []moment // in order of time; those before settled were taken
	settled   int
	open, low int64  // low: of those there before the recording, it is only known that there were so many
	ends      uint32 // that no accept has followed yet
	lastEndNS int64
	levels    []level          // by how many are open, from levelsFrom
	slow      uint64           // accepts of clients that had waited long
	after     uint64           // of them, those right after an end, with as many open nearly all the time of the wait
	gaps      stats.Histogram  // between those ends and accepts
	counts    map[int64]uint64 // slow accepts, by how many connections were open then
	held      findings.Held    // the connection that was open for longest
}

// moment is an accept, or the server's close of a connection.
type moment struct {
	ns       int64
	accepted bool
	waitedNS int64 // of the client, until it was accepted
}

// A level is for how long so many connections, or more, have been open.
type level struct {
	sinceNS   int64 // 0: never were there so many
	fellNS    int64 // since when there are fewer; 0: there are not
	missingNS int64 // since sinceNS, for how long there were fewer, each time for less than farNS
}

// Which numbers of open connections have a level. Those that were there before the recording are not counted.
const (
	levelsFrom = -64
	maxLevels  = 4096
)

// level is that of the present number, nil if it has none.
func (x *crowd) level() *level {
	i := x.open - levelsFrom
	if i < 0 || i >= maxLevels {
		return nil
	}
	for int64(len(x.levels)) <= i {
		x.levels = append(x.levels, level{})
	}
	return &x.levels[i]
}

// reached takes that there are so many again.
func (v *level) reached(ns int64) {
	if missing := ns - v.fellNS; v.sinceNS == 0 || v.fellNS != 0 && missing > farNS {
		v.sinceNS, v.missingNS = ns, 0
	} else if v.fellNS != 0 {
		v.missingNS += missing
	}
	v.fellNS = 0
}

// filled reports whether there were so many for four fifths of the time that a client waited, or more.
func (v *level) filled(m *moment) bool {
	return v.sinceNS <= m.ns-m.waitedNS+m.waitedNS/5 && 5*v.missingNS <= m.ns-v.sinceNS
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
		if v := x.level(); v != nil {
			v.fellNS = m.ns
		}
		x.open--
		x.low = min(x.low, x.open)
		x.ends++
		x.lastEndNS = m.ns
		return
	}
	x.open++
	v := x.level()
	if v != nil {
		v.reached(m.ns)
	}
	after := x.ends > 0 && m.ns-x.lastEndNS <= max(nearNS, min(m.waitedNS/8, farNS)) && v != nil && v.filled(&m)
	x.ends = max(x.ends, 1) - 1
	if m.waitedNS < findings.SlowNS {
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
	l.crowd.note(moment{ns: e.BootNS, accepted: true, waitedNS: e.BootNS - queuedNS}, e.BootNS)
}
