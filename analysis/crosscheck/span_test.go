package crosscheck

import (
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// An agreement is of the time between the readings; if that is not the recording's, it is
// said for how much of it.
func TestCheckSpan(t *testing.T) {
	const second = int64(time.Second)
	at := func(from int64, opened uint64, final bool) []format.Counters {
		c := reading(from*second+5, from*second+6, opened, 0)
		c.Final = final
		return []format.Counters{c}
	}
	events := func(first uint64, seconds ...int64) (list []format.Event) {
		for i, s := range seconds {
			e := takenAt(s * second)
			e.Seq = first + uint64(i)
			list = append(list, e)
		}
		return list
	}
	elsewhere := at(29, 7, true) // the recorder's own namespace
	elsewhere[0].NetNS = 2
	all := &format.End{Clean: true, Clock: format.Clock{BootNS: 30 * second}}
	lossy := *all
	lossy.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 9, Recorded: 9}}
	for _, c := range []struct {
		name    string
		batches []format.Batch
		verdict string
		text    string
	}{
		{"all of it", []format.Batch{{Counters: at(1, 0, false), Events: events(1, 2, 28)}, {Counters: at(29, 2, true), Events: events(3, 30)}, {End: all}},
			VerdictAgrees, "the kernel counted the same: 2 TCP connections"},
		{"the start is lost with events", []format.Batch{{Events: events(3, 9, 10)}, {Counters: at(11, 4, false), Events: events(5, 12)}, {Counters: at(29, 5, true)}, {End: all}},
			VerdictPartly, "the kernel counted the same in 18.0 s of 28.0 s: 1 TCP connection (2 more were accepted before acc first read the counters; the counters say nothing of the time before that)"},
		{"the start's reading is lost", []format.Batch{{Events: events(1, 4)}, {Counters: at(11, 4, false), Events: events(2, 12)}, {Counters: at(29, 5, true)}, {End: all}},
			VerdictPartly, "in 18.0 s of 25.0 s"},
		{"the end's reading is lost", []format.Batch{{Counters: at(1, 0, false), Events: events(1, 2)}, {Counters: at(11, 1, false), Events: events(2, 12, 26)}, {End: all}},
			VerdictPartly, "the kernel counted the same in 10.0 s of 29.0 s: 1 TCP connection (1 more was accepted after acc last read them; the counters say nothing of the time after that)"},
		{"and what was recorded then", []format.Batch{{Counters: at(1, 0, false), Events: events(1, 2)}, {Counters: at(11, 1, false)}, {End: &lossy}},
			VerdictPartly, "in 10.0 s of 29.0 s"},
		{"a namespace that came late and went", []format.Batch{{Events: events(1, 14), Counters: at(14, 1, false)}, {Events: events(2, 15), Counters: at(16, 2, false)}, {Counters: elsewhere}, {End: all}},
			VerdictAgrees, "the kernel counted the same: 1 TCP connection"},
	} {
		w := New(&format.Header{Clock: format.Clock{BootNS: second}})
		for i := range c.batches {
			w.Add(&c.batches[i])
		}
		if r := w.Finish(); r.Verdict != c.verdict || !strings.Contains(r.Text, c.text) {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Text)
		}
	}
}
