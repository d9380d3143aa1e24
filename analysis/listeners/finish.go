package listeners

// This file ends what is kept of listeners.

import (
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/format"
)

// Limited reports whether a bound was hit: the totals are right, the lists are not complete.
func (reg *Registry) Limited() bool {
	reg.peers.flush()
	reg.limited = reg.limited || reg.peers.more > 0
	return reg.limited
}

// Finish ends all listeners, after all attempts and connections were given: by END, nil if it is missing, and when the
// capture ends.
func (reg *Registry) Finish(end *format.End, endNS int64) {
	reg.end, reg.endNS = end, endNS
	if end != nil {
		reg.sit(end.Blocked)
	}
	reg.refusedConnects(end)
	for _, l := range reg.all { // a queue that nobody came to is worth a row
		if l.idle && (l.refused > 0 || l.snap.start > 0 || l.snap.ended && l.snap.end > 0) {
			reg.wake(l)
		}
	}
	for _, l := range reg.all { // a queue that is full at the end
		f := l.life
		if f != nil && !f.Blind {
			f.begin(l, 0)
		}
		if f != nil && f.full {
			f.drained(max(reg.endNS, f.lastNS))
			f.full = false
		}
	}
	reg.lastDepths()
}

// AddRefused adds to the totals of connections what listeners refused, and what they lost when they stopped.
func (reg *Registry) AddRefused(c *conntrack.ConnectionTotals) {
	for _, l := range append(slices.Clone(reg.all), reg.none, reg.more) {
		if f := l.life; f != nil {
			c.RefusedSYN += f.SYNs
			c.RefusedACK += f.ACKs
			c.RefusedSYNQueue += f.SYNQueue
			c.LostWithListener += f.Lost
		}
	}
}
