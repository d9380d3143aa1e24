package analysis

import (
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// What was queued, and accepted, before the snapshot at the start was taken is in it and
// has events: it is one connection.
func TestQueuedBeforeSnapshot(t *testing.T) {
	for _, cookies := range []bool{false, true} {
		m := newMaker(t, cookies)
		m.script("q1 e5 a5.1 q2 e5 a5.2 c1:9")
		shot := format.Snapshot{BootNS: m.batch.Events[3].BootNS, ConnectionsKnown: true}
		for n := range 2 {
			e := &m.batch.Events[3*n]
			shot.Connections = append(shot.Connections, format.Connection{NetNS: e.NetNS, LAddr: e.LAddr.String(), LPort: e.LPort, RAddr: e.RAddr.String(), RPort: e.RPort,
				State: 1, Inode: uint64(5001 + n), Cookie: e.Cookie})
		}
		list, r := m.analyze(Options{}, &format.Batch{Snapshots: []format.Snapshot{shot}})
		if c := r.Connections; len(list) != 2 || c.Seen != 2 || c.Before != 0 || c.Queued != 2 || c.Accepted != 2 || c.Closed != 1 || c.Silent != 0 {
			t.Errorf("cookies %v: %+v\n%+v", cookies, list, c)
		}
	}
	// A later one from the same port is another one.
	m := newMaker(t, false)
	m.script("q1 e5 a5.1 c1:9")
	e := &m.batch.Events[0]
	shot := format.Snapshot{BootNS: e.BootNS - 1, ConnectionsKnown: true, Connections: []format.Connection{
		{NetNS: e.NetNS, LAddr: e.LAddr.String(), LPort: e.LPort, RAddr: e.RAddr.String(), RPort: e.RPort, State: 1, Inode: 99}}}
	if list, r := m.analyze(Options{}, &format.Batch{Snapshots: []format.Snapshot{shot}}); len(list) != 2 || r.Connections.Seen+r.Connections.Silent != 2 {
		t.Errorf("%+v\n%+v", list, r.Connections)
	}
}

// Connections of the snapshot have a name when they close, and are not counted as
// new; those of which nothing is heard are said to be there.
func TestSnapshotConnections(t *testing.T) {
	m := newMaker(t, true)
	m.script("c1:9 e5 a5.2 c2:9")
	shot := &format.Batch{Snapshots: []format.Snapshot{{ListenersKnown: true, ConnectionsKnown: true,
		Listeners: []format.ListenSocket{{NetNS: 1, Listener: 7, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 80, Backlog: 1, BacklogMax: 128}},
		Connections: []format.Connection{
			{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: 1, State: 1, Inode: 77},
			{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: 2, State: 1, Cookie: 1002},
			{NetNS: 1, LAddr: "192.0.2.80", LPort: 80, RAddr: "198.51.100.0", RPort: 3, State: 1, Inode: 78, Cookie: 1003},
		}}}}
	list, r := m.analyze(Options{}, shot)
	var got []string
	for i := range list {
		got = append(got, said(&list[i])+"@"+list[i].ListenAddr)
	}
	want := "1:before,closed-by-the-client@0.0.0.0:80 2:5,before,closed-by-the-client@0.0.0.0:80 3:before,open-at-the-end@0.0.0.0:80"
	if s := strings.Join(got, " "); s != want || r.Connections.Silent != 1 || r.Connections.Before != 3 {
		t.Errorf("got %q, want %q, %+v", s, want, r.Connections)
	}
}

// What the list at the end says of a connection is used although its events stand behind
// the list in the same frame, as in a short recording; of one that closes later, it is not.
func TestSnapshotAtEnd(t *testing.T) {
	m := newMaker(t, true)
	m.script("q1 e5 a5.1 q2 e5 a5.2 c2:9")
	shot := format.Snapshot{Final: true, BootNS: m.batch.Events[5].BootNS, ConnectionsKnown: true}
	for n := range 2 {
		e := &m.batch.Events[3*n]
		shot.Connections = append(shot.Connections, format.Connection{
			NetNS: e.NetNS, LAddr: e.LAddr.String(), LPort: e.LPort, RAddr: e.RAddr.String(), RPort: e.RPort, State: 1,
			Inode: uint64(5001 + n), Cookie: e.Cookie,
			HoldersKnown: true, Holders: []format.Holder{{PID: 6, Comm: "worker"}},
		})
	}
	m.batch.Snapshots = []format.Snapshot{shot}
	list, _ := m.analyze(Options{})
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	for i := range list {
		c := &list[i]
		open := c.Remote.Port() == 1
		if open != (c.LeftState == 1) || open != c.HoldersKnown || open && !c.HandedOver() {
			t.Errorf("%+v", c)
		}
	}
}
