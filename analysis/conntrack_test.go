package analysis

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// maker makes the events of connections to one listener.
type maker struct {
	t       *testing.T
	cookies bool
	ns      int64 // of the next event
	step    int64 // between events
	queue   uint32
	limit   uint32
	addr    string // of the listener
	inode   uint64
	lost    uint64
	batch   format.Batch
}

func newMaker(t *testing.T, cookies bool) *maker {
	return &maker{t: t, cookies: cookies, ns: 1e6, step: 1e6, limit: 128, addr: "0.0.0.0:80", inode: 7}
}

func (m *maker) add(e format.Event) *format.Event {
	e.Seq, e.BootNS, e.NetNS = uint64(len(m.batch.Events)+1), m.ns, 1
	e.Listener, e.Backlog, e.BacklogMax = cmp.Or(e.Listener, m.inode), m.queue, m.limit
	e.Family, e.Type, e.Proto = format.FamilyIPv4, 1, 6
	m.ns += m.step
	m.batch.Events = append(m.batch.Events, e)
	return &m.batch.Events[len(m.batch.Events)-1]
}

// conn makes an event of connection n.
func (m *maker) conn(n int, e format.Event) *format.Event {
	at := netip.MustParseAddrPort(m.addr)
	e.LAddr, e.LPort = netip.MustParseAddr("192.0.2.80"), at.Port()
	e.RAddr, e.RPort = netip.AddrFrom4([4]byte{198, 51, 100, byte(n >> 16)}), uint16(n)
	if m.cookies {
		e.Cookie = uint64(n) + 1000
	}
	return m.add(e)
}

func (m *maker) task(pid uint32, e format.Event) format.Event {
	at := netip.MustParseAddrPort(m.addr)
	e.PID, e.TID, e.Proc, e.Comm, e.SockFD, e.Hook, e.Via = pid, pid, pid, "srv", 3, format.HookSysAccept4, format.ViaAccept4
	e.LAddr, e.LPort, e.State = at.Addr(), at.Port(), 10
	return e
}

func (m *maker) enter(pid uint32) { m.add(m.task(pid, format.Event{Kind: format.Enter})) }

func (m *maker) fails(pid uint32, errno int32) {
	m.add(m.task(pid, format.Event{Kind: format.Return, Ret: -errno}))
}

func (m *maker) queued(n int) {
	m.conn(n, format.Event{Kind: format.Queued, Hook: format.HookHashdance, State: 3, HandshakeUS: 100})
	m.queue++
}

func (m *maker) accepts(pid uint32, n int, state uint8) *format.Event {
	if m.queue > 0 {
		m.queue--
	}
	e := m.task(pid, format.Event{Kind: format.Return, Ret: 9, Inode: uint64(n) + 5000})
	e.State = state
	return m.conn(n, e)
}

func (m *maker) closed(n int, old uint8, errno uint16) *format.Event {
	e := m.conn(n, format.Event{Kind: format.Closed, Hook: format.HookSetState, OldState: old, State: 7, SockErr: errno, BytesIn: 101, BytesOut: 1001, SRTTUS: 50})
	e.Listener, e.Backlog, e.BacklogMax = 0, 0, 0
	if old == 3 { // it had no time for more
		e.BytesIn, e.BytesOut, e.SRTTUS = 0, 0, 0
		if m.cookies {
			e.Cookie += 500
		}
	}
	return e
}

func (m *maker) drop(n int, hook format.Hook, mark uint16) {
	m.conn(n, format.Event{Kind: format.Drop, Hook: hook, Mark: mark})
}

// script adds events written as words: "q1" connection 1 is queued, "e5" task 5
// calls accept, "a5.1" and gets connection 1, in state 7 with "a5.1:7"; "g1" the
// peer closes its side, "c1:9" it ends out of state 9, "c1:1,104" with an error;
// "f1" the listener is closed while it is queued; "x5.1" accept takes it and fails;
// "w50" 50 ms pass.
func (m *maker) script(words string) {
	for w := range strings.FieldsSeq(words) {
		var a, b, c int
		switch w[0] {
		case 'q':
			fmt.Sscanf(w[1:], "%d", &a)
			m.queued(a)
		case 'e':
			fmt.Sscanf(w[1:], "%d", &a)
			m.enter(uint32(a))
		case 'a':
			c = 1
			fmt.Sscanf(w[1:], "%d.%d:%d", &a, &b, &c)
			m.accepts(uint32(a), b, uint8(c))
		case 'g':
			fmt.Sscanf(w[1:], "%d", &a)
			m.conn(a, format.Event{Kind: format.State, Hook: format.HookSetState, OldState: 1, State: 8})
		case 'c':
			fmt.Sscanf(w[1:], "%d:%d,%d", &a, &b, &c)
			m.closed(a, uint8(b), uint16(c))
		case 'f':
			fmt.Sscanf(w[1:], "%d", &a)
			m.drop(a, format.HookChildForget, 0)
		case 'x':
			fmt.Sscanf(w[1:], "%d.%d", &a, &b)
			e := m.accepts(uint32(a), b, 1)
			e.Ret, e.Mark, e.Cookie = -14, format.MarkClientLost, 0
		case 'w':
			fmt.Sscanf(w[1:], "%d", &a)
			m.ns += int64(a) * 1e6
		default:
			m.t.Fatalf("no such event: %q", w)
		}
	}
}

