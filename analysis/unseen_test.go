package analysis

import (
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// A return that was missed without being counted is said wherever it counts: the recording is
// not complete, and the cross-check gives it as the reason, not calls that would wait still.
func TestUnseenReturns(t *testing.T) {
	entry := func(ns int64, mark uint16) format.Event {
		return format.Event{
			BootNS: ns, Kind: format.Enter, Hook: format.HookSysAccept4, Mark: mark,
			TID: 7, NetNS: 1, Listener: 5, SockFD: 3,
		}
	}
	returned := takenAt(170)
	returned.TID, returned.Listener, returned.SockFD = 7, 5, 3
	capture := func(events ...format.Event) *Result {
		for i := range events {
			events[i].Seq = uint64(i + 1)
		}
		a := New(&format.Header{CPUs: 1}, Options{})
		end := &format.End{Clean: true, Events: uint64(len(events)), BlockedKnown: true, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Enter, Seen: 2, Recorded: 2},
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 1, Recorded: 1}}}
		shot := format.Snapshot{Final: true, BlockedKnown: true, BootNS: 190}
		for _, b := range []*format.Batch{
			{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: events},
			{Counters: []format.Counters{reading(200, 210, 12, 0)}, Snapshots: []format.Snapshot{shot}, End: end},
		} {
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := capture(entry(150, 0), entry(160, format.MarkPrevMissed), returned)
	says := strings.Contains(r.CrossCheck.Text, "1 return of accept was missed, and the kernel did not count it") &&
		!strings.Contains(r.CrossCheck.Text, "had not returned")
	if r.Complete || r.Totals.Missed != 1 || r.Recording.Missed != 1 || !r.Doubts.Outcomes ||
		r.CrossCheck.Verdict != crosscheck.VerdictExplained || !says {
		t.Errorf("%+v\n%+v", r.Recording, r.CrossCheck)
	}
	// Without another entry: it was not in accept any more.
	r = capture(entry(110, 0), returned, entry(180, 0))
	if len(r.Unpaired) != 1 || r.Unpaired[0].Why != pairing.WhyUnknown {
		t.Errorf("an entry before the list of the end was taken, and not in it: %+v", r.Unpaired)
	}
	r = capture(entry(110, 0), returned, entry(195, 0))
	if len(r.Unpaired) != 1 || r.Unpaired[0].Why != pairing.WhyBlocked {
		t.Errorf("an entry behind that list: %+v", r.Unpaired)
	}
}
