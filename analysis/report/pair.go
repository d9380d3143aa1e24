package report

// This file writes attempts: as JSON, and as lines of a list.

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// AppendPairText appends a pair as one line without a newline.
func AppendPairText(dst []byte, p *pairing.Pair, c *format.Clocks, zone *time.Location) []byte {
	ns := p.EnterNS
	if p.EnterSeq == 0 {
		ns = p.ReturnNS
	}
	dst = c.AppendMoment(dst, ns, zone, "15:04:05.000000")
	dst = append(append(dst, "  "...), format.Quote(p.Comm)...)
	dst = strconv.AppendUint(append(dst, '['), uint64(p.PID), 10)
	if p.TID != p.PID {
		dst = strconv.AppendUint(append(dst, '/'), uint64(p.TID), 10)
	}
	dst = append(append(dst, "]  "...), p.Via.String()...)
	dst = format.AppendSockFD(dst, p.Via, p.Uring, p.SockFD)
	if p.Via == format.ViaIOUring {
		dst = strconv.AppendUint(append(append(append(dst, ' '), format.UringName(p.Uring&^format.UringRegistered)...),
			" request "...), p.UserData, 10)
	}
	if p.ListenAddr.Addr().IsValid() {
		dst = append(append(dst, " on "...), p.ListenAddr.String()...)
	} else if p.Name != "" {
		dst = append(append(dst, " on "...), format.Quote(p.Name)...)
	}
	switch {
	case p.Armed:
		dst = append(dst, " waits"...)
	case p.Accepted():
		what := " = "
		if p.Uring&format.UringDirect != 0 {
			what = " = slot "
		}
		if p.NoFD {
			dst = append(dst, " = a socket"...)
		} else {
			dst = strconv.AppendInt(append(dst, what...), int64(p.Ret), 10)
		}
		if p.PeerPID != 0 {
			dst = strconv.AppendUint(append(dst, "  from pid "...), uint64(p.PeerPID), 10)
		}
		if p.Remote.Addr().IsValid() {
			dst = append(append(dst, "  from "...), p.Remote.String()...)
		}
		if p.State == format.StateClosed {
			dst = append(dst, " (already closed)"...)
		}
	case p.Returned():
		dst = append(append(dst, " = "...), format.ErrnoName(p.Errno)...)
		if p.ClientLost {
			dst = append(append(dst, ", CLIENT LOST: "...), p.Remote.String()...)
		}
	}
	if p.WaitNS >= 0 {
		dst = append(append(dst, "  after "...), Duration(p.WaitNS)...)
	}
	if p.Listener != 0 {
		queue := p.QueueReturn
		if !p.Returned() {
			queue = p.QueueEnter
		}
		dst = strconv.AppendUint(append(dst, "  queue "...), uint64(queue), 10)
		dst = strconv.AppendUint(append(dst, '/'), uint64(p.QueueMax), 10)
	}
	if p.TaskNetNS != 0 && p.Via != format.ViaKernel {
		dst = append(strconv.AppendUint(append(dst, "  from another network namespace ("...), uint64(p.TaskNetNS), 10),
			')')
	}
	if p.UringEnd != format.UringGoesOn {
		dst = append(append(append(dst, "  the multishot accept ended ("...), p.UringEnd.Words()...), ')')
	}
	if p.Why != "" {
		dst = append(append(append(dst, "  ["...), p.Why...), ']')
	}
	return dst
}

// AppendPairJSON appends a pair as one JSON object without a newline, with the members
// of [PairKeys].
func AppendPairJSON(dst []byte, p *pairing.Pair, c *format.Clocks) []byte {
	return appendLine(dst, pairKeys, p, c)
}