// end makes the capture's end, a millisecond after the last event.
func (m *maker) end() *format.End {
	return &format.End{Lost: m.lost, Totals: []format.ProbeTotal{{Hook: format.HookSetState, Kind: format.Closed, Lost: m.lost}}, Clean: true, BlockedKnown: true, Clock: format.Clock{BootNS: m.ns, RealNS: 1e18 + m.ns}}
}

// analyze gives the connections and the result.
func (m *maker) analyze(o Options, before ...*format.Batch) ([]conntrack.Connection, *Result) {
	var list []conntrack.Connection
	o.Connection = func(c *conntrack.Connection) error {
		list = append(list, *c)
		return nil
	}
	m.batch.End = m.end()
	h := &format.Header{Clock: format.Clock{RealNS: 1e18}, StartNS: 1e18}
	if slices.ContainsFunc(m.batch.Events, func(e format.Event) bool { return e.Kind > format.Return }) {
		h.Probes = []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}
	}
	a := New(h, o)
	for _, b := range append(before, &m.batch) {
		if err := a.Add(b, false); err != nil {
			m.t.Fatal(err)
		}
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.counted(list, &r.Connections)
	return list, r
}

// counted holds the totals against the connections that were told of, one by one.
func (m *maker) counted(list []conntrack.Connection, c *conntrack.ConnectionTotals) {
	m.t.Helper()
	ends, before, silent := map[conntrack.End]uint64{}, uint64(0), uint64(0)
	for i := range list {
		x := &list[i]
		ends[x.End]++
		if x.Before {
			before++
		}
		if x.ID == 0 && x.End != conntrack.EndNotRecorded {
			silent++
		}
	}
	if n := uint64(len(list)); c.Seen != n || c.Before != before || c.Silent != silent || len(c.Ends) != len(ends) {
		m.t.Errorf("%d connections, %d of before, %d of them without an event, %v: %+v", n, before, silent, ends, c)
	}
	for _, e := range c.Ends {
		if e.Count != ends[e.Reason] || e.End != e.Reason.ID() {
			m.t.Errorf("%d connections %q (%s), listed are %d", e.Count, e.Reason, e.End, ends[e.Reason])
		}
	}
}

// said is a connection in short: the numbers of its events, how it ended, waits in ms.
func said(c *conntrack.Connection) string {
	s := fmt.Sprintf("%d:", c.Remote.Port())
	if c.TID != 0 {
		s += fmt.Sprintf("%d,", c.PID)
	}
	if c.QueueWaitNS >= 0 {
		s += fmt.Sprintf("queued=%d,", c.QueueWaitNS/1e6)
	}
	if c.AliveNS >= 0 {
		s += fmt.Sprintf("alive=%d,", c.AliveNS/1e6)
	}
	if c.Dead {
		s += fmt.Sprintf("dead=%d,", c.DeadNS/1e6)
	}
	if c.Before {
		s += "before,"
	}
	return s + strings.ReplaceAll(string(c.End), " ", "-")
}

