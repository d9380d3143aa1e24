package replay

// This file merges events of several CPUs into one order.

import (
	"cmp"
	"math"
	"slices"

	"github.com/acc-project/acc/format"
)

// merger merges a batch's events with those that wait. Most events of a batch are in order:
// the others, strays, are earlier than one before them. They are sorted by themselves.
type merger struct {
	o      *Ordered
	events []format.Event
	times  []int64
	next   int     // of the events, the first one not yet taken that is no stray
	high   int64   // time of the one before it, below which an event is a stray
	strays []int32 // not yet taken, in order of time
	waits  []heldEvent
	left   int   // events not yet given
	floor  int64 // least time of events to come
	yield  func([]format.Event) bool
}

// merge gives the events of a batch and those that wait in order, as far as no event that is
// expected can be earlier, and those for which there is no room. The others wait.
func (o *Ordered) merge(events []format.Event, floor int64, yield func([]format.Event) bool) {
	m := merger{o: o, events: events, times: o.times, high: math.MinInt64, strays: o.strays[:0], waits: o.hold.order,
		left: len(events) + o.hold.len(), floor: floor, yield: yield}
	high := m.high
	for i, ns := range m.times {
		if ns < high {
			m.strays = append(m.strays, int32(i))
		}
		high = max(high, ns)
	}
	slices.SortFunc(m.strays, func(a, b int32) int {
		return cmp.Or(cmp.Compare(m.times[a], m.times[b]),
			cmp.Compare(a, b))
	})
	strays := m.strays
	o.hold.order = o.spare[:0]
	o.spare = m.waits[:0]
	for m.left > o.hold.len() {
		if !m.run() || !m.one() {
			return
		}
	}
	o.strays = strays
}

// run gives those that come next as long as they stand behind each other in the batch.
func (m *merger) run() bool {
	m.pass()
	from, limit := m.next, m.floor
	if len(m.waits) > 0 { // of equal times, what waits comes first
		if m.waits[0].ns == math.MinInt64 {
			return true
		}
		limit = min(limit, m.waits[0].ns-1)
	}
	strayNS, stray := int64(math.MaxInt64), math.MaxInt
	if len(m.strays) > 0 {
		stray = int(m.strays[0])
		strayNS = m.times[stray]
	}
	i := from
	for i < len(m.times) && m.times[i] >= m.high && m.times[i] <= limit &&
		(m.times[i] < strayNS || m.times[i] == strayNS && i < stray) {
		m.high = m.times[i]
		i++
	}
	if m.next = i; i == from {
		return true
	}
	m.left -= i - from
	m.o.note(m.times[from:i], false)
	return m.yield(m.events[from:i])
}

// pass goes past strays.
func (m *merger) pass() {
	for m.next < len(m.times) && m.times[m.next] < m.high {
		m.next++
	}
}

// one gives the next event, or makes it wait.
func (m *merger) one() bool {
	m.pass()
	at := -1 // in the batch
	if m.next < len(m.times) {
		at = m.next
	}
	if len(m.strays) > 0 {
		if s := int(m.strays[0]); at < 0 || m.times[s] < m.times[at] || m.times[s] == m.times[at] && s < at {
			at = s
		}
	}
	if len(m.waits) > 0 && (at < 0 || m.waits[0].ns <= m.times[at]) {
		w := m.waits[0]
		m.waits = m.waits[1:]
		if !m.gives(w.ns) {
			m.o.hold.order = append(m.o.hold.order, w)
			return true
		}
		return m.o.giveHeld(w, w.ns > m.floor, m.yield)
	}
	if at < 0 {
		return true
	}
	if len(m.strays) > 0 && at == int(m.strays[0]) {
		m.strays = m.strays[1:]
	} else {
		m.high = m.times[at]
		m.next++
	}
	ns := m.times[at]
	if !m.gives(ns) {
		m.o.hold.order = append(m.o.hold.order, m.o.hold.copy(&m.events[at]))
		return true
	}
	m.o.note(m.times[at:at+1], ns > m.floor)
	return m.yield(m.events[at : at+1])
}

// gives reports whether the next event is given, not made to wait.
func (m *merger) gives(ns int64) bool {
	if ns > m.floor && m.left <= maxHeld {
		return false
	}
	m.left--
	return true
}
