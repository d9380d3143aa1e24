package findings

// This file has the rules about single accepts and connections that went wrong.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// aborts are the errors by which accept says that a connection failed while it was queued, accept(2).
var aborts = map[int32]bool{
	64:  true, // ENONET
	71:  true, // EPROTO
	92:  true, // ENOPROTOOPT
	100: true, // ENETDOWN
	101: true, // ENETUNREACH
	103: true, // ECONNABORTED
	112: true, // EHOSTDOWN
	113: true, // EHOSTUNREACH
}

// Aborted reports whether accept says by an error that a connection failed while it was queued.
func Aborted(errno int32) bool { return aborts[errno] }

// enfile is ENFILE: the whole system is out of descriptors.
const enfile = 23

// fdExhausted finds accepts that failed for want of a descriptor.
func fdExhausted(c *Capture, l *Listener) []found {
	m, say := l.Marks[FDExhausted], c.say()
	if m == nil {
		return nil
	}
	text, next := "accept failed %s because the process (%s) had no descriptor left (EMFILE); a client that is "+
		"queued then waits until one is free",
		"ls /proc/PID/fd | wc -l against its limit (prlimit -n -p PID; LimitNOFILE= of its unit); if the number only "+
			"grows, something is not closed"
	if slices.ContainsFunc(l.Errors, func(e ErrorCount) bool { return e.Errno == enfile }) {
		text, next = "accept failed %s because the whole system had no descriptor left (ENFILE; %s accepts there); a "+
			"client that is queued then waits until one is free",
			"cat /proc/sys/fs/file-nr against fs.file-max; lsof for who holds most"
	}
	often := say.CallsOf(m.Count, "time")
	if span := m.LastNS - m.FirstNS; m.Count > 1 && span > 0 {
		often += " in " + say.CallsFor(span)
	}
	list := one(Critical, m.Count, m.Samples(), next, "%s: "+text, l.Label, often, cmp.Or(l.Short, l.By))
	list[0].who = l.Short
	return list
}

// aborted finds accepts that returned the error of a connection.
func aborted(c *Capture, l *Listener) []found {
	m, say := l.Marks[AcceptAborted], c.say()
	if m == nil {
		return nil
	}
	s := Notice
	if m.Count >= manyDead && 100*m.Count >= l.Accepted {
		s = Warning
	}
	var errs []string
	for _, e := range l.Errors {
		if Aborted(e.Errno) {
			errs = append(errs, format.ErrnoName(e.Errno)+" "+say.Calls(e.Count))
		}
	}
	return one(s, m.Count, m.Samples(),
		"see that the program goes on after such an error, as accept(2) asks, and does not leave its loop; then the "+
			"network, or what injects the error",
		"%s: accept returned the error of a connection that had failed already, %s (%s)", l.Label,
		say.CallsOf(m.Count, "time"), strings.Join(errs, ", "))
}

// cutOff finds connections that accept took and then lost by an error.
func cutOff(c *Capture, l *Listener) []found {
	m := l.Marks[ClientLost]
	if m == nil {
		return nil
	}
	s := Warning
	if m.Count >= manyLost {
		s = Critical
	}
	return one(s, m.Count, m.Samples(),
		"a bug of the program: the address or length pointer that it gives to accept is not valid memory; strace -e "+
			"accept,accept4 shows them",
		"%s: %s %s taken from the queue and cut off, because accept of %s failed after that (EFAULT, EINVAL)", l.Label,
		c.say().CallsOf(m.Count, "client"), were(m.Count), l.By)
}

// lostWithListeners finds clients that were in the queue when their listener stopped. Those of one address, which
// a server that is started again and again opens anew, are one finding.
func lostWithListeners(c *Capture) (list []found) {
	at := map[place][]*Listener{}
	var order []place
	for _, l := range c.Listeners {
		if q := l.Queue; q == nil || q.Lost == 0 {
			continue
		}
		p := place{l.NetNS, l.Addr}
		if !l.Addr.IsValid() || l.Tests {
			list = append(list, lostWithListener(c, l))
			continue
		}
		if at[p] == nil {
			order = append(order, p)
		}
		at[p] = append(at[p], l)
	}
	for _, p := range order {
		of := make([]found, len(at[p]))
		for i, l := range at[p] {
			of[i] = lostWithListener(c, l)
		}
		if len(of) == 1 {
			list = append(list, of[0])
			continue
		}
		list = append(list, lostAgain(c, at[p], of))
	}
	return list
}

