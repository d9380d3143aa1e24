package findings

// This file has the rules about accept queues that are full.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/stats"
)

// overflow finds clients that were refused because a queue was full.
func overflow(c *Capture, l *Listener) (list []found) {
	m, q, say := l.Marks[QueueOverflow], l.Queue, c.say()
	if l.Refused > 0 {
		return one(refusedSeverity(l.Refused, l.Refused+l.Accepted), l.Refused, nil,
			raiseBacklog+"; ss -lxn shows the queue live (Recv-Q over Send-Q)",
			"%s refused %s because its accept queue was full: each got EAGAIN", l.Label,
			say.ConnsOf(l.Refused, "connect"))
	}
	if m == nil || q == nil {
		return nil
	}
	s := refusedSeverity(max(m.Count, q.Clients), max(m.Count, q.Clients)+q.Queued)
	if n := q.SYNs + q.ACKs; n > 0 {
		list = one(s, n, m.Samples(), raiseBacklog, "%s refused clients %s because its accept queue was full (limit %s): %s, "+
			"of %s%s",
			l.Label, say.ConnsOf(n, "time"), q.limitWords(), q.packets(say), say.ConnsOf(q.Clients, "connection"),
			q.refusedWords(say))
	}
	if n := q.SYNQueue; n > 0 {
		list = append(list, one(s, n, m.Samples(),
			"see whether that is a SYN flood (many peers, no handshakes: ss -t state syn-recv); set "+
				"net.ipv4.tcp_syncookies to 1; "+
				"then raise net.ipv4.tcp_max_syn_backlog", "%s dropped %s because its SYN queue was full", l.Label,
			say.ConnsOf(n, "SYN"))...)
	}
	return list
}

// raiseBacklog is what to do about a full queue.
const raiseBacklog = "find out why the program does not accept: slow-accept, queue-full and fd-exhausted say more, or " +
	"look at its threads; if clients come in bursts, raise the backlog of listen() (of this kind are backlog= of nginx's " +
	"listen, php-fpm listen.backlog, redis tcp-backlog, gunicorn --backlog) and net.core.somaxconn, which caps it"

// refusedSeverity is how bad it is to refuse so many, of all that came.
func refusedSeverity(n, all uint64) Severity {
	if n >= manyRefused && 100*n >= all {
		return Critical
	}
	return Warning
}

// packets names the packets that were refused.
func (q *Queue) packets(say stats.Figures) string {
	var list []string
	if q.SYNs > 0 {
		list = append(list, say.ConnsOf(q.SYNs, "SYN"))
	}
	if n := q.ACKs - q.Aborted; n > 0 {
		list = append(list, say.ConnsOf(n, "last ACK"))
	}
	words := strings.Join(list, " and ")
	if len(list) > 0 {
		words += " dropped"
	}
	if q.Aborted > 0 {
		words += strings.Repeat(", ", min(len(list), 1)) + say.ConnsOf(q.Aborted, "last ACK") +
			" answered with a reset (tcp_abort_on_overflow was 1)"
	}
	return words
}

// limitWords is the limit of the queue when clients were refused.
func (q *Queue) limitWords() string {
	if q.LimitLow != q.LimitHigh {
		return fmt.Sprintf("%d to %d", q.LimitLow, q.LimitHigh)
	}
	return fmt.Sprint(q.LimitLow)
}

// refusedWords says what became of refused connections.
func (q *Queue) refusedWords(say stats.Figures) string {
	words := ""
	if t := q.Tried.Quantiles(); t.Count == 1 {
		words = fmt.Sprintf("; one was refused for %s before it was queued", say.Longest(t.Max))
	} else if t.Count > 1 {
		words = fmt.Sprintf("; %s were refused for up to %s before they were queued, half of them for %s or longer",
			say.Conns(t.Count), say.Longest(t.Max), say.WaitOf(t.P50))
	}
	if q.NeverIn > 0 {
		words += fmt.Sprintf("; %s not been queued by the end", say.Ended(q.NeverIn)+" had")
	}
	switch {
	case words != "":
		return words
	case q.Aborted == q.SYNs+q.ACKs:
		return ""
	}
	return "; each costs a client a second or more"
}

