package crosscheck

import (
	"fmt"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// This file says what the kernel counted and no event shows.

// NotShown is something that happened by the kernel's own counters, between their first
// and their last reading, and of which the capture has no event.
type NotShown struct {
	NetNS uint32 `json:"netns"` // inode number of the network namespace
	// as nstat(8) prints it; "simultaneous_opens", "namespace_not_read", "unix_connects_refused" and "unix_queue_full"
	// are acc's own
	Counter string `json:"counter"`
	Count   uint64 `json:"count"` // how often it happened
	Text    string `json:"text"`  // the same as a sentence
}

// countedOnly says what a counter means of which there are no events: so many of what,
// and the rest of the sentence. net/ipv4 and net/mptcp of the kernel say where each is incremented.
var countedOnly = []struct{ counter, before, what, after string }{
	{"TcpExtEmbryonicRsts", "a reset ended ", "handshake", " before the connection was queued"},
	{"TcpExtSyncookiesSent", "the kernel answered ", "SYN",
		" with a SYN cookie; acc records the connections that came of them"},
	{"TcpExtSyncookiesFailed", "the kernel found no valid SYN cookie in ", "ACK", " to a listener"},
	{"TcpExtTCPReqQFullDoCookies", "", "SYN", " came to a listener that was to answer with a SYN cookie (its SYN " +
		"queue was full, or net.ipv4.tcp_syncookies is 2)"},
	{"TcpExtTCPDeferAcceptDrop", "the kernel ignored ", "ACK", " without data at a listener with TCP_DEFER_ACCEPT"},
	{"TcpExtTCPBacklogDrop", "the kernel dropped ", "packet", ": a TCP socket, of whatever kind, had too many waiting"},
	{"TcpExtTCPTimeWaitOverflow", "the kernel ended ", "connection",
		" without TIME-WAIT, because too many were in it (net.ipv4.tcp_max_tw_buckets)"},
	{"TcpExtTCPFastOpenPassiveFail", "fast open failed for ", "SYN", ", and the kernel went on without it"},
	{"TcpExtTCPFastOpenListenOverflow", "the fast open queue was full at ", "SYN",
		", and the kernel went on without it"},
	{"TcpExtTCPMigrateReqFailure", "the kernel could not move ", "client",
		" from a closed listener to another one of its SO_REUSEPORT group"},
	{"MPTcpExtMPCapableFallbackACK", "MPTCP was asked for and not used at ", "connection", ""},
	{format.CounterMPJoinMACs, "", "subflow", " that was to join an MPTCP connection was reset (its HMAC was wrong, " +
		"or the connection took no more subflows)"},
	{"TcpInErrs", "the kernel dropped ", "bad segment", " (checksum or length), of any TCP socket"},
	{"TcpAttemptFails", "", "TCP handshake", " failed, of any socket, clients' too"},
	{"TcpEstabResets", "", "established TCP connection", " ended by a reset, of any socket, clients' too"},
	{"TcpOutRsts", "the kernel sent ", "reset", ", for any TCP socket, or because nobody listened"},
}

const countedMoves = "TcpExtTCPMigrateReqSuccess"

// counterSimultaneous is the name of what the recorder counted itself.
const counterSimultaneous = "simultaneous_opens"

// simultaneous says which connections had no listener.
func (w *Check) simultaneous() (list []NotShown) {
	if w.end == nil {
		return nil
	}
	for _, s := range w.end.SimultaneousOpens {
		if s.Count > 0 {
			text := " received a SYN while connecting (self-connect, or simultaneous open of two sockets); " +
				"such a connection has no listener and no accept"
			list = append(list, NotShown{s.NetNS, counterSimultaneous, s.Count,
				humanize.Plural(s.Count, "TCP socket") + text})
		}
	}
	return list
}

// maxNotShown bounds how many such lines a screen has.
const maxNotShown = 30

// NotShownTexts are those sentences for a screen, each with its namespace if there are several.
func (r *Comparison) NotShownTexts() (list []string) {
	for i, n := range r.NotShown {
		if i == maxNotShown {
			return append(list, fmt.Sprintf("%s grew; --json has all in cross_check.not_shown",
				humanize.Plural(uint64(len(r.NotShown)-i), "more counter")))
		}
		text := n.Text
		if len(r.Spaces) > 1 && n.NetNS != 0 && n.Counter != counterUnread {
			text += fmt.Sprintf(" (network namespace %d)", n.NetNS)
		}
		list = append(list, text)
	}
	return list
}

// otherDrops is how many requests and connections listeners dropped for another reason
// than a full queue. Each that finds a queue full is counted as dropped, too (tcp_conn_request,
// tcp_v4_syn_recv_sock).
func otherDrops(values map[string]uint64) int64 {
	full := int64(values[format.CounterOverflows]) + int64(values[format.CounterSYNQueueFull])
	return int64(values[format.CounterDrops]) - full
}

// without notes how many of such drops came between two readings of which one said that
// net.ipv4.tcp_syncookies was 0: then a part of tcp_max_syn_backlog is reserved.
func (s *space) without(from, to *format.Counters) {
	n := otherDrops(to.Values) - otherDrops(from.Values)
	for _, c := range []*format.Counters{from, to} {
		cookies, known := c.Settings[format.SettingSyncookies]
		backlog, there := c.Settings[format.SettingSYNBacklog]
		if n <= 0 || !known || !there || cookies != 0 {
			continue
		}
		s.reserved, n = s.reserved+n, 0
		if s.synBacklog == 0 || backlog < s.synBacklog {
			s.synBacklog = backlog
		}
	}
}

// notShown lists it for a namespace. life: dropped requests are recorded.
func (x *Namespace) notShown(recorded *sums, life bool) (list []NotShown) {
	add := func(counter string, n uint64, text string) {
		list = append(list, NotShown{x.NetNS, counter, n, text})
	}
	if n := x.OtherDrops; n > 0 {
		add(format.CounterDrops, n, "the kernel dropped "+humanize.Plural(n, "request")+
			" or connections at listeners for another reason than a full queue; acc has no event of these")
	}
	for _, q := range []struct {
		counter, queue string
		recorded       int64
	}{{format.CounterOverflows, "accept queue", recorded.overflows},
		{format.CounterSYNQueueFull, "SYN queue", recorded.synQueue}} {
		n := x.Counters[q.counter]
		switch seen := uint64(max(q.recorded, 0)); {
		case !life && n > 0:
			add(q.counter, n, "the kernel refused "+humanize.Plural(n, "packet")+", the "+q.queue+
				" of a listener was full; this recording has no events of it")
		case life && n > seen:
			add(q.counter, n-seen, "the kernel refused "+humanize.Plural(n-seen, "packet")+
				" more than recorded because the "+q.queue+" of a listener was full")
		}
	}
	if n := x.Counters[countedMoves]; n > uint64(max(recorded.moved, 0)) {
		n -= uint64(max(recorded.moved, 0))
		add(countedMoves, n, "the kernel moved "+humanize.Plural(n, "client")+
			" more than recorded from a listener that stopped to another one of its SO_REUSEPORT group "+
			"(net.ipv4.tcp_migrate_req)")
	}
	for _, c := range countedOnly {
		if n := x.Counters[c.counter]; n > 0 {
			add(c.counter, n, c.before+humanize.Plural(n, c.what)+c.after)
		}
	}
	return list
}

// DropWords says how the settings explain such drops.
func (x *Namespace) DropWords() string {
	cookies, known := x.Settings[format.SettingSyncookies]
	switch {
	case x.ReservedDrops > 0:
		some := ""
		if x.ReservedDrops < x.OtherDrops {
			some = humanize.Count(x.ReservedDrops) + " of them meanwhile: "
		}
		return fmt.Sprintf("; %snet.ipv4.tcp_syncookies was 0, which may be why: the kernel then reserves the last "+
			"quarter of net.ipv4.tcp_max_syn_backlog = %d for clients that it knows, "+
			"and drops a SYN of another one while more than %d handshakes wait at its listener", some, x.synBacklog,
			x.synBacklog-x.synBacklog>>2)
	case known && cookies != 0:
		return fmt.Sprintf("; net.ipv4.tcp_syncookies was %d whenever acc read it, and with that nothing of "+
			"net.ipv4.tcp_max_syn_backlog is reserved", cookies)
	case !known:
		return "; the settings there are not known"
	}
	return ""
}
