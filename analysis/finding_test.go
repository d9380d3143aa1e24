package analysis

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// serves makes n connections to workers, each accepted soon, served and closed by
// the client, as a healthy server does.
func (m *maker) serves(first, n int, workers ...uint32) {
	m.step = 20e3
	for i := range n {
		pid := workers[i%len(workers)]
		m.queued(first + i)
		m.enter(pid)
		m.accepts(pid, first+i, 1)
		m.enter(pid)
		m.fails(pid, 11)
		m.closed(first+i, 9, 0)
	}
}

// started gives a process record that started at a time.
func started(pid uint32, exe string, startNS int64) format.Process {
	return format.Process{Num: pid, PID: pid, Comm: "srv", Exe: exe, StartNS: startNS}
}

// listening is a snapshot of a start with the maker's listener.
func (m *maker) listening() *format.Batch {
	at := netip.MustParseAddrPort(m.addr)
	return &format.Batch{Snapshots: []format.Snapshot{{ListenersKnown: true, Listeners: []format.ListenSocket{
		{NetNS: 1, Listener: m.inode, Family: format.FamilyIPv4, Proto: 6, LAddr: at.Addr().String(), LPort: at.Port(), BacklogMax: m.limit}}}}}
}

// Each finding is made by what it names, with its severity, and by nothing else;
// and a healthy server makes none.
func TestFindings(t *testing.T) {
	cases := []struct {
		name string
		make func(m *maker)
		want string // ids and severities
	}{
		{"nothing", func(m *maker) {}, ""},
		{"healthy", func(m *maker) { m.serves(1, 2000, 5) }, ""},
		{"dropped for a reason that no event shows", func(m *maker) {
			m.batch.Counters = append(m.batch.Counters, dropsAt(1, 0, 0, 0, 0, 16), dropsAt(50, 83, 0, 0, 0, 16))
		}, "listen-drops critical"},
		{"accepts that are missing", func(m *maker) {
			m.batch.Counters = append(m.batch.Counters, reading(1, 2, 10, 0), reading(50, 51, 13, 0))
		}, "cross-check critical"},
		{"accepts that the kernel did not count", func(m *maker) {
			m.batch.Counters = append(m.batch.Counters, reading(1, 2, 10, 0), reading(1e18, 1e18+1, 13, 0))
			m.serves(1, 100, 5)
		}, "cross-check warning"},
		{"healthy, four workers", func(m *maker) { m.serves(1, 2000, 5, 6, 7, 8) }, ""},
		{"healthy, in threads that change", func(m *maker) {
			m.serves(1, 2000, 5)
			for i := range m.batch.Events {
				m.batch.Events[i].TID += uint32(i/2%7) * 100
			}
		}, ""},
		{"healthy, polls an empty queue alone", func(m *maker) {
			for range 2000 {
				m.enter(5)
				m.fails(5, 11)
			}
		}, ""},
		{"healthy, much to do: the queue is long and moves", func(m *maker) {
			m.limit, m.step = 511, 1e5
			for i := range 400 {
				m.queued(i + 1)
				if i >= 30 {
					m.step = 3e6
					m.enter(5)
					m.accepts(5, i-29, 1)
				}
			}
			for i := range 30 {
				m.enter(5)
				m.accepts(5, 371+i, 1)
			}
		}, ""},
		{"takes all at once, but seldom", func(m *maker) {
			m.limit, m.step = 511, 1e5
			for i := range 40 {
				for j := range 20 {
					m.queued(20*i + j + 1)
				}
				m.script("w300")
				for j := range 20 {
					m.enter(5)
					m.accepts(5, 20*i+j+1, 1)
				}
			}
		}, "slow-accept notice"},
		{"refused, and in the end queued", func(m *maker) {
			m.serves(1, 1000, 5)
			m.drop(3000, format.HookConnRequest, 0)
			m.script("w1000")
			m.serves(3000, 1, 5)
		}, "queue-overflow warning"},
		{"left the queue after long", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 w4000 c3000:9 q3001 w4000 f3001 c3001:1")
		}, "client-lost warning, slow-accept warning"},
		{"left the queue soon", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 w20 c3000:1,104")
		}, ""},
		{"workers of a new listener", func(m *maker) {
			m.script("w100")
			m.add(m.task(5, format.Event{Kind: format.Listen, Hook: format.HookListenStart})).Hook = format.HookListenStart
			for pid := range uint32(4) {
				m.batch.Processes = append(m.batch.Processes, started(20+pid, "/srv", 200e6))
			}
			m.serves(1, 400, 20, 21, 22, 23)
		}, "new-listener notice"},
		{"healthy, a burst that nearly fills the queue", func(m *maker) {
			m.step = 1e5
			for i := range 128 {
				m.queued(i + 1)
			}
			for i := range 128 {
				m.enter(5)
				m.accepts(5, i+1, 1)
			}
		}, ""},

		{"queue full for a moment", func(m *maker) {
			m.serves(1, 1000, 5)
			m.limit = 1
			m.script("q2001 q2002 q2003")
			m.step = 1e5
			m.script("e5 a5.2001 e5 a5.2002 e5 a5.2003")
		}, "queue-full notice"},
		{"queue full for long", func(m *maker) {
			m.serves(1, 1000, 5)
			m.limit = 2
			m.script("q2001 q2002 q2003 w1500 e5 a5.2001 e5 a5.2002 e5 a5.2003")
		}, "slow-accept warning (queue-full warning)"},
		{"queue full, only accept recorded", func(m *maker) {
			m.queue, m.limit = 129, 128
			for i := range 20 {
				m.enter(5)
				m.accepts(5, i+1, 1)
				m.queue = 129
			}
		}, "queue-full warning"},
		{"some refused", func(m *maker) {
			m.serves(1, 1000, 5)
			m.drop(3000, format.HookConnRequest, 0)
		}, "queue-overflow warning"},
		{"refused", func(m *maker) {
			m.serves(1, 1000, 5)
			for i := range 30 {
				m.drop(3000+i, []format.Hook{format.HookConnRequest, format.HookSynRecv}[i%2], 0)
			}
		}, "queue-overflow critical"},
		{"SYN queue full", func(m *maker) {
			for i := range 30 {
				m.drop(3000+i, format.HookConnRequest, format.MarkSynQueue)
			}
		}, "queue-overflow critical"},
		{"slow at times", func(m *maker) {
			m.serves(1, 200, 5)
			for i := range 5 {
				m.script(fmt.Sprintf("q%d w150 e5 a5.%d", 3000+i, 3000+i))
			}
		}, "slow-accept notice"},
		{"one slow among many", func(m *maker) {
			m.serves(1, 2000, 5)
			m.script("q3000 w3000 e5 a5.3000")
		}, ""},
		{"slow", func(m *maker) {
			for i := range 20 {
				m.script(fmt.Sprintf("q%d w700 e5 a5.%d", 3000+i, 3000+i))
			}
		}, "slow-accept warning"},
		{"very slow", func(m *maker) {
			for i := range 20 {
				m.script(fmt.Sprintf("q%d w1200 e5 a5.%d", 3000+i, 3000+i))
			}
		}, "slow-accept critical"},
		{"stuck", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 q3001 w9000")
		}, "slow-accept critical"},
		{"stuck, and never accepted", func(m *maker) { m.script("q3000 w2000") }, "slow-accept critical"},
		{"in the queue just now", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 w50")
		}, ""},
		{"EMFILE", func(m *maker) {
			m.serves(1, 1000, 5)
			m.enter(5)
			m.fails(5, 24)
		}, "fd-exhausted critical"},
		{"ENFILE", func(m *maker) {
			m.enter(5)
			m.fails(5, 23)
		}, "fd-exhausted critical"},
		{"one dead on arrival", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 c3000:1,104 e5 a5.3000:7")
		}, "dead-on-arrival notice"},
		{"some dead on arrival", func(m *maker) {
			m.serves(1, 500, 5)
			m.step = 1e5
			for i := range 20 {
				m.script(fmt.Sprintf("q%d c%d:1,104 w100 e5 a5.%d:7", 3000+i, 3000+i, 3000+i))
			}
		}, "dead-on-arrival warning, slow-accept notice"},
		{"health checks, and nobody else", func(m *maker) {
			m.step = 1e5
			for i := range 40 {
				m.script(fmt.Sprintf("q%d c%d:1,104 e5 a5.%d:7", 3000+i, 3000+i, 3000+i))
			}
		}, "dead-on-arrival notice"},
		{"health checks, only accept recorded", func(m *maker) {
			for i := range 40 {
				m.enter(5)
				m.accepts(5, i+1, 7)
			}
		}, "dead-on-arrival notice"},
		{"many dead on arrival, only accept recorded", func(m *maker) {
			for i := range 30 {
				m.enter(5)
				m.accepts(5, i+1, []uint8{1, 7}[i%2]).Backlog = 3
			}
		}, "dead-on-arrival critical"},
		{"clients that gave up", func(m *maker) {
			for i := range 20 {
				m.script(fmt.Sprintf("q%d w1100 g%d e5 a5.%d:8", 3000+i, 3000+i, 3000+i))
			}
		}, "dead-on-arrival critical, slow-accept critical"},
		{"clients that close their side at once", func(m *maker) {
			m.step = 1e5
			for i := range 20 {
				m.script(fmt.Sprintf("q%d g%d e5 a5.%d:8 c%d:9", 3000+i, 3000+i, 3000+i, 3000+i))
			}
		}, ""},
		{"a client lost", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 e5 x5.3000 c3000:1")
		}, "client-lost warning"},
		{"clients lost", func(m *maker) {
			for i := range 10 {
				m.script(fmt.Sprintf("q%d e5 x5.%d c%d:1", 3000+i, 3000+i, 3000+i))
			}
		}, "client-lost critical"},
		{"lost with the listener", func(m *maker) {
			m.serves(1, 1000, 5)
			m.script("q3000 q3001 f3000 c3000:1 f3001 c3001:1")
		}, "client-lost warning"},
		{"another recorder tries its probes", func(m *maker) {
			m.inode, m.addr = 8, "127.0.0.1:40123"
			e := m.add(m.task(6, format.Event{Kind: format.Listen}))
			e.Hook, e.Comm = format.HookListenStart, "acc"
			m.script("q3000 q3001 f3000 c3000:1 f3001 c3001:1")
		}, "client-lost notice, new-listener notice"},
		{"aborted", func(m *maker) {
			m.serves(1, 1000, 5)
			m.enter(5)
			m.fails(5, 103)
		}, "accept-aborted notice"},
		{"many aborted", func(m *maker) {
			m.serves(1, 100, 5)
			for range 20 {
				m.enter(5)
				m.fails(5, 103)
			}
		}, "accept-aborted warning"},
		{"herd", func(m *maker) {
			for i := range 300 {
				m.queued(i + 1)
				for pid := range uint32(4) {
					m.enter(pid + 5)
				}
				m.accepts(uint32(i%4)+5, i+1, 1)
				for pid := range uint32(4) {
					if pid != uint32(i%4) {
						m.fails(pid+5, 11)
					}
				}
			}
		}, "herd notice"},
		{"herd of threads", func(m *maker) {
			for i := range 300 {
				m.queued(i + 1)
				for tid := range uint32(8) {
					m.enter(5)
					m.batch.Events[len(m.batch.Events)-1].TID += tid
				}
				m.accepts(5, i+1, 1)
				for tid := range uint32(8) {
					if tid != 0 {
						m.fails(5, 11)
						m.batch.Events[len(m.batch.Events)-1].TID += tid
					}
				}
			}
		}, "herd warning"},
		{"uneven", func(m *maker) {
			m.serves(1, 30, 5, 6)
			for i := range 10 {
				m.serves(1000+100*i, 90, 5)
				m.serves(1090+100*i, 3, 6)
			}
		}, "uneven-workers notice"},
		{"uneven, too few to say", func(m *maker) { m.serves(1, 90, 5, 5, 5, 5, 5, 5, 5, 5, 6) }, ""},
		{"a worker that came late", func(m *maker) {
			m.serves(1, 1000, 5)
			m.serves(1001, 50, 5, 6)
		}, ""},
		{"uneven with a listener each", func(m *maker) {
			m.inode = 8
			m.batch.Snapshots = m.listening().Snapshots
			for i := range 600 {
				m.inode = 7
				if i%20 == 0 {
					m.inode = 8
				}
				m.serves(1+i, 1, uint32(m.inode))
			}
		}, "uneven-workers notice"},
		{"io_uring", func(m *maker) {
			m.serves(1, 100, 5)
			m.queued(2000)
			e := m.accepts(5, 2000, 1)
			e.Hook, e.Via = format.HookDoAccept, format.ViaIOUring
		}, "io-uring-accept notice"},
		{"address", func(m *maker) {
			m.serves(1, 100, 5)
			m.queued(2000)
			m.enter(5)
			e := m.accepts(5, 2000, 1)
			e.Mark, e.ToldAddr = format.MarkAddrDiffers, netip.MustParseAddr("203.0.113.9")
		}, "address-mismatch warning"},
		{"a short buffer", func(m *maker) {
			m.queued(2000)
			m.enter(5)
			m.accepts(5, 2000, 1).Mark = format.MarkAddrShort
		}, ""},
		{"new listener", func(m *maker) {
			m.add(m.task(5, format.Event{Kind: format.Listen, Hook: format.HookListenStart})).Hook = format.HookListenStart
			m.serves(1, 100, 5)
		}, "new-listener notice"},
		{"new listener by the snapshot", func(m *maker) {
			m.inode = 8
			m.serves(1, 100, 5)
		}, "new-listener notice"},
		{"new acceptor: started just now", func(m *maker) {
			m.batch.Processes = append(m.batch.Processes, started(6, "/srv", 5e6))
			m.serves(1, 100, 5)
			m.serves(101, 10, 6)
		}, "new-acceptor notice"},
		{"new acceptor: another program", func(m *maker) {
			m.batch.Processes = append(m.batch.Processes, started(6, "/tmp/other", -5e6))
			m.serves(1, 100, 5)
			m.serves(101, 10, 6)
		}, "new-acceptor warning"},
		{"turned away", func(m *maker) {
			m.serves(1, 40, 5)
			for i := range 10 {
				m.queued(3000 + i)
				m.enter(5)
				m.accepts(5, 3000+i, 1)
				e := m.closed(3000+i, 1, 0)
				e.Shutdown, e.BytesIn, e.BytesOut = 16+32+64, 300, 0
			}
		}, "turned-away critical"},
		{"idle connections that ran out of time", func(m *maker) {
			m.serves(1, 40, 5)
			for i := range 20 {
				m.queued(3000 + i)
				m.enter(5)
				m.accepts(5, 3000+i, 1)
			}
			m.script("w1001")
			for i := range 20 {
				e := m.closed(3000+i, 4, 0)
				e.BytesIn, e.BytesOut = 0, 0
			}
		}, ""},
		{"closed after a request was read, as one that is answered later by another connection", func(m *maker) {
			m.serves(1, 40, 5)
			for i := range 20 {
				m.queued(3000 + i)
				m.enter(5)
				m.accepts(5, 3000+i, 1)
				e := m.closed(3000+i, 4, 0)
				e.Shutdown, e.BytesOut = 16, 0
			}
		}, ""},
		{"left unanswered", func(m *maker) {
			m.serves(1, 40, 5)
			for i := range 3 {
				m.queued(3000 + i)
				m.enter(5)
				m.accepts(5, 3000+i, 1)
				m.script("w300")
				e := m.closed(3000+i, 9, 0)
				e.BytesIn, e.BytesOut = 300, 0
			}
		}, "unanswered notice"},
		{"checks that send nothing", func(m *maker) {
			m.serves(1, 40, 5)
			for i := range 30 {
				m.queued(3000 + i)
				m.enter(5)
				m.accepts(5, 3000+i, 1)
				e := m.closed(3000+i, 9, 0)
				e.BytesIn, e.BytesOut = 1, 1
				e.Shutdown = 4 + 8
			}
		}, ""},
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
				m.closed(i+1, 4, 0)
			}
		}, "concurrency-limit warning (slow-accept warning)"},
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
						m.closed(next, 4, 0)
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
					m.script("w70") // not soon enough to be the server's close
					m.closed(i-3, 4, 0)
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
			for i := range 14 {
				m.inode, m.addr = uint64(100+i), fmt.Sprintf("0.0.0.0:%d", 40000+i)
				m.add(m.task(5, format.Event{Kind: format.Listen,
					Hook: format.HookListenStart})).Hook = format.HookListenStart
				m.serves(3000+i, 1, 5)
				m.add(m.task(5, format.Event{Kind: format.Stop,
					Cause: format.CauseListenerClosed})).Hook = format.HookListenStop
			}
			m.inode, m.addr = 200, "0.0.0.0:31337"
			e := m.add(m.task(5, format.Event{Kind: format.Listen}))
			e.Hook, e.Comm = format.HookListenStart, "sh"
		}, "new-listener notice"},
		{"passive FTP alone", func(m *maker) {
			m.serves(1, 10, 5)
			m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookInetListen
			for i := range 14 {
				m.inode, m.addr = uint64(100+i), fmt.Sprintf("0.0.0.0:%d", 40000+i)
				m.add(m.task(5, format.Event{Kind: format.Listen,
					Hook: format.HookListenStart})).Hook = format.HookListenStart
				m.serves(3000+i, 1, 5)
				m.add(m.task(5, format.Event{Kind: format.Stop,
					Cause: format.CauseListenerClosed})).Hook = format.HookListenStop
			}
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
	provoked := map[string]bool{}
	for _, c := range cases {
		m := newMaker(t, true)
		start := m.listening()
		for pid := range uint32(9) {
			if pid != 6 || !strings.Contains(c.name, "new acceptor") {
				m.batch.Processes = append(m.batch.Processes, started(pid, "/srv", -1e9))
			}
		}
		c.make(m)
		events := uint64(len(m.batch.Events))
		_, r := m.analyze(Options{}, start)
		var got []string
		for _, f := range r.Findings {
			what := f.ID + " " + string(f.Severity)
			var parts []string
			for _, p := range f.Parts {
				parts = append(parts, p.ID+" "+string(p.Severity))
				provoked[p.ID] = true
			}
			if n := len(parts); n > 1 && parts[0] == parts[n-1] {
				parts = []string{fmt.Sprintf("%s x%d", parts[0], n)}
			}
			if len(parts) > 0 {
				what += " (" + strings.Join(parts, ", ") + ")"
			}
			got = append(got, what)
			provoked[f.ID] = true
			if f.Text == "" || f.Next == "" || strings.Contains(f.Text+f.Next, "%!") || strings.Contains(f.Text, "\n") {
				t.Errorf("%s: %+v", c.name, f)
			}
			if len(f.Evidence) == 0 && !slices.Contains([]string{"incomplete", "listen-drops", "cross-check",
				"clock-unsynchronised"}, f.ID) || len(f.Evidence) > 8 {
				t.Errorf("%s: %s has %d pieces of evidence", c.name, f.ID, len(f.Evidence))
			}
			for _, e := range f.Evidence {
				if e.Seq == 0 || e.Seq > events {
					t.Errorf("%s: %s points to event %d of %d", c.name, f.ID, e.Seq, events)
				}
				if x := m.batch.Events[e.Seq-1]; x.BootNS != e.BootNS {
					t.Errorf("%s: %s says that event %d was at %d, it was at %d", c.name, f.ID, e.Seq, e.BootNS, x.BootNS)
				}
			}
		}
		if strings.Contains(c.name, "another one among it") &&
			r.Findings[0].Text != "1 socket began to listen: 0.0.0.0:31337 by sh[5]" {
			t.Errorf("%s: %s", c.name, r.Findings[0].Text)
		}
		slices.Sort(got)
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s, c.want)
			for _, f := range r.Findings {
				t.Logf("%s: %s", f.ID, f.Text)
			}
		}
	}
	for _, id := range findings.IDs() {
		if !provoked[id] {
			t.Errorf("no test provokes %s", id)
		}
	}
}

