package findings

// This file has the rules about limits that a server has of its own, and about whom it turns away.

import (
	"fmt"
	"slices"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/analysis/stats"
)

// TurnedNS is within what time of its accept a connection must be ended by the server, unread, to be one that it
// turned away: what idles for longer is an idle connection that ran out of time.
const TurnedNS = 1e9

// share says how bad it is that so many of all met with something: "" if they are too few.
func share(n, all uint64) Severity {
	switch {
	case n >= manyTurned && 5*n >= all:
		return Critical
	case n >= manyTurned && 100*n >= all:
		return Warning
	case n >= fewTurned && 100*n >= all:
		return Notice
	}
	return ""
}

// turnedAway finds clients that the server closed before it had read a byte of theirs, while it served others.
func turnedAway(c *Capture, l *Listener) []found {
	if l.Queue == nil {
		return nil
	}
	x, say := &l.Queue.Outcomes, c.say()
	got := max(x.Answered, x.Unread) // something from the server
	n, served := x.Turned+x.Unread, "served "+others(say.Calls(x.Served))
	evidence := x.TurnedAt
	if x.Served == 0 { // it reads nothing of anybody: whether what it sent was all that it has to say is not known
		n, served = x.Turned, "sent something to "+others(say.Calls(got))
	} else {
		evidence.Join(&x.UnreadAt)
	}
	s := share(n, x.Ended)
	switch {
	case s == "":
		return nil
	case x.Served+got == 0 && s == Notice:
		return nil
	case x.Served+got == 0:
		return one(Notice, x.Turned, x.TurnedAt.Samples(),
			"see the server's log; check whether its backend or database is up, and whether its allow-list lets these "+
				"clients in",
			"%s: %s closed each of %s within %s of its accept, and no byte went in either direction", l.Label, l.By,
			say.CallsOf(x.Turned, "connection"), humanize.Duration(TurnedNS))
	}
	said := ""
	switch {
	case x.Served == 0 || x.Unread == 0:
	case x.Turned == 0:
		said = "; it sent something first, so that each may know why"
	default:
		said = fmt.Sprintf("; it sent something first to %s of them", say.Calls(x.Unread))
	}
	beside, next := x.beside(c, n)
	return one(s, n, inOrder(evidence.Samples()), next,
		"%s: %s turned away %s of %s clients: it closed their connections within %s of accept and had read no byte "+
			"of them, while it %s%s%s",
		l.Label, l.By, say.Calls(n), say.Calls(x.Ended), humanize.Duration(TurnedNS), served, said, beside)
}

// beside says how many other connections were open when the server turned n clients away, and what to do then: a limit
// of how many at once is reached only while others are open.
func (x *Outcomes) beside(c *Capture, n uint64) (text, next string) {
	const limits = "memcached -c, nginx worker_connections, sshd MaxStartups, MySQL max_connections, exim " +
		"smtp_accept_max, vsftpd max_clients"
	next = "see the server's log: it has reached a limit in its settings (such as " + limits + "), its allow-list does " +
		"not let these clients in, or its backend is down; a larger backlog does not help"
	if !c.Complete || c.Blind { // others are not known
		return "", next
	}
	alone := x.TurnedAlone - min(x.TurnedAlone, x.Turned+x.Unread-n) // of the n, at least
	switch {
	case 2*alone >= n && c.Listed:
		text = "; no other connection was open here when it closed most of these"
		if alone == n {
			text = "; no other connection was open here when it closed these"
		}
		next = "see the server's log; check whether its backend or database is up, and whether its allow-list lets " +
			"these clients in; a limit on connections is the cause only if other listeners share it; a larger backlog " +
			"does not help"
	case x.TurnedAlone == 0 && x.TurnedBeside > 0:
		text = fmt.Sprintf("; each time, %s or more others were open", humanize.Count(x.TurnedBeside))
	}
	return text, next
}

func others(n string) string {
	if n == "1" {
		return "1 other"
	}
	return n + " others"
}

// unanswered finds clients that sent something and left before a byte came back, while others were answered.
func unanswered(c *Capture, l *Listener) []found {
	if l.Queue == nil {
		return nil
	}
	x, say := &l.Queue.Outcomes, c.say()
	s := share(x.Unanswered, x.Ended)
	if s == "" || x.Answered == 0 { // a protocol may have no answers
		return nil
	}
	waited := ""
	if w := x.Waited.Quantiles(); w.Count > 0 {
		waited = fmt.Sprintf(", after up to %s (median %s)", say.Longest(w.Max), say.WaitOf(w.P50))
	}
	if n := x.UnansweredGone; n > 0 {
		waited += fmt.Sprintf(", %s of them before they were accepted", say.Calls(n))
	}
	list := one(s, x.Unanswered, x.UnansweredAt.Samples(),
		"these gave up, or were told to: see what the server did with their requests meanwhile (its log has them as "+
			"aborted: 499 of nginx, CD-- or CH-- of haproxy); "+
			"acc analyze --connections lists them",
		"%s: %s of %s clients of %s sent a request and left before a byte of an answer came%s; %s were answered",
		l.Label,
		say.Calls(x.Unanswered), say.Calls(x.Ended), l.By, waited, say.Calls(x.Answered))
	list[0].kept = 2*x.UnansweredGone >= x.Unanswered
	return list
}

