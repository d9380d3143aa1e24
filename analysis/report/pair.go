package report

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// AppendPairText appends a pair as one line without a newline.
func AppendPairText(dst []byte, p *analysis.Pair, c format.Clock, zone *time.Location) []byte {
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
	if p.SockFD >= 0 || p.Via != format.ViaIOUring && p.Via != format.ViaKernel { // of a request that is tried again it is not known
		dst = strconv.AppendInt(append(dst, " fd "...), int64(p.SockFD), 10)
	}
	if p.Via == format.ViaIOUring {
		dst = strconv.AppendUint(append(append(append(dst, ' '), format.UringName(p.Uring)...), " request "...), p.UserData, 10)
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
		if p.State == 7 {
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
	if p.Why != "" {
		dst = append(append(append(dst, "  ["...), p.Why...), ']')
	}
	return dst
}

// AppendPairJSON appends a pair as one JSON object without a newline. Its keys, in
// this order, are ts enter_seq return_seq facts_seq enter_boot_ns return_boot_ns
// wait_ns inverted pid tid uid comm proc via sockfd flags ret errno netns listener
// listen_addr listen_port family laddr lport raddr rport state inode backlog_enter
// backlog_return backlog_max attempt lname peer_pid peer_uid uring user_data armed
// client_lost why: the members of [analysis.Pair] by the
// names of the field table. All are always there; what is not known is null. ts is
// the wall clock time of the entry, of the return without one.
func AppendPairJSON(dst []byte, p *analysis.Pair, c format.Clock) []byte {
	num := func(name string, v int64, known bool) {
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		if !known {
			dst = append(dst, "null"...)
			return
		}
		dst = strconv.AppendInt(dst, v, 10)
	}
	text := func(name, v string, known bool) {
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		if !known {
			dst = append(dst, "null"...)
			return
		}
		dst = format.AppendJSONString(dst, v)
	}
	addr := func(a, port string, v netip.AddrPort, known bool) {
		known = known && v.Addr().IsValid()
		s := ""
		if known {
			s = v.Addr().String()
		}
		text(a, s, known)
		num(port, int64(v.Port()), known)
	}
	entered, returned := p.EnterSeq != 0, p.Returned()
	ns := p.ReturnNS
	if entered {
		ns = p.EnterNS
	}
	dst = format.AppendTimeJSON(append(dst, `{"ts":`...), ns, c)
	num("enter_seq", int64(p.EnterSeq), entered)
	num("return_seq", int64(p.ReturnSeq), returned)
	num("facts_seq", int64(p.FactsSeq), p.FactsSeq != 0)
	num("enter_boot_ns", p.EnterNS, entered)
	num("return_boot_ns", p.ReturnNS, returned)
	num("wait_ns", p.WaitNS, p.WaitNS >= 0)
	dst = strconv.AppendBool(append(dst, `,"inverted":`...), p.Inverted)
	num("pid", int64(p.PID), true)
	num("tid", int64(p.TID), true)
	num("uid", int64(p.UID), true)
	text("comm", p.Comm, true)
	num("proc", int64(p.Proc), true)
	text("via", p.Via.String(), true)
	num("sockfd", int64(p.SockFD), true)
	num("flags", int64(p.Flags), true)
	num("ret", int64(p.Ret), returned && !p.NoFD)
	text("errno", format.ErrnoName(p.Errno), p.Errno != 0)
	num("netns", int64(p.NetNS), true)
	num("listener", int64(p.Listener), p.Listener != 0)
	addr("listen_addr", "listen_port", p.ListenAddr, true)
	text("family", p.Family.String(), p.Family != 0)
	made := p.Accepted() || p.ClientLost
	addr("laddr", "lport", p.Local, made)
	addr("raddr", "rport", p.Remote, made)
	text("state", format.StateName(p.State), made)
	num("inode", int64(p.Inode), made)
	num("backlog_enter", int64(p.QueueEnter), entered)
	num("backlog_return", int64(p.QueueReturn), returned)
	num("backlog_max", int64(p.QueueMax), p.Listener != 0)
	num("attempt", int64(p.Attempt), true)
	text("lname", p.Name, p.Name != "")
	num("peer_pid", int64(p.PeerPID), p.PeerPID != 0)
	num("peer_uid", int64(p.PeerUID), p.PeerPID != 0)
	uring := p.Via == format.ViaIOUring
	text("uring", format.UringName(p.Uring), uring)
	dst = append(dst, `,"user_data":`...)
	if uring {
		dst = strconv.AppendUint(dst, p.UserData, 10)
	} else {
		dst = append(dst, "null"...)
	}
	dst = strconv.AppendBool(append(dst, `,"armed":`...), p.Armed)
	dst = strconv.AppendBool(append(dst, `,"client_lost":`...), p.ClientLost)
	text("why", string(p.Why), p.Why != "")
	return append(dst, '}')
}
