package analysis

// This file has what servers' own limits and findings with one cause are made by.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// taken makes accepted connections, and then what comes of each.
func (m *maker) taken(first, n int, then func(c int)) {
	for c := first; c < first+n; c++ {
		m.queued(c)
		m.enter(5)
		m.accepts(5, c, 1)
		then(c)
	}
}

// passive makes sockets that listen for one connection each.
func (m *maker) passive(n int) {
	for i := range n {
		m.inode, m.addr = uint64(100+i), fmt.Sprintf("0.0.0.0:%d", 40000+i)
		m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookListenStart
		m.serves(3000+i, 1, 5)
		m.add(m.task(5, format.Event{Kind: format.Stop, Cause: format.CauseListenerClosed})).Hook = format.HookListenStop
	}
}

// rounds lets so many clients at once be served for some milliseconds. Then all leave, the server closes theirs so many
// microseconds later, and takes the next, one after the other.
func (m *maker) rounds(atOnce, rounds, ms int, lateUS uint64) {
	for i := range atOnce * (rounds + 1) {
		m.queued(i + 1)
	}
	for round := range rounds + 1 {
		for i := range atOnce {
			if round > 0 {
				m.script("w1")
				m.closed((round-1)*atOnce+i+1, 9, 0).FinUS = lateUS
			}
		}
		for i := range atOnce {
			m.script("w7") // it forks
			m.enter(5)
			m.accepts(5, round*atOnce+i+1, 1)
		}
		m.script(fmt.Sprintf("w%d", ms))
	}
}

