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
	cases := slices.Concat(queueCases, causeCases)
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
	const want = "critical fd-exhausted,notice dead-on-arrival"
	if s := strings.Join(got, ","); s != want || r.Others.Findings != 0 {
		t.Errorf("got %q and %d more, want %q", s, r.Others.Findings, want)
	}
	if ids := findings.IDs(); len(ids) != 23 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 23 {
		t.Errorf("%v", ids)
	}
	if !findings.Critical.AtLeast(findings.Warning) || !findings.Warning.AtLeast(findings.Warning) || findings.Notice.AtLeast(findings.Warning) {
		t.Error("severities are not in order")
	}
}

// The same trouble at many listeners of one program is one finding, whose parts say where, three of one process.
func TestFindingsOfOneProgram(t *testing.T) {
	m := newMaker(t, true)
	start := m.listening()
	for i := range 20 {
		m.inode, m.addr = uint64(i+10), fmt.Sprintf("0.0.0.0:%d", 8000+i)
		for range min(i, 3) + 1 {
			m.enter(5)
			m.fails(5, 24)
		}
	}
	m.inode, m.addr = 99, "0.0.0.0:9000"
	m.enter(6)
	m.fails(6, 24)
	m.inode, m.addr = 100, "0.0.0.0:9001"
	m.enter(7)
	m.batch.Events[len(m.batch.Events)-1].Comm = "other"
	m.fails(7, 24)
	m.batch.Events[len(m.batch.Events)-1].Comm = "other"
	show := func(top int) (list []findings.Finding, r *Result) {
		_, r = m.analyze(Options{Top: top}, start)
		for _, f := range r.Findings {
			if f.ID == "fd-exhausted" {
				list = append(list, f)
			}
		}
		return list, r
	}
	list, r := show(10)
	if len(list) != 2 || r.FindingCounts.Critical != 2 || r.Others.Findings != 0 {
		t.Fatalf("%+v\n%+v, %d left out", list, r.FindingCounts, r.Others.Findings)
	}
	f := &list[0]
	var where []uint64
	for _, p := range f.Parts {
		where = append(where, p.Listener)
	}
	if f.Listeners != 21 || f.More != 17 || f.Owner != "srv" || f.Listener != 0 || f.NetNS != 1 ||
		!slices.Equal(where, []uint64{13, 14, 15, 99}) || len(f.Members()) != 21 ||
		!strings.HasPrefix(f.Text, "21 listeners of srv, the worst: 0.0.0.0:8003: accept failed 4 times") ||
		!f.Since.Equal(*f.Evidence[0].Time) || f.Evidence[0].Seq != 2 ||
		f.Evidence[len(f.Evidence)-1].Seq != uint64(len(m.batch.Events)-2) {
		t.Errorf("%+v, parts at %d", f, where)
	}
	if f := &list[1]; f.Listeners != 1 || f.Listener != 100 || f.Owner != "other[7]" || len(f.Members()) != 1 {
		t.Errorf("%+v", f)
	}
	if list, _ := show(-1); len(list) != 2 || len(list[0].Parts) != 21 || list[0].More != 0 {
		t.Errorf("all: %+v", list)
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