// concurrency finds servers that take the next client only when one of so many has left.
func concurrency(c *Capture, l *Listener) []found {
	x := l.Crowd
	if x == nil || l.Queue == nil || x.Slow < 3 {
		return nil
	}
	s, say := l.Queue.slowness(), c.say()
	open, proof := x.followed(say)
	if open < 1 {
		open, proof = x.pinned(l)
	}
	if s == "" || open < 1 || open == 1 && (l.busy() || l.goesElsewhere()) {
		return nil // it serves one after the other, and did something else than to wait for its client
	}
	limit := fmt.Sprintf("when one of the %d that it had left: it has a limit of %d at once", open, open)
	if open == 1 {
		limit = "when the one before had left: it serves one at a time"
	}
	w := l.Queue.Waits.Quantiles()
	text := fmt.Sprintf("%s: %s took the next client only %s; %s, and the longest wait was %s", l.Label, l.By, limit,
		proof, say.Longest(w.Max))
	if h := &x.Held; h.NS > 0 {
		text += "; " + h.words()
	}
	list := one(s, x.Slow, inOrder(l.Queue.Worst.List),
		"the server has reached a limit in its settings: raise it (such as haproxy maxconn, gunicorn --workers, Apache "+
			"MaxRequestWorkers, php-fpm pm.max_children, socat max-children), "+
			"or see why a client takes so long (acc analyze --timeline); a larger backlog only makes the queue longer",
		"%s", text)
	list[0].when, list[0].who = l.Queue.SlowAt, l.alone()
	return list
}

// followed gives the limit of a server whose slow accepts came right after ends, each with as many open: 0 if they did
// not. Proof says so.
func (x *Crowd) followed(say stats.Figures) (open int64, proof string) {
	gap := x.Gaps.Quantiles()
	if 5*x.After < 4*x.Slow || 5*x.Same < 4*x.Slow || gap.Count == 0 {
		return 0, ""
	}
	return x.Open, fmt.Sprintf("%s of %s accepts of clients that had waited %s or longer came right after such an end "+
		"(median %s later)", say.Calls(x.After), say.Calls(x.Slow), humanize.Duration(SlowNS),
		humanize.Duration(gap.P50))
}

// pinned gives the limit of a server that had as many open as never else for nearly all of the time that clients
// waited: 0 if it had not. One thread that stands still, or is busy with those that it has, looks the same if it then
// closes these and takes others. So if it is more than one at a time, the server must have seen meanwhile
// that clients left, at once, or not have waited for its listener, or be that many processes with one client each.
func (x *Crowd) pinned(l *Listener) (open int64, proof string) {
	full := x.Slow - x.Filling
	if x.IdleNS < SlowNS || 5*x.PeakNS < 4*x.IdleNS || full < 3 || 5*x.LeftLate > full ||
		x.Peak > 1 && !x.oneEach(l, full) &&
			(l.busy() || 5*x.LeftSoon < 4*full && !l.seen(meanwhile.NotAsked, meanwhile.Child)) {
		return 0, ""
	}
	were, share := "were", float64(x.PeakNS)/float64(x.IdleNS)
	if x.Peak == 1 {
		were = "was"
	}
	return x.Peak, fmt.Sprintf("while clients waited for %s or longer, %d %s open for %s of the time, and never more",
		humanize.Duration(SlowNS), x.Peak, were, percent(share))
}

// oneEach reports whether as many processes accept as were open at most, and each took its next client after it had
// closed one, at least twice: an event loop that was busy takes all who wait.
func (x *Crowd) oneEach(l *Listener, full uint64) bool {
	return int64(len(l.Workers)) == x.Peak && full >= 2*uint64(x.Peak) && 5*x.ClosedFirst >= 4*full &&
		!slices.ContainsFunc(l.Workers, func(w Worker) bool { return w.Threads })
}

// seen reports whether threads were seen to do one of these for half of the time that clients waited.
func (l *Listener) seen(kinds ...meanwhile.Kind) bool {
	s := l.Seen
	return s != nil && len(s.Places) > 0 && 2*s.Places[0].BlameNS >= s.WaitsNS &&
		slices.Contains(kinds, s.Places[0].Did.Kind)
}

// busy reports whether one thread accepts, and was seen to do something else than to wait for a client, an event or a
// CPU.
func (l *Listener) busy() bool {
	if len(l.Workers) != 1 || l.Seen == nil || len(l.Seen.Places) == 0 || l.Workers[0].Threads && !l.Seen.OneGoes() {
		return false
	}
	did := l.Seen.Places[0].Did.Kind
	return l.seen(did) && did != meanwhile.NoCPU && !slices.Contains(patient, did)
}

