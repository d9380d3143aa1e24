package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Thresholds; docs/FINDINGS.md gives the reasons.
const (
	slowNS      = 100e6 // in the accept queue: a client feels it
	paceNS      = 20e6  // between two accepts: a server that takes clients faster has much to do
	slowerNS    = 1e9   // as long as TCP waits before it sends again
	verySlowNS  = 5e9   // as long as clients commonly wait at all
	goneNS      = 1e9   // a client that closed its side after so long in the queue gave up
	fullNS      = 1e9   // the queue full for so long in all is no burst
	manyRefused = 10
	manyDead    = 10
	manyLost    = 10
	herdEmpty   = 100 // wake-ups for nothing, fewer are no herd
	unevenEach  = 50  // accepts for each worker, fewer say nothing
	unevenAll   = 200
)

// aborts are the errors by which accept tells of a connection that failed while it was queued, accept(2).
var aborts = map[int32]bool{64: true, 71: true, 92: true, 100: true, 101: true, 103: true, 112: true, 113: true}

// judge works out the findings.
func (a *Analyzer) judge(r *Result) {
	fs := &findings{a: a, say: stats.Figures{Doubts: &r.Doubts}}
	a.places.twins()
	all := append(slices.Clone(a.places.all), a.places.none, a.places.more)
	for _, l := range all {
		fs.at = l
		fs.overflow(l)
		fs.slow(l)
		fs.full(l, r)
		fs.failed(l)
		fs.lost(l)
		fs.dead(l)
		fs.address(l)
		fs.herd(l)
	}
	fs.acceptors(all)
	fs.at = nil
	fs.uneven(all)
	fs.listeners(all)
	fs.uring(all)
	fs.crossCheck(r)
	fs.listenDrops(r)
	fs.incomplete(r)
	keep := a.o.Top
	r.Findings, r.Others.Findings = fs.sorted(keep)
	r.FindingCounts = fs.counts()
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

// owner says whose a listener is, in brackets, "" if that is not known.
func (l *listener) owner(ps *places) string {
	if s := l.ownerOr("", ps); s != "" && l.twin == "" { // else its label says it
		return " (" + s + ")"
	}
	return ""
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

func (fs *findings) overflow(l *listener) {
	m, f := l.marks[queueOverflow], l.life
	if m == nil || f == nil {
		return
	}
	s := Warning
	if m.Count >= manyRefused {
		s = Critical
	}
	const next = "find out why the program does not accept: slow-accept, queue-full and fd-exhausted say more, or look at its threads; " +
		"if clients come in bursts, raise the backlog of listen() and net.core.somaxconn"
	if n := f.syns + f.acks; n > 0 {
		fs.add(queueOverflow, s, n, m.Samples(), next, "%s refused clients %s, its accept queue was full (limit %s): %s, of %s%s", l.label(&fs.a.places), fs.say.ConnsOf(n, "time"),
			f.limitWords(), f.packets(fs.say), fs.say.ConnsOf(f.clients, "connection"), f.refusedWords(fs.say))
	}
	if n := f.synQueue; n > 0 {
		fs.add(queueOverflow, s, n, m.Samples(), "see whether that is a SYN flood (many peers, no handshakes: ss -t state syn-recv) and that net.ipv4.tcp_syncookies is 1; "+
			"then net.ipv4.tcp_max_syn_backlog", "%s dropped %s, its SYN queue was full", l.label(&fs.a.places), fs.say.ConnsOf(n, "SYN"))
	}
}

// packets names the packets that were refused.
func (f *life) packets(say stats.Figures) string {
	var list []string
	if f.syns > 0 {
		list = append(list, say.ConnsOf(f.syns, "SYN"))
	}
	if n := f.acks - f.aborted; n > 0 {
		list = append(list, say.ConnsOf(n, "last ACK"))
	}
	words := strings.Join(list, " and ")
	if len(list) > 0 {
		words += " dropped"
	}
	if f.aborted > 0 {
		words += strings.Repeat(", ", min(len(list), 1)) + say.ConnsOf(f.aborted, "last ACK") + " answered with a reset (tcp_abort_on_overflow is 1)"
	}
	return words
}

// limitWords is the limit of the queue when clients were refused.
func (f *life) limitWords() string {
	if f.limit != f.limitHigh {
		return fmt.Sprintf("%d to %d", f.limit, f.limitHigh)
	}
	return fmt.Sprint(f.limit)
}

// refusedWords says what became of refused connections.
func (f *life) refusedWords(say stats.Figures) string {
	words := ""
	if q := f.tried.Quantiles(); q.Count == 1 {
		words = fmt.Sprintf("; one was refused for %s before it was queued", say.Longest(q.Max))
	} else if q.Count > 1 {
		words = fmt.Sprintf("; %s were refused for up to %s before they were queued, half of them for %s or longer", say.Conns(q.Count), say.Longest(q.Max), say.WaitOf(q.P50))
	}
	if f.neverIn > 0 {
		words += fmt.Sprintf("; %s not been queued by the end", say.Ended(f.neverIn)+" had")
	}
	if words == "" && f.aborted == f.syns+f.acks {
		return ""
	}
	if words == "" {
		return "; each costs a client a second or more"
	}
	return words
}

func (fs *findings) full(l *listener, r *Result) {
	m, f := l.marks[queueFull], l.life
	if m == nil && (f == nil || f.blind || f.fullNS == 0) {
		return
	}
	const next = "while it is full, new clients are refused: see queue-overflow and slow-accept; ss -ltn shows it live (Recv-Q over Send-Q)"
	s := Notice
	if f != nil && !f.blind {
		if f.fullNS >= fullNS || 10*f.fullNS >= fs.a.spanNS() {
			s = Warning
		}
		fs.add(queueFull, s, uint64(f.fullNS), m.Samples(), next, "%s: the accept queue was full (%s) for %s of %s, %s without a break", l.label(&fs.a.places), l.fullWords(fs.say),
			fs.say.WaitOf(f.fullNS), fs.say.SpanOf(fs.a.spanNS()), fs.say.WaitOf(f.longestNS))
		return
	}
	if f != nil { // when it was shorter again is not recorded
		fs.add(queueFull, s, m.Count, m.Samples(), next, "%s: the accept queue was full (%s) when a client came, %s", l.label(&fs.a.places), l.fullWords(fs.say), fs.say.ConnsOf(m.Count, "time"))
		return
	}
	if m.Count >= manyRefused || 100*m.Count >= l.attempts {
		s = Warning
	}
	fs.add(queueFull, s, m.Count, m.Samples(), next, "%s: the accept queue was full (%s) at %s entries and returns of accept", l.label(&fs.a.places), l.fullWords(fs.say),
		fs.say.Events(m.Count))
}

func (fs *findings) failed(l *listener) {
	if m := l.marks[fdExhausted]; m != nil {
		system := slices.ContainsFunc(l.errors, func(e errnoCount) bool { return e.errno == 23 })
		text, next := "accept failed %s in %s because the process (%s) had no descriptor left (EMFILE); a client that is queued then waits until one is free",
			"ls /proc/PID/fd | wc -l against its limit (prlimit -n -p PID; LimitNOFILE= of its unit); if the number only grows, something is not closed"
		if system {
			text, next = "accept failed %s in %s because the whole system had no descriptor left (ENFILE; %s accepts there); a client that is queued then waits until one is free",
				"cat /proc/sys/fs/file-nr against fs.file-max; lsof for who holds most"
		}
		fs.add(fdExhausted, Critical, m.Count, m.Samples(), next, "%s: "+text, l.label(&fs.a.places), fs.say.CallsOf(m.Count, "time"), fs.say.CallsFor(m.LastNS-m.FirstNS), l.by(&fs.a.places))
	}
	if m := l.marks[acceptAborted]; m != nil {
		s := Notice
		if m.Count >= manyDead && 100*m.Count >= l.accepted {
			s = Warning
		}
		var errs []string
		for _, e := range l.errors {
			if aborts[e.errno] {
				errs = append(errs, format.ErrnoName(e.errno)+" "+fs.say.Calls(e.count))
			}
		}
		fs.add(acceptAborted, s, m.Count, m.Samples(), "see that the program goes on after such an error, as accept(2) asks, and does not leave its loop; then the network, or what injects the error",
			"%s: accept told of a connection that had failed already, %s (%s)", l.label(&fs.a.places), fs.say.CallsOf(m.Count, "time"), strings.Join(errs, ", "))
	}
}

func (fs *findings) lost(l *listener) {
	if m := l.marks[clientLost]; m != nil {
		s := Warning
		if m.Count >= manyLost {
			s = Critical
		}
		fs.add(clientLost, s, m.Count, m.Samples(), "a bug of the program: the address or length pointer that it gives to accept is not valid memory; strace -e accept,accept4 shows them",
			"%s: %s %s taken from the queue and cut off, because accept of %s failed after that (EFAULT, EINVAL)", l.label(&fs.a.places), fs.say.CallsOf(m.Count, "client"), were(m.Count), l.by(&fs.a.places))
	}
	if f := l.life; f != nil && f.lost > 0 {
		s, became := Warning, ", and "+were(f.lost)+" reset"
		switch there := f.lost - f.lostQuit; {
		case there == 0:
			s, became = Notice, "; "+allOf(f.lost)+" had hung up before"
		case there >= manyLost:
			s = Critical
		}
		if l.mayTestProbes() {
			s = Notice
			became += "; it may be another acc that begins to record: it tries its probes so, with clients of its own"
		}
		if f.lostQuit > 0 && s != Notice {
			became += "; " + fs.say.Ended(f.lostQuit) + " of them had hung up before"
		}
		fs.add(clientLost, s, f.lost, f.lostAt.Samples(), "drain the queue before a listener is "+cmp.Or(f.stopped("closed", "shut down"), "closed or shut down")+
			": accept until EAGAIN, or hand it over to the next process",
			"%s%s: %s %s in the queue when the listener %s%s", l.label(&fs.a.places), l.owner(&fs.a.places), fs.say.EndedOf(f.lost, "client"), were(f.lost),
			cmp.Or(f.stopped("was closed", "was shut down (its socket stayed open: shutdown(2), or ss -K)"), "stopped listening"), became)
	}
}

// testClients is how many connections a recorder makes to itself, and leaves in the queue, to
// try its probes.
const testClients = 2

// mayTestProbes reports whether a listener with clients that were lost looks like one by which another
// recorder tries its probes. Anybody can name a program so: it is told of all the same.
func (l *listener) mayTestProbes() bool {
	return strings.HasPrefix(l.owned, "acc[") && l.life.lost <= testClients && l.accepted == 0 && l.addr.Addr().IsLoopback()
}

// stopped is one of the two if all clients that were lost with the listener were lost in that way, else "".
func (f *life) stopped(closed, shut string) string {
	switch f.lost {
	case f.lostClosed:
		return closed
	case f.lostShut:
		return shut
	}
	return ""
}

func (fs *findings) dead(l *listener) {
	m := l.marks[deadOnArrival]
	late, kept := uint64(0), l.deadAhead // kept: of the dead, those that the server let wait
	if l.life != nil {
		late, kept = l.life.lateGone, l.life.lateDead
	}
	n := m.N() + late
	if n == 0 {
		return
	}
	s := Notice
	switch kept += late; {
	case kept >= manyDead && 5*kept >= l.accepted:
		s = Critical
	case kept >= manyDead && 100*kept >= l.accepted:
		s = Warning
	}
	more := ""
	if late > 0 {
		more = fmt.Sprintf(", %s more had been closed by a client that had waited %s or longer", fs.say.Ended(late), Duration(goneNS))
	}
	evidence := m.Samples()
	if l.life != nil {
		evidence = append(evidence[:min(len(evidence), 2*stats.KeepSamples-min(int(late), stats.KeepSamples))], l.life.gone.Samples()...)
		evidence = evidence[:min(len(evidence), 2*stats.KeepSamples)]
		slices.SortFunc(evidence, func(a, b stats.Sample) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	text := fmt.Sprintf("%s of %s accepted connections %s dead already, reset while in the queue%s", fs.say.Calls(m.N()), fs.say.Calls(l.accepted), were(m.N()), more)
	if m.N() == 0 {
		text = fmt.Sprintf("%s of %s accepted connections had been closed by a client that had waited %s or longer", fs.say.Ended(late), fs.say.Calls(l.accepted), Duration(goneNS))
	}
	fs.add(deadOnArrival, s, n, evidence, "if clients give up, slow-accept says how long they had waited; short-lived ones that reset at once are health checks or scans (acc analyze --connections)",
		"%s: %s", l.label(&fs.a.places), text)
}

func (fs *findings) address(l *listener) {
	if m := l.marks[addressMismatch]; m != nil {
		fs.add(addressMismatch, Warning, m.Count, m.Samples(), "acc explain SEQ FILE shows what it was told; if that is another address, do not trust its log for who connected, and find out what writes to its buffer",
			"%s: %s was left with an address, or a length of it, that is not the peer's, %s", l.label(&fs.a.places), l.by(&fs.a.places), fs.say.CallsOf(m.Count, "time"))
	}
}

func (fs *findings) herd(l *listener) {
	vain, tasks := uint64(0), 0
	for _, s := range l.shares {
		if s.empty > s.accepted+1 { // one that finds the queue empty after each accept is normal
			vain += s.empty - s.accepted - 1
		}
		if tasks++; s.threads {
			tasks++
		}
	}
	if vain < herdEmpty || tasks < 2 || vain < l.accepted {
		return
	}
	s := Notice
	if vain >= 4*l.accepted {
		s = Warning
	}
	fs.add(herd, s, vain, l.marks[herd].Samples(), "let the kernel wake one: EPOLLEXCLUSIVE, blocking accept, or a listener for each worker with SO_REUSEPORT",
		"%s: tasks woke up %s times and found the queue empty, for %s accepted connections", l.label(&fs.a.places), fs.say.Sorted(vain), fs.say.Calls(l.accepted))
}

func (fs *findings) uring(all []*listener) {
	m := &fs.a.uring
	if m.Count == 0 {
		return
	}
	var where []string
	for _, l := range all {
		if l.uring != nil {
			where = append(where, fmt.Sprintf("%s by %s", l.label(&fs.a.places), fs.a.places.who(l.uring)))
		}
	}
	if n := len(where); n > 5 {
		where = append(where[:5], fmt.Sprintf("%d more listeners", n-5))
	}
	fs.add(ioUringAccept, Notice, m.Count, m.Samples(), "if that is not known of the program: seccomp, auditd and tools that trace system calls do not see these accepts",
		"%s accepted through io_uring: %s", fs.say.CallsOf(m.Count, "connection"), strings.Join(where, ", "))
}

func (fs *findings) incomplete(r *Result) {
	if r.Complete {
		return
	}
	var why []string
	for _, c := range r.Caveats {
		if c.ID != "cross-check" { // which is a finding of its own
			why = append(why, c.ID)
		}
	}
	if len(why) == 0 {
		return
	}
	next := "acc info says what is missing where, and the lines above what that can be"
	switch {
	case r.Totals.Lost > 0 && r.Capture.EndReason == format.EndDiskFull:
		next = "record again with more room on the disk; acc info says what was lost where"
	case r.Totals.Lost > 0:
		next = "record again with a larger --ring-size; acc info says what was lost where"
	}
	fs.add(incomplete, Warning, r.Totals.Lost, fs.a.gapMark.Samples(), next,
		"the capture is not complete (%s): findings tell of what is in it, and that nothing else was found proves nothing", strings.Join(slices.Compact(why), ", "))
}

func were(n uint64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func allOf(n uint64) string {
	if n == 1 {
		return "it"
	}
	return "all of them"
}

// spanNS is how long was recorded, at least a nanosecond.
func (a *Analyzer) spanNS() int64 { return max(a.endNS()-a.header.Clock.BootNS, 1) }

func (a *Analyzer) seconds() int64 { return a.spanNS() / 1e9 }
