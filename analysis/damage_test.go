package analysis

import (
	"reflect"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// What is told of connections when the capture stops (nothing follows the script), or when
// a part is left out: what stands between two bars.
func TestDamagedConnections(t *testing.T) {
	cases := []struct {
		name, events string
		stops        bool
		want         string // the connections, in any order
		totals       [6]uint64
	}{
		{"it stops", "e5 q1 a5.1 q2 e5 q3 a5.3 c3:9", true,
			"1:5,queued=1,alive=6,open-where-the-capture-stops 2:queued=4,alive=4,in-the-accept-queue-where-the-capture-stops 3:5,queued=1,alive=2,closed-by-the-client",
			[6]uint64{3, 0, 0, 0, 0, 0}},
		{"it stops before the accept of one that was reset", "q1 c1:1,104", true, "1:alive=1,reset-by-the-client", [6]uint64{1, 0, 0, 0, 0, 0}},
		{"nothing is left out", "q1 c1:1,104 c2:4", false, "1:queued=1,alive=1,reset-by-the-client 2:before,closed-by-the-server", [6]uint64{2, 1, 0, 1, 0, 0}},
		{"queued where it is left out", "q1 e5 a5.1 c1:9 | q2 e5 a5.2 | c2:4", false, "1:5,queued=2,alive=3,closed-by-the-client 2:closed-by-the-server", [6]uint64{2, 0, 1, 0, 0, 0}},
		{"queued there, and accepted", "q1 | q2 | e5 a5.2 c2:4", false, "1:not-recorded 2:5,alive=1,closed-by-the-server", [6]uint64{2, 0, 1, 0, 0, 0}},
		{"queued there, reset and accepted", "q1 | q2 | c2:1,104 e5 a5.2:7", false, "1:not-recorded 2:5,alive=0,dead=2,reset-by-the-client", [6]uint64{2, 0, 1, 0, 0, 0}},
		{"accepted where it is left out", "q1 | e5 a5.1 | c1:4", false, "1:alive=3,closed-by-the-server", [6]uint64{1, 0, 0, 0, 0, 0}},
		{"reset by a client, accepted there or not", "q1 | e5 a5.1 | w8000 c1:1,104", false, "1:alive=8003,reset-by-the-client", [6]uint64{1, 0, 0, 0, 0, 0}},
		{"queued behind it", "q1 | c1:1,104 | q2 w9000 c2:1,104", false, "1:not-recorded 2:queued=9001,alive=9001,reset-by-the-client", [6]uint64{2, 0, 0, 1, 0, 1}},
		{"refused, and queued where it is left out", "d1 | q1 | e5 a5.1 c1:4", false, "1:5,alive=1,closed-by-the-server", [6]uint64{1, 0, 0, 0, 0, 0}},
		{"refused, and perhaps queued where it is left out", "d1 | q1 | q2 e5 a5.2 c2:4", false, "1:not-recorded 2:5,queued=2,alive=3,closed-by-the-server", [6]uint64{2, 0, 0, 0, 0, 0}},
		{"refused where it stops", "d1", true, "1:refused,-not-queued-where-the-capture-stops", [6]uint64{1, 0, 0, 0, 0, 0}},
	}
	for _, c := range cases {
		m := newMaker(t, true)
		var list []string
		a := New(&format.Header{ID: "x", Clock: format.Clock{RealNS: 1e18}, StartNS: 1e18, Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}},
			Options{Connection: func(c *conntrack.Connection) error {
				list = append(list, said(c))
				return nil
			}})
		done := 0
		for i, part := range strings.Split(c.events, "|") {
			for w := range strings.FieldsSeq(part) {
				if w[0] == 'd' {
					m.drop(1, format.HookConnRequest, 0)
				} else {
					m.script(w)
				}
			}
			if i != 1 {
				if err := a.Add(&format.Batch{Events: m.batch.Events[done:]}, i > 0); err != nil {
					t.Fatal(err)
				}
			}
			done = len(m.batch.Events)
		}
		if end := m.end(); !c.stops {
			if err := a.Add(&format.Batch{End: end}, false); err != nil {
				t.Fatal(err)
			}
		}
		x := Completeness{Truncated: c.stops}
		if strings.Contains(c.events, "|") {
			x.Skipped = []format.Skip{{Bytes: 1}}
		}
		r, err := a.Finish(x)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(c.want)
		if !sameWords(list, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, list, want)
		}
		n := &r.Connections
		slow := uint64(0)
		for _, f := range r.Findings {
			if f.ID == "slow-accept" && strings.Contains(f.Text, "never accepted") {
				slow++
			}
		}
		if got := [6]uint64{n.Seen, n.Before, n.BeginUnknown, n.NeverAccepted, n.NeverQueued, slow}; got != c.totals {
			t.Errorf("%s: seen, before, begin unknown, never accepted, never queued, never accepted as a finding: %v, want %v", c.name, got, c.totals)
		}
	}
}