// lostAgain joins what was lost with listeners of one address.
func lostAgain(c *Capture, ls []*Listener, of []found) found {
	const parts = 8
	f := found{severity: Notice, listener: ls[len(ls)-1], next: of[0].next}
	lost, quit := uint64(0), uint64(0)
	var mark stats.Mark
	for i, l := range ls {
		lost, quit = lost+l.Queue.Lost, quit+l.Queue.LostQuit
		mark.Join(&l.Queue.LostAt)
		if i < parts {
			f.parts = append(append(f.parts, of[i]), of[i].parts...)
		}
	}
	became := "were reset"
	switch there := lost - quit; {
	case there == 0:
		became = "had sent FIN before"
	case there >= manyLost:
		f.severity = Critical
	default:
		f.severity = Warning
	}
	if quit > 0 && quit < lost {
		became += fmt.Sprintf("; %s of them had sent FIN before", c.say().Ended(quit))
	}
	f.weight, f.evidence = lost, mark.Samples()
	f.text = fmt.Sprintf("%s: %s were in the queue of %d sockets, one after another, when each stopped listening%s, "+
		"and %s", ls[0].Addr,
		c.say().EndedOf(lost, "client"), len(ls), program(ls), became)
	f.next += "; if nobody restarts it on purpose, see why it ends (journalctl -u UNIT, coredumpctl)"
	return f
}

// program names whose the listeners are, if all are of one program.
func program(ls []*Listener) string {
	name := programOf(ls[0].Owner)
	for _, l := range ls {
		if l.Owner == "" || programOf(l.Owner) != name {
			return ""
		}
	}
	return " (" + name + ", last " + ls[len(ls)-1].Owner + ")"
}

// lostWithListener is that of one listener.
func lostWithListener(c *Capture, l *Listener) found {
	q, say := l.Queue, c.say()
	s, became := Warning, ", and "+were(q.Lost)+" reset"
	switch there := q.Lost - q.LostQuit; {
	case there == 0:
		s, became = Notice, "; "+allOf(q.Lost)+" had sent FIN before"
	case there >= manyLost:
		s = Critical
	}
	if l.Tests {
		s = Notice
		became += "; it may be another acc that begins to record: acc tests its probes in this way, with clients of " +
			"its own"
	}
	if q.LostQuit > 0 && s != Notice {
		became += "; " + say.Ended(q.LostQuit) + " of them had sent FIN before"
	}
	next := "drain the queue before a listener is " + stopVerb(q.LostCause) +
		": accept until EAGAIN, or hand it over to the next process"
	var parts []found
	if q.onlyLost() {
		parts = slowWaits(c, l)
		for i := range parts {
			parts[i].effect, parts[i].listener = true, l
		}
	}
	when := Times{}
	if q.LostAt.Count > 0 {
		when = Times{q.LostAt.FirstNS, q.LostAt.LastNS}
	}
	if len(parts) > 0 && q.LeftNS >= SlowerNS { // that it stopped is not why they waited
		next = "see why it accepted none of these before it stopped (its log and stack traces, fd-exhausted, acc analyze " +
			"--pairs); then " + next
		when.Add(q.SlowAt.FromNS, q.SlowAt.ToNS)
	}
	return found{severity: s, weight: q.Lost, evidence: q.LostAt.Samples(), next: next, listener: l, parts: parts,
		when: when,
		text: fmt.Sprintf("%s%s: %s %s in the queue when the listener %s%s", l.Label, l.suffix(),
			say.EndedOf(q.Lost, "client"), were(q.Lost), q.LostCause.StopWords(q.LostBy), became)}
}

// stopVerb is what is done to a listener that stops so.
func stopVerb(c format.Cause) string {
	switch c {
	case format.CauseListenerClosed, format.CauseListenerExited:
		return "closed"
	case format.CauseListenerShut:
		return "shut down"
	}
	return "closed or shut down"
}

func allOf(n uint64) string {
	if n == 1 {
		return "it"
	}
	return "all of them"
}

