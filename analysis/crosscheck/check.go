package crosscheck

import (
	"slices"
	"time"

	"github.com/acc-project/acc/format"
)

// This file collects events and readings of the counters, by network namespace.

// maxRecent bounds the events that are remembered by their time: more than come
// between two readings of the counters' clock.
const maxRecent = 1 << 16

// maxSpaces is how many network namespaces are told apart.
const maxSpaces = 10_000

// late is by how much events can stand out of their order in time.
const late = int64(time.Second)

// Check compares what was recorded with what the kernel counted. It takes a capture's
// batches one after another. It is for one goroutine.
type Check struct {
	queuedKnown bool // the capture has events of connections that were queued
	blind       bool // and none of accept
	dropsKnown  bool // it has events of requests that were dropped because a queue was full
	forgotKnown bool // it can have events of those that waited when their listener was closed
	oneCPU      bool // the host has no second one
	spaces      map[uint32]*space
	recent      []moment // the last events, a ring
	next        int      // in recent, the oldest
	flight      flight
	at          *space // of the event before
	noFacts     int64  // accepted without a socket
	facts       int64  // of do_accept alone, which may belong to those
	before      bool   // it is not known who sat in accept at the start
	rest        *space // of all namespaces beyond maxSpaces; its counters are not held
	repaired    *format.Repaired
	told        uint64 // events that the capture tells as lost, of the kinds that count
	counted     uint64 // events of them that are there
	end         *format.End
	selected    *format.Selection // nil: everything was recorded
	cut         bool              // it is a part of a recording
	startNS     int64             // when the recording began, 0 if that is not known
	read        bool              // there was a reading
	first       uint64            // Seq of the first event
	settings    Settings
	ended       []*space          // whose number another namespace got later
	listeners   map[uint64]uint32 // the network namespaces of listeners, by inode number
	near        [16]home          // some of them, by the lowest bits of that
	cpus        int
	unseen      uint64 // returns that were missed, as the next entries of their tasks say
	final       bool   // there was a reading of the end
	unread      bool   // no reading came before it although it is not the capture's first
	kept        int    // bytes of readings that are kept
	limited     bool   // there were more
}

// maxReadings bounds the bytes of the readings that are kept: the first and the last one of each namespace.
const maxReadings = 32 << 20

// Limited reports whether there was no memory for all readings: comparisons with them are not whole.
func (w *Check) Limited() bool { return w.limited || w.settings.room.Full }

// space is what is known of one network namespace.
type space struct {
	netns       uint32
	sums        sums
	first, last *boundary
	newest      *format.Counters // the reading before
	lastBytes   int              // of it, if it is not the first one
	anew        bool             // another namespace had this number before
	reserved    int64            // drops by other reasons while a part of the SYN backlog was reserved
	synBacklog  int64            // the smallest net.ipv4.tcp_max_syn_backlog then
	fromNS      int64            // of the first event that a counter can tell of, and of the last
	toNS        int64
}

// sums count connections.
type sums struct {
	accepted  int64 // taken from the accept queue
	kernel    int64 // of them, by the kernel for itself
	queued    int64 // put into it
	forgotten int64 // that were in it when the listener was closed
	discarded int64 // made and dropped at once, see Discarded
	overflows int64 // packets that were dropped because the accept queue was full
	synQueue  int64 // or the SYN queue
	moved     int64 // to another listener, in the queue or at the end of their handshake
}

func (s *sums) add(what uint8, n int64) {
	switch what {
	case tookKernel:
		s.kernel += n
		fallthrough
	case took:
		s.accepted += n
	case moves:
		s.moved += n
	case putMoved:
		s.moved += n
		fallthrough
	case put:
		s.queued += n
	case forgot:
		s.forgotten += n
	case discard:
		s.discarded += n
	case overflow:
		s.overflows += n
	case overflowSYN:
		s.synQueue += n
	}
}

const (
	took = iota + 1
	tookKernel
	put
	forgot
	discard
	overflow
	overflowSYN
	moves
	putMoved
)

// moment is an event that a counter can tell of.
type moment struct {
	ns   int64
	at   *space
	what uint8
}

// boundary is a reading of the counters with what had happened by then.
type boundary struct {
	format.Counters
	by    sums // before it began
	while sums // while it was read

	across sums // by calls that were under way then
}

// longestReading is how long counters are read at most: the recorder gives up before. A
// capture that says more does not make its own excuse wider by that.
const longestReading = int64(10 * time.Second)

// endNS is when it was over.
func (b *boundary) endNS() int64 { return min(b.UntilNS, b.BootNS+longestReading) }

// note counts an event by a boundary's time.
func (b *boundary) note(m moment, n int64) {
	switch {
	case b == nil:
	case m.ns < b.BootNS:
		b.by.add(m.what, n)
	case m.ns <= b.endNS():
		b.while.add(m.what, n)
	}
}