// queueFull finds queues that were full, whether clients came then or not.
func queueFull(c *Capture, l *Listener) []found {
	m, q, say := l.Marks[QueueFull], l.Queue, c.say()
	if m == nil && (q == nil || q.Blind || q.FullNS == 0) {
		return nil
	}
	next := "while it is full, new clients are refused: see queue-overflow and slow-accept; ss -ltn shows it live " +
		"(Recv-Q over Send-Q)"
	if l.Unix {
		refused := "which this recording did not count"
		if l.Counted {
			refused = "see queue-overflow"
		}
		next = "while it is full, a client's connect waits (see slow-accept), or fails with EAGAIN if it is " +
			"non-blocking (" + refused +
			"); ss -lxn shows it live (Recv-Q over Send-Q)"
	}
	full := fmt.Sprintf("%s: the accept queue was full (%s, limit %d)", l.Label, say.Conns(uint64(l.FullHigh)),
		l.FullLimit)
	switch {
	case q != nil && !q.Blind:
		s := Notice
		if q.FullNS >= fullNS || 10*q.FullNS >= c.SpanNS {
			s = Warning
		}
		list := one(s, uint64(q.FullNS), m.Samples(), next, "%s for %s of %s; the longest stretch was %s", full,
			say.WaitOf(q.FullNS), say.SpanOf(c.SpanNS), say.WaitOf(q.LongestNS))
		list[0].when = q.FullAt
		return list
	case q != nil: // when it was shorter again is not recorded
		return one(Notice, m.Count, m.Samples(), next, "%s when a client came, %s", full, say.ConnsOf(m.Count, "time"))
	}
	s := Notice
	if m.Count >= manyRefused || 100*m.Count >= l.Attempts {
		s = Warning
	}
	return one(s, m.Count, m.Samples(), next, "%s at %s of accept", full, say.EventsOf(m.Count, "event"))
}

// listenDrops finds what listeners dropped for a reason of which there are no events.
func listenDrops(c *Capture) (list []found) {
	for i := range c.Spaces {
		x := &c.Spaces[i]
		if x.Drops == 0 {
			continue
		}
		s := Warning
		if x.Drops >= manyRefused {
			s = Critical
		}
		next := "nstat -az TcpExtListenDrops TcpExtListenOverflows TcpExtTCPReqQFullDrop shows it live; then look " +
			"for a security policy, a missing route to the client, or too little memory"
		if x.Reserved {
			next = "ss -t state syn-recv shows the handshakes that wait; if they are that many, set " +
				"net.ipv4.tcp_syncookies to 1 or raise net.ipv4.tcp_max_syn_backlog; else look for a missing route " +
				"to the client, a security policy, or too little memory"
		}
		packets := "packets"
		if x.Drops == 1 {
			packets = "packet"
		}
		text := fmt.Sprintf("the kernel dropped %s %s of new clients at listeners%s for another reason than a full queue%s",
			c.say().SortedConns(x.Drops), packets, c.where(x), x.DropsWhy)
		list = append(list, found{severity: s, weight: x.Drops, next: next, text: text, netNS: x.NetNS})
	}
	return list
}

// where names a namespace if there are several.
func (c *Capture) where(x *Space) string {
	if len(c.Spaces) > 1 {
		return fmt.Sprintf(" in network namespace %d", x.NetNS)
	}
	return ""
}

// crossCheck finds the namespaces whose counters the capture has no account of, each by itself.
func crossCheck(c *Capture) (list []found) {
	for i := range c.Spaces {
		x := &c.Spaces[i]
		if !x.Differs {
			continue
		}
		s, weight := Critical, x.Unexplained
		next := "do not conclude from this capture that a client did not connect; see docs/RELIABILITY.md for what " +
			"can be missing, and record again"
		if x.Unexplained < 0 {
			s, weight = Warning, -x.Unexplained
			next = "acc verify FILE says whether the file was altered; see docs/RELIABILITY.md"
		}
		text := strings.TrimLeft(c.where(x)+": ", ": ") + x.Difference
		list = append(list, found{severity: s, weight: uint64(weight), next: next, text: text, netNS: x.NetNS})
	}
	return list
}

// newListeners finds sockets that began to listen.
func newListeners(c *Capture) []found {
	n := c.New.Count
	if n == 0 {
		return nil
	}
	say, names := c.say(), strings.Join(c.NewNames, ", ")
	if more := n - c.NewNamed; more > 0 {
		names += fmt.Sprintf(" and %s more", say.Sockets(more, humanize.Count))
	}
	return one(Notice, n, c.New.Samples(), "a deploy, or a restart; if nobody did that, find out who started the "+
		"process", "%s began to listen: %s",
		say.Sockets(n, func(n uint64) string { return humanize.Plural(n, "socket") }), names)
}
