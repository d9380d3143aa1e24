package findings

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// events makes a mark of n events, a second apart.
func events(n int) *stats.Mark {
	m := &stats.Mark{}
	for i := range n {
		m.Note(uint64(i+1), int64(i)*1e9, 0)
	}
	return m
}

// later makes a mark of an event so many seconds later.
func later(s int64) *stats.Mark {
	m := &stats.Mark{}
	m.Note(1000, s*1e9, 0)
	return m
}

func waits(list ...time.Duration) stats.Histogram {
	h := stats.NewHistogram(3)
	for _, d := range list {
		h.Record(int64(d))
	}
	return h
}

func marked(kind Kind, n int) (ms Marks) {
	ms[kind] = events(n)
	return ms
}

// pinned is a listener with so many slow accepts, while as many connections were open as never else; of these, so many
// follow an end soon, or late, after the client left.
func pinned(slow, soon, late uint64, did meanwhile.Kind) Listener {
	l := Listener{Attempts: slow, Workers: []Worker{{Who: "srv[7]"}},
		Crowd: &Crowd{Slow: slow, Peak: 4, IdleNS: 10e9, PeakNS: 9e9, LeftSoon: soon, LeftLate: late},
		Queue: &Queue{Slow: slow, Over: slow, Waits: waits(2e8, 2e8, 2e8)}}
	if did != "" {
		l.Seen = &meanwhile.Seen{WaitsNS: 1e9, Threads: []format.WatchedThread{{TID: 7}},
			Places: []meanwhile.Place{{Did: meanwhile.Where{Kind: did}, TIDs: []uint32{7}, BlameNS: 9e8}}}
	}
	return l
}

