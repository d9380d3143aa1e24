package report

// This file writes connections: as JSON, and as lines of a list.

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// AppendConnectionJSON appends a connection as one JSON object without a newline, with
// the members of [ConnectionKeys].
func AppendConnectionJSON(dst []byte, c *conntrack.Connection, clocks *format.Clocks) []byte {
	return appendLine(dst, connectionKeys, c, clocks)
}

// connectionKeys are in the order in which they came to be: scripts may count on it.
var connectionKeys = labelled(
	wideOrNull("id", func(c *conn) (uint64, bool) { return c.ID, c.ID != 0 },
		"number of its first event, which --connection and acc explain take; null if it was there all the time "+
			"without an event: then addresses, ports and netns name it"),
	addrKey("laddr", localOf, "local address"),
	portKey("lport", localOf, "local port"),
	addrKey("raddr", remoteOf, "client's address"),
	portKey("rport", remoteOf, "client's port"),
	intOrNull("pid", func(c *conn) (int64, bool) { return int64(c.PID), c.TID != 0 },
		"process that accepted it, initial pid namespace; null: none did, or it was before the recording"),
	textOrNull("comm", func(c *conn) (string, bool) { return c.Comm, c.TID != 0 }, "its name"),
	textOrNull("via", func(c *conn) (string, bool) { return c.Via.String(), c.TID != 0 }, "").words(wordsOf("via")...),
	intOrNull("established_ns", func(c *conn) (int64, bool) { return c.EstablishedNS, c.EstablishedNS != 0 },
		"when it was established").at(),
	intOrNull("queued_ns", func(c *conn) (int64, bool) { return c.QueuedNS, c.QueuedSeq != 0 },
		"when it was put into the accept queue").at(),
	intOrNull("accepted_ns", func(c *conn) (int64, bool) { return c.AcceptedNS, c.AcceptedSeq != 0 },
		"when accept returned it").at(),
	intOrNull("queue_wait_ns", func(c *conn) (int64, bool) { return c.QueueWaitNS, c.QueueWaitNS >= 0 },
		"how long it was in the accept queue: until it was accepted, else until it ended; null: it was in none, or "+
			"that is not known exactly: see queue_wait_at_least_ns"),
	intOrNull("closed_ns", func(c *conn) (int64, bool) { return c.ClosedNS, c.ClosedSeq != 0 }, "when it closed").at(),
	intOrNull("bytes_in", func(c *conn) (int64, bool) { return int64(c.BytesIn), c.Counted },
		"bytes received, without the FIN; of one that was open at the end, until then"),
	intOrNull("bytes_out", func(c *conn) (int64, bool) { return int64(c.BytesOut), c.Counted },
		"bytes sent and acknowledged, without the FIN; the same"),
	intOrNull("retransmits", func(c *conn) (int64, bool) { return int64(c.Retransmits), c.Counted },
		"segments sent again; the same"),
	intOrNull("srtt_us", func(c *conn) (int64, bool) { return int64(c.SRTTUS), c.Counted && c.SRTTUS != 0 },
		"smoothed round trip time when it ended; null: not measured"),
	textOrNull("state_at_accept", func(c *conn) (string, bool) {
		return format.StateName(c.StateAtAccept),
			c.AcceptedSeq != 0
	},
		"state of the TCP connection when accept returned it: established; close-wait: the client had sent FIN; "+
			"closed: dead on arrival").words(wordsOf("state")...),
	textKey("end_reason", func(c *conn) string { return string(c.End) },
		"how it ended, or was at the end, in words for people; end says the same as one word").words(endReasons()...),
	intOrNull("queue_wait_at_least_ns", func(c *conn) (int64, bool) { return c.InQueue() },
		"of one that was in the queue when recording began, how long the recording saw it there; null for others"),
	intKey("netns", func(c *conn) int64 { return int64(c.NetNS) }, "inode number of the network namespace"),
	intOrNull("listener", func(c *conn) (int64, bool) { return int64(c.Listener), c.Listener != 0 }, ""),

	timeKey("ts", began, "wall clock time in UTC of began_ns, RFC 3339; null if the clock is lost with the header"),
	intKey("began_ns", began, "first time that is known of it: of its first packet that was refused, else of its "+
		"first SYN's answer, else of its first event; the start of the recording if it was there before").at(),
	textKey("end", func(c *conn) string { return c.End.ID() }, "how it ended, or was at the end").words(endIDs()...),
	intOrNull("end_ns", func(c *conn) (int64, bool) { return c.EndNS, c.EndNS != 0 },
		"when it closed, was lost, or was refused for the last time; the end of the recording if it did not end").at(),
	boolOrNull("before", func(c *conn) (bool, bool) { return c.Before, !c.BeginUnknown },
		"it was there when recording began; null: not known, for its beginning is in a part of the capture that is "+
			"missing, or was before the recording"),
	boolOrNull("accepted", accepted, "whether accept gave it to the program; null: not known, for it may have been "+
		"before the recording, or in a part of the capture that is missing, or accepts are not recorded"),
	boolKey("dead_on_arrival", func(c *conn) bool { return c.Dead }, "it was closed already when accept returned it"),
	intOrNull("dead_ns", func(c *conn) (int64, bool) { return c.DeadNS, c.Dead && c.DeadNS >= 0 },
		"and had been for so long"),
	boolKey("gone_before_accept", goneBefore, "the client had sent FIN before it was accepted, which it may do when "+
		"it has sent its request, or before it was lost or the recording ended"),
	intOrNull("gone_ns", func(c *conn) (int64, bool) { return c.GoneNS, c.GoneNS != 0 },
		"when it did; null, too, if that was before the recording").at(),
	intKey("refused_packets", func(c *conn) int64 { return int64(c.RefusedPackets) },
		"packets of its handshake that were dropped because a queue was full"),
	intOrNull("first_refused_ns", func(c *conn) (int64, bool) { return firstRefused(c), len(c.Refusals) > 0 },
		"when the first of them was dropped").at(),
	intOrNull("last_refused_ns", func(c *conn) (int64, bool) { return c.RefusedNS, len(c.Refusals) > 0 },
		"when the last of them was dropped").at(),
	intOrNull("refused_ns", func(c *conn) (int64, bool) {
		return max(c.QueuedNS-firstRefused(c), 0), len(c.Refusals) > 0 && c.QueuedSeq != 0
	}, "how long the client was refused: from the first packet that was dropped to the queue; null: it was not "+
		"refused, or never queued"),
	intOrNull("handshake_ns", func(c *conn) (int64, bool) { return c.HandshakeNS, c.HandshakeNS >= 0 },
		"from its first SYN's answer to the queue"),
	intOrNull("alive_ns", func(c *conn) (int64, bool) { return c.AliveNS, c.AliveNS >= 0 },
		"from the queue, or accept, to its end"),
	wideOrNull("cookie", func(c *conn) (uint64, bool) { return c.Cookie, c.Cookie != 0 },
		"socket cookie, the same in all its events"),
	intOrNull("inode", func(c *conn) (int64, bool) { return int64(c.Inode), c.Inode != 0 },
		"inode number of the accepted socket"),
	textOrNull("old_state", func(c *conn) (string, bool) { return format.StateName(c.OldState), c.ClosedSeq != 0 },
		"state of the TCP connection before it closed; close-wait: the client had sent FIN").words(wordsOf("state")...),
	textOrNull("left_state", func(c *conn) (string, bool) {
		return format.StateName(c.LeftState), c.LeftState != 0 && c.ClosedSeq == 0
	},
		"state of the TCP connection when recording ended, if it was still there").words(wordsOf("state")...),
	textOrNull("holders", func(c *conn) (string, bool) { return holders(c), c.End.Open() && len(c.Holders) > 0 },
		"processes that had it open when recording ended, as name[pid]; null: none was seen, or it was not looked for"),
	boolOrNull("holders_known", func(c *conn) (bool, bool) { return c.HoldersKnown, c.End.Open() },
		"holders are all: the descriptors of each process were looked at; null: it was not open when recording ended"),
	boolOrNull("handed_over", func(c *conn) (bool, bool) {
		return c.HandedOver(), c.AcceptedSeq != 0 && c.End.Open() &&
			(c.HoldersKnown && len(c.Holders) > 0 || c.HandedOver())
	}, "another process than the one that accepted it had it open when recording ended; null: not known"),
	textOrNull("cause", func(c *conn) (string, bool) { return c.Cause.String(), c.Cause != 0 },
		"why it was queued: its handshake, TCP_DEFER_ACCEPT, a SYN cookie, fast open, a move; null: not known").
		words(wordsOf("cause")...),
	textOrNull("lost_cause", func(c *conn) (string, bool) { return c.Lost.String(), c.Lost != 0 },
		"how its listener stopped, if it was lost with it; null: it was not, or that is not known").
		words(wordsOf("cause")...),
	intKey("moves", func(c *conn) int64 { return int64(c.Moves) },
		"how often it was moved from a listener that stopped to another one (tcp_migrate_req)"),
	textOrNull("read", func(c *conn) (string, bool) {
		return c.Read.String(), c.ClosedSeq != 0 &&
			c.Read != format.ReadUnknown
	},
		"what the program had read of what the client sent when the connection ended; null: not known").words("all",
		"part", "nothing"),
	textOrNull(
		"outcome",
		func(c *conn) (string, bool) {
			o := c.Outcome()
			if o == "" {
				return "", false
			}
			return o.ID(), true
		},
		"turned-away: the server ended it within a second, and no byte was read or sent; closed-unread: the same, "+
			"but it had sent something; unanswered: the client had sent "+
			"something and left before a byte came back; "+
			"probe: the client left, and neither side had sent a byte; null: none of these, or not known",
	).
		words("turned-away", "closed-unread", "unanswered", "probe"),
	textOrNull("community_id", func(c *conn) (string, bool) {
		id := communityid.Of(format.ProtoTCP, c.Local, c.Remote)
		return id, id != ""
	}, "Community ID (version 1), as Zeek, Suricata and Arkime have it"),
	intOrNull("server_closed_ns", func(c *conn) (int64, bool) { return c.ServerEndNS, c.ServerEndNS != 0 },
		"when the server closed it, or shut it down for sending; null: it did not before the end, or when is not known"),
	intOrNull("client_closed_ns", func(c *conn) (int64, bool) { return c.ClientEndNS, c.ClientEndNS != 0 },
		"when the client's FIN came, if it closed first; null: it did not, or when is not known"),
	intOrNull("served_ns", func(c *conn) (int64, bool) { return c.ServedNS, c.ServedNS >= 0 },
		"from accept to the server's own close, or to the end where there is none, or it is not known"),
	boolOrNull("unacked", func(c *conn) (bool, bool) { return c.Unacked, c.ClosedSeq != 0 },
		"the server had written bytes that the client had not acknowledged when it ended; false, too, of captures of "+
			"before acc recorded it; null: it did not end"),
)

