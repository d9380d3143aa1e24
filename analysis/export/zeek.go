package export

// This file writes a conn.log of Zeek. https://docs.zeek.org/en/master/logs/conn.html

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// zeek writes connections as Zeek does; the client is the originator. What acc does not know is "-": history, and
// packets and bytes of a connection that did not end.
type zeek struct {
	onlyConnections
	w *bufio.Writer
	s *Source
	b []byte
}

// zeekColumns are the columns: Zeek's own, and behind them acc's.
var zeekColumns = [][2]string{
	{"ts", "time"}, {"uid", "string"}, {"id.orig_h", "addr"}, {"id.orig_p", "port"}, {"id.resp_h", "addr"},
	{"id.resp_p", "port"}, {"proto", "enum"}, {"service", "string"}, {"duration", "interval"}, {"orig_bytes", "count"},
	{"resp_bytes", "count"}, {"conn_state", "string"}, {"missed_bytes", "count"}, {"history", "string"},
	{"orig_pkts", "count"}, {"resp_pkts", "count"}, {"community_id", "string"},
	{"acc_host", "string"}, {"acc_pid", "count"}, {"acc_comm", "string"}, {"acc_container", "string"},
	{"acc_queue_wait", "interval"}, {"acc_end", "string"},
}

func newZeek(w io.Writer, _ Options) (Sink, error) {
	z := &zeek{w: bufio.NewWriterSize(w, lineBuffer)}
	names, types := []string{"#fields"}, []string{"#types"}
	for _, c := range zeekColumns {
		names, types = append(names, c[0]), append(types, c[1])
	}
	_, err := fmt.Fprintf(z.w, "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"+
		"#path\tconn\n%s\n%s\n", strings.Join(names, "\t"), strings.Join(types, "\t"))
	return z, err
}

func (z *zeek) Begin(s *Source) error {
	z.s = s
	return nil
}

func (z *zeek) Attempt(*pairing.Pair) error         { return nil }
func (z *zeek) End(*Source, *analysis.Result) error { return nil }
func (z *zeek) Close() error                        { return z.w.Flush() }

// text begins a column with text; "" is not known.
func (z *zeek) text(s string) {
	z.b = append(z.b, '\t')
	switch s {
	case "":
		s = "-"
	case "-", "(empty)":
		s = fmt.Sprintf("\\x%02x%s", s[0], s[1:])
	default:
		s = zeekEscape(s)
	}
	z.b = append(z.b, s...)
}

// zeekEscape writes what is not printable, and the backslash, as \xNN.
func zeekEscape(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	var b strings.Builder
	for _, r := range s {
		if r == '\\' || !strconv.IsPrint(r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// number writes a number if it is known.
func (z *zeek) number(n uint64, known bool) {
	if z.b = append(z.b, '\t'); known {
		z.b = strconv.AppendUint(z.b, n, 10)
	} else {
		z.b = append(z.b, '-')
	}
}

// seconds writes nanoseconds as seconds with microseconds, if they are known.
func (z *zeek) seconds(ns int64, known bool) {
	if known {
		us := floorMicros(ns)
		z.b = fmt.Appendf(z.b, "%d.%06d", us/1_000_000, us%1_000_000)
	} else {
		z.b = append(z.b, '-')
	}
}

func (z *zeek) Connection(c *conntrack.Connection) error {
	z.s.connections++
	from, to, ended, known := z.s.span(c)
	z.b = z.b[:0]
	z.seconds(from, known)
	z.text(z.s.uid(c))
	for _, a := range []string{client(c).Addr().String(), strconv.Itoa(int(c.Remote.Port())), server(c).Addr().String(),
		strconv.Itoa(int(c.Local.Port())), "tcp", ""} {
		z.text(a)
	}
	z.b = append(z.b, '\t')
	z.seconds(to-from, known && ended)
	z.number(c.BytesIn, c.Counted)
	z.number(c.BytesOut, c.Counted)
	z.text(zeekState(c))
	z.number(0, false)
	z.text("")
	z.number(uint64(c.SegsIn), c.ClosedSeq != 0)
	z.number(uint64(c.SegsOut), c.ClosedSeq != 0)
	z.text(communityid.Of(format.ProtoTCP, c.Local, c.Remote))
	z.text(z.s.Host())
	z.number(uint64(c.PID), c.TID != 0)
	z.text(c.Comm)
	container := ""
	if c.Process != nil {
		container = c.Process.Container
	}
	z.text(container)
	z.b = append(z.b, '\t')
	z.seconds(c.QueueWaitNS, c.QueueWaitNS >= 0)
	z.text(c.End.ID())
	z.b = append(z.b, '\n')
	_, err := z.w.Write(z.b)
	return err
}

// uid names a connection among those of all captures.
func (s *Source) uid(c *conntrack.Connection) string {
	seq := int64(c.ID)
	if c.ID == 0 {
		seq = -s.silent
	}
	return s.ID() + ":" + strconv.FormatInt(seq, 10)
}

// zeekState is conn_state. What began before the recording, and what acc did not see to end, is OTH.
func zeekState(c *conntrack.Connection) string {
	if c.Before || c.BeginUnknown {
		return "OTH"
	}
	switch c.End {
	case conntrack.EndByServer, conntrack.EndByClient, conntrack.EndByBoth:
		return "SF"
	case conntrack.EndResetByClient, conntrack.EndWriteRefused:
		return "RSTO"
	case conntrack.EndResetByServer, conntrack.EndKilled, conntrack.EndListener:
		return "RSTR"
	case conntrack.EndRefused:
		return "S0"
	case conntrack.EndOpen, conntrack.EndWaiting:
		switch c.LeftState {
		case format.StateCloseWait:
			return "S2" // the originator closed
		case format.StateFinWait1, format.StateFinWait2:
			return "S3"
		}
		return "S1"
	}
	return "OTH"
}