// Each rule finds what it is for, as bad as docs/FINDINGS.md says, and is silent just before that.
func TestRules(t *testing.T) {
	halted := Listener{Snapshot: Snapshot{Before: true, Ended: true, Start: 2, End: 2}, Owner: "srv[7]", Began: "srv[7]",
		Stands: "srv[7] is stopped", StandsDo: "kill -CONT 7"}
	two := func(a, b uint64) []Worker {
		return []Worker{{Process: 1, Who: "w[1]", Accepted: a, LastNS: 9e9}, {Process: 2, Who: "w[2]", Accepted: b, LastNS: 9e9}}
	}
	addr := netip.MustParseAddrPort("192.0.2.1:80")
	seen := map[string]bool{}
	for _, x := range []struct {
		name string
		c    Capture
		l    Listener
		want string // ids with severities
		says string
		next string // how it begins
	}{
		{name: "nothing"},
		{name: "9 SYNs dropped", l: Listener{Marks: marked(QueueOverflow, 9), Queue: &Queue{SYNs: 9, Clients: 3}},
			want: "warning queue-overflow", says: "refused clients 9 times"},
		{name: "10 SYNs dropped", l: Listener{Marks: marked(QueueOverflow, 10), Queue: &Queue{SYNs: 10, Clients: 3}}, want: "critical queue-overflow"},
		{name: "10 SYNs dropped of 1,000", l: Listener{Marks: marked(QueueOverflow, 10),
			Queue: &Queue{SYNs: 10, Clients: 10, Queued: 990}}, want: "critical queue-overflow"},
		{name: "10 SYNs dropped of 1,001", l: Listener{Marks: marked(QueueOverflow, 10),
			Queue: &Queue{SYNs: 10, Clients: 10, Queued: 991}}, want: "warning queue-overflow"},
		{name: "10 UNIX connects refused of 1,001", l: Listener{Refused: 10, Accepted: 991}, want: "warning queue-overflow"},
		{name: "some of the dropped were lost", c: Capture{Doubts: stats.Doubts{Connections: true}},
			l: Listener{Marks: marked(QueueOverflow, 9), Queue: &Queue{SYNs: 9, Clients: 3}}, want: "warning queue-overflow", says: "≥9 times"},
		{name: "SYN queue", l: Listener{Marks: marked(QueueOverflow, 1), Queue: &Queue{SYNQueue: 1}}, want: "warning queue-overflow", says: "SYN queue was full"},
		{name: "full for less than a second", l: Listener{Marks: marked(QueueFull, 1), Queue: &Queue{FullNS: 1e9 - 1}}, c: Capture{SpanNS: 60e9}, want: "notice queue-full"},
		{name: "full for a second", l: Listener{Marks: marked(QueueFull, 1), Queue: &Queue{FullNS: 1e9}}, c: Capture{SpanNS: 60e9}, want: "warning queue-full"},
		{name: "two slow waits of many", l: Listener{Attempts: 100, Queue: &Queue{Slow: 2, Over: 2, Waits: waits(slices.Repeat([]time.Duration{time.Millisecond}, 100)...)}}},
		{name: "three slow waits", l: Listener{Attempts: 3, Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8)}}, want: "notice slow-accept", says: "3 of 3 clients waited 100 ms"},
		{name: "one client, for long", l: Listener{Attempts: 1000,
			Queue: &Queue{Slow: 1, Over: 1, Waits: waits(append(slices.Repeat([]time.Duration{time.Millisecond}, 999),
				15e9)...)}},
			want: "notice slow-accept", says: "longest 15.0 s"},
		{name: "a full ring, and asked again", l: Listener{Ended: ShotEnd{Full: *events(1), By: "srv[7]", Again: true}},
			want: "notice io-uring-ended",
			says: "1 multishot accept of srv[7] ended because the completion queue was full"},
		{name: "a multishot that ended, and nobody asked again", c: Capture{AtEnd: "at the end"},
			l: Listener{Ended: ShotEnd{Other: *events(1), By: "srv[7]", Words: "the attempt failed"}, Attempts: 1,
				Snapshot: Snapshot{Ended: true, End: 3}},
			want: "critical io-uring-ended",
			says: "has not asked for another one since, and 3 clients waited at the end"},
		{name: "a full ring makes clients wait", l: Listener{Attempts: 3, Ended: ShotEnd{Full: *events(1), Again: true},
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e9, 2e9, 2e9)}},
			want: "critical io-uring-ended (slow-accept)"},
		{name: "9 turned away", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 30, Served: 21, Turned: 9,
			TurnedAt: *events(9)}}}, want: "notice turned-away"},
		{name: "2 turned away", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 30, Served: 28, Turned: 2}}}},
		{name: "10 of 100 turned away", l: Listener{By: "srv[7]",
			Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 90, Turned: 10}}}, want: "warning turned-away",
			says: "srv[7] turned away 10 of 100 clients"},
		{name: "12 turned away, each while 3 others were open", c: Capture{Complete: true},
			l:    Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 15, Served: 3, Turned: 12, TurnedBeside: 3}}},
			want: "critical turned-away", says: "; each time, 3 or more others were open"},
		{name: "12 turned away while nobody was there", c: Capture{Complete: true, Listed: true},
			l:    Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 22, Served: 10, Turned: 12, TurnedAlone: 12}}},
			want: "critical turned-away", says: "; no other connection was open here when it closed these"},
		{name: "turned away alone, or those that it sent something", c: Capture{Complete: true, Listed: true},
			l:    Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 60, Turned: 52, Unread: 8, TurnedAlone: 30}}},
			want: "critical turned-away", next: "see the server's log: it has reached a limit"},
		{name: "20 of 100 turned away", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 80,
			Unread: 20}}}, want: "critical turned-away", says: "it sent something first"},
		{name: "10 of 1,001 turned away", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 1001, Served: 991,
			Turned: 10}}}},
		{name: "all closed at once", l: Listener{By: "srv[7]",
			Queue: &Queue{Outcomes: Outcomes{Ended: 10, Turned: 10}}}, want: "notice turned-away",
			says: "srv[7] closed each of 10 connections"},
		{name: "some got something, most nothing", l: Listener{By: "sshd[7]",
			Queue: &Queue{Outcomes: Outcomes{Ended: 60, Turned: 52, Unread: 8}}}, want: "critical turned-away",
			says: "sshd[7] turned away 52 of 60 clients: it closed their connections within 1.00 s of accept and " +
				"had read no byte of them, while it sent something to 8 others"},
		{name: "some got something and stayed, most nothing", l: Listener{By: "sshd[7]",
			Queue: &Queue{Outcomes: Outcomes{Ended: 60, Turned: 52, Answered: 8}}}, want: "critical turned-away",
			says: "while it sent something to 8 others"},
		{name: "all got something and were closed, as daytime does",
			l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 10, Unread: 10}}}},
		{name: "unanswered", l: Listener{By: "srv[7]",
			Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 100, Answered: 97, Unanswered: 3,
				Waited: waits(2e9, 2e9, 2e9)}}}, want: "notice unanswered",
			says: "3 of 100 clients of srv[7] sent a request and left before a byte of an answer came, after up to " +
				"2.00 s (median 2.00 s); 97 were answered"},
		{name: "many unanswered", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 100, Answered: 80,
			Unanswered: 20}}}, want: "critical unanswered"},
		{name: "10 unanswered of 100", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 100,
			Answered: 90, Unanswered: 10}}}, want: "warning unanswered"},
		{name: "limit set to 0, and nobody came", l: Listener{Zero: Zero{Mark: *events(1), NS: 1e9, By: "srv[7]"}},
			want: "warning limit-zero"},
		{name: "abandoned just now", c: Capture{AtEnd: "at the end"}, want: "warning abandoned",
			l: Listener{Snapshot: Snapshot{Ended: true, End: 1}, Attempts: 5,
				Left: &Abandoned{By: "sleep[9]", Kill: "9"}, Queue: &Queue{OldestNS: 1e9 - 1}}},
		{name: "one at a time, half a second", want: "warning concurrency-limit (slow-accept)",
			l: Listener{Crowd: &Crowd{Slow: 3, After: 3, Gaps: waits(1e5), Same: 3, Open: 1},
				Queue: &Queue{Slow: 3, Over: 3, Waits: waits(6e8, 6e8, 6e8)}}},
		{name: "one at a time, a second", want: "critical concurrency-limit (slow-accept)",
			l: Listener{Crowd: &Crowd{Slow: 3, After: 3, Gaps: waits(1e5), Same: 3, Open: 1},
				Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e9, 2e9, 2e9)}}},
		{name: "a protocol without answers", l: Listener{Queue: &Queue{Outcomes: Outcomes{Ended: 100, Served: 100,
			Unanswered: 100}}}},
		{name: "a limit", l: Listener{By: "srv[7]", Attempts: 9,
			Crowd: &Crowd{Slow: 9, After: 9, Gaps: waits(7e5), Same: 9, Open: 8,
				Held: Held{NS: 30e9, Peer: addr, Silent: true}},
			Queue: &Queue{Slow: 9, Over: 9, Waits: waits(slices.Repeat([]time.Duration{2e8}, 9)...)}},
			want: "notice concurrency-limit (slow-accept)",
			says: "srv[7] took the next client only when one of the 8 that it had left: it has a limit of 8 at " +
				"once; 9 of 9 accepts"},
		{name: "one at a time", l: Listener{Crowd: &Crowd{Slow: 3, After: 3, Gaps: waits(1e5), Same: 3, Open: 1},
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8)}},
			want: "notice concurrency-limit (slow-accept)", says: "it serves one at a time"},
		{name: "busy, not limited", l: Listener{Crowd: &Crowd{Slow: 10, After: 7, Gaps: waits(1e5), Same: 10, Open: 8},
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8)}}, want: "notice slow-accept"},
		{name: "not always as many", l: Listener{Crowd: &Crowd{Slow: 10, After: 10, Gaps: waits(1e5), Same: 7, Open: 8},
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8)}}, want: "notice slow-accept"},
		{name: "as many as never else, and they leave", l: pinned(6, 6, 0, ""),
			want: "notice concurrency-limit (slow-accept)",
			says: "a limit of 4 at once; while clients waited for 100 ms or longer, 4 were open for 90 % of the time, and " +
				"never more"},
		{name: "as many as never else, and they leave; it filled up slowly", l: func() Listener {
			l := pinned(9, 6, 0, "")
			l.Crowd.Filling = 3
			return l
		}(), want: "notice concurrency-limit (slow-accept)"},
		{name: "as many as never else, and two leave", l: func() Listener {
			l := pinned(6, 2, 0, "")
			l.Crowd.Filling = 4
			return l
		}(), want: "notice slow-accept"},
		{name: "as many as never else, and the server closes", l: pinned(6, 0, 0, ""), want: "notice slow-accept"},
		{name: "as many as never else, and the listener is not asked", l: pinned(6, 0, 0, meanwhile.NotAsked),
			want: "notice concurrency-limit (slow-accept)"},
		{name: "as many as never else, and it waits for a child to end", l: pinned(6, 0, 0, meanwhile.Child),
			want: "notice concurrency-limit (slow-accept)"},
		{name: "lost, and not accepted for long before", l: Listener{Queue: &Queue{Lost: 11, LostQuit: 11, Left: 11,
			LeftLost: 11, LeftNS: 3e9, LostAt: *events(11), SlowAt: Times{1e9, 4e9}}},
			want: "critical client-lost (slow-accept)", next: "see why it accepted none of these before it stopped"},
		{name: "a limit of threads that wait for one lock", l: func() Listener {
			l := pinned(6, 6, 0, meanwhile.Idle)
			p := &l.Seen.Places[0]
			p.Did.Call, p.TIDs = "futex", []uint32{8, 9}
			return l
		}(), want: "notice concurrency-limit (slow-accept)", next: behindOneLock},
		{name: "a limit by a semaphore around accept", l: func() Listener {
			l := pinned(6, 6, 0, meanwhile.Idle)
			p := &l.Seen.Places[0]
			p.Did.Call, p.TIDs = "futex", []uint32{8}
			return l
		}(), want: "notice concurrency-limit (slow-accept)", next: "the server has reached a limit in its settings"},
		{name: "as many as never else, and they had left long before", l: pinned(6, 4, 2, ""),
			want: "notice slow-accept"},
		{name: "as many as never else, and the only thread waits for a lock", l: pinned(6, 6, 0, meanwhile.Lock),
			want: "notice slow-accept"},
		{name: "limit set to 0", l: Listener{Marks: marked(QueueOverflow, 10),
			Zero: Zero{Mark: *events(2), NS: 3e9, By: "srv[7]", Exhausted: true}, Queue: &Queue{SYNs: 10, Clients: 3}},
			want: "critical limit-zero (queue-overflow)",
			says: "srv[7] set the limit of its accept queue to 0 (listen(fd, 0)), 2 times, for 3.00 s in all, " +
				"right after accept had failed for want of a descriptor"},
		{name: "abandoned", c: Capture{AtEnd: "at the end"},
			l: Listener{Snapshot: Snapshot{Ended: true, End: 2}, Attempts: 5,
				Left: &Abandoned{By: "sleep[9]", One: true, Gone: "srv[7]", Kill: "9"}},
			want: "critical abandoned",
			says: "2 clients waited at the end, and only sleep[9] has the listener open, which never called " +
				"accept; srv[7], which served it, has it no more"},
		{name: "one cause", l: Listener{Marks: func() Marks {
			m := marked(QueueOverflow, 10)
			m[FDExhausted], m[QueueFull] = events(2), events(3)
			return m
		}(), Attempts: 9,
			Queue: &Queue{SYNs: 10, FullNS: 2e9, Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8)}},
			want: "critical fd-exhausted (slow-accept, queue-overflow, queue-full)"},
		{name: "a spare descriptor, by which clients are turned away", l: Listener{Marks: marked(FDExhausted, 3),
			Queue: &Queue{Outcomes: Outcomes{Ended: 30, Turned: 26, TurnedAt: *events(26)}}},
			want: "critical fd-exhausted (turned-away)"},
		{name: "turned away while the queue is full", l: Listener{Marks: marked(QueueOverflow, 3),
			Queue: &Queue{SYNs: 3, Outcomes: Outcomes{Ended: 30, Served: 4, Turned: 26, TurnedAt: *events(26)}}},
			want: "critical turned-away, warning queue-overflow"},
		{name: "unanswered, and half had left in the queue", l: Listener{Attempts: 9, By: "srv[7]",
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8),
				Outcomes: Outcomes{Ended: 100, Answered: 96, Unanswered: 4, UnansweredGone: 2, Waited: waits(1e8, 1e8)}}},
			want: "notice slow-accept (unanswered)"},
		{name: "unanswered, and one had left in the queue", l: Listener{Attempts: 9, By: "srv[7]",
			Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e8, 2e8, 2e8),
				Outcomes: Outcomes{Ended: 100, Answered: 96, Unanswered: 4, UnansweredGone: 1, Waited: waits(1e8, 1e8, 1e8)}}},
			want: "notice unanswered, notice slow-accept",
			says: "before a byte of an answer came, after up to 100 ms (median 100 ms), 1 of them before they were accepted"},
		{name: "dead, after they had waited", l: Listener{Attempts: 9, Accepted: 9, Marks: marked(DeadOnArrival, 3),
			Queue: &Queue{Slow: 3, Over: 3, LateDead: 3, Waits: waits(2e8, 2e8, 2e8)}},
			want: "notice slow-accept (dead-on-arrival)"},
		{name: "dead at once, and others waited", l: Listener{Attempts: 9, Accepted: 9, Marks: marked(DeadOnArrival, 3),
			Queue: &Queue{Slow: 3, Over: 3, LateDead: 1, Waits: waits(2e8, 2e8, 2e8)}},
			want: "notice slow-accept, notice dead-on-arrival"},
		{name: "two causes", l: Listener{Marks: func() Marks {
			m := marked(FDExhausted,
				1)
			m[QueueOverflow] = later(100)
			return m
		}(), Attempts: 9, Queue: &Queue{SYNs: 1}},
			want: "critical fd-exhausted, warning queue-overflow"},
		{name: "half a second", l: Listener{Attempts: 3, Queue: &Queue{Slow: 3, Over: 3, Waits: waits(6e8, 6e8, 6e8)}}, want: "warning slow-accept"},
		{name: "a second", l: Listener{Attempts: 3, Queue: &Queue{Slow: 3, Over: 3, Waits: waits(2e9, 2e9, 2e9)}}, want: "critical slow-accept"},
		{name: "one left after 6 s", l: Listener{Attempts: 1, Queue: &Queue{Left: 1, LeftNS: 6e9}}, want: "critical slow-accept", says: "never accepted"},
		{name: "nobody came", c: Capture{SpanNS: 5e9}, l: halted, want: "critical slow-accept", says: "srv[7] is stopped"},
		{name: "nobody came, and all have left", c: Capture{SpanNS: 5e9},
			l:    func() Listener { l := halted; l.Queue = &Queue{Stuck: 2, Quit: 2, OldestNS: 5e9}; return l }(),
			want: "warning slow-accept", says: "2 at the end, whose clients had all sent FIN by then"},
		{name: "nobody came in less than a second", c: Capture{SpanNS: 9e8}, l: halted},
		{name: "descriptors", l: Listener{Marks: marked(FDExhausted, 1), By: "srv[7]"}, want: "critical fd-exhausted", says: "EMFILE"},
		{name: "descriptors of the system", l: Listener{Marks: marked(FDExhausted, 1), Errors: []ErrorCount{{23, 1}}}, want: "critical fd-exhausted", says: "ENFILE"},
		{name: "aborted", l: Listener{Marks: marked(AcceptAborted, 1), Errors: []ErrorCount{{103, 1}}}, want: "notice accept-aborted", says: "ECONNABORTED 1"},
		{name: "cut off", l: Listener{Marks: marked(ClientLost, 10)}, want: "critical client-lost"},
		{name: "lost with the listener", l: Listener{Queue: &Queue{Lost: 1, LostCause: format.CauseListenerClosed}}, want: "warning client-lost", says: "was closed, and was reset"},
		{name: "lost by whom", l: Listener{Queue: &Queue{Lost: 1, LostCause: format.CauseListenerShut, LostBy: "srv[3]"}}, want: "warning client-lost", says: "was shut down by srv[3] (shutdown(2)), and was reset"},
		{name: "gone before that", l: Listener{Queue: &Queue{Lost: 1, LostQuit: 1, LostCause: format.CauseListenerClosed}}, want: "notice client-lost"},
		{name: "a test of probes", l: Listener{Queue: &Queue{Lost: 2, LostCause: format.CauseListenerClosed}, Tests: true}, want: "notice client-lost", says: "another acc"},
		{name: "dead", l: Listener{Accepted: 5, Marks: marked(DeadOnArrival, 1)}, want: "notice dead-on-arrival", says: "1 of 5"},
		{name: "many dead", l: Listener{Accepted: 50, DeadAhead: 10, Marks: marked(DeadOnArrival, 10)}, want: "critical dead-on-arrival"},
		{name: "a hundredth dead", l: Listener{Accepted: 1000, DeadAhead: 10, Marks: marked(DeadOnArrival, 10)},
			want: "warning dead-on-arrival"},
		{name: "9 of a hundredth dead", l: Listener{Accepted: 900, DeadAhead: 9, Marks: marked(DeadOnArrival, 9)},
			want: "notice dead-on-arrival"},
		{name: "10 aborted, a hundredth", l: Listener{Accepted: 1000, Marks: marked(AcceptAborted, 10)},
			want: "warning accept-aborted"},
		{name: "10 aborted, less than that", l: Listener{Accepted: 1001, Marks: marked(AcceptAborted, 10)},
			want: "notice accept-aborted"},
		{name: "10 other drops", c: Capture{Spaces: []Space{{Drops: 10}}}, want: "critical listen-drops"},
		{name: "as many in vain as accepted", l: Listener{Accepted: 100,
			Workers: []Worker{{Empty: 201, Accepted: 100, Threads: true}}}, want: "notice herd"},
		{name: "4 times as many", l: Listener{Accepted: 100,
			Workers: []Worker{{Empty: 501, Accepted: 100, Threads: true}}}, want: "warning herd"},
		{name: "9 lost", l: Listener{Queue: &Queue{Lost: 9, LostCause: format.CauseListenerClosed}},
			want: "warning client-lost"},
		{name: "10 lost", l: Listener{Queue: &Queue{Lost: 10, LostCause: format.CauseListenerClosed}},
			want: "critical client-lost"},
		{name: "address", l: Listener{Marks: marked(AddressMismatch, 2)}, want: "warning address-mismatch"},
		{name: "99 in vain", l: Listener{Workers: []Worker{{Empty: 100, Threads: true}}}},
		{name: "100 in vain", l: Listener{Workers: []Worker{{Empty: 101, Threads: true}}}, want: "warning herd"},
		{name: "even", l: Listener{Addr: addr, Workers: two(110, 90)}},
		{name: "uneven", l: Listener{Addr: addr, Workers: two(190, 10)}, want: "notice uneven-workers", says: "w[1] took 190 of 200"},
		{name: "uneven and refusing", l: Listener{Addr: addr, Workers: two(190, 10), Queue: &Queue{Slow: 3, Waits: waits(2e8)}}, want: "warning uneven-workers, notice slow-accept"},
		{name: "another program", l: Listener{Marks: func() Marks { m := marked(NewAcceptor, 1); m[NewAcceptor].High = 1; return m }(), Programs: []string{"/a", "/b"}}, want: "warning new-acceptor", says: "/a, /b"},
		{name: "a new worker", l: Listener{Marks: marked(NewAcceptor, 1)}, want: "notice new-acceptor"},
		{name: "new listener", c: Capture{New: *events(2), NewNames: []string{"0.0.0.0:80 by srv[7]"}, NewNamed: 1},
			want: "notice new-listener", says: "and 1 more"},
		{name: "io_uring", c: Capture{Uring: *events(1)}, l: Listener{Label: "0.0.0.0:80", Uring: "srv[7]"}, want: "notice io-uring-accept", says: "0.0.0.0:80 by srv[7]"},
		{name: "accepts are missing", c: Capture{Spaces: []Space{{Differs: true, Unexplained: 3}}}, want: "critical cross-check"},
		{name: "accepts too many", c: Capture{Spaces: []Space{{Differs: true, Unexplained: -3}}}, want: "warning cross-check"},
		{name: "other drops", c: Capture{Spaces: []Space{{NetNS: 1, Drops: 9}, {NetNS: 2}}}, want: "warning listen-drops", says: "in network namespace 1"},
		{name: "a clock that nothing synchronises", c: Capture{ClockFree: true}, want: "notice clock-unsynchronised"},
		{name: "not complete", c: Capture{Caveats: []string{"lost", "cross-check"}, Lost: 4}, want: "warning incomplete", says: "(lost)"},
		{name: "not complete by the counters alone", c: Capture{Caveats: []string{"cross-check"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := x.c
			c.Time = func(int64) *time.Time { return nil }
			c.SpanNS = max(c.SpanNS, 1)
			c.Listeners = []*Listener{&x.l}
			list, left, counts := Judge(&c, 10)
			got, text := []string{}, ""
			for _, f := range list {
				what := string(f.Severity) + " " + f.ID
				var parts []string
				for _, p := range f.Parts {
					parts = append(parts, p.ID)
					text += p.Text + "\n"
				}
				if len(parts) > 0 {
					what += " (" + strings.Join(parts, ", ") + ")"
				}
				got = append(got, what)
				for _, p := range f.Parts {
					seen[string(p.Severity)+" "+p.ID] = true
				}
				if len(f.Parts) == 0 || f.ID == ids[ConcurrencyLimit] { // else it is as bad as the worst of its parts
					seen[string(f.Severity)+" "+f.ID] = true
				}
				text += f.Text + "\n"
				if f.Next == "" || strings.Contains(f.Text, "%!") {
					t.Errorf("%+v", f)
				}
			}
			if x.next != "" && (len(list) == 0 || !strings.HasPrefix(list[0].Next, strings.Replace(x.next, "PID", "7", 1))) {
				t.Errorf("next: %+v", list)
			}
			if s := strings.Join(got, ", "); s != x.want || !strings.Contains(text, x.says) {
				t.Errorf("got %q, want %q; it says %q, want %q", s, x.want, text, x.says)
			}
			if left != 0 || counts.Critical+counts.Warning+counts.Notice != len(list) {
				t.Errorf("%d left, %+v", left, counts)
			}
		})
	}
	// The words of levels name each severity that the rules give, and no other.
	for _, id := range IDs() {
		x := LevelsOf(id)
		for severity, words := range map[Severity]string{Notice: x.Notice, Warning: x.Warning, Critical: x.Critical} {
			if name := string(severity) + " " + id; seen[name] != (words != "") {
				t.Errorf("%s: a case finds it: %v, the words are %q", name, seen[name], words)
			}
		}
	}
}

