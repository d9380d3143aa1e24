package conntrack

// This file has the totals of all connections.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/analysis/stats"
)

// ConnectionTotals count TCP connections of listeners. Without Recorded, only
// those that were accepted are known, and not what became of them. Seen is the sum of
// Ends, and how many --connections lists.
type ConnectionTotals struct {
	Recorded bool `json:"recorded"` // more than accept is recorded
	// connections: the sum of ends, and how many --connections lists
	Seen   uint64 `json:"seen"`
	Before uint64 `json:"before"` // of those seen, there when recording began
	// of those seen, those whose beginning is missing: they began in a part that is not in the capture, or were there
	// before
	BeginUnknown uint64 `json:"begin_unknown"`
	// if not, accepted, never_accepted, waiting and the waits are of those of whom other events tell
	AcceptsRecorded bool `json:"accepts_recorded"`
	// not of those seen: ends of sockets that no listener made, at a port that was listened on
	Foreign uint64 `json:"foreign"`
	// of those of before, without an event: they stayed as they were, or their end was not seen
	Silent        uint64 `json:"silent"`
	SilentWaiting uint64 `json:"silent_waiting"` // of the silent, in an accept queue all the time
	// of the silent, gone by the end; what is neither was open all the time
	SilentGone    uint64 `json:"silent_gone"`
	Queued        uint64 `json:"queued"`         // put into an accept queue during the recording
	Accepted      uint64 `json:"accepted"`       // taken out of one
	NeverAccepted uint64 `json:"never_accepted"` // in an accept queue, and not accepted
	Waiting       uint64 `json:"waiting"`        // of the never accepted, in the queue at the end
	NeverQueued   uint64 `json:"never_queued"`   // refused, and not queued by the end
	Closed        uint64 `json:"closed"`         // seen to end
	// sockets, not in any other figure, that the kernel made twice for one handshake and dropped
	Discarded uint64 `json:"discarded"`
	Dead      uint64 `json:"dead_on_arrival"` // closed when accept returned them
	// of the accepted, those that the server ended within a second without reading or sending a byte
	TurnedAway uint64 `json:"turned_away"`
	// of the accepted, those that the server ended within a second: it had read no byte, but had sent something
	Unread uint64 `json:"closed_unread"`
	// of the accepted, those whose client sent something and left before a byte came back
	Unanswered uint64 `json:"unanswered"`
	// of the accepted, those whose client left when neither side had sent a byte
	Probes           uint64 `json:"probes"`
	LostWithListener uint64 `json:"lost_with_listener"` // in the queue when the listener stopped listening
	RefusedSYN       uint64 `json:"refused_syn"`        // packets refused: SYNs, the accept queue was full
	// packets refused: last ACKs of handshakes, the accept queue was full
	RefusedACK      uint64          `json:"refused_ack"`
	RefusedSYNQueue uint64          `json:"refused_syn_queue"`      // packets refused: SYNs, the SYN queue was full
	Ends            []EndCount      `json:"ends"`                   // how they ended, most frequent first
	Handshake       stats.Quantiles `json:"handshake_ns"`           // from the answer to the SYN to the queue
	QueueWait       stats.Quantiles `json:"queue_wait_ns"`          // from the queue to the return of accept
	NeverWait       stats.Quantiles `json:"never_accepted_wait_ns"` // in the queue, of the never accepted
	// from the first packet that was dropped to the queue, of those that were refused first
	RefusedFor stats.Quantiles `json:"refused_ns"`
	// from the return of accept to the server's own close, or to the end where there is none or it is not known, of those
	// that closed
	Served stats.Quantiles `json:"served_ns"`
	// from the server's own close to the end, of those where it is known: the client has yet to acknowledge, or to close
	Closing stats.Quantiles `json:"closing_ns"`
	Alive   stats.Quantiles `json:"alive_ns"` // from the queue, or accept, to the end, of those that closed
}

// EndCount is how many connections ended in one way.
type EndCount struct {
	End    string `json:"end"`        // how, as one word
	Reason End    `json:"end_reason"` // the same in words for people
	Count  uint64 `json:"count"`      // connections
}

// ends count connections by how they ended: there are few ways, and the usual ones come first.
type ends []EndCount

// of gives the count of an end.
func (es *ends) of(end End) *uint64 {
	for i := range *es {
		if e := &(*es)[i]; e.Reason == end {
			return &e.Count
		}
	}
	*es = append(*es, EndCount{Reason: end})
	return &(*es)[len(*es)-1].Count
}

// Totals are those of all connections, when the Tracker was closed. LostQueued says that events of connections that
// were queued are lost, or were missed. What listeners refused, or lost when they stopped, is left to those who keep
// them.
func (t *Tracker) Totals(lostQueued bool) ConnectionTotals {
	if t.only > 0 {
		t.totals.Seen += t.only
		t.totals.Accepted += t.only
		*t.ends.of(EndNotRecorded) += t.only
		t.only = 0
	}
	c := t.totals
	if c.Before += t.unlisted; lostQueued {
		c.Before, c.BeginUnknown = c.Before-t.unlisted, c.BeginUnknown+t.unlisted
	}
	c.Recorded, c.AcceptsRecorded = t.on, !t.o.Blind
	c.Ends = []EndCount{}
	for _, n := range t.ends {
		if n.Count > 0 {
			c.Ends = append(c.Ends, EndCount{n.Reason.ID(), n.Reason, n.Count})
		}
	}
	slices.SortFunc(c.Ends, func(x, y EndCount) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count),
			cmp.Compare(x.Reason, y.Reason))
	})
	c.Handshake, c.QueueWait, c.Alive = t.shakes.Quantiles(), t.queue.Quantiles(), t.alive.Quantiles()
	c.Served, c.Closing = t.served.Quantiles(), t.closing.Quantiles()
	c.NeverWait, c.RefusedFor = t.never.Quantiles(), t.tries.Quantiles()
	return c
}

// AllEnded reports whether each connection has its end, or stood in the list at the end.
func (t *Tracker) AllEnded() bool {
	return t.on && t.final.known && !t.limited && t.unsure == 0 && *t.ends.of(EndGone)+*t.ends.of(EndNotRecorded) == 0
}

// Unsettled is how many connections had ended when the capture did, and can have been accepted.
func (t *Tracker) Unsettled() int { return t.pending }

// Listed reports whether the list of the end is there.
func (t *Tracker) Listed() bool { return t.final.bootNS != 0 }
