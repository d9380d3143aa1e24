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
	peak      int64  // the most that were open at once
	ends      []left // that no accept has followed yet, the last ones
	lastEndNS int64
	steps     []step           // since the last accept
	heldNS    map[int64]int64  // for how long clients waited and nothing happened, by how many were open
	byLeft    [4]uint64        // slow accepts, by the end before them
	levels    []level          // by how many are open, from levelsFrom
	slow      uint64           // accepts of clients that had waited long
	after     uint64           // of them, those right after an end, with as many open nearly all the time of the wait
	gaps      stats.Histogram  // between those ends and accepts
	counts    map[int64]uint64 // slow accepts, by how many connections were open then
	held      findings.Held    // the connection that was open for longest
	beside    int64            // the fewest others that were open when the server turned a client away
	turned    uint64           // clients that it turned away while so few were; 0: none
}

// moment is an accept, or the server's close of a connection.
type moment struct {
	ns       int64
	accepted bool
	waitedNS int64 // of the client, until it was accepted
	left     left  // of an end
	turned   bool  // of an end: the server turned the client away
}

// left is how soon the server closed a connection after the client had left.
type left uint8

const (
	noEnd    left = iota // there was no end that another accept had not followed
	notLeft              // the server closed it first, or which was first is not known
	leftSoon             // it had seen at once that the client was gone
	leftLate             // SlowNS later, or more
)

// maxEnds is how many ends are kept that no accept has followed.
const maxEnds = 1024

// A step is since when so many connections are open.
type step struct{ ns, open int64 }

// maxSteps bounds the steps between two accepts that are kept.
const maxSteps = 1024

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
		if m.turned {
			if x.turned == 0 || x.open < x.beside {
				x.beside, x.turned = x.open, 0
			}
			if x.open == x.beside {
				x.turned++
			}
		}
		if len(x.ends) == maxEnds {
			x.ends = x.ends[:copy(x.ends, x.ends[maxEnds/2:])]
		}
		x.ends = append(x.ends, m.left)
		x.lastEndNS = m.ns
		x.step(m.ns)
		return
	}
	if m.waitedNS >= findings.SlowNS {
		x.hold(&m)
	}
	x.open++
	x.peak = max(x.peak, x.open)
	x.steps = x.steps[:0]
	x.step(m.ns)
	v := x.level()
	if v != nil {
		v.reached(m.ns)
	}
	after := len(x.ends) > 0 && m.ns-x.lastEndNS <= max(nearNS, min(m.waitedNS/8, farNS)) && v != nil && v.filled(&m)
	before := noEnd
	if last := len(x.ends) - 1; last >= 0 {
		before, x.ends = x.ends[last], x.ends[:last]
	}
	if m.waitedNS < findings.SlowNS {
		return
	}
	x.byLeft[before]++
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

// step takes that another number of connections is open.
func (x *crowd) step(ns int64) {
	if len(x.steps) == maxSteps {
		x.steps = x.steps[:copy(x.steps, x.steps[maxSteps/2:])]
	}
	x.steps = append(x.steps, step{ns, x.open})
}

// hold counts how many were open while a client waited, since the accept before. What follows an accept or an end
// within nearNS does not count: the server may be about to accept.
func (x *crowd) hold(m *moment) {
	if x.heldNS == nil {
		x.heldNS = map[int64]int64{}
	}
	from := m.ns - m.waitedNS
	for i, s := range x.steps {
		until := m.ns
		if i+1 < len(x.steps) {
			until = x.steps[i+1].ns
		}
		if ns := until - max(s.ns+nearNS, from); ns > 0 && (x.heldNS[s.open] > 0 || len(x.heldNS) < maxCrowds) {
			x.heldNS[s.open] += ns
		}
	}
}

// stood takes a connection that was accepted before the recording.
func (x *crowd) stood() {
	x.open++
	x.peak = max(x.peak, x.open)
	x.steps = append(x.steps[:0], step{0, x.open})
}

// ended takes a connection that is told of.
func (x *crowd) ended(o *conntrack.Connection) {
	done := o.ServerDone()
	waited, _ := o.InQueue()
	if o.ClosedSeq != 0 && (o.AcceptedSeq != 0 || o.Before && waited < 0 && o.Inode != 0) {
		m := moment{ns: done, left: notLeft}
		switch {
		case o.ClientEndNS == 0:
		case done-o.ClientEndNS < findings.SlowNS:
			m.left = leftSoon
		default:
			m.left = leftLate
		}
		switch o.Outcome() {
		case conntrack.OutcomeTurnedAway, conntrack.OutcomeUnread:
			m.turned = true
		}
		x.note(m, o.ClosedNS)
	}
	if ns := done - o.AcceptedNS; o.AcceptedNS != 0 && ns > x.held.NS {
		x.held = findings.Held{NS: ns, Peer: o.Remote, Seq: o.AcceptedSeq, Silent: o.Counted && o.BytesIn == 0,
			Open: o.End.Open()}
	}
}

// settle counts all moments: no more come.
func (x *crowd) settle() {
	for x.settled < len(x.moments) {
		x.settleNext()
	}
	x.moments, x.settled = nil, 0
}

// tellBeside says how many other connections were open when the server turned clients away.
func (x *crowd) tellBeside(o *findings.Outcomes) {
	if x.turned == 0 {
		return
	}
	if o.TurnedBeside = uint64(x.beside - x.low); o.TurnedBeside == 0 {
		o.TurnedAlone = x.turned
	}
}

// summary is what the rules look at of it.
func (x *crowd) summary() *findings.Crowd {
	if x.slow == 0 {
		return nil
	}
	s := &findings.Crowd{Slow: x.slow, After: x.after, Gaps: x.gaps, Held: x.held,
		Filling: x.byLeft[noEnd], LeftSoon: x.byLeft[leftSoon], LeftLate: x.byLeft[leftLate],
		ClosedFirst: x.byLeft[notLeft], Peak: x.peak - x.low}
	for open, ns := range x.heldNS {
		if s.IdleNS += ns; open == x.peak {
			s.PeakNS = ns
		}
	}
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