var pairKeys = labelled(
	timeKey("ts", func(p *pair) int64 {
		if p.EnterSeq != 0 {
			return p.EnterNS
		}
		return p.ReturnNS
	}, "wall clock time in UTC of the entry, of the return without one, RFC 3339; null if the clock is lost with the "+
		"header"),
	intOrNull("enter_seq", func(p *pair) (int64, bool) { return int64(p.EnterSeq), p.EnterSeq != 0 },
		"number of the event of its entry; null: it is not there"),
	intOrNull("return_seq", func(p *pair) (int64, bool) { return int64(p.ReturnSeq), p.Returned() },
		"number of the event of its return; null: it is not there, and nor are the keys that it tells"),
	intOrNull("facts_seq", func(p *pair) (int64, bool) { return int64(p.FactsSeq), p.FactsSeq != 0 },
		"number of the event of do_accept that told of the socket where the return could not"),
	intOrNull("enter_boot_ns", func(p *pair) (int64, bool) { return p.EnterNS, p.EnterSeq != 0 },
		"time of the entry").at(),
	intOrNull("return_boot_ns", func(p *pair) (int64, bool) { return p.ReturnNS, p.Returned() },
		"time of the return").at(),
	intOrNull("wait_ns", func(p *pair) (int64, bool) { return p.WaitNS, p.WaitNS >= 0 },
		"from entry to return; null without both"),
	boolKey("inverted", func(p *pair) bool { return p.Inverted },
		"the return is stamped before the entry, as clocks of two CPUs differ; wait_ns is 0"),
	intKey("pid", func(p *pair) int64 { return int64(p.PID) }, ""),
	intKey("tid", func(p *pair) int64 { return int64(p.TID) }, ""),
	intKey("uid", func(p *pair) int64 { return int64(p.UID) }, ""),
	textKey("comm", func(p *pair) string { return p.Comm }, ""),
	intKey("proc", func(p *pair) int64 { return int64(p.Proc) }, ""),
	textKey("via", func(p *pair) string { return p.Via.String() }, "").words(wordsOf("via")...),
	intKey("sockfd", func(p *pair) int64 { return int64(p.SockFD) }, ""),
	intKey("flags", func(p *pair) int64 { return int64(p.Flags) }, ""),
	intOrNull("ret", func(p *pair) (int64, bool) { return int64(p.Ret), p.Returned() && !p.NoFD },
		"new descriptor (with uring direct: slot), or the negative errno; null, too, if it has no descriptor or that "+
			"is not known"),
	textOrNull("errno", func(p *pair) (string, bool) { return format.ErrnoName(p.Errno), p.Errno != 0 },
		"name of the error of a failed attempt; ERESTARTSYS: interrupted by a signal").words(wordsOf("errno")...),
	intKey("netns", func(p *pair) int64 { return int64(p.NetNS) }, ""),
	intOrNull("task_netns", func(p *pair) (int64, bool) { return int64(p.TaskNetNS), p.TaskNetNS != 0 },
		"inode number of the network namespace of the task, where that is another one than the socket's"),
	intOrNull("listener", func(p *pair) (int64, bool) { return int64(p.Listener), p.Listener != 0 }, ""),
	addrKey("listen_addr", listenOf, "address that the listener is bound to"),
	portKey("listen_port", listenOf, "port that the listener is bound to"),
	textOrNull("family", func(p *pair) (string, bool) { return p.Family.String(), p.Family != 0 },
		"").words(wordsOf("family")...),
	addrKey("laddr", pairLocal, "local address of the connection that was accepted, or lost"),
	portKey("lport", pairLocal, "local port of the same"),
	addrKey("raddr", pairRemote, ""),
	portKey("rport", pairRemote, ""),
	textOrNull("state", func(p *pair) (string, bool) { return format.StateName(p.State), made(p) },
		"").words(wordsOf("state")...),
	intOrNull("inode", func(p *pair) (int64, bool) { return int64(p.Inode), made(p) }, ""),
	intOrNull("backlog_enter", func(p *pair) (int64, bool) { return int64(p.QueueEnter), p.EnterSeq != 0 },
		"length of the accept queue at the entry"),
	intOrNull("backlog_return", func(p *pair) (int64, bool) { return int64(p.QueueReturn), p.Returned() },
		"length of the accept queue at the return"),
	intOrNull("backlog_max", func(p *pair) (int64, bool) { return int64(p.QueueMax), p.Listener != 0 },
		"its limit; the queue is full when its length is greater"),
	intKey("attempt", func(p *pair) int64 { return int64(p.Attempt) },
		"1, or more if earlier attempts of the same call were restarted"),
	textOrNull("lname", func(p *pair) (string, bool) { return p.Name, p.Name != "" }, ""),
	intOrNull("peer_pid", func(p *pair) (int64, bool) { return int64(p.PeerPID), p.PeerPID != 0 }, ""),
	intOrNull("peer_uid", func(p *pair) (int64, bool) { return int64(p.PeerUID), p.PeerPID != 0 }, ""),
	textOrNull("uring", func(p *pair) (string, bool) { return format.UringName(p.Uring), p.Via == format.ViaIOUring },
		"kind of an io_uring request; direct: ret is a slot of the ring's table; registered: sockfd is the number of "+
			"a registered file").words(uringWords()...),
	textOrNull("uring_end", func(p *pair) (string, bool) {
		return p.UringEnd.String(),
			p.UringEnd != format.UringGoesOn
	},
		"why a multishot request of io_uring does not go on after this attempt; null: it does, or is not multishot").
		words(wordsOf("uring_end")...),
	wideOrNull("user_data", func(p *pair) (uint64, bool) { return p.UserData, p.Via == format.ViaIOUring }, ""),
	boolKey("armed", func(p *pair) bool { return p.Armed },
		"an io_uring request that found nothing and waits: no failure, though errno is EAGAIN"),
	boolKey("client_lost", func(p *pair) bool { return p.ClientLost },
		"it failed after it had taken a connection, which is lost"),
	textOrNull("why", func(p *pair) (string, bool) { return string(p.Why), p.Why != "" },
		"why one of the two events is not there, or what became of an interrupted attempt; null: both are there").
		words(whyWords()...),
	textOrNull("community_id", func(p *pair) (string, bool) {
		id := ""
		if made(p) {
			id = communityid.Of(p.Proto, p.Local, p.Remote)
		}
		return id, id != ""
	}, "Community ID (version 1) of the connection, as Zeek, Suricata and Arkime have it; null: there is no connection, "+
		"or not one of TCP or SCTP"),
)

// PairFields are what expressions can ask of attempts: their keys, and who made them.
func PairFields() []filter.Field[pairing.Pair] {
	list := append(fieldsOf(pairKeys), filter.ProcessFields(func(p *pair, env *filter.Env) *format.Process {
		return filter.ByNumber(env, p.Proc)
	})...)
	at := func(p *pair) (uint32, uint64) { return p.NetNS, p.Listener }
	return append(list, filter.FindingsField(findings.IDs(), at))
}

type pair = pairing.Pair

// made reports whether there is, or was, a connection.
func made(p *pair) bool { return p.Accepted() || p.ClientLost }

func listenOf(p *pair) (netip.AddrPort, bool)   { return p.ListenAddr, true }
func pairLocal(p *pair) (netip.AddrPort, bool)  { return p.Local, made(p) }
func pairRemote(p *pair) (netip.AddrPort, bool) { return p.Remote, made(p) }

func whyWords() (words []string) {
	for _, w := range pairing.Whys {
		words = append(words, string(w))
	}
	return words
}

func uringWords() (words []string) {
	for kind := range uint8(format.UringMultishot | format.UringDirect | format.UringRegistered + 1) {
		words = append(words, format.UringName(kind))
	}
	return words
}