// ConnectionFields are what expressions can ask of connections: their keys, and who accepted them.
func ConnectionFields() []filter.Field[conntrack.Connection] {
	list := append(fieldsOf(connectionKeys), filter.ProcessFields(func(c *conn, _ *filter.Env) *format.Process {
		return c.Process
	})...)
	list = append(list,
		filter.Field[conn]{Name: "listen_addr", Kind: filter.Address,
			Doc:  "the same as laddr: attempts have it, too, also where they gave no connection",
			Addr: func(c *conn, _ *filter.Env) (netip.Addr, bool) { return c.Local.Addr(), c.Local.IsValid() }},
		filter.Field[conn]{Name: "listen_port", Kind: filter.Number,
			Doc: "the same as lport: attempts have it, too, also where they gave no connection",
			Int: func(c *conn, _ *filter.Env) (int64, bool) { return int64(c.Local.Port()), c.Local.IsValid() }})
	at := func(c *conn) (uint32, uint64) { return c.NetNS, c.Listener }
	return append(list, filter.FindingsField(findings.IDs(), at))
}

type conn = conntrack.Connection

func localOf(c *conn) (netip.AddrPort, bool)  { return c.Local, true }
func remoteOf(c *conn) (netip.AddrPort, bool) { return c.Remote, true }