func TestConnections(t *testing.T) {
	cases := []struct{ name, events, want string }{
		{"closed by the client", "e5 q1 a5.1 c1:9", "1:5,queued=1,alive=2,closed-by-the-client"},
		{"closed by the server", "q1 w10 e5 a5.1 c1:5", "1:5,queued=12,alive=13,closed-by-the-server"},
		{"closed by the server, no answer", "q1 e5 a5.1 c1:4", "1:5,queued=2,alive=3,closed-by-the-server"},
		{"both", "q1 e5 a5.1 c1:11", "1:5,queued=2,alive=3,closed-by-both-at-once"},
		{"reset by the client", "q1 e5 a5.1 c1:1,104", "1:5,queued=2,alive=3,reset-by-the-client"},
		{"closed by the client, then the server writes", "q1 e5 a5.1 c1:8,32", "1:5,queued=2,alive=3,closed-by-the-client;-what-the-server-sent-after-that-was-refused"},
		{"closed by the client, then the server writes and closes", "q1 e5 a5.1 c1:9,104",
			"1:5,queued=2,alive=3,closed-by-the-client;-what-the-server-sent-after-that-was-refused"},
		{"reset by the server", "q1 e5 a5.1 c1:8", "1:5,queued=2,alive=3,reset-by-the-server"},
		{"timed out", "q1 e5 a5.1 c1:1,110", "1:5,queued=2,alive=3,timed-out"},
		{"killed", "q1 e5 a5.1 c1:1,103", "1:5,queued=2,alive=3,killed-on-the-server"},
		{"no route", "q1 e5 a5.1 c1:1,113", "1:5,queued=2,alive=3,network-error"},
		{"open at the end", "q1 e5 a5.1", "1:5,queued=2,alive=3,open-at-the-end"},
		{"in the queue at the end", "q1 w5", "1:queued=6,alive=6,in-the-accept-queue-at-the-end"},
		{"dead on arrival", "q1 c1:1,104 w20 e5 a5.1:7", "1:5,queued=23,alive=1,dead=22,reset-by-the-client"},
		{"gone, then dead on arrival", "q1 g1 c1:8,32 e5 a5.1:7", "1:5,queued=4,alive=2,dead=2,reset-by-the-client"},
		{"dead, never accepted", "q1 c1:1,104", "1:queued=1,alive=1,reset-by-the-client"},
		{"closed before the return was written", "e5 q1 c1:9 a5.1", "1:5,queued=2,alive=1,closed-by-the-client"},
		{"lost with its listener", "q1 f1 c1:1", "1:queued=1,alive=1,lost,-its-listener-stopped-listening"},
		{"dead, then lost with its listener", "q1 c1:1,104 f1", "1:queued=2,alive=2,lost,-its-listener-stopped-listening"},
		{"lost by accept", "q1 e5 x5.1 c1:1", "1:5,queued=2,alive=2,lost,-accept-failed-after-it-took-it"},
		{"there before, seen to close", "q1 c9:9 e5 a5.1", "9:before,closed-by-the-client 1:5,queued=3,alive=4,open-at-the-end"},
		{"there before, accepted late", "e5 a5.9 q1 c9:9", "9:5,alive=2,closed-by-the-client 1:queued=2,alive=2,in-the-accept-queue-at-the-end"},
		{"its handshake ended on two CPUs", "q1 c1:3 e5 a5.1 c1:9", "1:5,queued=3,alive=4,closed-by-the-client"},
		{"and it was accepted before", "q1 e5 a5.1 c1:3 c1:9", "1:5,queued=2,alive=4,closed-by-the-client"},
		{"the same addresses again", "q1 e5 a5.1 c1:9 q1 e5 a5.1 c1:9", "1:5,queued=2,alive=3,closed-by-the-client 1:5,queued=2,alive=3,closed-by-the-client"},
		{"its close was lost", "q1 e5 a5.1 e5 a5.1", "1:5,queued=2,not-recorded 1:5,alive=1,open-at-the-end"},
		{"told twice", "q1 e5 a5.1 e6 q2 a6.2 c2:9 c1:9", "2:6,queued=1,alive=2,closed-by-the-client 1:5,queued=2,alive=7,closed-by-the-client"},
	}
	for _, c := range cases {
		for _, cookies := range []bool{false, true} {
			m := newMaker(t, cookies)
			m.script(c.events)
			list, r := m.analyze(Options{})
			var got []string
			for i := range list {
				got = append(got, said(&list[i]))
				if ns := list[i].HandshakeNS; list[i].QueuedSeq != 0 && ns != 100_000 {
					t.Errorf("%s: handshake %d ns", c.name, ns)
				}
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s (cookies %v): %s: got %q, want %q", c.name, cookies, c.events, s, c.want)
			}
			if x := r.Connections; x.Discarded != uint64(strings.Count(c.events, ":3")) {
				t.Errorf("%s: %+v", c.name, x)
			}
			if x := r.Connections; x.Seen != uint64(len(list)) || !x.Recorded && strings.ContainsAny(c.events, "qcgf") {
				t.Errorf("%s: %+v", c.name, x)
			}
		}
	}
}