// flat gives findings and what they are the cause of, each as one.
func flat(list []findings.Finding) (all []findings.Finding) {
	for _, f := range list {
		all = append(all, f)
		for _, p := range f.Parts {
			all = append(all, findings.Finding{ID: p.ID, Severity: p.Severity, Text: p.Text, Evidence: p.Evidence})
		}
	}
	return all
}

// Findings come worst first, and the rest is counted.
func TestFindingOrder(t *testing.T) {
	m := newMaker(t, true)
	for i := range 15 {
		m.inode, m.addr = uint64(i+10), fmt.Sprintf("0.0.0.0:%d", 8000+i)
		m.enter(5)
		m.fails(5, 24)
		m.queued(1000 + i)
		m.enter(5)
		m.accepts(5, 1000+i, 7)
	}
	_, r := m.analyze(Options{Top: 3})
	var got []string
	for _, f := range r.Findings {
		got = append(got, string(f.Severity)+" "+f.ID)
	}
	want := strings.Repeat("critical fd-exhausted,", 3) + strings.Repeat("notice dead-on-arrival,", 3)
	if s := strings.Join(got, ","); s+"," != want || r.Others.Findings != 24 {
		t.Errorf("got %q and %d more, want %q", s, r.Others.Findings, want)
	}
	if ids := findings.IDs(); len(ids) != 23 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 23 {
		t.Errorf("%v", ids)
	}
	if !findings.Critical.AtLeast(findings.Warning) || !findings.Warning.AtLeast(findings.Warning) || findings.Notice.AtLeast(findings.Warning) {
		t.Error("severities are not in order")
	}
}

