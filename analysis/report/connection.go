package report

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// AppendConnectionJSON appends a connection as one JSON object without a newline.
// Its keys, in this order, are id laddr lport raddr rport pid comm via
// established_ns queued_ns accepted_ns queue_wait_ns closed_ns bytes_in bytes_out
// retransmits srtt_us state_at_accept end_reason queue_wait_at_least_ns
// netns listener (inode numbers). All are always there; what is
// not known is null. Times are of the boot clock, as boot_ns of an event. The
// queue wait of a connection that was never accepted ends where it ended; the
// bytes of one that is open at the end are up to then. Of one that was in the queue before
// the recording only the wait that was seen is known: queue_wait_at_least_ns, and queue_wait_ns is null.
func AppendConnectionJSON(dst []byte, c *analysis.Connection) []byte {
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
	addr := func(a, port string, v netip.AddrPort) {
		s := ""
		if v.Addr().IsValid() {
			s = v.Addr().String()
		}
		text(a, s, s != "")
		num(port, int64(v.Port()), s != "")
	}
	taken, closed := c.AcceptedSeq != 0, c.ClosedSeq != 0
	dst = strconv.AppendUint(append(dst, `{"id":`...), c.ID, 10)
	addr("laddr", "lport", c.Local)
	addr("raddr", "rport", c.Remote)
	num("pid", int64(c.PID), c.TID != 0)
	text("comm", c.Comm, c.TID != 0)
	text("via", c.Via.String(), c.TID != 0)
	num("established_ns", c.EstablishedNS, c.EstablishedNS != 0)
	num("queued_ns", c.QueuedNS, c.QueuedSeq != 0)
	num("accepted_ns", c.AcceptedNS, taken)
	num("queue_wait_ns", c.QueueWaitNS, c.QueueWaitNS >= 0)
	num("closed_ns", c.ClosedNS, closed)
	num("bytes_in", int64(c.BytesIn), c.Counted)
	num("bytes_out", int64(c.BytesOut), c.Counted)
	num("retransmits", int64(c.Retransmits), c.Counted)
	num("srtt_us", int64(c.SRTTUS), c.Counted && c.SRTTUS != 0)
	text("state_at_accept", format.StateName(c.StateAtAccept), taken)
	text("end_reason", string(c.End), true)
	least, known := c.InQueue()
	num("queue_wait_at_least_ns", least, known)
	num("netns", int64(c.NetNS), true)
	num("listener", int64(c.Listener), c.Listener != 0)
	return append(dst, '}')
}

// ConnectionHead is the head of the lines of AppendConnectionText.
const ConnectionHead = "      id  time             client                 listener               by                queued  alive      in         out        end"

// AppendConnectionText appends a connection as one line without a newline, in the
// columns of ConnectionHead. Nothing in it can steer a terminal.
func AppendConnectionText(dst []byte, c *analysis.Connection, clock format.Clock, zone *time.Location) []byte {
	cell := func(s string, width int) {
		n := len(dst)
		dst = append(dst, s...)
		for pad := width - runes(dst[n:]); pad > 0; pad-- {
			dst = append(dst, ' ')
		}
		dst = append(dst, "  "...)
	}
	id := "-"
	if c.ID != 0 {
		id = strconv.FormatUint(c.ID, 10)
	}
	for range max(8-len(id), 0) {
		dst = append(dst, ' ')
	}
	cell(id, 0)
	cell(string(clock.AppendMoment(nil, began(c), zone, "15:04:05.000000")), 15)
	cell(plain(c.Remote), 21)
	cell(plain(c.Local), 21)
	by := "-"
	if c.TID != 0 {
		by = format.Quote(c.Comm) + "[" + strconv.FormatUint(uint64(c.PID), 10) + "]"
	}
	cell(by, 16)
	cell(waited(c), 7)
	cell(known(c.AliveNS), 9)
	in, out := "-", "-"
	if c.Counted {
		in, out = Bytes(int64(c.BytesIn)), Bytes(int64(c.BytesOut))
	}
	cell(in, 9)
	cell(out, 9)
	dst = append(dst, c.End...)
	switch {
	case c.Dead:
		dst = append(dst, ", dead on arrival"...)
	case c.End.Known() && c.End != analysis.EndWaiting && c.End != analysis.EndListener && c.QueuedSeq != 0 && c.AcceptedSeq == 0 && !c.AcceptUnknown:
		dst = append(dst, ", never accepted"...)
	default:
		dst = append(dst, goneWords(c)...)
	}
	if n := c.RefusedPackets; n > 1 || n > 0 && c.End != analysis.EndRefused {
		dst = append(strconv.AppendUint(append(dst, ", refused "...), n, 10), "×"...)
	}
	if c.Retransmits > 0 {
		dst = append(strconv.AppendUint(append(dst, ", "...), uint64(c.Retransmits), 10), " sent again"...)
	}
	return dst
}

// goneWords says of a client that it had closed its side before it was accepted, which it
// may do when it has sent its request: that alone is no giving up; or before it was never
// accepted, or before the server reset the connection.
func goneWords(c *analysis.Connection) string {
	const closeWait = 8
	early := c.GoneNS != 0 || c.StateAtAccept == closeWait
	switch {
	case c.Dead:
		return ""
	case c.AcceptedSeq != 0 && early:
		return ", its side closed before it was accepted"
	case c.AcceptedSeq != 0 && c.End == analysis.EndResetByServer && c.OldState == closeWait:
		return ", after the client had closed its side"
	case c.AcceptedSeq == 0 && (early || c.LeftState == closeWait):
		return ", the client's side closed before"
	}
	return ""
}

// plain writes an IPv4 address as such, whatever the family of the listener.
func plain(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

// waited is how long a connection was in the queue, - if it is not known.
func waited(c *analysis.Connection) string {
	ns, atLeast := c.InQueue()
	if atLeast {
		return "≥" + Duration(ns)
	}
	return known(ns)
}

func runes(b []byte) (n int) {
	for _, c := range b {
		if c&0xc0 != 0x80 {
			n++
		}
	}
	return n
}

// known is a duration, - if it is not known.
func known(ns int64) string {
	if ns < 0 {
		return "-"
	}
	return Duration(ns)
}

// began is the first time that is known of a connection, the start of the recording if
// it was there before.
func began(c *analysis.Connection) int64 {
	switch {
	case len(c.Refusals) > 0:
		return c.Refusals[0].NS
	case c.Before:
		return c.StartNS
	}
	for _, ns := range []int64{c.SynNS, c.QueuedNS, c.AcceptedNS, c.ClosedNS} {
		if ns != 0 {
			return ns
		}
	}
	return c.EndNS
}