func firstRefused(c *conn) int64 {
	if len(c.Refusals) == 0 {
		return 0
	}
	return c.Refusals[0].NS
}

// accepted says whether a program was given the connection.
func accepted(c *conn) (yes, known bool) {
	switch c.End {
	case conntrack.EndRefused, conntrack.EndWaiting, conntrack.EndListener, conntrack.EndAccept:
		return false, true
	}
	if c.AcceptedSeq != 0 {
		return true, true
	}
	return false, c.QueuedSeq != 0 && c.End.Known() && c.End != conntrack.EndWaitingCut && !c.AcceptUnknown
}

// goneBefore reports whether the client had sent FIN before anybody accepted it.
func goneBefore(c *conn) bool {
	return c.GoneNS != 0 || c.AcceptedSeq != 0 && c.StateAtAccept == format.StateCloseWait || c.AcceptedSeq == 0 &&
		c.End != conntrack.EndOpen && c.LeftState == format.StateCloseWait
}

// ConnectionList lays out connections as lines in columns.
type ConnectionList struct {
	columns []connectionColumn
	head    string
}

type connectionColumn struct {
	head  string
	width int
	yield int // columns are left out in falling order where the lines are too wide; 0: it stays
	text  func(c *conn, clocks *format.Clocks, zone *time.Location) string
}