// document is what explains findings.
const document = "../../docs/FINDINGS.md"

// docs/FINDINGS.md has the table of when each finding is how bad.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table levels -->\n", "<!-- end -->\n"
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no table of levels", document)
	}
	var b strings.Builder
	b.WriteString("| id | notice | warning | critical |\n|---|---|---|---|\n")
	for _, id := range IDs() {
		x := LevelsOf(id)
		name := "`" + id + "`"
		columns := [][]string{strings.Split(x.Notice, "\n"), strings.Split(x.Warning, "\n"), strings.Split(x.Critical, "\n")}
		for i := 0; i < max(len(columns[0]), len(columns[1]), len(columns[2])); i++ {
			fmt.Fprintf(&b, "| %s |", name)
			for _, c := range columns {
				b.WriteString(" " + append(c, slices.Repeat([]string{""}, 10)...)[i] + " |")
			}
			b.WriteString("\n")
			name = "or"
		}
		if !strings.Contains(text, "**`"+id+"`**") {
			t.Errorf("%s does not explain %s", document, id)
		}
	}
	want := before + begin + b.String() + end + after
	if *update {
		err = os.WriteFile(document, []byte(want), 0o644)
	} else if text != want {
		err = errors.New("it differs from the rules: go test ./analysis/findings -run TestDocument -update")
	}
	if err != nil {
		t.Error(err)
	}
}

