package analysis

// This file follows connections that were refused because a queue was full.

import (
	"cmp"
	"maps"
	"slices"

	"github.com/acc-project/acc/analysis/stats"
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
	listener *listener
	skips    uint32 // parts that were left out before the last of them
}

// refused takes a packet that was dropped.
func (cs *conns) refused(e *format.Event, l *listener) error {
	k := tupleOf(e)
	r := cs.refusals[k]
	if r != nil && e.BootNS-r.lastNS > retryNS {
		if err := cs.gaveUp(k, r); err != nil {
			return err
		}
		r = nil
	}
	if r == nil {
		if len(cs.refusals) >= maxRefusals {
			return nil
		}
		r = &refusal{listener: l}
		cs.refusals[k] = r
		if l.life != nil {
			l.life.Clients++
		}
	}
	r.count++
	r.lastNS, r.lastSeq, r.skips = e.BootNS, e.Seq, cs.skips
	if len(r.kept) < keepRefused {
		r.kept = append(r.kept, Refusal{Seq: e.Seq, NS: e.BootNS, ACK: e.Hook == format.HookSynRecv,
			SYNQueue: e.Mark&format.MarkSynQueue != 0, Cause: e.Why()})
	}
	if e.Cause == format.CauseAborted { // its client was reset; the same ports are another connection's then
		return cs.gaveUp(k, r)
	}
	return nil
}

// refusedBefore joins a connection that is queued with its packets that were dropped.
func (cs *conns) refusedBefore(c *conn, e *format.Event, l *listener) error {
	r := cs.refusals[c.key]
	if r == nil {
		return nil
	}
	if e.BootNS-r.lastNS > retryNS {
		return cs.gaveUp(c.key, r)
	}
	delete(cs.refusals, c.key)
	c.more().refusal = r
	c.first = r.kept[0].Seq
	tried := max(e.BootNS-r.kept[0].NS, 0)
	cs.tries.Record(tried)
	if l != nil && l.life != nil {
		if !l.life.Tried.On() && l.detailed {
			l.life.Tried = stats.NewHistogram(2)
		}
		l.life.Tried.Record(tried)
	}
	return nil
}

// refusedUnseen joins a connection that was queued in a part of the capture that is missing
// with its packets that were dropped: it is one connection.
func (cs *conns) refusedUnseen(c *conn) {
	if r := cs.refusals[c.key]; r != nil && c.headless {
		delete(cs.refusals, c.key)
		c.more().refusal = r
		c.first = r.kept[0].Seq
		c.headless = false
	}
}

// gaveUp tells of a connection that was refused and never queued.
func (cs *conns) gaveUp(k tuple, r *refusal) error { return cs.unqueued(k, r, EndRefused) }

// unqueued tells of a connection that was refused and was not queued, unless it was in a part
// that is missing.
func (cs *conns) unqueued(k tuple, r *refusal, end End) error {
	delete(cs.refusals, k)
	if r.skips != cs.skips {
		end = EndNotRecorded
	}
	cs.totals.Seen++
	cs.count(false, end)
	if end == EndRefused {
		cs.totals.NeverQueued++
		if f := r.listener.life; f != nil {
			f.NeverIn++
		}
	}
	if cs.emit == nil {
		return nil
	}
	c := conn{key: k, first: r.kept[0].Seq, listener: r.listener, rare: &rare{refusal: r}}
	cs.fill(&c, end)
	cs.out.EndNS = r.lastNS
	return cs.emit(&cs.out)
}

// neverQueued tells of all that were not queued by the end.
func (cs *conns) neverQueued() error {
	keys := slices.SortedFunc(maps.Keys(cs.refusals), func(a, b tuple) int {
		return cmp.Compare(cs.refusals[a].kept[0].Seq, cs.refusals[b].kept[0].Seq)
	})
	for _, k := range keys {
		r, end := cs.refusals[k], EndRefused
		if cs.cut && cs.endNS-r.lastNS <= retryNS {
			end = EndRefusedCut
		}
		if err := cs.unqueued(k, r, end); err != nil {
			return err
		}
	}
	return nil
}

// fill tells what was refused of a connection; r may be nil.
func (r *refusal) fill(o *Connection) {
	if r == nil {
		return
	}
	o.Refusals, o.RefusedPackets, o.RefusedNS, o.refusedSeq = r.kept, r.count, r.lastNS, r.lastSeq
}