// endWidth is the room that the words about the end have at least.
const endWidth = 20

// NewConnectionList makes one whose lines fit the width where that is possible; 0: it has all
// columns.
func NewConnectionList(width int) *ConnectionList {
	l := &ConnectionList{columns: []connectionColumn{
		{"ended", 15, 0, func(c *conn, clocks *format.Clocks, zone *time.Location) string {
			if c.EndNS == 0 || !c.End.Known() || c.End.Open() || c.End.Waiting() {
				return "-"
			}
			return string(clocks.AppendMoment(nil, c.EndNS, zone, "15:04:05.000000"))
		}},
		{"began", 15, 6, func(c *conn, clocks *format.Clocks, zone *time.Location) string {
			return string(clocks.AppendMoment(nil, began(c), zone, "15:04:05.000000"))
		}},
		{"client", 21, 0, func(c *conn, _ *format.Clocks, _ *time.Location) string { return plain(c.Remote) }},
		{"listener", 21, 3, func(c *conn, _ *format.Clocks, _ *time.Location) string { return plain(c.Local) }},
		{"by", 16, 1, func(c *conn, _ *format.Clocks, _ *time.Location) string { return acceptedBy(c) }},
		{"queued", 7, 0, func(c *conn, _ *format.Clocks, _ *time.Location) string { return waited(c) }},
		{"alive", 9, 2, func(c *conn, _ *format.Clocks, _ *time.Location) string { return known(c.AliveNS) }},
		{"in", 9, 5, func(c *conn, _ *format.Clocks, _ *time.Location) string { return counted(c, c.BytesIn) }},
		{"out", 9, 4, func(c *conn, _ *format.Clocks, _ *time.Location) string { return counted(c, c.BytesOut) }},
	}}
	total := 8 + gap + endWidth
	for _, c := range l.columns {
		total += c.width + gap
	}
	for width > 0 && total > width {
		i := l.weakest()
		if i < 0 {
			break
		}
		total -= l.columns[i].width + gap
		l.columns = slices.Delete(l.columns, i, i+1)
	}
	l.head = "      id  "
	for _, c := range l.columns {
		l.head += pad(c.head, c.width+gap)
	}
	l.head += "end"
	return l
}