var update = flag.Bool("update", false, "write the table of docs/FINDINGS.md anew")

// Each kind of finding has a rule.
func TestEachKindHasARule(t *testing.T) {
	for kind := range NumKinds {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.kind == kind }) {
			t.Errorf("no rule finds %s", ids[kind])
		}
	}
}

// Findings of one process that are not alike don't hide those of others, and at most so many of a kind are listed.
func TestLeading(t *testing.T) {
	var all []Finding
	for i := range 8 {
		all = append(all, Finding{ID: "abandoned", Severity: Critical, Owner: "a[1]", Listener: uint64(i + 1), Listeners: 1,
			Next: fmt.Sprint(i)})
	}
	for i := range 8 {
		all = append(all, Finding{ID: "abandoned", Severity: Critical, Owner: fmt.Sprintf("b[%d]", i),
			Listener: uint64(i + 10), Listeners: 1, Next: fmt.Sprint(i)})
	}
	list, left := leading(Alike(all, 5), 5)
	if len(list) != 5 || left != 11 || list[2].More != 5 || list[3].Owner != "b[0]" {
		t.Errorf("%d left of %+v", left, list)
	}
	if list, left := leading(Alike(all, -1), -1); len(list) != 16 || left != 0 {
		t.Errorf("%d left of %+v", left, list)
	}
}