// causeCases are about how connections fare, and what causes what.
var causeCases = []findingCase{
	{"turned away", func(m *maker) {
		m.serves(1, 40, 5)
		m.taken(3000, 10, func(c int) {
			e := m.closed(c, 1, 0)
			e.Shutdown, e.BytesIn, e.BytesOut = 16+32+64, 300, 0
		})
	}, "turned-away critical"},
	{"idle connections that ran out of time", func(m *maker) {
		m.serves(1, 40, 5)
		m.taken(3000, 20, func(int) {})
		m.script("w1001")
		for i := range 20 {
			e := m.closed(3000+i, 4, 0)
			e.BytesIn, e.BytesOut = 0, 0
		}
	}, ""},
	{"closed after a request was read, as one that is answered later by another connection", func(m *maker) {
		m.serves(1, 40, 5)
		m.taken(3000, 20, func(c int) {
			e := m.closed(c, 4, 0)
			e.Shutdown, e.BytesOut = 16, 0
		})
	}, ""},
	{"left unanswered", func(m *maker) {
		m.serves(1, 40, 5)
		m.taken(3000, 3, func(c int) {
			m.script("w300")
			e := m.closed(c, 9, 0)
			e.BytesIn, e.BytesOut = 300, 0
		})
	}, "unanswered notice"},
	{"checks that send nothing", func(m *maker) {
		m.serves(1, 40, 5)
		m.taken(3000, 30, func(c int) {
			e := m.closed(c, 9, 0)
			e.BytesIn, e.BytesOut = 1, 1
			e.Shutdown = 4 + 8
		})
	}, ""},
	{"two workers with a client each, on a busy host", func(m *maker) {
		for i := range 12 {
			m.queued(i + 1)
		}
		m.script("e5 a5.1 e6 a6.2")
		for i := range 10 {
			m.script("w400")
			m.closed(i+1, 4, 0)
			m.script("w60") // it gets no CPU
			m.enter(uint32(5 + i%2))
			m.accepts(uint32(5+i%2), i+3, 1)
		}
	}, "concurrency-limit critical (slow-accept critical)"},
	{"two event loops that stand still, and then take all who wait", func(m *maker) {
		for round := range 5 {
			for i := range 6 {
				m.queued(10*round + i + 1)
			}
			m.script("w700")
			for i := range 6 {
				m.enter(uint32(5 + i%2))
				m.accepts(uint32(5+i%2), 10*round+i+1, 1)
			}
			for i := range 6 {
				m.closed(10*round+i+1, 4, 0)
			}
		}
	}, "slow-accept warning"},
	{"a limit of two", func(m *maker) {
		for i := range 12 {
			m.queued(i + 1)
		}
		m.script("e5 a5.1 e5 a5.2")
		for i := range 10 {
			m.script("w150")
			m.closed(i+1, 4, 0)
			m.enter(5)
			m.accepts(5, i+3, 1)
		}
	}, "concurrency-limit warning (slow-accept warning)"},
	{"a limit of four in one thread, which fills up at first", func(m *maker) {
		for i := range 12 {
			m.queued(i + 1)
		}
		m.script("e5 a5.1 e5 a5.2 e5 a5.3 e5 a5.4")
		for i := range 8 {
			m.script("w120")
			m.closed(i+1, 4, 0)
			m.enter(5)
			m.accepts(5, i+5, 1)
		}
	}, "concurrency-limit warning (slow-accept warning)"},
	{"a limit of two workers, each of which the client acknowledges when it has taken the next", func(m *maker) {
		for i := range 12 {
			m.queued(i + 1)
		}
		m.script("e5 a5.1 e6 a6.2")
		for i := range 10 {
			m.script("w150")
			worker := uint32(5 + i%2)
			m.enter(worker)
			m.accepts(worker, i+3, 1)
			m.script("w20")
			m.closed(i+1, 4, 0).ClosingUS = 24e3
		}
	}, "concurrency-limit warning (slow-accept warning)"},
	{"a limit of five children, whose clients all leave at once", func(m *maker) {
		m.rounds(5, 4, 300, 2e3)
	}, "concurrency-limit warning (slow-accept warning)"},
	{"a loop that stands still, and whose clients give up and come again", func(m *maker) {
		m.rounds(5, 4, 300, 200e3)
	}, "slow-accept warning"},
	{"a break, after which a thread serves those who wait one after the other", func(m *maker) {
		for i := range 20 {
			m.queued(i + 1)
		}
		m.script("w600")
		for i := range 20 {
			m.enter(5)
			m.accepts(5, i+1, 1)
			m.closed(i+1, 4, 0)
		}
	}, "slow-accept warning"},
	{"a loop that is busy, and whose clients acknowledge late that it closed", func(m *maker) {
		next, n := 1, 0
		for range 10 {
			for range 6 {
				n++
				m.queued(n)
			}
			m.script("w150")
			for i := range 6 {
				m.enter(5)
				m.accepts(5, n-5+i, 1)
			}
			m.script("w20")
			for range 6 {
				if next <= n-6 {
					m.closed(next, 4, 0).ClosingUS = 35e3
					next++
				}
			}
		}
	}, "slow-accept notice"},
	{"a thread that takes one after the other, which stay", func(m *maker) {
		for i := range 12 {
			m.queued(i + 1)
		}
		for i := range 10 {
			m.script("w150")
			m.enter(uint32(5 + i%2))
			m.accepts(uint32(5+i%2), i+1, 1)
			if i > 3 {
				m.script("w70") // and leave when the next one is there
				m.closed(i-3, 4, 0).ClosingUS = 1e3
			}
		}
	}, "slow-accept warning"},
	{"a loop that is busy, and closes what it has served", func(m *maker) {
		next, n := 1, 0
		for range 10 {
			for range 6 {
				n++
				m.queued(n)
			}
			m.script("w150")
			for range 5 {
				if next <= n-6 {
					m.closed(next, 4, 0)
					next++
				}
			}
			for i := range 6 {
				m.enter(5)
				m.accepts(5, n-5+i, 1)
			}
		}
	}, "slow-accept notice"},
	{"no descriptors, and those who wait for that", func(m *maker) {
		m.serves(1, 1000, 5)
		m.queued(3000)
		m.queued(3001)
		m.enter(5)
		m.fails(5, 24)
		m.script("w6000")
		m.script("e5 a5.3000 e5 a5.3001")
	}, "fd-exhausted critical (slow-accept notice)"},
	{"a limit that was set to 0", func(m *maker) {
		m.serves(1, 100, 5)
		m.limit = 0
		m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookInetListen
		m.script("w3000")
		m.limit = 1000
		m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookInetListen
	}, "limit-zero warning"},
	{"a multishot request that ended", func(m *maker) {
		m.serves(1, 100, 5)
		m.queued(2000)
		e := m.accepts(5, 2000, 1)
		e.Hook, e.Via, e.Uring, e.UringEnd = format.HookDoAccept, format.ViaIOUring, format.UringMultishot,
			format.UringQueueFull
	}, "io-uring-accept notice, io-uring-ended notice"},
	{"held by a child that never accepts", func(m *maker) {
		m.serves(1, 100, 5)
		m.queued(2000)
		m.script("w2000")
		m.batch.Snapshots = append(m.batch.Snapshots, format.Snapshot{Final: true, BootNS: m.ns,
			Listeners: []format.ListenSocket{
				{NetNS: 1, Listener: m.inode, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 80,
					Backlog: 1, BacklogMax: 1000,
					Holders: []format.Holder{{PID: 77, Comm: "sleep"}}, HoldersKnown: true}}})
	}, "abandoned critical (slow-accept warning)"},
	{"passive FTP, and another one among it", func(m *maker) {
		m.serves(1, 10, 5)
		m.passive(14)
		m.inode, m.addr = 200, "0.0.0.0:31337"
		e := m.add(m.task(5, format.Event{Kind: format.Listen}))
		e.Hook, e.Comm = format.HookListenStart, "sh"
	}, "new-listener notice"},
	{"passive FTP alone", func(m *maker) {
		m.serves(1, 10, 5)
		m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookInetListen
		m.passive(14)
	}, ""},
	{"lost at each restart", func(m *maker) {
		for i := range 8 {
			m.inode = uint64(100 + i)
			m.add(m.task(5, format.Event{Kind: format.Listen,
				Hook: format.HookListenStart})).Hook = format.HookListenStart
			m.queued(2000 + 2*i)
			m.queued(2001 + 2*i)
			m.script(fmt.Sprintf("f%d c%d:1 f%d c%d:1", 2000+2*i, 2000+2*i, 2001+2*i, 2001+2*i))
			m.queue = 0
		}
	}, "client-lost critical (client-lost warning x8), new-listener notice"},
	{"a clock that nothing synchronises", func(m *maker) {
		m.serves(1, 100, 5)
		m.batch.Clocks = append(m.batch.Clocks, format.Clock{BootNS: 1e6, RealNS: 1e18 + 1e6,
			Keeping: format.KeepingFree})
	}, "clock-unsynchronised notice"},
	{"a clock that is synchronised", func(m *maker) {
		m.serves(1, 100, 5)
		m.batch.Clocks = append(m.batch.Clocks, format.Clock{BootNS: 1e6, RealNS: 1e18 + 1e6,
			Keeping: format.KeepingSynced, MaxErrNS: 5e6})
	}, ""},
	{"loss", func(m *maker) {
		m.serves(1, 100, 5)
		m.lost = 3
		m.batch.Losses = []format.Loss{{Hook: format.HookSetState, Kind: format.Closed, Count: 3, FromNS: 2e6, ToNS: 3e6}}
	}, "incomplete warning"},
}