func sameWords(a, b []string) bool {
	count := map[string]int{}
	for _, w := range a {
		count[w]++
	}
	for _, w := range b {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// That nobody saw a connection come proves that it was there before only if what would tell
// of it was not lost.
func TestLostBeginnings(t *testing.T) {
	for _, lost := range []uint64{0, 1} {
		m := newMaker(t, true)
		m.script("q1 e5 a5.1 c1:4 c2:4")
		end := m.end()
		end.Totals = []format.ProbeTotal{{Hook: format.HookHashdance, Kind: format.Queued, Lost: lost}}
		r := analyzed(t, Options{}, &m.batch, &format.Batch{End: end})
		if c := &r.Connections; c.Before != 1-lost || c.BeginUnknown != lost {
			t.Errorf("%d lost: %d there before, of %d it is not known", lost, c.Before, c.BeginUnknown)
		}
	}
}

// A repair accuses the file, not the recorder.
func TestRepairedCaveats(t *testing.T) {
	cases := []struct {
		name     string
		repaired format.Repaired
		end      format.End
		want     []string // caveats
		lost     uint64
		text     string // in one of them
		next     string // of the finding
	}{
		{"a bit", format.Repaired{Verdict: "corrupt", Ended: true, Events: 7, Lost: 99}, format.End{Reason: "command", Clean: true, Lost: 7}, []string{"repaired"}, 0, "damaged after it was recorded", "acc info says what is missing"},
		{"and the ring was full", format.Repaired{Verdict: "corrupt", Ended: true, Events: 7, Lost: 99}, format.End{Reason: "command", Clean: true, Lost: 9}, []string{"repaired", "lost"}, 2, "2 events were lost because the ring buffer was full", "--ring-size"},
		{"and the disk", format.Repaired{Verdict: "corrupt", Ended: true, Events: 7, Lost: 99}, format.End{Reason: format.EndDiskFull, Clean: true, Lost: 9}, []string{"repaired", "lost"}, 2, "the disk was full", "more room on the disk"},
		{"and it ended in disorder", format.Repaired{Verdict: "corrupt", Ended: true, Events: 7, Lost: 99}, format.End{Reason: "error", Detail: "on fire", Lost: 7}, []string{"repaired", "unclean"}, 0, "the recording was not closed cleanly (error): on fire", "acc info says"},
		{"a cut", format.Repaired{Verdict: "truncated", Lost: 99}, format.End{Reason: "repaired", Detail: "the original has no end", Lost: 2}, []string{"truncated", "repaired", "lost"}, 2, "stops before its end", "--ring-size"},
		{"the header", format.Repaired{Verdict: "corrupt", Ended: true, Lost: 99, Notes: []string{"the header is lost"}}, format.End{Reason: "command", Clean: true}, []string{"repaired", "repaired"}, 0, "the header is lost", "acc info says"},
	}
	for _, c := range cases {
		a := New(&format.Header{ID: "x", StartNS: 1, Repaired: &c.repaired}, Options{})
		end := c.end
		end.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: end.Lost, Lost: end.Lost}}
		if err := a.Add(&format.Batch{End: &end}, false); err != nil {
			t.Fatal(err)
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		var got, texts []string
		for _, x := range r.Caveats {
			got, texts = append(got, x.ID), append(texts, x.Text)
		}
		next := r.Findings[0].Next
		if strings.Join(got, " ") != strings.Join(c.want, " ") || r.Totals.Lost != c.lost || !strings.Contains(strings.Join(texts, "\n"), c.text) || !strings.Contains(next, c.next) {
			t.Errorf("%s: %v, %d lost, %q, next %q", c.name, got, r.Totals.Lost, texts, next)
		}
	}
}

// A file that is cut behind END lacks nothing of the recording.
func TestCutIndex(t *testing.T) {
	a := New(&format.Header{ID: "x", StartNS: 1}, Options{})
	if err := a.Add(&format.Batch{End: &format.End{Clean: true}}, false); err != nil {
		t.Fatal(err)
	}
	r, err := a.Finish(Completeness{Truncated: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete || r.Doubts != (stats.Doubts{}) || len(r.Caveats) != 1 || !strings.Contains(r.Caveats[0].Text, "nothing of the recording is missing") {
		t.Errorf("%+v, %+v", r.Doubts, r.Caveats)
	}
}

// The verdict alone is what the whole analysis says, whatever is missing.
func TestVerdictOnly(t *testing.T) {
	for _, script := range []string{"q1 e5 a5.1 c1:9", "q1 q2 e5 a5.1 e6 x6.2", "e5 e6 a5.1", "q1 w5 c1:1,104 e5"} {
		for _, end := range []bool{true, false} {
			for _, listed := range []bool{true, false} {
				m := newMaker(t, true)
				m.script(script)
				final := m.end()
				final.Totals[0].Missed = 1
				var got [2]*Result
				for i := range got {
					h := &format.Header{Clock: format.Clock{RealNS: 1e18}, StartNS: 1e18,
						Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}}
					a := New(h, Options{VerdictOnly: i == 1})
					batches := []*format.Batch{m.listening(), &m.batch}
					if end {
						last := m.listening()
						last.Snapshots[0].Final, last.Snapshots[0].ConnectionsKnown, last.Snapshots[0].BootNS = true, listed, m.ns+9e9
						last.End = final
						batches = append(batches, last)
					}
					for _, b := range batches {
						if err := a.Add(b, false); err != nil {
							t.Fatal(err)
						}
					}
					r, err := a.Finish(Completeness{Truncated: !end})
					if err != nil {
						t.Fatal(err)
					}
					got[i] = &Result{Capture: r.Capture, Integrity: r.Integrity, Recording: r.Recording, Complete: r.Complete,
						Doubts: r.Doubts, Caveats: r.Caveats, CrossCheck: r.CrossCheck, Totals: r.Totals}
				}
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("%s, end %v, list %v:\n%+v\n%+v", script, end, listed, got[0], got[1])
				}
			}
		}
	}
}