// A connection's own facts come through, and FINs are no bytes of the program's.
func TestConnectionFacts(t *testing.T) {
	m := newMaker(t, true)
	m.script("q1 e5 a5.1 c1:9 q2 e5 a5.2 c2:1,104 q3 e5 a5.3 c3:5")
	list, _ := m.analyze(Options{})
	for i, want := range [][2]uint64{{100, 1000}, {101, 1001}, {101, 1000}} {
		if c := list[i]; c.BytesIn != want[0] || c.BytesOut != want[1] {
			t.Errorf("connection %d: %d bytes in, %d out, want %v", i+1, c.BytesIn, c.BytesOut, want)
		}
	}
	c := list[0]
	if c.ID != 1 || c.Comm != "srv" || c.PID != 5 || c.ListenAddr != "0.0.0.0:80" || c.Inode != 5001 || c.SRTTUS != 50 || c.Via != format.ViaAccept4 ||
		c.QueuedSeq != 1 || c.EnterSeq != 2 || c.AcceptedSeq != 3 || c.ClosedSeq != 4 || c.StateAtAccept != 1 {
		t.Errorf("%+v", c)
	}
	for seq := range uint64(6) {
		if c.Has(seq) != (seq >= 1 && seq <= 4) {
			t.Errorf("event %d: %v", seq, c.Has(seq))
		}
	}
}

// A cookie tells apart what addresses don't: a connection that was reset in the
// queue, and the next one from the same port.
func TestSamePortInQueue(t *testing.T) {
	m := newMaker(t, false)
	m.script("q1 c1:1,104 q1 e5 a5.1:7 e5 a5.1 c1:9")
	for i, cookie := range []uint64{1, 1, 2, 0, 1, 0, 2, 2} {
		m.batch.Events[i].Cookie = cookie
	}
	list, _ := m.analyze(Options{})
	if len(list) != 2 || said(&list[0]) != "1:5,queued=4,alive=1,dead=3,reset-by-the-client" || said(&list[1]) != "1:5,queued=4,alive=5,closed-by-the-client" {
		t.Errorf("%+v", list)
	}
}

// Without events beyond accept, connections are what accept tells.
func TestConnectionsOfAccept(t *testing.T) {
	m := newMaker(t, false)
	m.script("e5 a5.1 e6 a6.2:7 e5 x5.3")
	list, r := m.analyze(Options{})
	var got []string
	for i := range list {
		got = append(got, said(&list[i]))
	}
	want := "1:5,not-recorded 2:6,dead=0,not-recorded 3:5,lost,-accept-failed-after-it-took-it"
	if s := strings.Join(got, " "); s != want || r.Connections.Recorded || r.Connections.Accepted != 2 || r.Connections.Seen != 3 {
		t.Errorf("got %q, want %q, %+v", s, want, r.Connections)
	}
}

// How long the accept queue was full is exact: from the event that filled it to the one that drained it.
func TestQueueFull(t *testing.T) {
	m := newMaker(t, true)
	m.limit = 1
	m.script("q1 q2 w100 e5 a5.1 q3 w50")
	_, r := m.analyze(Options{})
	l := r.Listeners[0]
	if l.QueueHigh != 2 || l.Life == nil || l.Life.FullNS != 153e6 || l.Life.FullLongestNS != 102e6 || l.Life.Queued != 3 || l.Life.Waiting != 2 {
		t.Errorf("%+v, %+v", l, l.Life)
	}
}

// It was full before, too: from the start to the event that drained it, or to the end.
func TestQueueFullBefore(t *testing.T) {
	for _, c := range []struct {
		limit  uint32 // at the start, 0 not known
		events string
		want   int64
	}{{4, "e5 a5.1 c1:9 w50", 6001e6}, {0, "e5 a5.1 c1:9 w50", 6001e6}, {4, "e5 q7 w500", 6502e6}, {4, "c1:9 w50", 6051e6}, {8, "e5 q7 w500", 502e6}} {
		events, want := c.events, c.want
		m := newMaker(t, true)
		start := m.listening()
		m.ns, m.limit, m.queue = 6e9, 4, 5
		start.Snapshots[0].Listeners[0].Backlog, start.Snapshots[0].Listeners[0].BacklogMax = 5, c.limit
		m.script(events)
		_, r := m.analyze(Options{}, start)
		if f := r.Listeners[0].Life; f == nil || f.FullNS != want || f.FullLongestNS != want {
			t.Errorf("%s: %+v", events, f)
		}
		if !slices.ContainsFunc(flat(r.Findings), func(f findings.Finding) bool {
			return f.ID == "queue-full" && f.Severity == findings.Warning && strings.Contains(f.Text, "(5, limit 4)") || f.ID == "queue-full" && strings.Contains(f.Text, "(6, limit 4)")
		}) {
			t.Errorf("%s: %+v", events, r.Findings)
		}
	}
}