// moved bounds how many connections were not counted where they waited although they were
// there: those that came while the accept queues were read. The record says how many
// connections the kernel made meanwhile; older recorders did not write that down, and
// then it is how many events say so.
func (b *boundary) moved() int64 {
	switch {
	case b.QueuedKnown:
		return 0
	case b.QueuedMoved > 0:
		return int64(b.QueuedMoved)
	}
	return b.while.queued + b.while.accepted
}

// unsure is how many connections were accepted, or lost with their listener, so close to a
// reading that it is not known on which side of it.
func (b *boundary) unsure() int64 {
	return b.while.accepted + b.while.forgotten + min(b.across.accepted+b.across.forgotten, maxUnderWay)
}

// Blind reports whether a capture leaves out accept itself.
func Blind(h *format.Header) bool { return slices.Contains(h.Filters, "--events lifecycle") }

// Discarded reports whether an event is the end of a socket that never became a connection. When
// two CPUs end one handshake at the same time, both make a socket for it, which
// PassiveOpens counts; the one that comes second finds the other in the table and drops
// its own out of SYN-RECV before anybody has seen it (inet_ehash_nolisten).
func Discarded(e *format.Event) bool {
	return e.Kind == format.Closed && e.Hook == format.HookSetState && e.OldState == format.StateSynRecv &&
		e.Inode == 0 && e.BytesIn == 0 && e.BytesOut == 0
}

// New begins with the capture whose header is h.
func New(h *format.Header) *Check {
	w := &Check{
		startNS: h.Clock.BootNS, spaces: map[uint32]*space{}, rest: &space{}, blind: Blind(h), oneCPU: h.CPUs == 1,
		cpus: h.CPUs, selected: h.Selection, cut: len(h.Cuts) > 0,
		forgotKnown: len(h.Probes) == 0, repaired: h.Repaired, listeners: map[uint64]uint32{},
	}
	for _, p := range h.Probes {
		w.forgotKnown = w.forgotKnown || p.Hook == format.HookChildForget
		w.dropsKnown = w.dropsKnown || p.Hook == format.HookConnRequest
		w.queuedKnown = w.queuedKnown || p.Hook == format.HookHashdance
	}
	return w
}

// Add takes the next batch; nothing of it is kept.
func (w *Check) Add(b *format.Batch) {
	w.Records(b)
	for i := range b.Events {
		w.Event(&b.Events[i])
	}
}

// Records takes all of a batch but its events, which follow.
func (w *Check) Records(b *format.Batch) {
	for i := range b.Counters {
		w.counters(&b.Counters[i])
	}
	for _, l := range b.Losses {
		if w.counts(l.Kind) {
			w.told += l.Count
		}
	}
	for i := range b.Snapshots {
		for _, l := range b.Snapshots[i].Listeners {
			w.listensIn(l.Listener, l.NetNS)
		}
		w.before = w.before || !b.Snapshots[i].Final && !b.Snapshots[i].BlockedKnown
	}
	if b.End != nil {
		end := *b.End
		w.end = &end
	}
}

// home is in which network namespace a listener is.
type home struct {
	listener uint64
	netns    uint32
}

// listensIn notes in which network namespace a listener is: in a capture of an older
// recorder, accepts have the namespace of the task.
func (w *Check) listensIn(listener uint64, netns uint32) {
	near := &w.near[listener%uint64(len(w.near))]
	if *near == (home{listener, netns}) {
		return
	}
	*near = home{}
	if _, known := w.listeners[listener]; listener != 0 && netns != 0 && (known || len(w.listeners) < maxRecent) {
		w.listeners[listener] = netns
		*near = home{listener, netns}
	}
}

// netnsOf is the namespace of an event's socket.
func (w *Check) netnsOf(e *format.Event) uint32 {
	if e.Kind != format.Return || e.Listener == 0 {
		return e.NetNS
	}
	if near := &w.near[e.Listener%uint64(len(w.near))]; near.listener == e.Listener {
		return near.netns
	}
	if ns, known := w.listeners[e.Listener]; known {
		return ns
	}
	return e.NetNS
}

// replace begins a namespace anew: its counters began anew, so the kernel has given the
// number of one that ended to another one.
func (w *Check) replace(s *space) *space {
	if len(w.spaces)+len(w.ended) >= maxSpaces {
		return s
	}
	w.ended = append(w.ended, s)
	s = &space{netns: s.netns, anew: true}
	w.spaces[s.netns], w.at = s, s
	return s
}

// all gives each namespace whose counters were read twice.
func (w *Check) all() (list []*space) {
	for _, s := range w.spaces {
		if s.first != nil && s.last != nil {
			list = append(list, s)
		}
	}
	for _, s := range w.ended {
		if s.first != nil && s.last != nil {
			list = append(list, s)
		}
	}
	return list
}

// ranBack reports whether counters are smaller than they were: they never are in one namespace.
func ranBack(from, to *format.Counters) bool {
	for _, name := range []string{format.CounterPassiveOpens, format.CounterMPJoins, "TcpActiveOpens", "TcpOutRsts",
		format.CounterDrops} {
		if to.Values[name] < from.Values[name] {
			return true
		}
	}
	return false
}

