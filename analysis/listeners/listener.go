package listeners

// This file has what is kept of one listener.

import (
	"net/netip"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

type listenerKey struct {
	netns uint32
	inode uint64
}

type errnoCount struct {
	errno int32
	count uint64
}

// called is an address as text.
type called struct {
	addr netip.AddrPort
	text string
}

// listener is what is known of a listening socket. An inode number that comes
// with another address is another listener: numbers are used again.
type listener struct {
	ref             conntrack.Ref
	key             listenerKey
	addr            netip.AddrPort // invalid: not known, or the family has none
	called          called         // addr, or an earlier one, as text
	bound           string         // the name it is bound to where that is no address
	family          format.Family
	proto           uint16
	attempts        uint64
	accepted        uint64
	failed          uint64
	restarted       uint64 // of the failed
	oneAccept       bool   // it is one of several that took one connection each
	waiting         uint64
	errors          []errnoCount
	high, fullHigh  high    // the longest that the queue was, and of when it was full
	limits          []limit // of the queue, in the order in which it had them
	moreLimits      uint64  // beyond those
	queueMax        uint32  // the last of them
	steered         uint64  // connections that came by another port than its own
	full            uint64
	refused         uint64 // connects of UNIX clients, the queue was full
	firstNS, lastNS int64  // first and last accepted, 0: none
	waits           stats.Histogram
	detailed        bool
	took, bad       stats.Series
	depth           depth
	shares          []*share
	life            *life // what is known of its connections beyond accept; nil: nothing
	marks           findings.Marks
	programs        []program // that accepted at it
	snap            snap
	guess           uint16     // port of a connection of it, while its address is not known
	idle            bool       // nothing happened at it
	deadAhead       uint64     // accepted and dead already, and others waited behind
	uring           *process   // the last one that accepted at it through io_uring
	twin            string     // what tells it apart from others of its name, "" if there are none
	owned           string     // the process that began to listen, "" unknown
	opener          uint32     // its record, if it may be another recorder
	strangers       bool       // somebody else than the accepting process connected, or it is not known who
	short           *process   // the one that had no descriptor left, nil: none, or several
	crowd           *crowd     // how many of its connections are open; nil: none was accepted
	zero            zeroLimit  // that the limit of its queue was set to 0
	shot            *multishot // how multishot accepts at it ended, nil: none did
	beganNS         int64
	began           uint64   // event that says that it began to listen, 0 without one
	stop            *stop    // how it stopped listening, the last time; nil: it did not
	seq             uint64   // its first event
	seenNS          int64    // and when that was
	came            *process // the last one that accepted at it for the first time, when others had
	foreign         []uint32 // network namespaces, other than its own, of tasks that called accept on it; the first few
}

// snap is what the snapshots say of a listener.
type snap struct {
	before     bool                // it listened when recording began
	start, end uint32              // connections in its queue then and at the end
	limit      uint32              // of the queue at the start, 0 if it is not known
	endLimit   uint32              // and at the end
	ended      bool                // end is known
	sits       uint64              // tasks in accept at the end
	sitter     format.Blocked      // one of them
	halted     format.ListenSocket // with a process that did not run then
	holders    []format.Holder     // processes that had it open then, where connections were in its queue
	more       uint32              // further ones
	held       bool                // all processes were looked at for that
}

// share is what one process did at one listener.
type share struct {
	p                         *process
	accepted, empty, attempts uint64 // empty: attempts that found the queue empty
	firstNS, lastNS           int64  // of its attempts
	tid                       uint32
	threads                   bool // more than one
}

// attempt counts an attempt of the process.
func (s *share) attempt(p *pairing.Pair) {
	ns := p.ReturnNS
	if p.EnterSeq != 0 {
		ns = p.EnterNS
	}
	if s.attempts++; s.attempts == 1 {
		s.firstNS, s.lastNS, s.tid = ns, ns, p.TID
	}
	s.firstNS, s.lastNS = min(s.firstNS, ns), max(s.lastNS, ns, p.ReturnNS)
	s.threads = s.threads || s.tid != p.TID
}

// look notes the length of the accept queue at an event.
func (l *listener) look(e *format.Event, queue uint32) {
	l.limited(e)
	if l.life != nil && !l.life.Blind {
		l.life.begin(l, e.BacklogMax)
		l.life.depth(e.BootNS, queue > e.BacklogMax)
	}
	if l.detailed {
		before := queueBefore(e)
		if l.life != nil && !l.life.Blind { // all that changes it is recorded
			before = l.depth.level
		}
		l.depth.carry(e.BootNS, before)
		l.depth.set(e.BootNS, queue)
	}
	if queue == 0 {
		return
	}
	l.raise(high{queue, e.BacklogMax, e.BootNS, e.Seq})
	if queue > e.BacklogMax {
		l.full++
		l.marks.Note(findings.QueueFull, e.Seq, e.BootNS, int64(queue))
	}
}

// ofListener reports whether the socket columns of an event describe the listener.
func ofListener(e *format.Event) bool {
	return e.Kind == format.Enter || e.Kind == format.Listen || e.Kind == format.Stop || e.Kind == format.Return &&
		e.Ret < 0 && e.Mark&format.MarkClientLost == 0
}

// tellsAddress reports whether an event has the listener's address. One that was shut down has given back a port that
// it had not chosen.
func tellsAddress(e *format.Event) bool { return ofListener(e) && e.LAddr.IsValid() && e.LPort != 0 }

// describe takes the listener's own facts from an event that has them.
func (l *listener) describe(e *format.Event) {
	l.family, l.proto = e.Family, e.Proto
	if e.LAddr.IsValid() {
		l.addr = e.Local()
	}
	if e.LName != "" {
		l.bound = short(e.LName, 108)
	}
}

func (l *listener) fail(errno int32) {
	l.failed++
	for i := range l.errors {
		if l.errors[i].errno == errno {
			l.errors[i].count++
			return
		}
	}
	if len(l.errors) < maxErrnos {
		l.errors = append(l.errors, errnoCount{errno, 1})
	}
}
