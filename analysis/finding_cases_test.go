package analysis

// This file has what each finding is made by, and what is well.

import (
	"fmt"
	"net/netip"

	"github.com/acc-project/acc/format"
)

// findingCase makes events, and says which findings come of them.
type findingCase struct {
	name string
	make func(m *maker)
	want string // ids and severities
}

// queueCases are about queues, accepts, and who accepts.
var queueCases = []findingCase{
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
	}, "slow-accept warning (dead-on-arrival warning)"},
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
	}, "slow-accept critical (dead-on-arrival critical)"},
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
}