func (w *Check) space(netns uint32) *space {
	if w.at == nil || w.at.netns != netns {
		s := w.spaces[netns]
		if s == nil && len(w.spaces) == maxSpaces {
			return w.rest
		}
		if s == nil {
			s = &space{netns: netns}
			w.spaces[netns] = s
		}
		w.at = s
	}
	return w.at
}

// keeps reports whether there is memory for a reading, in the place of the last one of its namespace but the first.
func (w *Check) keeps(s *space, c *format.Counters) bool {
	n := format.MemoryOf(c)
	if w.kept-s.lastBytes+n > maxReadings {
		w.limited = true
		return false
	}
	w.kept += n - s.lastBytes
	if s.lastBytes = n; s.newest == nil {
		s.lastBytes = 0
	}
	return true
}

// counters takes a reading: what was recorded so far happened before it, but for
// the last events.
func (w *Check) counters(c *format.Counters) {
	w.read = true
	s := w.space(c.NetNS)
	if s == w.rest {
		return
	}
	w.final = w.final || c.Final
	if s.newest != nil && !c.Parted && c.BootNS < s.newest.BootNS {
		return // it was written down late: recorders did so where a file ended while they read the counters
	}
	w.flight.after(c)
	w.settings.Add(c)
	if s.newest != nil && (c.Parted || ranBack(s.newest, c)) {
		s = w.replace(s)
	}
	if !w.keeps(s, c) {
		return
	}
	if s.newest != nil {
		s.without(s.newest, c)
	}
	newest := *c
	s.newest = &newest
	b := &boundary{Counters: *c, by: s.sums}
	for i := range w.recent { // the newest first
		m := w.recent[(w.next+len(w.recent)-1-i)%len(w.recent)]
		if m.ns < b.BootNS-late {
			break
		}
		if m.at == s && m.ns >= b.BootNS {
			b.by.add(m.what, -1)
			b.note(m, 1)
		}
	}
	if s.first == nil {
		s.first = b
		return
	}
	s.last = b
}

// counts reports whether events of the kind are what connections are counted by.
func (w *Check) counts(kind format.Kind) bool {
	return kind == format.Return || w.blind && kind == format.Queued
}

// whatOf says as what of the sums an event counts, false if as nothing.
func (w *Check) whatOf(e *format.Event) (what uint8, counts bool) {
	switch {
	case e.Kind == format.Queued && e.Cause == format.CauseMoved:
		return moves, true
	case e.Kind == format.Queued && e.Cause == format.CauseMovedHandshake:
		return putMoved, true
	case e.Kind == format.Queued:
		return put, true
	case e.Kind == format.Drop && e.Hook == format.HookChildForget:
		return forgot, true
	case Discarded(e):
		return discard, true
	case e.Kind == format.Drop && e.Mark&format.MarkSynQueue != 0:
		return overflowSYN, true
	case e.Kind == format.Drop:
		return overflow, true
	case e.Kind != format.Return || e.Ret < 0 && e.Mark&format.MarkClientLost == 0:
		return 0, false
	case e.Mark&format.MarkNoFacts != 0:
		w.noFacts++
		return 0, false
	case e.Proto != format.ProtoTCP && e.Proto != format.ProtoMPTCP:
		return 0, false
	case e.Hook == format.HookKernelAccept:
		return tookKernel, true
	case e.Hook == format.HookDoAccept && e.Via == format.ViaUnknown:
		w.facts++
	}
	return took, true
}

// Event takes an event of the batch whose records were taken by [Check.Records].
func (w *Check) Event(e *format.Event) {
	if w.counts(e.Kind) {
		w.counted++
	}
	if w.first == 0 {
		w.first, w.unread = e.Seq, e.Seq > 1 && !w.read
	}
	w.flight.see(e)
	if e.Kind == format.Enter && e.Mark&format.MarkPrevMissed != 0 {
		w.unseen++
	}
	what, counts := w.whatOf(e)
	if !counts {
		return
	}
	if e.Kind == format.Queued {
		w.listensIn(e.Listener, e.NetNS)
	}
	s := w.space(w.netnsOf(e))
	m := moment{e.BootNS, s, what}
	if s.sums == (sums{}) {
		s.fromNS = m.ns
	}
	s.fromNS, s.toNS = min(s.fromNS, m.ns), max(s.toNS, m.ns)
	s.sums.add(what, 1)
	for _, b := range []*boundary{s.first, s.last} {
		b.note(m, 1) // an event can be recorded after a reading that came after it
		if e.Kind == format.Return && w.flight.across(b, e) {
			b.across.add(m.what, 1)
		}
	}
	if len(w.recent) < maxRecent {
		w.recent = append(w.recent, m)
		return
	}
	w.recent[w.next] = m
	w.next = (w.next + 1) % maxRecent
}
