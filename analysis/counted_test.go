package analysis

import (
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// Counted calls are added up by process, listener and error, and complete a finding that recorded ones began.
func TestCounted(t *testing.T) {
	failed := format.Event{Seq: 1, BootNS: 100, Kind: format.Return, Hook: format.HookSysAccept4, Ret: -24, PID: 9, TID: 9,
		NetNS: 1, Listener: 5, SockFD: 3, Mark: format.MarkEnterLost}
	c := format.Counted{Hook: format.HookSysAccept4, FromNS: 110, ToNS: 120, Calls: 30, Entries: 30, Ret: -24, PID: 9, Comm: "full",
		UID: 1000, NetNS: 1, Listener: 5}
	later, other, users := c, c, c
	later.FromNS, later.ToNS, later.Calls = 120, 130, 12
	other.Ret, other.Listener = -9, 0
	users.PID, users.UID, users.Listener, users.Ret = 0, format.SeveralUsers, 0, 1
	a := New(&format.Header{CPUs: 1}, Options{})
	end := &format.End{Clean: true, Events: 1, BlockedKnown: true}
	for _, b := range []*format.Batch{{Events: []format.Event{failed}}, {Counted: []format.Counted{c, other}},
		{Counted: []format.Counted{later, users}}, {End: end}} {
		if err := a.Add(b, false); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Counted != 102 || r.Recording.Counted != 102 || r.Totals.Failed != 1 || len(r.Counted) != 3 {
		t.Fatalf("%+v, %+v, %+v", r.Totals, r.Recording, r.Counted)
	}
	first := r.Counted[0]
	if first.Calls != 42 || first.Name != "EMFILE" || first.Who() != "full[9]" || first.FirstNS != 110 || first.LastNS != 130 {
		t.Errorf("%+v", first)
	}
	if who := r.Counted[1].Who(); who != "processes of several users" {
		t.Errorf("%+v is of %s", r.Counted[1], who)
	}
	found := false
	for _, f := range r.Findings {
		found = found || f.ID == "fd-exhausted" && strings.Contains(f.Text, "43 times")
	}
	if !found {
		t.Errorf("%+v", r.Findings)
	}
}
