package listeners

// This file takes failed calls that the recorder counted instead of recording each.

import (
	"net/netip"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// Counted adds counted calls to what findings say of their listener, if its failures are among the recorded ones, too.
func (reg *Registry) Counted(c *format.Counted) {
	l := reg.listeners[listenerKey{c.NetNS, c.Listener}]
	if l == nil || c.Listener == 0 {
		return
	}
	kind := findings.FDExhausted
	switch errno := -c.Ret; {
	case errno == errnoFilesSystem || errno == errnoFilesOwn:
	case findings.Aborted(errno):
		kind = findings.AcceptAborted
	default:
		return
	}
	l.marks[kind].More(c.Calls, c.ToNS)
}

// Called is the name in tables of the listener of counted calls, "" if it has none.
func (reg *Registry) Called(c *format.Counted) string {
	if l := reg.listeners[listenerKey{c.NetNS, c.Listener}]; l != nil {
		return l.name()
	}
	if addr, err := netip.ParseAddr(c.LAddr); err == nil {
		return netip.AddrPortFrom(addr, c.LPort).String()
	}
	return format.Quote(c.LName)
}
