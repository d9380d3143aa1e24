package analysis

// This file makes the summaries by which the rules of package findings judge.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// judge works out the findings.
func (a *Analyzer) judge(r *Result) {
	a.places.twins()
	others, tests := a.selfTests(append(slices.Clone(a.places.all), a.places.none, a.places.more))
	r.SelfTests = tests
	c := &findings.Capture{
		Doubts: r.Doubts, Time: a.at, SpanNS: a.spanNS(), AtEnd: a.atEnd(), Blind: a.places.blind, Uring: a.uring,
		ClockFree: a.free || a.header.Clock.Keeping == format.KeepingFree, Complete: r.Complete, Lost: r.Totals.Lost,
		EndReason: r.Capture.EndReason, Gap: a.gapMark,
	}
	for _, x := range r.Caveats {
		c.Caveats = append(c.Caveats, x.ID)
	}
	for i := range r.CrossCheck.Spaces {
		c.Spaces = append(c.Spaces, spaceOf(&r.CrossCheck.Spaces[i], a.places.blind))
	}
	for _, l := range others {
		c.Listeners = append(c.Listeners, a.summary(l))
	}
	c.New, c.NewNames, c.NewNamed = a.opened(others)
	r.Findings, r.Others.Findings, r.FindingCounts = findings.Judge(c, a.o.Top)
}

// summary is what the rules look at of a listener.
func (a *Analyzer) summary(l *listener) *findings.Listener {
	ps := &a.places
	s := &findings.Listener{
		Inode: l.key.inode, NetNS: l.key.netns, Addr: l.addr, Unix: l.family == format.FamilyUnix, Label: l.label(ps),
		Owner: l.ownerOr("", ps), Labelled: l.twin != "",
		By: l.by(ps), Began: l.owned, Attempts: l.attempts, Accepted: l.accepted, Marks: l.marks,
		Refused: l.refused, Counted: a.end != nil && a.end.UnixCounted, FullHigh: l.fullHigh.n,
		FullLimit: l.fullHigh.max, DeadAhead: l.deadAhead, FirstSeq: l.seq, FirstNS: l.seenNS,
		Snapshot: findings.Snapshot{
			Before: l.snap.before, Ended: l.snap.ended, Start: l.snap.start, End: l.snap.end, Limit: l.snap.limit,
			Sits: l.snap.sits, Halted: l.snap.halted.Halted != "",
		},
	}
	if l.life != nil {
		s.Queue, s.Tests = &l.life.Queue, l.mayTestProbes()
	}
	s.Stands, s.StandsDo = l.stands(ps)
	if l.shot != nil {
		s.Ended = l.shot.summary(ps)
	}
	if l.short != nil {
		s.Short = ps.who(l.short)
	}
	if l.crowd != nil {
		s.Crowd = l.crowd.summary()
	}
	l.zero.until(a.endNS())
	s.Zero = findings.Zero{Mark: l.zero.mark, NS: l.zero.ns, By: l.zero.by}
	if m := l.marks[findings.FDExhausted]; m != nil && l.zero.mark.Count > 0 {
		s.Zero.Exhausted = m.FirstNS <= l.zero.mark.LastNS && m.LastNS >= l.zero.mark.FirstNS-1e9
	}
	s.Left = l.abandoned(ps)
	for _, e := range l.errors {
		s.Errors = append(s.Errors, findings.ErrorCount{Errno: e.errno, Count: e.count})
	}
	for _, x := range l.shares {
		s.Workers = append(s.Workers, findings.Worker{
			Process: uint64(x.p.key.num)<<32 | uint64(x.p.key.pid), Who: ps.who(x.p), Accepted: x.accepted,
			Empty:   x.empty,
			FirstNS: x.firstNS, LastNS: x.lastNS, Threads: x.threads,
		})
	}
	for _, p := range l.programs {
		s.Programs = append(s.Programs, string(p))
	}
	if l.came != nil {
		s.Came = ps.who(l.came)
	}
	if l.uring != nil {
		s.Uring = ps.who(l.uring)
	}
	return s
}

// by says who accepts at a listener.
func (l *listener) by(ps *places) string {
	if len(l.shares) == 0 {
		return cmp.Or(l.owned, "a process that is not known")
	}
	most := l.shares[0]
	for _, s := range l.shares {
		if s.attempts > most.attempts {
			most = s
		}
	}
	who := ps.who(most.p)
	if n := len(l.shares); n > 1 {
		who += fmt.Sprintf(" and %d more", n-1)
	}
	return who
}

// ownerOr is whose a listener is, or what to say if that is not known.
func (l *listener) ownerOr(unknown string, ps *places) string {
	switch {
	case l.owned != "":
		return l.owned
	case len(l.shares) > 0:
		return l.by(ps)
	}
	return unknown
}

// who is a process for people.
func (ps *places) who(p *process) string {
	return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(cmp.Or(ps.recordOf(p.key.num).Comm, p.comm)), "?"), p.key.pid)
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

// spanNS is how long was recorded, at least a nanosecond.
func (a *Analyzer) spanNS() int64 { return max(a.endNS()-a.header.Clock.BootNS, 1) }
