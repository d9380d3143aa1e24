package export

// This file writes a display filter of Wireshark.

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
)

// maxFiltered is how many connections a filter has at most: it must fit into one argument of a command.
const maxFiltered = 400

// How much earlier and later than acc saw a connection its packets can be: the SYN, and the last acknowledgements.
const (
	packetsBefore = int64(200e6)
	packetsAfter  = int64(1e9)
)

// maxRecent is of how many addresses and ports at least the last end is kept.
const maxRecent = 100_000

// displayFilter writes one line, which selects the packets of connections. It sees the other connections, too: one with
// the same addresses and ports just before or after ends or begins the time in which packets are of the one selected.
type displayFilter struct {
	onlyConnections
	w        *bufio.Writer
	s        *Source
	selected []*packets
	by       map[[2]netip.AddrPort][]*packets
	// When connections with these addresses and ports ended; of old ones, those of before recent was full.
	recent, old map[[2]netip.AddrPort]int64
}

// packets are those of a connection: between its client and server, and within a time; 0 where it is not bounded.
type packets struct {
	between         [2]netip.AddrPort
	from, to, ended int64
}

func newDisplayFilter(w io.Writer, _ Options) (Sink, error) {
	return &displayFilter{w: bufio.NewWriter(w), by: map[[2]netip.AddrPort][]*packets{},
		recent: map[[2]netip.AddrPort]int64{}}, nil
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
	between := [2]netip.AddrPort{client(c), server(c)}
	if !between[0].IsValid() || !between[1].IsValid() {
		return nil
	}
	if len(d.selected) == maxFiltered {
		return &TooManyError{maxFiltered}
	}
	d.s.connections++
	p := &packets{between: between}
	began, ended, over, known := d.s.span(c)
	if known && !c.Before && !c.BeginUnknown {
		p.from = began - packetsBefore
		for _, ends := range []map[[2]netip.AddrPort]int64{d.old, d.recent} {
			if last := ends[between]; last > p.from && last <= began {
				p.from = parting(last, began)
			}
		}
	}
	if known && over {
		p.to, p.ended = ended+packetsAfter, ended
	}
	d.Neighbour(c)
	d.selected = append(d.selected, p)
	d.by[between] = append(d.by[between], p)
	return nil
}

// Neighbour takes a connection that is not selected.
func (d *displayFilter) Neighbour(c *conntrack.Connection) {
	between := [2]netip.AddrPort{client(c), server(c)}
	began, ended, over, known := d.s.span(c)
	if !known {
		return
	}
	for _, p := range d.by[between] {
		if p.to > began && p.ended <= began {
			p.to = parting(p.ended, began)
		}
	}
	if !over {
		return
	}
	if len(d.recent) >= maxRecent {
		d.old, d.recent = d.recent, map[[2]netip.AddrPort]int64{}
	}
	d.recent[between] = ended
}

// parting is the time that parts the packets of a connection from those of the next one. An end is seen right after its
// last packet; a begin is the answer to a SYN, which is some time after it.
func parting(ended, began int64) int64 { return ended + (began-ended)/4 }

// seconds writes nanoseconds as seconds.
func seconds(ns int64) string { return fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9) }

func (d *displayFilter) Close() error {
	if len(d.selected) == 0 {
		d.w.WriteString("tcp.port == 0") // no packet
	}
	for i, p := range d.selected {
		if i > 0 {
			d.w.WriteString(" || ")
		}
		ip, a, b := "ip", p.between[0], p.between[1]
		if a.Addr().Is6() {
			ip = "ipv6"
		}
		fmt.Fprintf(d.w, "(((%[1]s.src == %[2]s && tcp.srcport == %[3]d && %[1]s.dst == %[4]s && tcp.dstport == %[5]d) || "+
			"(%[1]s.src == %[4]s && tcp.srcport == %[5]d && %[1]s.dst == %[2]s && tcp.dstport == %[3]d))",
			ip, a.Addr(), a.Port(), b.Addr(), b.Port())
		if p.from != 0 {
			fmt.Fprintf(d.w, " && frame.time_epoch >= %s", seconds(p.from))
		}
		if p.to != 0 {
			fmt.Fprintf(d.w, " && frame.time_epoch < %s", seconds(p.to))
		}
		d.w.WriteString(")")
	}
	d.w.WriteString("\n")
	return d.w.Flush()
}
