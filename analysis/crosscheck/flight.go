package crosscheck

import (
	"net/netip"

	"github.com/acc-project/acc/format"
)

// This file finds the calls that were under way while the counters were read.

// flight is what began in the second after a reading of the counters. A call that did
// not, and returned then, was under way while they were read: whether it had taken its
// connection from the queue by then, which they say, is not known, unless that came to
// the queue only then.
type flight struct {
	toNS   int64            // when the second is over
	calls  map[uint32]int64 // when the last attempt of a task began
	queued map[netip.AddrPort]int64
}

// after begins with a reading.
func (f *flight) after(c *format.Counters) {
	if f.calls == nil || c.BootNS > f.toNS {
		f.calls, f.queued = map[uint32]int64{}, map[netip.AddrPort]int64{}
	}
	f.toNS = min(c.UntilNS, c.BootNS+longestReading) + late
}

// see takes note of an event.
func (f *flight) see(e *format.Event) {
	switch {
	case f.calls == nil || e.BootNS > f.toNS:
	case len(f.calls)+len(f.queued) >= maxRecent:
		f.toNS = e.BootNS
	case e.Kind == format.Enter:
		f.calls[e.TID] = e.BootNS
	case e.Kind == format.Queued:
		f.queued[e.Remote()] = e.BootNS
	}
}

// across reports whether a return is of a call that was under way at a reading, and
// whose connection can have been taken then.
func (f *flight) across(b *boundary, e *format.Event) bool {
	return b != nil && e.BootNS > b.endNS() && e.BootNS <= min(b.endNS()+late, f.toNS) && f.calls[e.TID] <= b.endNS() &&
		f.queued[e.Remote()] <= b.endNS()
}

// maxUnderWay bounds how many calls can have taken a connection and not returned until
// the probes were stopped, 20 ms later: those that run on a CPU, or stand in a page fault. However many
// tasks wait in accept, they have taken none.
const maxUnderWay = 64

// underWay is how many calls had not returned when the probes were stopped, as far as they can
// have taken a connection.
func (w *Check) underWay() (n int64) {
	if w.end == nil || w.blind {
		return 0
	}
	for _, t := range w.end.Totals {
		switch {
		case t.Kind == format.Enter:
			n += int64(t.Seen)
		case t.Hook == format.HookSysAccept4, t.Hook == format.HookSysExit, t.Hook == format.HookFDInstall:
			n -= int64(t.Seen)
		}
	}
	n -= int64(w.unseen) // these returned
	return min(n, 2*int64(max(w.cpus, 1)), maxUnderWay)
}
