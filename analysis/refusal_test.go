package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// A connection that was refused at first is one from its first dropped packet on;
// one that was not queued any more is told at the end.
func TestRefused(t *testing.T) {
	for _, cookies := range []bool{false, true} {
		m := newMaker(t, cookies)
		refuse := func(n int, hook format.Hook) {
			m.drop(n, hook, 0)
			m.batch.Events[len(m.batch.Events)-1].Cookie = 0 // there is no socket
		}
		refuse(1, format.HookConnRequest)
		refuse(2, format.HookConnRequest)
		m.script("w1000")
		refuse(1, format.HookSynRecv)
		m.script("w500 q1 e5 a5.1 c1:9")
		for range 12 {
			refuse(2, format.HookConnRequest)
		}
		m.script("w200000 q2 e5 a5.2") // another one from the same port, long after
		list, r := m.analyze(Options{})
		var got []string
		for i := range list {
			c := &list[i]
			got = append(got, fmt.Sprintf("%d=%s*%d", c.ID, said(c), c.RefusedPackets))
		}
		want := "1=1:5,queued=2,alive=3,closed-by-the-client*2 2=2:refused,-never-queued*13 20=2:5,queued=2,alive=3,open-at-the-end*0"
		if s := strings.Join(got, " "); s != want {
			t.Errorf("got %q, want %q", s, want)
		}
		for seq := range uint64(20) {
			if has, want := list[0].Has(seq), seq == 1 || seq >= 3 && seq <= 7; has != want {
				t.Errorf("event %d of the first one: %v", seq, has)
			}
		}
		if !list[1].Has(19) || list[1].Has(18) || len(list[1].Refusals) != 8 { // those between are not kept
			t.Errorf("%+v", list[1])
		}
		x := r.Connections
		if x.Seen != 3 || x.NeverQueued != 1 || x.RefusedSYN != 14 || x.RefusedACK != 1 || x.RefusedFor.Count != 1 || x.RefusedFor.Max != 1503e6 || r.Listeners[0].Life.RefusedClients != 2 {
			t.Errorf("%+v", x)
		}
	}
}

