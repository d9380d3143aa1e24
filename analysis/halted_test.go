package analysis

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// What a process does that leaves clients waiting is said, also where only accept is recorded.
func TestHalted(t *testing.T) {
	listener := format.ListenSocket{NetNS: 1, Listener: 7, PID: 5, Comm: "srv", Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 80, BacklogMax: 8}
	for _, c := range []struct {
		name   string
		halted string
		sits   int
		end    uint32 // in the queue
		says   string // "": nothing is found
		next   string
	}{
		{"stopped", format.HaltedStopped, 0, 3, "3 at the end: srv[5] is stopped, by a signal or a debugger", "kill -CONT 5 lets it go on"},
		{"stopped in accept", format.HaltedStopped, 1, 3, "nobody returned from accept in 3.00 s, and 0 connections were in the queue at the start, 3 at the end: srv[5] is stopped", "kill -CONT 5"},
		{"frozen", format.HaltedFrozen, 1, 3, "srv[5] is frozen with its cgroup", "docker unpause"},
		{"in accept, and over the limit", "", 2, 9, "9 at the end: srv[5] sits in accept and takes none", "/proc/5/task/60/stack"},
		{"over the limit", "", 0, 9, "nobody called accept in 3.00 s, and 0 connections were in the queue at the start, 9 at the end", "why does none call accept?"},
		{"one that just came", "", 1, 1, "", ""},
	} {
		last := listener
		last.Backlog, last.Halted = c.end, c.halted
		if c.halted == "" {
			last.PID, last.Comm = 0, ""
		}
		end := &format.End{Clean: true, BlockedKnown: true, Clock: format.Clock{BootNS: 3e9, RealNS: 1e18 + 3e9}}
		for i := range c.sits {
			end.Blocked = append(end.Blocked, format.Blocked{PID: 5, TID: uint32(61 - i), SockFD: 3, Listener: 7})
		}
		a := New(&format.Header{Clock: format.Clock{RealNS: 1e18}}, Options{})
		for _, b := range []*format.Batch{
			{Snapshots: []format.Snapshot{{ListenersKnown: true, Listeners: []format.ListenSocket{listener}}}},
			{Snapshots: []format.Snapshot{{Final: true, ListenersKnown: true, Listeners: []format.ListenSocket{last}}}, End: end},
		} {
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Listeners) != 1 || r.Listeners[0].Waiting != uint64(c.sits) {
			t.Errorf("%s: %+v", c.name, r.Listeners)
		}
		if c.says == "" {
			if len(r.Findings) > 0 {
				t.Errorf("%s: %+v", c.name, r.Findings)
			}
			continue
		}
		if len(r.Findings) != 1 || r.Findings[0].ID != "slow-accept" || r.Findings[0].Severity != findings.Critical || !strings.Contains(r.Findings[0].Text, c.says) || !strings.Contains(r.Findings[0].Next, c.next) {
			t.Errorf("%s: %+v", c.name, r.Findings)
		}
	}
}

// What a capture without accepts can't tell is not said.
func TestSlowWithoutAccepts(t *testing.T) {
	m := newMaker(t, true)
	m.script("q1 w4000 c1:1,104 q2 w4000 c2:1,104")
	m.batch.End = m.end()
	a := New(&format.Header{Clock: format.Clock{RealNS: 1e18}, Filters: []string{"--events lifecycle"}, Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}}, Options{})
	_ = a.Add(m.listening(), false)
	_ = a.Add(&m.batch, false)
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if strings.Contains(f.Next, "took the others") || strings.Contains(f.Next, "--pairs") {
			t.Errorf("%+v", f)
		}
	}
}

// A socket of the UNIX domain that nobody listened on when recording began is a new one.
func TestNewUnixListener(t *testing.T) {
	for _, before := range []bool{false, true} {
		start := format.Snapshot{ListenersKnown: true}
		if before {
			start.Listeners = []format.ListenSocket{{NetNS: 1, Listener: 70, Family: format.FamilyUnix, LName: "/run/x.sock"}}
		}
		m := newMaker(t, true)
		for i := range 3 {
			m.enter(5)
			m.accepts(5, i+1, 1)
		}
		for i := range m.batch.Events {
			e := &m.batch.Events[i]
			e.Family, e.Proto, e.Listener, e.LName, e.LPort, e.RPort = format.FamilyUnix, 0, 70, "/run/x.sock", 0, 0
			e.LAddr, e.RAddr = netip.Addr{}, netip.Addr{}
		}
		_, r := m.analyze(Options{}, &format.Batch{Snapshots: []format.Snapshot{start}})
		if told := strings.Contains(fmt.Sprint(r.Findings), "1 socket began to listen: /run/x.sock"); told == before {
			t.Errorf("there before %v: %+v", before, r.Findings)
		}
	}
}