// Many listeners of one process don't hide what is found of another's.
func TestFindingsOfOneProcess(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	for i := range 20 {
		m.inode, m.addr = uint64(i+10), fmt.Sprintf("0.0.0.0:%d", 8000+i)
		m.enter(5)
		m.fails(5, 24)
		m.enter(5)
		m.fails(5, 24)
	}
	m.inode, m.addr = 99, "0.0.0.0:9000"
	m.enter(6)
	m.fails(6, 24)
	show := func(o Options) (list []findings.Finding, r *Result) {
		_, r = m.analyze(o, start)
		for _, f := range r.Findings {
			if f.ID == "fd-exhausted" {
				list = append(list, f)
			}
		}
		return list, r
	}
	list, r := show(Options{Top: 10})
	if len(list) != 4 || list[2].Owner != "srv[5]" || list[2].More != 17 || list[0].More != 0 || list[3].Owner != "srv[6]" || list[3].More != 0 || r.FindingCounts.Critical != 21 || r.Others.Findings != 17 {
		t.Errorf("%+v\n%+v, %d left out", list, r.FindingCounts, r.Others.Findings)
	}
	if list, r := show(Options{Top: -1}); len(list) != 21 || r.FindingCounts.Critical != 21 || r.Others.Findings != 0 || list[2].More != 0 {
		t.Errorf("all: %d, %+v, %d left out", len(list), r.FindingCounts, r.Others.Findings)
	}
}