// What to do names the process, unless it is about several.
func TestNextNamesTheProcess(t *testing.T) {
	l := func(inode uint64, owner string) *Listener {
		return &Listener{Inode: inode, Label: "x", Owner: owner, Short: owner, Marks: marked(FDExhausted, 1)}
	}
	for _, x := range []struct {
		list []*Listener
		want string
	}{
		{[]*Listener{l(1, "s[7]")}, "ls /proc/7/fd"},
		{[]*Listener{l(1, "s[7]"), l(2, "s[7]")}, "ls /proc/7/fd"},
		{[]*Listener{l(1, "s[7]"), l(2, "s[8]")}, "ls /proc/PID/fd"},
		{[]*Listener{l(1, "s[1; x[7]")}, "ls /proc/7/fd"},
		{[]*Listener{l(1, "s[1; x]")}, "ls /proc/PID/fd"},
		{[]*Listener{{Inode: 1, By: "s[7] and 2 more", Marks: marked(FDExhausted, 1)}}, "ls /proc/PID/fd"},
	} {
		c := Capture{Listeners: x.list, Time: func(int64) *time.Time { return nil }, Complete: true}
		list, _, _ := Judge(&c, 10)
		if len(list) != 1 || !strings.HasPrefix(list[0].Next, x.want) || list[0].Listeners != len(x.list) {
			t.Errorf("%d listeners: %+v; want %q", len(x.list), list, x.want)
		}
	}
}