func themOrIt(n uint64) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// dead finds connections that were over before the program had them.
func dead(c *Capture, l *Listener) []found {
	m, say := l.Marks[DeadOnArrival], c.say()
	late, kept := uint64(0), l.DeadAhead // kept: of the dead, those that the server let wait
	evidence := m.Samples()
	if q := l.Queue; q != nil {
		late, kept = q.LateGone, q.LateDead
		evidence = append(evidence[:min(len(evidence), 2*stats.KeepSamples-min(int(late), stats.KeepSamples))],
			q.Gone.Samples()...)
		evidence = inOrder(evidence)
	}
	n := m.N() + late
	if n == 0 {
		return nil
	}
	s := Notice
	switch kept += late; {
	case kept >= manyDead && 5*kept >= l.Accepted:
		s = Critical
	case kept >= manyDead && 100*kept >= l.Accepted:
		s = Warning
	}
	gone := humanize.Duration(GoneNS)
	text := fmt.Sprintf("%s of %s had been closed by a client that had waited %s or longer",
		say.Ended(late), say.CallsOf(l.Accepted, "accepted connection"), gone)
	if m.N() > 0 {
		more := ""
		if late > 0 {
			more = fmt.Sprintf(", %s more had been closed by a client that had waited %s or longer", say.Ended(late),
				gone)
		}
		text = fmt.Sprintf("%s of %s %s dead on arrival: the client had sent RST while in the queue%s",
			say.Calls(m.N()), say.CallsOf(l.Accepted, "accepted connection"), were(m.N()), more)
	}
	list := one(s, n, evidence,
		"if clients give up, slow-accept says how long they had waited; short-lived ones with a RST at once are "+
			"health checks or scans (acc analyze --connections)",
		"%s: %s", l.Label, text)
	list[0].kept = 5*kept >= 4*n
	return list
}

// address finds programs that were left with another address than the peer's.
func address(c *Capture, l *Listener) []found {
	m := l.Marks[AddressMismatch]
	if m == nil {
		return nil
	}
	return one(Warning, m.Count, m.Samples(),
		"acc explain SEQ FILE shows both addresses; if they differ, do not trust the program's log for who "+
			"connected, and find out what writes to its buffer",
		"%s: %s was left with an address, or a length of it, that is not the peer's, %s", l.Label, l.By,
		c.say().CallsOf(m.Count, "time"))
}

// uring finds accepts that tracers of system calls do not see.
func uring(c *Capture) []found {
	m := &c.Uring
	if m.Count == 0 {
		return nil
	}
	const most = 5
	var where []string
	for _, l := range c.Listeners {
		if l.Uring != "" {
			where = append(where, fmt.Sprintf("%s by %s", l.Label, l.Uring))
		}
	}
	if n := len(where); n > most {
		where = append(where[:most], humanize.Plural(uint64(n-most), "more listener"))
	}
	return one(Notice, m.Count, m.Samples(),
		"seccomp, auditd and tools that trace system calls do not see these accepts: check that the program is meant "+
			"to use io_uring",
		"%s accepted through io_uring: %s", c.say().CallsOf(m.Count, "connection"), strings.Join(where, ", "))
}

// clockFree says that times of this host are its own.
func clockFree(c *Capture) []found {
	if !c.ClockFree {
		return nil
	}
	return one(Notice, 0, nil, "start chrony, systemd-timesyncd or ntpd on that host (timedatectl, chronyc "+
		"tracking); durations within this capture are right all the same",
		"the clock of this host was not synchronised when this was recorded: its times can't be compared with those "+
			"of other hosts")
}

// incomplete says that the capture is.
func incomplete(c *Capture) []found {
	why := slices.Compact(slices.DeleteFunc(slices.Clone(c.Caveats), func(id string) bool {
		return id == "cross-check" // which is a finding of its own
	}))
	if c.Complete || len(why) == 0 {
		return nil
	}
	next := "acc info says what is missing, and where"
	if slices.ContainsFunc(why, func(id string) bool {
		return id == "truncated" || id == "corrupt" ||
			id == "skipped"
	}) {
		next = "acc verify says what is missing, and where; acc repair makes a whole file of what is there"
	}
	switch {
	case c.Lost > 0 && c.EndReason == format.EndDiskFull:
		next = "record again with more room on the disk; acc info says what was lost, and where"
	case c.Lost > 0 && c.Shed >= c.Lost:
		next = "record again with a larger --max-cpu or --max-memory, or a part of the host (--port, --unit ...)"
	case c.Lost > 0:
		next = "record again with a larger --ring-size; acc info says what was lost, and where"
	}
	return one(Warning, c.Lost, c.Gap.Samples(), next,
		"the capture is not complete (%s): there may be more than the findings here", strings.Join(why, ", "))
}
