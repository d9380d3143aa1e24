package listeners

// This file makes the summaries by which the rules of package findings judge.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/format"
)

// Summaries adds to a Capture what the rules of findings look at of each listener, and of all together. It leaves out
// those of other recorders' self-tests, and gives these. seen is of [Registry.Meanwhile].
func (reg *Registry) Summaries(c *findings.Capture, seen []meanwhile.Seen) []SelfTest {
	reg.nameTwins()
	others, tests := reg.selfTests(append(slices.Clone(reg.all), reg.none, reg.more))
	c.Uring = reg.uring
	for _, l := range others {
		s := reg.summary(l)
		if i := slices.IndexFunc(seen, func(x meanwhile.Seen) bool {
			return x.NetNS == s.NetNS && x.Listener == s.Inode
		}); i >= 0 {
			s.Seen = &seen[i]
		}
		c.Listeners = append(c.Listeners, s)
	}
	c.New, c.NewNames, c.NewNamed = reg.opened(others)
	return tests
}

// summary is what the rules look at of a listener.
func (reg *Registry) summary(l *listener) *findings.Listener {
	s := &findings.Listener{
		Inode: l.key.inode, NetNS: l.key.netns, Addr: l.addr, Unix: l.family == format.FamilyUnix, Label: l.label(reg),
		Owner: l.ownerOr("", reg), Labelled: l.twin != "",
		By: l.by(reg), Began: l.owned, Attempts: l.attempts, Accepted: l.accepted, Marks: l.marks,
		Refused: l.refused, Counted: reg.end != nil && reg.end.UnixCounted, FullHigh: l.fullHigh.n,
		FullLimit: l.fullHigh.max, DeadAhead: l.deadAhead, FirstSeq: l.seq, FirstNS: l.seenNS,
		Snapshot: findings.Snapshot{
			Before: l.snap.before, Ended: l.snap.ended, Start: l.snap.start, End: l.snap.end, Limit: l.snap.limit,
			Sits: l.snap.sits, Halted: l.snap.halted.Halted != "",
		},
	}
	if l.life != nil {
		s.Queue, s.Tests = &l.life.Queue, l.mayTestProbes()
	}
	s.Stands, s.StandsDo = l.stands(reg)
	if l.shot != nil {
		s.Ended = l.shot.summary(reg)
	}
	if l.short != nil {
		s.Short = reg.who(l.short)
	}
	if l.crowd != nil {
		l.crowd.settle()
		if s.Crowd = l.crowd.summary(); s.Queue != nil {
			l.crowd.tellBeside(&s.Queue.Outcomes)
		}
	}
	l.zero.until(reg.endNS)
	s.Zero = findings.Zero{Mark: l.zero.mark, NS: l.zero.ns, ToNS: l.zero.toNS, By: l.zero.by}
	if m := l.marks[findings.FDExhausted]; m != nil && l.zero.mark.Count > 0 {
		s.Zero.Exhausted = m.FirstNS <= l.zero.mark.LastNS && m.LastNS >= l.zero.mark.FirstNS-1e9
	}
	s.Left = l.abandoned(reg)
	for _, e := range l.errors {
		s.Errors = append(s.Errors, findings.ErrorCount{Errno: e.errno, Count: e.count})
	}
	for _, x := range l.shares {
		s.Workers = append(s.Workers, findings.Worker{
			Process: uint64(x.p.key.num)<<32 | uint64(x.p.key.pid), Who: reg.who(x.p), Accepted: x.accepted,
			Empty:   x.empty,
			FirstNS: x.firstNS, LastNS: x.lastNS, Threads: x.threads,
		})
	}
	for _, p := range l.programs {
		s.Programs = append(s.Programs, string(p))
	}
	if l.came != nil {
		s.Came = reg.who(l.came)
	}
	if l.uring != nil {
		s.Uring = reg.who(l.uring)
	}
	return s
}

// by says who accepts at a listener.
func (l *listener) by(reg *Registry) string {
	if len(l.shares) == 0 {
		return cmp.Or(l.owned, "a process that is not known")
	}
	most := l.shares[0]
	for _, s := range l.shares {
		if s.attempts > most.attempts {
			most = s
		}
	}
	who := reg.who(most.p)
	if n := len(l.shares); n > 1 {
		who += fmt.Sprintf(" and %d more", n-1)
	}
	return who
}

// ownerOr is whose a listener is, or what to say if that is not known.
func (l *listener) ownerOr(unknown string, reg *Registry) string {
	switch {
	case l.owned != "":
		return l.owned
	case len(l.shares) > 0:
		return l.by(reg)
	}
	return unknown
}

// who is a process for people.
func (reg *Registry) who(p *process) string {
	return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(cmp.Or(reg.recordOf(p.key.num).Comm, p.comm)), "?"), p.key.pid)
}

// testClients is how many connections a recorder makes to itself, and leaves in the queue, to
// try its probes.
const testClients = 2

// mayTestProbes reports whether a listener with clients that were lost looks like one by which another
// recorder tries its probes. Anybody can name a program so: it is told of all the same.
func (l *listener) mayTestProbes() bool {
	return strings.HasPrefix(l.owned, "acc[") && l.life.Lost <= testClients && l.accepted == 0 &&
		l.addr.Addr().IsLoopback()
}