// Alike findings are one, as bad as the worst, each with what it caused.
func TestAlike(t *testing.T) {
	part := func(l uint64) []Part { return []Part{{ID: "slow-accept", Listener: l}} }
	list := Alike([]Finding{
		{ID: "fd-exhausted", Severity: Critical, Text: "A", Owner: "s[1]", Listener: 1, NetNS: 1, Listeners: 1, Parts: part(1)},
		{ID: "fd-exhausted", Severity: Critical, Text: "X", Owner: "t[3]", Listener: 9, NetNS: 1, Listeners: 1},
		{ID: "fd-exhausted", Severity: Critical, Text: "N", Listener: 8, Listeners: 1},
		{ID: "fd-exhausted", Severity: Warning, Text: "B", Owner: "s[2]", Listener: 2, NetNS: 2, Listeners: 1, Parts: part(2),
			Meanwhile: &Meanwhile{Because: true, Text: "why"}},
		{ID: "fd-exhausted", Severity: Warning, Text: "C", Owner: "s[2]", Listener: 3, NetNS: 2, Listeners: 1, Next: "else"},
	}, 10)
	var got []string
	for _, f := range list {
		s := fmt.Sprintf("%s %d %s", f.Text, f.Listeners, f.Owner)
		for _, p := range f.Parts {
			if s += fmt.Sprintf(", %s %s %d", p.ID, p.Text, p.Listener); p.Meanwhile != nil {
				s += " because " + p.Meanwhile.Text
			}
		}
		got = append(got, s)
	}
	want := []string{"2 listeners of s, the worst: A 2 s, fd-exhausted A 1, slow-accept  1, " +
		"fd-exhausted B 2 because why, slow-accept  2", "X 1 t[3]", "N 1 ", "C 1 s[2]"}
	if !slices.Equal(got, want) || list[0].Severity != Critical || list[0].NetNS != 0 {
		t.Errorf("got %q, want %q", got, want)
	}
}