// simulate makes the events of n connections, each in its order, with times of
// CPUs that differ a little.
func simulate(t *testing.T, rng *rand.Rand, n int) [][]format.Event {
	var all [][]format.Event
	for i := 1; i <= n; i++ {
		m := newMaker(t, rng.IntN(2) == 0)
		m.ns = int64(rng.IntN(1000))*1e6 + 1e6
		m.step = int64(rng.IntN(5)) * 1e5
		jitter := func() {
			e := &m.batch.Events[len(m.batch.Events)-1]
			e.BootNS += int64(rng.IntN(2000)) - 1000
		}
		pid := uint32(rng.IntN(5) + 1)
		words := []string{"q", "a", "c"}
		switch rng.IntN(8) {
		case 0:
			words = []string{"q", "c", "a"}
		case 1:
			words = []string{"q"}
		case 2:
			words = []string{"q", "f", "c"}
		case 3:
			words = []string{"a", "c"}
		case 4:
			words = []string{"c"}
		case 5:
			words = []string{"q", "a"}
		}
		for _, w := range words {
			switch w {
			case "q":
				m.queued(i)
			case "a":
				m.accepts(pid, i, []uint8{1, 7, 8}[rng.IntN(3)])
			case "c":
				m.closed(i, []uint8{1, 5, 9}[rng.IntN(3)], []uint16{0, 104, 110}[rng.IntN(3)])
			case "f":
				m.drop(i, format.HookChildForget, 0)
			}
			jitter()
		}
		all = append(all, m.batch.Events)
	}
	return all
}

// interleave puts the events of connections into one order, each one's kept.
func interleave(rng *rand.Rand, all [][]format.Event) []format.Event {
	rest := slices.Clone(all)
	var events []format.Event
	for len(rest) > 0 {
		i := rng.IntN(len(rest))
		e := rest[i][0]
		e.Seq = uint64(len(events) + 1)
		events = append(events, e)
		if rest[i] = rest[i][1:]; len(rest[i]) == 0 {
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return events
}

// Whatever order the events of different connections come in, each connection is
// told once and alike, its durations are not negative, and the totals add up. With
// fewer connections at once than there are, and with events left out, all but the first still hold.
func TestConnectionsInAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 21))
		all := simulate(t, rng, 40)
		var first []string
		for round := range 4 {
			events := interleave(rng, all)
			o := Options{}
			switch round {
			case 2:
				o.MaxConns = 5
			case 3:
				events = slices.DeleteFunc(events, func(format.Event) bool { return rng.IntN(4) == 0 })
			}
			m := newMaker(t, false)
			m.batch.Events, m.ns = events, 3e9
			list, r := m.analyze(o)
			var got []string
			ends := map[conntrack.End]uint64{}
			accepted, closed, never := uint64(0), uint64(0), uint64(0)
			for i := range list {
				c := &list[i]
				got = append(got, said(c)+fmt.Sprint(c.StateAtAccept, c.BytesIn))
				ends[c.End]++
				if c.QueueWaitNS < -1 || c.AliveNS < -1 || c.HandshakeNS < -1 || c.DeadNS < -1 {
					t.Errorf("seed %d: a negative duration: %+v", seed, c)
				}
				if c.ID == 0 || c.AcceptedSeq == 0 && c.QueuedSeq == 0 && c.ClosedSeq == 0 && c.DropSeq == 0 {
					t.Errorf("seed %d: a connection of no event: %+v", seed, c)
				}
				accepted += min(c.AcceptedSeq, 1)
				closed += min(c.ClosedSeq, 1)
				if c.QueuedSeq != 0 && c.AcceptedSeq == 0 && c.End != conntrack.EndNotRecorded {
					never++
				}
			}
			x := r.Connections
			if x.Seen != uint64(len(list)) || x.Accepted != accepted || x.Closed != closed || x.NeverAccepted != never || len(x.Ends) != len(ends) {
				t.Errorf("seed %d: %+v, want %d accepted, %d closed, %d never accepted", seed, x, accepted, closed, never)
			}
			for _, e := range x.Ends {
				if ends[e.Reason] != e.Count {
					t.Errorf("seed %d: %s %d times, told %d times", seed, e.End, e.Count, ends[e.Reason])
				}
			}
			if r.LimitHit != (round == 2 && x.Seen > 5 && r.LimitHit) {
				t.Errorf("seed %d: round %d: limit %v", seed, round, r.LimitHit)
			}
			slices.Sort(got)
			switch {
			case round == 0:
				first = got
				if len(got) != 40 {
					t.Errorf("seed %d: %d connections", seed, len(got))
				}
			case round == 1 && !slices.Equal(first, got):
				t.Errorf("seed %d: another order gives other connections:\n%q\n%q", seed, first, got)
			}
		}
	}
}