// goesElsewhere reports whether one Go program accepts, whose threads were idle, and none of its goroutines waited in
// accept.
func (l *Listener) goesElsewhere() bool {
	return len(l.Workers) == 1 && l.seen(meanwhile.Idle) && len(l.Seen.Goroutines) == 1 &&
		l.Seen.Goroutines[0].NoneAccepts()
}

// words says which connection was open for longest.
func (h *Held) words() string {
	how := "the one that was open for longest, %s, was from %s"
	if h.Open {
		how = "the one that has been open for longest, %s, is from %s"
	}
	text := fmt.Sprintf(how, humanize.Duration(h.NS), h.Peer)
	if h.Silent {
		text += ", which never sent a byte"
	}
	return text
}

// zeroLimit finds servers that set the limit of their queue to 0, which is how some refuse clients.
func zeroLimit(c *Capture, l *Listener) []found {
	z := &l.Zero
	if z.Mark.Count == 0 {
		return nil
	}
	say, after := c.say(), ""
	if z.Exhausted {
		after = ", right after accept had failed for want of a descriptor"
	}
	times := ""
	if z.Mark.Count > 1 {
		times = say.CallsOf(z.Mark.Count, "time") + ", "
	}
	list := one(Warning, z.Mark.Count, z.Mark.Samples(),
		"the server refuses clients on purpose while it has no room: raise its limit of connections (memcached -c) "+
			"or of descriptors (LimitNOFILE= of its unit); the backlog is not the cause",
		"%s: %s set the limit of its accept queue to 0 (listen(fd, 0)), %sfor %s in all%s", l.Label, z.By, times,
		say.WaitOf(z.NS), after)
	list[0].when = Times{z.Mark.FirstNS, max(z.ToNS, z.Mark.LastNS)}
	return list
}

// abandoned finds listeners whose clients wait while only processes have them open that never accepted.
func abandoned(c *Capture, l *Listener) []found {
	x := l.Left
	if x == nil || l.Snapshot.End == 0 {
		return nil
	}
	s := Warning
	if q := l.Queue; q == nil || q.OldestNS >= SlowerNS || l.Snapshot.Start > 0 {
		s = Critical
	}
	has, which := "have", "processes"
	if x.One {
		has, which = "has", "a process"
	}
	gone := ""
	if x.Gone != "" {
		gone = "; " + x.Gone + ", which served it, has it no more"
	}
	var evidence []stats.Sample
	if l.Queue != nil {
		evidence = l.Queue.StuckAt.Samples()
	}
	list := one(s, uint64(l.Snapshot.End), evidence,
		fmt.Sprintf("end %s (kill %s) and start the server again; so that this can't come again, let it open its "+
			"listener with SOCK_CLOEXEC, which keeps it from %s that it starts", x.By, x.Kill, which),
		"%s: %s waited %s, and only %s %s the listener open, which never called accept%s", l.Label,
		c.say().EndedOf(uint64(l.Snapshot.End), "client"), c.AtEnd, x.By, has, gone)
	if l.Queue != nil && l.Queue.StuckAt.Count > 0 {
		list[0].when = Times{l.Queue.StuckAt.FirstNS, c.EndNS}
	}
	return list
}

// shotEnded finds multishot accepts of io_uring that ended: nobody is accepted then until the program asks again.
func shotEnded(c *Capture, l *Listener) []found {
	x, say := &l.Ended, c.say()
	n := x.Full.Count
	if x.Again || l.Snapshot.End == 0 {
		if n == 0 {
			return nil
		}
		return one(Notice, n, x.Full.Samples(), makeRoom,
			"%s: %s of %s ended because the completion queue was full, and accepted nobody until the program asked "+
				"again", l.Label,
			say.CallsOf(n, "multishot accept"), x.By)
	}
	n += x.Other.Count
	if n == 0 {
		return nil
	}
	mark := x.Full
	mark.Join(&x.Other)
	next := askAgain
	if x.Full.Count > 0 {
		next = makeRoom
	}
	list := one(Critical, n, mark.Samples(), next,
		"%s: the multishot accept of %s ended (%s), the program has not asked for another one since, and %s waited %s",
		l.Label, x.By, x.Words,
		say.EndedOf(uint64(l.Snapshot.End), "client"), c.AtEnd)
	list[0].when = Times{mark.FirstNS, max(c.EndNS, mark.LastNS)}
	return list
}

// What to do about multishot accepts that ended.
const (
	askAgain = "the program must ask for another one when a completion comes without IORING_CQE_F_MORE"
	makeRoom = "let the program take completions out of the queue in time, or " +
		"make that larger (IORING_SETUP_CQSIZE); " + askAgain
)
