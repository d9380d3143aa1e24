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

// lateNS is for how long after a server closed a connection its client may not have acknowledged that, beyond a round
// trip: delayed acknowledgements take 40 ms in Linux. The capture has no event of the close itself. After expireNS the
// connection is taken to be open.
const (
	lateNS   = 50e6
	expireNS = 300e6
)

// maxLate bounds the accepts that wait for such an end, and maxTasks the tasks whose connections are counted.
const (
	maxLate  = 64
	maxTasks = 4096
)

// crowd is what is kept of that.
type crowd struct {
	open, low int64  // low: of those there before the recording, it is only known that there were so many
	ends      uint32 // that no accept has followed yet
	lastEndNS int64
	of        map[uint32]int64 // open connections by the task that accepted them
	late      []arrival        // accepts that no end came right before
	slow      uint64           // accepts of clients that had waited long
	after     uint64           // of them, those right after an end
	// of those, the ones before which the server had closed, and the client had not acknowledged it
	acked  uint64
	gaps   stats.Histogram  // between those ends and accepts
	counts map[int64]uint64 // slow accepts, by how many connections were open then
	held   findings.Held    // the connection that was open for longest
}

// arrival is an accept of a task that had one connection open, which the server may have closed already.
type arrival struct {
	ns   int64
	open int64 // connections, without those that seem closed already
	tid  uint32
	slow bool
}

// joins takes a connection that a task accepted, and that had waited in the queue for so long.
func (x *crowd) joins(ns, waited int64, tid uint32) {
	// it keeps several open
	x.expire(func(a *arrival) bool { return ns-a.ns > expireNS || a.tid == tid && x.of[tid] > 1 })
	x.open++
	if x.of == nil {
		x.of = map[uint32]int64{}
	}
	had := x.of[tid]
	if had > 0 || len(x.of) < maxTasks {
		x.of[tid]++
	}
	after := x.ends > 0 && ns-x.lastEndNS <= nearNS
	slow := waited >= findings.SlowNS
	if !after && had == 1 && len(x.late) < maxLate {
		x.late = append(x.late, arrival{ns, x.open - int64(len(x.late)) - 1, tid, slow})
		slow = false
	}
	x.ends = max(x.ends, 1) - 1
	if !slow {
		return
	}
	x.took(x.open - int64(len(x.late)))
	if after {
		x.after++
		x.gaps.Record(max(ns-x.lastEndNS, 0))
	}
}

// took counts a slow accept with which so many connections were open.
func (x *crowd) took(open int64) {
	if x.slow++; x.counts == nil {
		x.counts, x.gaps = map[int64]uint64{}, stats.NewHistogram(2)
	}
	if _, ok := x.counts[open]; ok || len(x.counts) < maxCrowds {
		x.counts[open]++
	}
}

// expire counts accepts for which no end came: the connection that their task had was open all the same.
func (x *crowd) expire(which func(*arrival) bool) {
	x.late = slices.DeleteFunc(x.late, func(a arrival) bool {
		if !which(&a) {
			return false
		}
		if a.slow {
			x.took(a.open + 1)
		}
		return true
	})
}

// closedBefore reports whether the server had closed a connection when the same task accepted the next one, of which
// the
// client's acknowledgement is the end that the capture shows.
func (x *crowd) closedBefore(o *conntrack.Connection) bool {
	i := slices.IndexFunc(x.late, func(a arrival) bool {
		return a.tid == o.TID && o.AcceptedSeq != 0 &&
			o.AcceptedNS < a.ns
	})
	if i < 0 {
		return false
	}
	a := x.late[i]
	if o.End != conntrack.EndByServer || o.ClosedNS-a.ns > lateNS+int64(o.SRTTUS)*1e3 {
		x.expire(func(b *arrival) bool { return *b == a })
		return false
	}
	if a.slow {
		x.took(a.open)
		x.after++
		x.acked++
	}
	x.late = slices.Delete(x.late, i, i+1)
	return true
}

// ended takes a connection that is told of.
func (x *crowd) ended(o *conntrack.Connection) {
	if o.ClosedSeq != 0 && (o.AcceptedSeq != 0 || o.Before) {
		x.open--
		x.low = min(x.low, x.open)
		if n, ok := x.of[o.TID]; ok && o.AcceptedSeq != 0 {
			if x.of[o.TID] = n - 1; n <= 1 {
				delete(x.of, o.TID)
			}
		}
		if !x.closedBefore(o) {
			x.ends++
			x.lastEndNS = o.ClosedNS
		}
	}
	if ns := o.EndNS - o.AcceptedNS; o.AcceptedNS != 0 && ns > x.held.NS {
		x.held = findings.Held{NS: ns, Peer: o.Remote, Seq: o.AcceptedSeq, Silent: o.Counted && o.BytesIn == 0,
			Open: o.End.Open()}
	}
}

// summary is what the rules look at of it.
func (x *crowd) summary() *findings.Crowd {
	x.expire(func(*arrival) bool { return true })
	if x.slow == 0 {
		return nil
	}
	s := &findings.Crowd{Slow: x.slow, After: x.after, Acked: x.acked, Gaps: x.gaps, Held: x.held}
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
	l.crowd.joins(e.BootNS, e.BootNS-queuedNS, e.TID)
}