// FTP's passive sockets are told together, beside those that are not: a foreign socket among them stands for itself.
func TestOneAccept(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	m.serves(1, 10, 5)
	for i := range 14 {
		m.inode, m.addr = uint64(100+i), fmt.Sprintf("0.0.0.0:%d", 40000+i)
		m.add(m.task(5, format.Event{Kind: format.Listen})).Hook = format.HookListenStart
		m.serves(3000+i, 1, 5)
		m.add(m.task(5, format.Event{Kind: format.Stop,
			Cause: format.CauseListenerClosed})).Hook = format.HookListenStop
	}
	m.inode, m.addr = 200, "0.0.0.0:31337"
	e := m.add(m.task(5, format.Event{Kind: format.Listen}))
	e.Hook, e.Comm = format.HookListenStart, "sh"
	m.serves(4000, 1, 5)
	_, r := m.analyze(Options{Top: -1}, start)
	if len(r.OneAccept) != 1 || r.OneAccept[0].Sockets != 14 || r.OneAccept[0].Accepted != 14 ||
		r.OneAccept[0].Program == "" {
		t.Errorf("%+v", r.OneAccept)
	}
	var alone []string
	for _, l := range r.Listeners {
		if !l.OneAccept {
			alone = append(alone, l.Addr)
		}
	}
	if want := []string{"0.0.0.0:80", "0.0.0.0:31337"}; !slices.Equal(alone, want) || len(r.Listeners) != 16 {
		t.Errorf("%d listeners, by themselves %v, want %v", len(r.Listeners), alone, want)
	}
}
