package crosscheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// hundredMissing is what an attacker wants to be explained: the kernel made 1,000
// connections, and 900 accepts are in the capture.
const hundredMissing = 1000

// attack is a capture whose accepts somebody took out, and which gives a reason for that.
func attack(h *format.Header, edit func(first, last *format.Counters, end *format.End, events *[]format.Event)) Comparison {
	const second = int64(time.Second)
	first, last := reading(1*second, 1*second+1000, 0, 0), reading(100*second, 100*second+1000, hundredMissing, 0)
	last.Final = true
	end := &format.End{Clean: true, Clock: format.Clock{BootNS: 101 * second}}
	var events []format.Event
	for i := range int64(900) {
		e := takenAt(2*second + i*1000)
		e.TID, e.RPort = uint32(i), uint16(i)
		events = append(events, e)
	}
	edit(&first, &last, end, &events)
	w := New(h)
	w.Add(&format.Batch{Counters: []format.Counters{first}, Events: events})
	w.Add(&format.Batch{Counters: []format.Counters{last}, End: end})
	return w.Finish()
}

// No reason that a capture gives is wider than what can have been, whoever wrote it.
func TestCheckExcusesAreBounded(t *testing.T) {
	const second = int64(time.Second)
	type edit = func(first, last *format.Counters, end *format.End, events *[]format.Event)
	life := &format.Header{CPUs: 4, Probes: []format.Probe{{Hook: format.HookHashdance, Kind: format.Queued}}}
	for _, c := range []struct {
		name string
		h    *format.Header
		edit edit
	}{
		{"no reason at all", nil, func(_, _ *format.Counters, _ *format.End, _ *[]format.Event) {}},
		{"queues that are not known", nil, func(first, last *format.Counters, _ *format.End, _ *[]format.Event) {
			first.QueuedKnown, last.QueuedKnown = false, false
		}},
		{"queues that moved by less", nil, func(first, last *format.Counters, _ *format.End, _ *[]format.Event) {
			first.QueuedKnown, first.QueuedMoved, last.QueuedKnown, last.QueuedMoved = false, 500, false, 99
		}},
		{"a reading that takes for ever", nil, func(first, _ *format.Counters, _ *format.End, events *[]format.Event) {
			first.BootNS, first.UntilNS = -1<<62, 1<<62
		}},
		{"a last reading that takes for ever", nil, func(_, last *format.Counters, _ *format.End, events *[]format.Event) {
			last.BootNS, last.UntilNS = last.BootNS-1000, 1<<62
			for i := range int64(hundredMissing) { // after it, by hours
				*events = append(*events, takenAt(100*second+3600*second+i))
			}
		}},
		{"a crowd that waits in accept at the end", nil, func(_, _ *format.Counters, end *format.End, _ *[]format.Event) {
			end.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Enter, Seen: 10_000}}
		}},
		{"a crowd that returns after the end", &format.Header{CPUs: 1 << 30}, func(_, _ *format.Counters, end *format.End, events *[]format.Event) {
			end.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Enter, Seen: 1 << 60}}
		}},
		{"many that are made twice", life, func(_, last *format.Counters, _ *format.End, events *[]format.Event) {
			for _, e := range (*events)[:900] {
				e.Kind, e.Hook = format.Queued, format.HookHashdance
				*events = append(*events, e)
			}
		}},
		{"losses of other probes", nil, func(_, _ *format.Counters, end *format.End, _ *[]format.Event) {
			end.Totals = []format.ProbeTotal{{Hook: format.HookTCPDone, Kind: format.Closed, Seen: 5000, Lost: 5000, Missed: 5000},
				{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 999, Recorded: 900, Lost: 99}}
		}},
	} {
		h := c.h
		if h == nil {
			h = &format.Header{CPUs: 2}
		}
		if r := attack(h, c.edit); r.Verdict != VerdictDiffers {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Text)
		}
	}
}