// Those that a server had accepted before the recording count: a limit of eight is not one of one, because only one of
// them ends.
func TestLimitBefore(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	shot := &start.Snapshots[0]
	shot.ConnectionsKnown = true
	for n := range 8 {
		shot.Connections = append(shot.Connections, format.Connection{NetNS: 1, Cookie: uint64(n+1) + 1000, Inode: 70,
			State: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(n + 1)})
	}
	for n := 11; n < 15; n++ {
		m.queued(n)
	}
	for n := range 4 {
		m.script("w300")
		m.closed(n+1, 9, 0).FinUS = 1e3
		m.enter(5)
		m.accepts(5, n+11, 1)
	}
	_, r := m.analyze(Options{}, start)
	if !slices.ContainsFunc(r.Findings, func(f findings.Finding) bool {
		return f.ID == "concurrency-limit" && strings.Contains(f.Text, "a limit of 8 at once")
	}) {
		t.Errorf("%+v", r.Findings)
	}
}

// How many others were open tells a limit from a server that turns clients away for another reason.
func TestTurnedAwayBeside(t *testing.T) {
	turn := func(m *maker) {
		m.taken(3000, 12, func(c int) {
			e := m.closed(c, 1, 0)
			e.Shutdown, e.BytesIn, e.BytesOut = 16+32+64, 300, 0
		})
	}
	for _, x := range []struct {
		name string
		make func(m *maker)
		want string
	}{
		{"three stay", func(m *maker) { m.taken(1, 3, func(int) {}); turn(m) }, "; each time, 3 or more others were open"},
		{"two stay, then three", func(m *maker) {
			m.taken(1, 2, func(int) {})
			turn(m)
			m.taken(100, 1, func(int) {})
			m.taken(4000, 1, func(c int) { m.closed(c, 1, 0).Shutdown = 16 + 32 + 64 })
		}, "; each time, 2 or more others were open"},
		{"nobody stays", turn, "; no other connection was open here when it closed these"},
		{"one stays, but not from the start", func(m *maker) {
			turn(m)
			m.taken(1, 1, func(int) {})
			m.taken(4000, 1, func(c int) { m.closed(c, 1, 0).Shutdown = 16 + 32 + 64 })
		}, "; no other connection was open here when it closed most of these"},
	} {
		m := newMaker(t, true)
		start := m.listening()
		start.Snapshots[0].ConnectionsKnown = true
		m.serves(5000, 4, 5)
		x.make(m)
		_, r := m.analyze(Options{}, start)
		i := slices.IndexFunc(r.Findings, func(f findings.Finding) bool { return f.ID == "turned-away" })
		if i < 0 || !strings.HasSuffix(r.Findings[i].Text, x.want) {
			t.Errorf("%s: %+v, want %q", x.name, r.Findings, x.want)
		}
	}
}

// since and until are when clients waited, not when the longest waits ended.
func TestSlowSpan(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	const round = 20
	for c := range round { // in the middle are the longest waits
		m.queued(c + 1)
		m.script(map[bool]string{true: "w900", false: "w200"}[c >= 6 && c < 14])
		m.enter(5)
		m.accepts(5, c+1, 1)
		m.closed(c+1, 9, 0)
	}
	first, last := int64(0), int64(0)
	for _, e := range m.batch.Events {
		if e.Kind == format.Queued && first == 0 {
			first = e.BootNS
		}
		if e.Kind == format.Return && e.Accepted() {
			last = e.BootNS
		}
	}
	_, r := m.analyze(Options{}, start)
	i := slices.IndexFunc(r.Findings, func(f findings.Finding) bool { return f.ID == "slow-accept" })
	if i < 0 {
		t.Fatalf("%+v", r.Findings)
	}
	f := r.Findings[i]
	at := func(x *time.Time) int64 { return f.Evidence[0].BootNS + int64(x.Sub(*f.Evidence[0].Time)) }
	if at(f.Since) != first || at(f.Until) != last {
		t.Errorf("from %d to %d, want %d to %d", at(f.Since), at(f.Until), first, last)
	}
}
