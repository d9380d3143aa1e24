package conntrack

// This file follows connections that were refused because a queue was full.

import (
	"cmp"
	"maps"
	"slices"

	"github.com/acc-project/acc/format"
)

const (
	maxRefusals = 1 << 16 // refused connections that are counted by themselves at once
	keepRefused = 8       // dropped packets of one that are kept
	retryNS     = 130e9   // a client that was not heard of for so long has given up (net.ipv4.tcp_syn_retries)
)

// A Refusal is one packet of a new client that was dropped because a queue was full.
type Refusal struct {
	Seq      uint64
	NS       int64
	ACK      bool         // the last one of the handshake, else a SYN
	SYNQueue bool         // which it was that was full
	Cause    format.Cause // 0: not known
}

// refusal is what is kept of a connection that was refused.
type refusal struct {
	count    uint64
	lastNS   int64
	lastSeq  uint64
	kept     []Refusal
	listener Ref
	skips    uint32 // parts that were left out before the last of them
}

// Refused takes a packet of a new client that a listener dropped. First: it is the first one of that client.
func (t *Tracker) Refused(e *format.Event, l Ref) (first bool, err error) {
	k := tupleOf(e)
	r := t.refusals[k]
	if r != nil && e.BootNS-r.lastNS > retryNS {
		if err := t.gaveUp(k, r); err != nil {
			return false, err
		}
		r = nil
	}
	if r == nil {
		if len(t.refusals) >= maxRefusals {
			return false, nil
		}
		r, first = &refusal{listener: l}, true
		t.refusals[k] = r
	}
	r.count++
	r.lastNS, r.lastSeq, r.skips = e.BootNS, e.Seq, t.skips
	if len(r.kept) < keepRefused {
		r.kept = append(r.kept, Refusal{Seq: e.Seq, NS: e.BootNS, ACK: e.Hook == format.HookSynRecv,
			SYNQueue: e.Mark&format.MarkSynQueue != 0, Cause: e.Why()})
	}
	if e.Cause == format.CauseAborted { // its client was reset; the same ports are another connection's then
		return first, t.gaveUp(k, r)
	}
	return first, nil
}

// refusedBefore joins a connection that is queued with its packets that were dropped, and says for how long they were;
// -1: none was.
func (t *Tracker) refusedBefore(c *conn, e *format.Event) (triedNS int64, err error) {
	r := t.refusals[c.key]
	if r == nil {
		return -1, nil
	}
	if e.BootNS-r.lastNS > retryNS {
		return -1, t.gaveUp(c.key, r)
	}
	delete(t.refusals, c.key)
	t.more(c).refusal = r
	c.first = r.kept[0].Seq
	triedNS = max(e.BootNS-r.kept[0].NS, 0)
	t.tries.Record(triedNS)
	return triedNS, nil
}

// refusedUnseen joins a connection that was queued in a part of the capture that is missing
// with its packets that were dropped: it is one connection.
func (t *Tracker) refusedUnseen(c *conn) {
	if r := t.refusals[c.key]; r != nil && c.headless {
		delete(t.refusals, c.key)
		t.more(c).refusal = r
		c.first = r.kept[0].Seq
		c.headless = false
	}
}

// gaveUp gives a connection that was refused and never queued.
func (t *Tracker) gaveUp(k tuple, r *refusal) error { return t.unqueued(k, r, EndRefused) }

// unqueued gives a connection that was refused and was not queued, unless it was in a part
// that is missing.
func (t *Tracker) unqueued(k tuple, r *refusal, end End) error {
	delete(t.refusals, k)
	if r.skips != t.skips {
		end = EndNotRecorded
	}
	t.totals.Seen++
	t.count(false, end)
	if end == EndRefused {
		t.totals.NeverQueued++
	}
	c := conn{key: k, first: r.kept[0].Seq, listener: r.listener, rare: &rare{refusal: r}}
	t.fill(&c, end)
	t.out.EndNS = r.lastNS
	t.o.Listeners.Ended(&t.out)
	if t.o.Emit == nil {
		return nil
	}
	return t.o.Emit(&t.out)
}

// neverQueued gives all that were not queued by the end.
func (t *Tracker) neverQueued() error {
	keys := slices.SortedFunc(maps.Keys(t.refusals), func(a, b tuple) int {
		return cmp.Compare(t.refusals[a].kept[0].Seq, t.refusals[b].kept[0].Seq)
	})
	for _, k := range keys {
		r, end := t.refusals[k], EndRefused
		if t.cut && t.endNS-r.lastNS <= retryNS {
			end = EndRefusedCut
		}
		if err := t.unqueued(k, r, end); err != nil {
			return err
		}
	}
	return nil
}

// fill adds what was refused of a connection; r may be nil.
func (r *refusal) fill(o *Connection) {
	if r == nil {
		return
	}
	o.Refusals, o.RefusedPackets, o.RefusedNS, o.refusedSeq = r.kept, r.count, r.lastNS, r.lastSeq
}