// weakest is the column that is left out next, -1 if none is.
func (l *ConnectionList) weakest() int {
	next := -1
	for i, c := range l.columns {
		if c.yield > 0 && (next < 0 || c.yield > l.columns[next].yield) {
			next = i
		}
	}
	return next
}

// Head is the line above the others, without a newline.
func (l *ConnectionList) Head() string { return l.head }

// Append appends a connection as one line without a newline. Nothing in it can steer a terminal.
func (l *ConnectionList) Append(dst []byte, c *conntrack.Connection, clocks *format.Clocks,
	zone *time.Location) []byte {
	id := "-"
	if c.ID != 0 {
		id = strconv.FormatUint(c.ID, 10)
	}
	for range max(8-len(id), 0) {
		dst = append(dst, ' ')
	}
	dst = append(append(dst, id...), "  "...)
	for i := range l.columns {
		n := len(dst)
		dst = append(dst, l.columns[i].text(c, clocks, zone)...)
		for space := l.columns[i].width - runes(dst[n:]); space > 0; space-- {
			dst = append(dst, ' ')
		}
		dst = append(dst, "  "...)
	}
	dst = append(dst, c.End...)
	switch {
	case c.Dead:
		dst = append(dst, ", dead on arrival"...)
	case c.End.Known() && !c.End.Waiting() && c.End != conntrack.EndListener && c.QueuedSeq != 0 && c.AcceptedSeq == 0 &&
		!c.AcceptUnknown:
		dst = append(dst, ", never accepted"...)
	default:
		dst = append(dst, goneWords(c)...)
	}
	if o := c.Outcome(); o != "" {
		dst = append(append(dst, ", "...), o...)
	}
	if n := c.RefusedPackets; n > 1 || n > 0 && !c.End.Refused() {
		dst = append(strconv.AppendUint(append(dst, ", refused "...), n, 10), "×"...)
	}
	if c.Retransmits > 0 {
		dst = append(strconv.AppendUint(append(dst, ", "...), uint64(c.Retransmits), 10), " sent again"...)
	}
	return dst
}

// ListedNS is the time by which lists order a connection: when it ended, else the last that is
// known of it.
func ListedNS(c *conntrack.Connection) int64 {
	if c.EndNS != 0 {
		return c.EndNS
	}
	return max(began(c), c.QueuedNS, c.AcceptedNS, c.ClosedNS)
}

// BeganNS is the first time that is known of a connection.
func BeganNS(c *conntrack.Connection) int64 { return began(c) }

// acceptedBy is who accepted a connection, - if it is not known.
func acceptedBy(c *conn) string {
	if c.TID == 0 {
		return "-"
	}
	return format.Quote(c.Comm) + "[" + strconv.FormatUint(uint64(c.PID), 10) + "]"
}

// counted is how many bytes a connection carried, - if that is not known.
func counted(c *conn, n uint64) string {
	if !c.Counted {
		return "-"
	}
	return Bytes(int64(n))
}

// goneWords says of a client that it had sent FIN before it was accepted, which it
// may do when it has sent its request: that alone is no giving up; or before it was never
// accepted, or before the server reset the connection.
func goneWords(c *conntrack.Connection) string {
	early := c.GoneNS != 0 || c.StateAtAccept == format.StateCloseWait
	switch {
	case c.Dead:
		return ""
	case c.AcceptedSeq != 0 && early:
		return ", the client sent FIN before it was accepted"
	case c.AcceptedSeq != 0 && c.End == conntrack.EndResetByServer && c.OldState == format.StateCloseWait:
		return ", after the client had sent FIN"
	case c.AcceptedSeq == 0 && (early || c.LeftState == format.StateCloseWait):
		return ", the client had sent FIN"
	}
	return ""
}

// plain writes an IPv4 address as such, whatever the family of the listener.
func plain(a netip.AddrPort) string {
	if !a.IsValid() {
		return "?"
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

// waited is how long a connection was in the queue, - if it is not known.
func waited(c *conntrack.Connection) string {
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
func began(c *conntrack.Connection) int64 {
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