// A capture without accept does not say who was not accepted, nor how long
// connections were in the queue, but for those of whom other events tell.
func TestLifecycleAlone(t *testing.T) {
	m := newMaker(t, true)
	m.limit = 2
	m.script("q1 q2 q3 w2000 c1:9 c2:1,104 f3 c3:1 q4 q5 w3000")
	at := func(n int) string { return fmt.Sprintf("198.51.100.%d", n>>16) }
	final := &format.Batch{Snapshots: []format.Snapshot{{Final: true, ConnectionsKnown: true, BootNS: m.ns, Connections: []format.Connection{
		{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: at(4), RPort: 4, State: 1},
		{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: at(5), RPort: 5, State: 1, Inode: 99, Counted: true, BytesIn: 10, BytesOut: 20},
	}}}}
	var got []string
	var open conntrack.Connection
	h := &format.Header{Clock: format.Clock{RealNS: 1e18}, Filters: []string{"--events lifecycle"}, Probes: []format.Probe{{Hook: format.HookHashdance, Kind: format.Queued}}}
	a := New(h, Options{Connection: func(c *conntrack.Connection) error {
		got = append(got, said(c))
		if c.Remote.Port() == 5 {
			open = *c
		}
		return nil
	}})
	for _, b := range []*format.Batch{&m.batch, final, {End: m.end()}} {
		if err := a.Add(b, false); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	want := "3:queued=2003,alive=2003,lost,-its-listener-stopped-listening 1:alive=2003,closed-by-the-client 2:alive=2003,reset-by-the-client " +
		"4:queued=3002,alive=3002,in-the-accept-queue-at-the-end 5:alive=3001,open-at-the-end"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
	if !open.AcceptUnknown || open.LeftState != format.StateEstablished || open.BytesIn != 10 || open.BytesOut != 20 {
		t.Errorf("%+v", open)
	}
	x := r.Connections
	if x.AcceptsRecorded || x.Accepted != 0 || x.NeverAccepted != 2 || x.Waiting != 1 || x.QueueWait.Count != 0 || r.Listeners[0].Life.FullNS != 0 {
		t.Errorf("%+v", x)
	}
	for _, f := range r.Findings {
		if f.ID == "queue-full" && f.Severity != findings.Notice || f.ID == "dead-on-arrival" {
			t.Errorf("%+v", f)
		}
	}
}

// What is open at the end is as the snapshot says; what is not in it has ended
// without an event.
func TestLeft(t *testing.T) {
	m := newMaker(t, true)
	m.script("q1 e5 a5.1 q2 e5 a5.2 q3 w3000 q4 e5 a5.4")
	listener := m.listening().Snapshots[0].Listeners
	listener[0].Backlog = 1
	start := &format.Batch{Snapshots: []format.Snapshot{{ListenersKnown: true, ConnectionsKnown: true, Listeners: listener, Connections: []format.Connection{
		{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: 9, State: 1, Cookie: 1009}}}}}
	conn := func(n int) format.Connection {
		return format.Connection{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(n), State: 4, Cookie: uint64(n) + 1000, Counted: true, BytesIn: 7, SRTTUS: 3}
	}
	m.batch.Snapshots = nil
	final := format.Snapshot{Final: true, ListenersKnown: true, ConnectionsKnown: true, BootNS: m.ns, Listeners: listener, Connections: []format.Connection{conn(1), conn(3), conn(9)}}
	for _, known := range []bool{true, false} {
		final.ConnectionsKnown = known
		events := m.batch.Events
		x := newMaker(t, true)
		x.ns = m.ns
		x.batch.Events, x.batch.Snapshots = nil, []format.Snapshot{final}
		list, r := x.analyze(Options{}, start, &format.Batch{Events: events})
		var got []string
		for i := range list {
			c := &list[i]
			got = append(got, fmt.Sprintf("%s/%d/%d", said(c), c.LeftState, c.BytesIn))
		}
		second := "2:5,queued=2,gone-by-the-end,-its-end-was-not-seen/0/0"
		if !known {
			second = "2:5,queued=2,alive=3007,open-at-the-end/0/0"
		}
		want := "9:before,open-at-the-end/4/7 1:5,queued=2,alive=3010,open-at-the-end/4/7 " + second + " 3:queued=3004,alive=3004,in-the-accept-queue-at-the-end/4/7 4:5,queued=2,alive=3,open-at-the-end/0/0"
		if s := strings.Join(got, " "); s != want || r.Connections.Silent != 1 {
			t.Errorf("got %q, want %q", s, want)
		}
	}
}

// Only what can be in an accept queue was in one at the start: no more than its length
// said, and nothing that the program has closed already.
func TestNotQueuedBefore(t *testing.T) {
	for _, c := range []struct {
		queue  uint32
		states string
		want   string
	}{
		{0, "5 5 4 9 11", "open open open open open"},
		{2, "5 1 11 8 9", "open queue open queue open"},
		{1, "1 1 6 4", "queue open open open"},
		{9, "3 1", "queue queue"},
	} {
		m := newMaker(t, true)
		start := m.listening()
		shot := &start.Snapshots[0]
		shot.ConnectionsKnown, shot.Listeners[0].Backlog = true, c.queue
		for i, s := range strings.Fields(c.states) {
			state, _ := strconv.Atoi(s)
			shot.Connections = append(shot.Connections, format.Connection{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(i + 1), State: uint8(state), Cookie: uint64(i)})
		}
		final := format.Snapshot{Final: true, ListenersKnown: true, ConnectionsKnown: true, BootNS: 8e9, Listeners: shot.Listeners, Connections: shot.Connections}
		m.ns = 8e9
		m.drop(99, format.HookConnRequest, 0)
		list, r := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
		slices.SortFunc(list, func(a, b conntrack.Connection) int { return cmp.Compare(a.Remote.Port(), b.Remote.Port()) })
		var got []string
		for i := range list[:len(list)-1] {
			x := &list[i]
			word := map[conntrack.End]string{conntrack.EndOpen: "open", conntrack.EndWaiting: "queue"}[x.End]
			if (word == "queue") != (x.WaitedNS > 0) {
				t.Errorf("%+v", x)
			}
			got = append(got, word)
		}
		if s := strings.Join(got, " "); s != c.want || r.Connections.Waiting != uint64(strings.Count(c.want, "queue")) {
			t.Errorf("%s: %q, want %q", c.states, s, c.want)
		}
	}
}

// Of a connection that was there before, the recording's start is the first time that is
// known; one that is gone by the end without an event is not told as open.
func TestGone(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	shot := &start.Snapshots[0]
	shot.ConnectionsKnown = true
	for n := range 3 {
		shot.Connections = append(shot.Connections, format.Connection{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(n + 1), State: 5, Cookie: uint64(n) + 1001})
	}
	final := format.Snapshot{Final: true, ListenersKnown: true, ConnectionsKnown: true, BootNS: 8e9, Listeners: shot.Listeners, Connections: shot.Connections[:1]}
	m.ns = 8e9
	m.script("c3:5 q4")
	_, r := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
	if x := r.Connections; x.Silent != 2 || x.SilentGone != 1 || x.SilentWaiting != 0 {
		t.Errorf("%+v", x)
	}
	list, _ := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
	ends := map[uint16]conntrack.End{1: conntrack.EndOpen, 2: conntrack.EndGone, 3: conntrack.EndByServer, 4: conntrack.EndWaiting}
	for i := range list {
		if c := &list[i]; c.End != ends[c.Remote.Port()] || c.Before != (c.Remote.Port() < 4) || c.StartNS != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// FINs are taken off the bytes where one was counted.
func TestWithoutFIN(t *testing.T) {
	for _, c := range []struct {
		old, shutdown uint8
		err           uint16
		in, out       uint64
	}{
		{9, 3 | 4 | 8, 0, 100, 200},  // the client first
		{9, 3 | 4, 104, 100, 201},    // which then resets
		{9, 3 | 4, 0, 100, 201},      // the server resets
		{5, 3 | 8, 0, 101, 200},      // the server first, the client's FIN came later
		{5, 3 | 4 | 8, 0, 100, 200},  // and with the acknowledgement
		{5, 3 | 8, 104, 101, 200},    // and a reset
		{4, 3, 110, 101, 201},        // nobody answers
		{11, 3 | 4 | 8, 0, 100, 200}, // both
		{11, 3 | 4, 104, 100, 201},   // and a reset
		{8, 1 | 4, 32, 100, 201},     // half closed, reset
		{1, 0, 104, 101, 201},        // reset
		{9, 3, 0, 100, 200},          // as captures of before have it
		{9, 3, 104, 100, 201},        // the same
		{5, 3, 0, 101, 200},          // the same
		{11, 3, 0, 100, 200},         // the same
		{8, 1, 32, 100, 201},         // the same
	} {
		e := format.Event{Kind: format.Closed, OldState: c.old, Shutdown: c.shutdown, SockErr: c.err, BytesIn: 101, BytesOut: 201}
		in, out := e.StreamBytes()
		if in != c.in || out != c.out {
			t.Errorf("%+v: %d in, %d out", c, in, out)
		}
	}
}

// Who was in the queue before the recording waited for at least as long as it lasted,
// and a listener that nobody comes to is named with its owner.
func TestQueuedBefore(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	shot := &start.Snapshots[0]
	shot.ConnectionsKnown, shot.Listeners[0].Backlog, shot.Listeners[0].PID, shot.Listeners[0].Comm = true, 3, 77, "stuck"
	for n := 1; n <= 3; n++ {
		shot.Connections = append(shot.Connections, format.Connection{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(n), State: 1, Cookie: uint64(n) + 1000})
	}
	final := format.Snapshot{Final: true, ListenersKnown: true, ConnectionsKnown: true, BootNS: 8e9, Listeners: shot.Listeners, Connections: shot.Connections}
	m.ns = 8e9
	m.drop(9, format.HookConnRequest, 0)
	list, r := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
	if len(list) != 4 || list[0].ID != 0 || list[0].End != conntrack.EndWaiting || list[0].WaitedNS < 8e9 || r.Connections.Waiting != 3 || r.Connections.Silent != 3 {
		t.Errorf("%+v %+v", list, r.Connections)
	}
	found := false
	for _, f := range r.Findings {
		found = found || f.ID == "slow-accept" && f.Severity == findings.Critical && strings.Contains(f.Text, "0.0.0.0:80 (stuck[77]): nobody called accept in 8.00 s, and 3 connections were in the queue at the start, 3 at the end")
	}
	if !found {
		t.Errorf("%+v", r.Findings)
	}

	m = newMaker(t, true) // each of those that wait is evidence
	m.script("q1 q2 q3 w3000")
	if _, r = m.analyze(Options{}); len(r.Findings) != 1 || len(r.Findings[0].Evidence) != 3 || !strings.Contains(r.Findings[0].Next, "why does none call") {
		t.Errorf("%+v", r.Findings)
	}

	m = newMaker(t, true)
	m.ns = 6e9
	m.script("e5 a5.1 e5 a5.2 e5 a5.3 c3:9")
	list, r = m.analyze(Options{}, start)
	for i := range list {
		if c := &list[i]; !c.Before || c.WaitedNS < 6e9 || c.QueueWaitNS != -1 || c.AliveNS != -1 {
			t.Errorf("%+v", c)
		}
	}
	if len(list) != 3 || len(r.Findings) != 1 || r.Findings[0].ID != "slow-accept" {
		t.Fatalf("%d connections, %+v", len(list), r.Findings)
	}
	// What is told of them is a lower bound everywhere.
	if s := r.Findings[0].Text; !strings.Contains(s, "median ≥6.00 s") || !strings.Contains(s, "longest ≥6.00 s") || !strings.Contains(s, "3 of them since before the recording") {
		t.Errorf("%s", s)
	}
	if q, all := r.Listeners[0].Life.QueueWait, r.Connections.QueueWait; q.Count != 3 || q.AtLeast != 3 || all.Count != 3 || all.AtLeast != 3 || all.Max < 6e9 {
		t.Errorf("%+v %+v", q, all)
	}

	// As it is where nobody took them: those that were lost with the listener, too.
	m = newMaker(t, true)
	m.ns, m.queue = 6e9, 2
	m.script("f1 c1:1 q4")
	list, r = m.analyze(Options{}, start)
	if q := r.Connections.NeverWait; len(list) != 4 || q.Count != 4 || q.AtLeast != 3 || q.Max < 6e9 {
		t.Errorf("%d connections, %+v", len(list), r.Connections)
	}
	found = false
	for _, f := range r.Findings {
		found = found || f.ID == "slow-accept" && strings.Contains(f.Text, "1 client was in the accept queue for up to at least 6.00 s and never accepted") &&
			strings.Contains(f.Text, "3 were still in the queue at the end, the oldest for at least 6.00 s")
	}
	if !found {
		t.Errorf("%+v", r.Findings)
	}
}

// A listener at which nothing happened is in the table if clients stood in its queue.
func TestSilentQueue(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	shot := &start.Snapshots[0]
	shot.ConnectionsKnown, shot.Listeners[0].PID, shot.Listeners[0].Comm, shot.Listeners[0].Backlog, shot.Listeners[0].BacklogMax = true, 77, "stuck", 5, 4
	empty := shot.Listeners[0]
	empty.Listener, empty.LPort, empty.Backlog = 8, 81, 0
	shot.Listeners = append(shot.Listeners, empty)
	for n := range 5 {
		shot.Connections = append(shot.Connections, format.Connection{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: uint16(n + 1), State: 1, Cookie: uint64(n) + 1001})
	}
	final := format.Snapshot{Final: true, ListenersKnown: true, ConnectionsKnown: true, BootNS: 8e9, Listeners: shot.Listeners, Connections: shot.Connections}
	m.ns = 8e9
	list, r := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
	if len(list) != 5 || list[0].ListenOwner != "stuck[77]" || len(r.Listeners) != 1 || r.Connections.SilentWaiting != 5 {
		t.Fatalf("%+v %+v %+v", list, r.Listeners, r.Connections)
	}
	if l := r.Listeners[0]; l.Addr != "0.0.0.0:80" || l.Owner != "stuck[77]" || l.QueueHigh != 5 || l.QueueMax != 4 || l.Life.Waiting != 5 || l.Life.FullNS != 8e9 ||
		!slices.Equal(l.Timeline.Queue, []uint64{5, 5, 5, 5, 5, 5, 5, 5, 5}) {
		t.Errorf("%+v", r.Listeners[0])
	}
}

// A capture of accept alone shows by its last snapshot who waits at a new listener.
func TestQueuedAtNewListener(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	final := format.Snapshot{Final: true, ListenersKnown: true, Listeners: []format.ListenSocket{
		{NetNS: 1, Listener: 8, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 81, Backlog: 4, BacklogMax: 8}}}
	m.script("w3000 e5")
	_, r := m.analyze(Options{}, start, &format.Batch{Snapshots: []format.Snapshot{final}})
	if len(r.Findings) != 1 || r.Findings[0].ID != "slow-accept" || !strings.Contains(r.Findings[0].Text, "0.0.0.0:81 began to listen during the recording, and nobody called accept: 4 connections") {
		t.Errorf("%+v", r.Findings)
	}
}
