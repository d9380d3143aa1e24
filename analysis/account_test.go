package analysis

import (
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
		{name: "doubled", events: accepts(1, 2, 1, 2), want: "some are there twice"},
		{name: "no account", events: accepts(1), none: true, want: "does not account for 1 events"},
		{name: "of nobody", events: stranger, want: "event 2 is of a process that no record"},
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
