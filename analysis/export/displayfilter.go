package export

// This file writes a display filter of Wireshark.

import (
	"bufio"
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
)

// maxFiltered is how many connections a filter has at most: it must fit into one argument of a command.
const maxFiltered = 400

// How much earlier and later than acc saw a connection its packets can be: the SYN, and the last acknowledgements.
// Within that time no other connection has the same addresses and ports.
const (
	packetsBefore = int64(200e6)
	packetsAfter  = int64(1e9)
)

// displayFilter writes one line, which selects the packets of connections.
type displayFilter struct {
	onlyConnections
	w *bufio.Writer
	s *Source
	n int
}

func newDisplayFilter(w io.Writer, _ Options) (Sink, error) {
	return &displayFilter{w: bufio.NewWriter(w)}, nil
}

func (d *displayFilter) Begin(s *Source) error {
	d.s = s
	return nil
}

func (d *displayFilter) Attempt(*pairing.Pair) error         { return nil }
func (d *displayFilter) End(*Source, *analysis.Result) error { return nil }

// TooManyError says that a filter would have too many connections.
type TooManyError struct{ Most int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("a display filter has at most %d connections", e.Most)
}

func (d *displayFilter) Connection(c *conntrack.Connection) error {
	a, b := client(c), server(c)
	if !a.IsValid() || !b.IsValid() {
		return nil
	}
	if d.n++; d.n > maxFiltered {
		return &TooManyError{maxFiltered}
	}
	d.s.connections++
	if d.n > 1 {
		d.w.WriteString(" || ")
	}
	ip := "ip"
	if a.Addr().Is6() {
		ip = "ipv6"
	}
	fmt.Fprintf(d.w, "(((%[1]s.src == %[2]s && tcp.srcport == %[3]d && %[1]s.dst == %[4]s && tcp.dstport == %[5]d) || "+
		"(%[1]s.src == %[4]s && tcp.srcport == %[5]d && %[1]s.dst == %[2]s && tcp.dstport == %[3]d))", ip, a.Addr(), a.Port(),
		b.Addr(), b.Port())
	from, to, ended, known := d.s.span(c)
	if known && !c.Before && !c.BeginUnknown {
		fmt.Fprintf(d.w, " && frame.time_epoch >= %s", seconds(from-packetsBefore))
	}
	if known && ended {
		fmt.Fprintf(d.w, " && frame.time_epoch <= %s", seconds(to+packetsAfter))
	}
	_, err := d.w.WriteString(")")
	return err
}

// seconds writes nanoseconds as seconds.
func seconds(ns int64) string { return fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9) }

func (d *displayFilter) Close() error {
	if d.n == 0 {
		d.w.WriteString("tcp.port == 0") // no packet
	}
	d.w.WriteString("\n")
	return d.w.Flush()
}
