package export

// This file has what several formats say of a connection.

import (
	"net/netip"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/report"
)

// client and server are the ends of a connection, an IPv4 address as such.
func client(c *conntrack.Connection) netip.AddrPort { return unmapped(c.Remote) }
func server(c *conntrack.Connection) netip.AddrPort { return unmapped(c.Local) }

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// family is "ipv4" or "ipv6", "" if no address is known.
func family(a netip.Addr) string {
	switch {
	case a.Is4():
		return "ipv4"
	case a.Is6():
		return "ipv6"
	}
	return ""
}

// span is when a connection began and ended, or what is known of it, in Unix nanoseconds. It has ended if ended is set.
func (s *Source) span(c *conntrack.Connection) (from, to int64, ended, known bool) {
	from, known = s.wall(report.BeganNS(c))
	to, _ = s.wall(report.ListedNS(c))
	return from, max(to, from), c.ClosedSeq != 0 || c.DropSeq != 0 || c.End.Refused(), known
}

// rfc3339 is a time as JSON has it.
func rfc3339(unixNS int64) string { return time.Unix(0, unixNS).UTC().Format(time.RFC3339Nano) }

// lines of JSON are for connections alone; onlyConnections is what such formats want.
type onlyConnections struct{}

func (onlyConnections) Wants() (connections, attempts bool) { return true, false }
