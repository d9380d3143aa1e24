package audit

import (
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// What a capture says of itself is held against its events' numbers: events that were
// taken out, doubled, or are of nobody do not go unnoticed when all sums fit.
func TestAccount(t *testing.T) {
	accepts := func(numbers ...uint64) (list []format.Event) {
		for i, n := range numbers {
			list = append(list, format.Event{Seq: uint64(i + 1), BootNS: 100, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: n, Proc: 1})
		}
		return list
	}
	stranger := accepts(1, 2)
	stranger[1].Proc = 7
	other := accepts(1, 2)
	other[1].CPU, other[1].CPUSeq = 300, 1
	for _, c := range []struct {
		name      string
		events    []format.Event
		lost, own uint64
		twice     bool // the process is told of twice
		none      bool // END has no totals
		want      string
	}{
		{name: "all there", events: accepts(1, 2, 3)},
		{name: "not in order", events: accepts(2, 1, 3)},
		{name: "two CPUs", events: other},
		{name: "the recorder's own before", events: accepts(3, 4), own: 2},
		{name: "one lost", events: accepts(1, 3), lost: 1},
		{name: "one taken out", events: accepts(1, 2, 4), want: "leave out 1, END knows of 0 lost and 0"},
		{name: "more than lost", events: accepts(4, 8), lost: 1, own: 3, want: "leave out 6, END knows of 1 lost and 3"},
		{name: "doubled", events: accepts(1, 2, 1, 2), want: "event 3 has number 1 of return of __sys_accept4 on CPU 0, which an event before it has"},
		{name: "replaced by a copy", events: accepts(1, 2, 3, 3, 5), lost: 1, want: "event 4 has number 3"},
		{name: "a copy of one that came late", events: accepts(1, 4, 2, 2), lost: 1, want: "event 4 has number 2"},
		{name: "a copy of the first of a gap", events: accepts(1, 5, 2, 3, 2), lost: 1, want: "event 5 has number 2"},
		{name: "a copy of the midst of a gap", events: accepts(1, 7, 4, 3, 5, 4), lost: 2, want: "event 6 has number 4"},
		{name: "late ones", events: accepts(4, 1, 9, 3, 2, 7, 5, 6, 8)},
		{name: "no number", events: accepts(0, 1), want: "1 events have no number"},
		{name: "no account", events: accepts(1), none: true, want: "does not account for 1 event of"},
		{name: "of nobody", events: stranger, want: "event 2 is of a process that has no record"},
		{name: "two of a number", events: accepts(1), twice: true, want: "the same number"},
	} {
		b := &format.Batch{Header: &format.Header{}, Processes: []format.Process{{Num: 1}}, Events: c.events, MinNS: 100, MaxNS: 100}
		if c.twice {
			b.Processes = append(b.Processes, format.Process{Num: 1})
		}
		n := uint64(len(c.events))
		b.End = &format.End{Clean: true, Events: n, Lost: c.lost, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: n + c.lost, Recorded: n, Lost: c.lost, Own: c.own},
		}}
		if c.lost > 0 {
			b.Losses = []format.Loss{{Hook: format.HookSysAccept4, Kind: format.Return, Count: c.lost}}
		}
		if c.none {
			b.End.Totals = nil
		}
		var a Account
		a.Add(b)
		got := strings.Join(a.Contradictions(), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Failed calls that were counted stand in END as the records of them say.
func TestAccountCounted(t *testing.T) {
	for _, c := range []struct {
		name           string
		calls, entries uint64 // of records, two each
		end, endEnter  uint64
		want           string
	}{
		{"the same", 20, 25, 40, 50, ""},
		{"fewer calls", 20, 25, 41, 50, "41 counted events of return of __sys_accept4, the records of them 40"},
		{"fewer entries", 20, 25, 40, 49, "49 counted events of enter of __sys_accept4, the records of them 50"},
		{"not in END", 20, 25, 40, 0, "50 counted events of enter of __sys_accept4, which records count"},
	} {
		record := format.Counted{Hook: format.HookSysAccept4, Calls: c.calls, Entries: c.entries, Ret: -11}
		b := &format.Batch{Header: &format.Header{}, Counted: []format.Counted{record, record}}
		b.End = &format.End{Clean: true, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: c.end, Counted: c.end}}}
		if c.endEnter > 0 {
			b.End.Totals = append(b.End.Totals, format.ProbeTotal{Hook: format.HookSysAccept4, Kind: format.Enter,
				Seen: c.endEnter, Counted: c.endEnter})
		}
		var a Account
		a.Add(b)
		if got := strings.Join(a.Contradictions(), "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A number that comes late is no copy, however late; where so many are lost that it is
// not known whether it came, that is said.
func TestAccountForgets(t *testing.T) {
	const gaps = 3 * maxGaps
	events := []format.Event{}
	add := func(number uint64) {
		events = append(events, format.Event{Seq: uint64(len(events) + 1), BootNS: 100, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: number})
	}
	for i := range uint64(gaps) {
		add(2*i + 2)
	}
	account := func() *Account {
		n := uint64(len(events))
		end := &format.End{Clean: true, Events: n, Lost: gaps, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: n + gaps, Recorded: n, Lost: gaps},
		}}
		a := &Account{}
		a.Add(&format.Batch{Header: &format.Header{}, Events: events, MinNS: 100, MaxNS: 100, End: end,
			Losses: []format.Loss{{Hook: format.HookSysAccept4, Kind: format.Return, Count: gaps}}})
		return a
	}
	add(2*gaps - 1) // the last gap
	a := account()
	if got, unchecked := a.Contradictions(), a.Unchecked(); len(got)+len(unchecked) > 0 {
		t.Errorf("one came late: %q, %q", got, unchecked)
	}
	add(1) // the first
	a = account()
	if got, unchecked := a.Contradictions(), a.Unchecked(); len(got) > 0 || len(unchecked) != 1 || !strings.Contains(unchecked[0], "whether 1 events are there twice") {
		t.Errorf("one came very late: %q, %q", got, unchecked)
	}
	add(2*gaps - 1)
	if got := account().Contradictions(); len(got) != 1 || !strings.Contains(got[0], "has number 24575 ") {
		t.Errorf("a copy: %q", got)
	}
}

// What is remembered of a capture is bounded, whatever its numbers are.
func TestNumbersBounded(t *testing.T) {
	var s numbers
	for i := range uint64(600) {
		for cpu := range uint32(2 * nearCPUs) {
			for hook := range format.Hook(8) {
				s.add(&format.Event{Kind: format.Return, Hook: hook, CPU: cpu, CPUSeq: 9*i + 9})
				s.add(&format.Event{Kind: format.Return, Hook: hook, CPU: cpu, CPUSeq: 9*i + 4}) // the midst of a gap
			}
		}
	}
	kept := 0
	for cpu := range uint32(2 * nearCPUs) {
		for hook := range format.Hook(8) {
			kept += len(s.of(hitOn{cpu, hook, format.Return}).gaps)
		}
	}
	if kept != s.gaps || kept > maxAllGaps || kept < maxAllGaps/2 {
		t.Errorf("%d gaps are kept, %d are counted", kept, s.gaps)
	}
	if s.doubled > 0 {
		t.Errorf("%d of them are taken for copies", s.doubled)
	}
}

// The recorder's own hits were at its start: they explain numbers that are missing
// there, and none behind it.
func TestAccountOwn(t *testing.T) {
	const began = 1000
	for _, c := range []struct {
		name    string
		missing uint64 // this number, of 100
		boot    int64  // of the events
		cpu     uint32 // of the loss
		own     uint64
		want    string
	}{
		{name: "among the first", missing: 10, boot: began + 1, own: 1},
		{name: "before the recording", missing: 90, boot: began - 1, own: 1},
		{name: "behind its start", missing: 90, boot: began + 1, own: 1, want: "on CPU 1 leave out 1 after the recorder's start, where it had no hits of its own; the records of losses know of 0"},
		{name: "lost", missing: 90, boot: began + 1, cpu: 1},
		{name: "lost on another CPU", missing: 90, boot: began + 1, cpu: 2, want: "on CPU 1 leave out 1 after"},
	} {
		b := &format.Batch{Header: &format.Header{Clock: format.Clock{BootNS: began, RealNS: 1}}, MinNS: c.boot, MaxNS: c.boot}
		for n := uint64(1); n <= 100; n++ {
			if n != c.missing {
				b.Events = append(b.Events, format.Event{Seq: uint64(len(b.Events) + 1), CPU: 1, BootNS: c.boot, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: n})
			}
		}
		lost := 1 - c.own
		b.End = &format.End{Clean: true, Events: 99, Lost: lost, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 99 + lost, Recorded: 99, Lost: lost, Own: c.own},
		}}
		if lost > 0 {
			b.Losses = []format.Loss{{CPU: c.cpu, Hook: format.HookSysAccept4, Kind: format.Return, Count: 1}}
		}
		var a Account
		a.Add(b)
		got := strings.Join(a.Contradictions(), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// END's time is the last that a recorder takes.
func TestAccountEndTime(t *testing.T) {
	for _, c := range []struct {
		name              string
		began, event, end int64
		unknown, repaired bool
		want              string
	}{
		{name: "fits", began: 1e9, event: 9e9, end: 9e9},
		{name: "before the header", began: 8e9, event: 0, end: 7e9, want: "of 7000000000 ns, the header of 8000000000 ns"},
		{name: "before an event", began: 1e9, event: 9e9, end: 7e9, want: "of 7000000000 ns, an event of 9000000000 ns"},
		{name: "not known", began: 1e9, event: 9e9, end: 0, unknown: true},
		{name: "repaired", began: 1e9, event: 9e9, end: 7e9, repaired: true},
	} {
		h := &format.Header{Clock: format.Clock{BootNS: c.began, RealNS: 1}}
		if c.repaired {
			h.Repaired = &format.Repaired{}
		}
		end := &format.End{Clean: true, Clock: format.Clock{BootNS: c.end, RealNS: 1}}
		if c.unknown {
			end.Clock = format.Clock{}
		}
		b := &format.Batch{Header: h, End: end}
		if c.event > 0 {
			b.Events, b.MinNS, b.MaxNS = []format.Event{{Seq: 1, BootNS: c.event, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: 1}}, c.event, c.event
			end.Events, end.Totals = 1, []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 1, Recorded: 1}}
		}
		var a Account
		a.Add(b)
		got := strings.Join(a.Contradictions(), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Times that no recorder writes.
func TestAccountTimes(t *testing.T) {
	const second = int64(1e9)
	for _, c := range []struct {
		name   string
		began  int64
		events []int64 // times of the events of one CPU and hook
		other  bool    // the last is of another hook
		end    int64
		want   string
	}{
		{name: "fits", began: second, events: []int64{2 * second, 3 * second}, end: 9 * second},
		{name: "a task was preempted", began: second, events: []int64{9 * second, 2 * second}, end: 9 * second},
		{name: "back", began: second, events: []int64{90 * second, 2 * second, 3 * second}, end: 99 * second, want: "event 2, return of __sys_accept4 on CPU 0, is of 1m28s before"},
		{name: "back, of another hook", began: second, events: []int64{90 * second, 2 * second}, other: true, end: 99 * second},
		{name: "during the self-test", began: 99 * second, events: []int64{90 * second}, end: 100 * second},
		{name: "before the recording", began: 9000 * second, events: []int64{90 * second}, end: 9001 * second, want: "long before the header's clock"},
		{name: "centuries away", began: second, events: []int64{2 * second}, end: 5e18, want: "no host is up for so long"},
		{name: "an event centuries away", began: second, events: []int64{5e18}, end: 5e18, want: "an event is of 5000000000000000000 ns, the header of 1000000000 ns"},
	} {
		end := &format.End{Clean: true, Clock: format.Clock{BootNS: c.end, RealNS: 1}, Events: uint64(len(c.events))}
		b := &format.Batch{Header: &format.Header{Clock: format.Clock{BootNS: c.began, RealNS: 1}}, End: end}
		counts := map[format.Hook]uint64{}
		for i, ns := range c.events {
			e := format.Event{Seq: uint64(i + 1), BootNS: ns, Kind: format.Return, Hook: format.HookSysAccept4}
			if c.other && i == len(c.events)-1 {
				e.Hook = format.HookDoAccept
			}
			counts[e.Hook]++
			e.CPUSeq = counts[e.Hook]
			b.Events = append(b.Events, e)
		}
		for hook, n := range counts {
			end.Totals = append(end.Totals, format.ProbeTotal{Hook: hook, Kind: format.Return, Seen: n, Recorded: n})
		}
		b.MinNS, b.MaxNS = slices.Min(c.events), slices.Max(c.events)
		var a Account
		a.Add(b)
		got := strings.Join(a.Contradictions(), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
