package replay

// This file holds events back until none can come before them.

import "github.com/acc-project/acc/format"

// maxHeld is how many events wait at once for others that are earlier.
const maxHeld = 1 << 16

// hold keeps copies of events in order of time.
type hold struct {
	order  []heldEvent
	events []format.Event // by slot
	free   []int32        // slots not in use
}

// heldEvent is the place of a held event in the order.
type heldEvent struct {
	ns   int64
	slot int32
}

func (h *hold) len() int { return len(h.order) }

// copy takes an event into a slot.
func (h *hold) copy(e *format.Event) heldEvent {
	slot := int32(len(h.events))
	if n := len(h.free); n > 0 {
		slot, h.free = h.free[n-1], h.free[:n-1]
		h.events[slot] = *e
	} else {
		h.events = append(h.events, *e)
	}
	return heldEvent{e.BootNS, slot}
}

// take gives an event, and frees its slot. The slice is valid until the next copy.
func (h *hold) take(e heldEvent) []format.Event {
	h.free = append(h.free, e.slot)
	return h.events[e.slot : e.slot+1]
}
