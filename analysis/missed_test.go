package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// Where the kernel missed ends of connections, and each that is known has its own or is in the
// list at the end, they were others': a client's on the same host is no listener's connection.
func TestMissedEndsOfOthers(t *testing.T) {
	open := func(m *maker, n int) []format.Connection {
		for i := range m.batch.Events {
			e := &m.batch.Events[i]
			if e.Kind != format.Queued {
				continue
			}
			if n--; n == 0 {
				return []format.Connection{{NetNS: e.NetNS, LAddr: e.LAddr.String(), LPort: e.LPort, RAddr: e.RAddr.String(), RPort: e.RPort, State: 1, Inode: 5, Cookie: e.Cookie}}
			}
		}
		return nil
	}
	for _, c := range []struct {
		name     string
		script   string
		left     int // the connection in the list, 0: none
		known    bool
		kind     format.Kind
		lost     uint64
		complete bool
	}{
		{"all closed", "q1 e5 a5.1 c1:9 q2 e5 a5.2 c2:9", 0, true, format.Closed, 0, true},
		{"one in the list", "q1 e5 a5.1 c1:9 q2 e5 a5.2", 2, true, format.Closed, 0, true},
		{"one without an end", "q1 e5 a5.1 c1:9 q2 e5 a5.2", 0, true, format.Closed, 0, false},
		{"and long ago", "q1 e5 a5.1 w5000 q2 e5 a5.2 c2:9", 0, true, format.Closed, 0, false},
		{"no list", "q1 e5 a5.1 c1:9", 0, false, format.Closed, 0, false},
		{"queued ones were missed", "q1 e5 a5.1 c1:9", 0, true, format.Queued, 0, false},
		{"and lost", "q1 e5 a5.1 c1:9", 0, true, format.Closed, 1, false},
	} {
		m := newMaker(t, true)
		m.script(c.script)
		m.lost = c.lost
		final := format.Snapshot{Final: true, ConnectionsKnown: c.known, BootNS: m.ns, ListenersKnown: true, Listeners: m.listening().Snapshots[0].Listeners}
		if c.left > 0 {
			final.Connections = open(m, c.left)
		}
		end := m.end()
		end.Totals[0].Kind, end.Totals[0].Missed = c.kind, 3
		a := New(&format.Header{Clock: format.Clock{RealNS: 1e18}, Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}}, Options{})
		for _, b := range []*format.Batch{m.listening(), &m.batch, {Snapshots: []format.Snapshot{final}, End: end}} {
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Complete != c.complete || (r.Totals.Missed == 0) != c.complete {
			t.Errorf("%s: complete %v, %d missed, %+v", c.name, r.Complete, r.Totals.Missed, r.Caveats)
		}
	}
}

// A capture that stops before its end can have missed returns all the same: the next entry of the task says so.
func TestMissedWithoutEnd(t *testing.T) {
	m := newMaker(t, true)
	m.script("e5")
	e := m.task(5, format.Event{Kind: format.Enter, Mark: format.MarkPrevMissed})
	m.add(e)
	a := New(&format.Header{Clock: format.Clock{RealNS: 1e18}}, Options{})
	if err := a.Add(&m.batch, false); err != nil {
		t.Fatal(err)
	}
	r, err := a.Finish(Completeness{Truncated: true})
	if err != nil || r.Totals.Missed != 1 || !slices.ContainsFunc(r.Caveats, func(c Caveat) bool {
		return c.ID == "missed" && strings.Contains(c.Text, "the returns of 1 attempts are not in the capture")
	}) {
		t.Errorf("%v, %+v, %+v", err, r.Totals, r.Caveats)
	}
}