// Counters that begin anew say that another namespace has the number, and of the time
// between nothing; what is missing before or after is missing.
func TestCheckNumberUsedAgain(t *testing.T) {
	const second = int64(time.Second)
	at := func(s int64, opened uint64, final bool) format.Counters {
		c := reading(s*second, s*second+1000, opened, 0)
		c.Final = final
		return c
	}
	for _, c := range []struct {
		opened  uint64 // at the last reading
		verdict string
		says    string
	}{
		{2, VerdictPartly, "the kernel counted the same: 3 TCP connections (the counters began anew"},
		{3, VerdictExplained, "is explained: the kernel may have counted 1 twice"},
		{9, VerdictDiffers, "in network namespace 1 the kernel counted 8 TCP connections, 1 was recorded as accepted: 7 NOT accounted for; 1 of 2 network namespaces agree"},
	} {
		w := New(&format.Header{CPUs: 2})
		w.Add(&format.Batch{Counters: []format.Counters{at(1, 100, false)}, Events: []format.Event{takenAt(3 * second), takenAt(4 * second)}})
		w.Add(&format.Batch{Counters: []format.Counters{at(10, 102, false)}})
		w.Add(&format.Batch{Counters: []format.Counters{at(20, 1, false)}, Events: []format.Event{takenAt(25 * second)}})
		w.Add(&format.Batch{Counters: []format.Counters{at(30, c.opened, true)}, End: &format.End{Clean: true, Clock: format.Clock{BootNS: 31 * second}}})
		if r := w.Finish(); r.Verdict != c.verdict || !strings.Contains(r.Text, c.says) || len(r.Spaces) != 2 {
			t.Errorf("%d: %s: %s", c.opened, r.Verdict, r.Text)
		}
	}
}

// A namespace that got the number of one that ended may have counted more than that: then it is the processes that say so.
func TestCheckParted(t *testing.T) {
	const second = int64(time.Second)
	for _, parted := range []bool{true, false} {
		w := New(&format.Header{CPUs: 2})
		w.Add(&format.Batch{Counters: []format.Counters{reading(second, second+1000, 0, 0)}, Events: []format.Event{takenAt(3 * second), takenAt(4 * second)}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(10*second, 10*second+1000, 2, 0)}})
		other := reading(20*second, 20*second+1000, 40, 0)
		other.Parted = parted
		w.Add(&format.Batch{Counters: []format.Counters{other}, Events: []format.Event{takenAt(25 * second)}})
		last := reading(30*second, 30*second+1000, 41, 0)
		last.Final = true
		w.Add(&format.Batch{Counters: []format.Counters{last}, End: &format.End{Clean: true, Clock: format.Clock{BootNS: 31 * second}}})
		want := VerdictDiffers
		if parted {
			want = VerdictPartly
		}
		if r := w.Finish(); r.Verdict != want {
			t.Errorf("parted %v: %s: %s", parted, r.Verdict, r.Text)
		}
	}
}

// Namespaces are judged one by one: what one has too much is not what another one lacks,
// and a loss is a reason once. An accept is of the namespace that its listener is in.
func TestCheckOneByOne(t *testing.T) {
	of := func(netns uint32, from, opened uint64) format.Counters {
		c := reading(int64(from), int64(from)+10, opened, 0)
		c.NetNS = netns
		return c
	}
	taken := func(netns uint32, listener uint64, n int) (list []format.Event) {
		for range n {
			e := takenAt(5e9)
			e.NetNS, e.Listener = netns, listener
			list = append(list, e)
		}
		return list
	}
	for _, c := range []struct {
		name    string
		shot    []format.Snapshot
		events  []format.Event
		lost    uint64
		verdict string
		says    string
	}{
		{"five too many here, five too few there", nil, taken(1, 7, 10), 0, VerdictDiffers,
			"in network namespace 1 the kernel counted 5 TCP connections, 10 were recorded as accepted: 5 more than the kernel counted; " +
				"in network namespace 2 the kernel counted 5 TCP connections, 0 were recorded as accepted: 5 NOT accounted for"},
		{"by the listener", []format.Snapshot{{Listeners: []format.ListenSocket{{Listener: 7, NetNS: 1}, {Listener: 8, NetNS: 2}}}},
			append(taken(1, 7, 5), taken(1, 8, 5)...), 0, VerdictAgrees, "the same: 10 TCP connections"},
		{"one loss for two", nil, append(taken(1, 7, 2), taken(2, 8, 2)...), 3, VerdictDiffers, "NOT accounted for"},
		{"losses for both", nil, append(taken(1, 7, 2), taken(2, 8, 2)...), 6, VerdictExplained, "6 returns of accept were lost"},
	} {
		w := New(&format.Header{CPUs: 2})
		w.Add(&format.Batch{Snapshots: c.shot, Counters: []format.Counters{of(1, 95, 10), of(2, 95, 10)}, Events: c.events})
		end := &format.End{Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Lost: c.lost, Recorded: uint64(len(c.events))}}}
		w.Add(&format.Batch{Counters: []format.Counters{of(1, 9e9, 15), of(2, 9e9, 15)}, End: end})
		if r := w.Finish(); r.Verdict != c.verdict || !strings.Contains(r.Text, c.says) {
			t.Errorf("%s: %s", c.name, fmt.Sprint(r.Verdict, ": ", r.Text))
		}
	}
}
