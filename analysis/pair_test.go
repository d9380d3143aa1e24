package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// script makes events from words: "e1" is an entry of task 1, "r1" its
// successful return, "r1:24" one that failed with errno 24, "E1" an entry with
// MarkPrevMissed, "R1" a return with MarkEnterLost, "d1" a socket of do_accept
// for a call whose return lacks it ("n1"), "u1" one through io_uring.
func script(words string) []format.Event {
	var events []format.Event
	for i, w := range strings.Fields(words) {
		var tid uint32
		var errno int32
		fmt.Sscanf(w[1:], "%d:%d", &tid, &errno)
		e := format.Event{Seq: uint64(i + 1), BootNS: int64(1000 * (i + 1)), TID: tid, PID: tid, SockFD: 3, Listener: 7, Hook: format.HookSysAccept4, Via: format.ViaAccept, Kind: format.Return, Ret: 5}
		if errno != 0 {
			e.Ret = -errno
		}
		switch w[0] {
		case 'e', 'E':
			e.Kind, e.Ret = format.Enter, 0
			if w[0] == 'E' {
				e.Mark = format.MarkPrevMissed
			}
		case 'R':
			e.Mark = format.MarkEnterLost
		case 'n':
			e.Mark = format.MarkNoFacts
		case 'd':
			e.Hook, e.Via, e.Ret, e.RPort = format.HookDoAccept, format.ViaUnknown, 0, 4242
		case 'u':
			e.Hook, e.Via, e.Ret = format.HookDoAccept, format.ViaIOUring, 0
		case 'a':
			e.Hook, e.Via, e.Ret, e.Mark = format.HookDoAccept, format.ViaIOUring, -11, format.MarkArmed
		case 'i':
			e.Hook, e.Via = format.HookIOAccept, format.ViaIOUring
		case 'k':
			e.Hook, e.Via, e.Mark = format.HookKernelAccept, format.ViaKernel, format.MarkNoFD
		case 'b':
			e.Hook, e.Mark = format.HookSysExit, format.MarkBefore
		case 'x':
			e.Hook, e.Mark = format.HookSysExit, format.MarkDenied
		case 's':
			e.Hook = format.HookSysExit
		case 'l':
			e.Mark = format.MarkClientLost
		}
		events = append(events, e)
	}
	return events
}

// analyze gives the pairs of events as words: "1-2" joins events 1 and 2, "1-" and
// "-2" stand alone, with the reason behind a colon.
func analyze(t *testing.T, events []format.Event, end *format.End, c Completeness) (string, *Result) {
	t.Helper()
	var pairs []string
	a := New(&format.Header{}, Options{Pair: func(p *pairing.Pair) error {
		s := "-"
		if p.EnterSeq != 0 {
			s = fmt.Sprint(p.EnterSeq) + s
		}
		if p.ReturnSeq != 0 {
			s += fmt.Sprint(p.ReturnSeq)
		}
		if p.Why != "" {
			s += ":" + string(p.Why)
		}
		if p.Attempt > 1 {
			s += fmt.Sprintf("#%d", p.Attempt)
		}
		pairs = append(pairs, s)
		return nil
	}})
	if err := a.Add(&format.Batch{Events: events, End: end}, false); err != nil {
		t.Fatal(err)
	}
	r, err := a.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(pairs, " "), r
}

func TestPairs(t *testing.T) {
	clean := &format.End{Clean: true, BlockedKnown: true}
	uncounted := &format.End{Clean: true, BlockedKnown: true}
	blocked := &format.End{Clean: true, BlockedKnown: true, Blocked: []format.Blocked{{TID: 1, SockFD: 3}}}
	lost := &format.End{Clean: true, Lost: 1, Totals: []format.ProbeTotal{{Kind: format.Return, Lost: 1}}}
	missed := &format.End{Clean: true, Totals: []format.ProbeTotal{{Kind: format.Return, Missed: 1}}}
	both := &format.End{Clean: true, Lost: 1, Totals: []format.ProbeTotal{{Kind: format.Return, Missed: 1, Lost: 1}}}
	skipped := Completeness{Skipped: []format.Skip{{Bytes: 9}}}
	cases := []struct {
		name, events string
		end          *format.End
		c            Completeness
		want         string
	}{
		{"one", "e1 r1", clean, Completeness{}, "1-2"},
		{"interleaved", "e1 e2 r2 r1", clean, Completeness{}, "2-3 1-4"},
		{"failed", "e1 r1:24", clean, Completeness{}, "1-2"},
		{"blocked at the end", "e1 r1 e1", blocked, Completeness{}, "1-2 3-:blocked-at-end"},
		{"two entries, nothing lost", "e1 e1 r1", clean, Completeness{}, "2-3 1-:unknown"},
		{"return missed", "e1 E1 r1", missed, Completeness{}, "1-:return-missed 2-3"},
		{"return missed and not counted", "e1 E1 r1", uncounted, Completeness{}, "1-:return-missed 2-3"},
		{"entry lost", "R1", clean, Completeness{}, "-1:entry-lost"},
		{"return and next entry lost", "e1 R1 e1 r1", clean, Completeness{}, "-2:entry-lost 3-4 1-:unknown"},
		{"open, returns were lost", "e1", lost, Completeness{}, "1-:unknown"},
		{"open, returns were missed", "e1", missed, Completeness{}, "1-:unknown"},
		{"open, both", "e1", both, Completeness{}, "1-:unknown"},
		{"open, lost, but seen to wait", "e1", &format.End{Clean: true, Lost: 1, Totals: lost.Totals, Blocked: blocked.Blocked}, Completeness{}, "1-:blocked-at-end"},
		{"truncated", "e1", nil, Completeness{Truncated: true}, "1-:truncated"},
		{"return without entry", "r1", clean, Completeness{}, "-1:began-before"},
		{"open, skipped", "e1", clean, skipped, "1-:skipped"},
		{"restart", "e1 r1:512 e1 r1", clean, Completeness{}, "1-2:restarted 3-4#2"},
		{"restart twice", "e1 r1:512 e1 r1:512 e1 r1", clean, Completeness{}, "1-2:restarted 3-4:restarted#2 5-6#3"},
		{"killed", "e1 r1:512", clean, Completeness{}, "1-2:interrupted"},
		{"restart, entry lost", "e1 r1:512 R1", clean, Completeness{}, "1-2:unknown -3:entry-lost"},
		{"facts apart", "e1 d1 n1", clean, Completeness{}, "1-3"},
		{"io_uring", "u1 e1 u1 r1", clean, Completeness{}, "-1:no-call -3:no-call 2-4"},
		{"io_uring waits, then accepts", "a1 u1", clean, Completeness{}, "-1:no-call -2:no-call"},
		{"io_uring without a descriptor", "i1:24", clean, Completeness{}, "-1:no-call"},
		{"the kernel", "k1 k1:11", clean, Completeness{}, "-1:no-call -2:no-call"},
		{"began before", "b1 e1 r1", clean, Completeness{}, "-1:began-before 2-3"},
		{"began before, though returns were lost", "b1 e1 r1", lost, Completeness{}, "-1:began-before 2-3"},
		{"denied", "e1 r1 x1:1", clean, Completeness{}, "1-2 -3:denied"},
		{"seen at the end of the call", "e1 s1", clean, Completeness{}, "1-2"},
		{"client lost", "e1 l1:14", clean, Completeness{}, "1-2"},
	}
	for _, c := range cases {
		got, r := analyze(t, script(c.events), c.end, c.c)
		if got != c.want {
			t.Errorf("%s: %s: got %q, want %q", c.name, c.events, got, c.want)
		}
		x := r.Totals
		if x.Attempts != x.Accepted+x.Failed+x.Armed+x.EntryOnly || x.Attempts != uint64(len(strings.Fields(got))) {
			t.Errorf("%s: totals do not add up: %+v", c.name, x)
		}
		if (c.end == clean && len(c.c.Skipped) == 0) != r.Complete && c.end != blocked {
			t.Errorf("%s: complete is %v: %+v", c.name, r.Complete, r.Caveats)
		}
	}
	_, r := analyze(t, script("a1 i1:24 e1 l1:14 k1:11"), clean, Completeness{})
	if x := r.Totals; x.Armed != 1 || x.Failed != 3 || x.ClientsLost != 1 || x.ReturnOnly != 0 {
		t.Errorf("one waits, three failed, one of them with a client: %+v", x)
	}
}

// Whatever is lost, no pair is crossed or negative, and every event that is
// there is in exactly one pair. The truth is how the events were made.
func TestPairsUnderLoss(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var events []format.Event
		call := map[uint64]int{} // by sequence number
		open, lastEnterLost := map[uint32]int{}, map[uint32]bool{}
		calls, now := 0, int64(1)
		for range 200 {
			tid := uint32(r.IntN(5) + 1)
			now += int64(r.IntN(100)) - 5 // clocks of CPUs differ a little
			e := format.Event{BootNS: now, TID: tid, Hook: format.HookSysAccept4, SockFD: 3}
			keep := r.IntN(4) != 0
			if open[tid] == 0 {
				calls++
				open[tid] = calls
				lastEnterLost[tid] = !keep
				e.Kind = format.Enter
			} else {
				e.Kind = format.Return
				e.Ret = []int32{5, -11, -512}[r.IntN(3)]
				if lastEnterLost[tid] {
					e.Mark = format.MarkEnterLost
				}
			}
			if keep {
				e.Seq = uint64(len(events) + 1)
				call[e.Seq] = open[tid]
				events = append(events, e)
			}
			if e.Kind == format.Return {
				open[tid] = 0
			}
		}
		used := map[uint64]int{}
		a := New(&format.Header{}, Options{Pair: func(p *pairing.Pair) error {
			used[p.EnterSeq]++
			used[p.ReturnSeq]++
			if p.EnterSeq != 0 && p.ReturnSeq != 0 && call[p.EnterSeq] != call[p.ReturnSeq] {
				t.Errorf("seed %d: event %d of call %d is paired with %d of call %d", seed, p.EnterSeq, call[p.EnterSeq], p.ReturnSeq, call[p.ReturnSeq])
			}
			if p.WaitNS < -1 {
				t.Errorf("seed %d: waited %d ns", seed, p.WaitNS)
			}
			return nil
		}})
		if err := a.Add(&format.Batch{Events: events, End: &format.End{}}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Finish(Completeness{}); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if used[e.Seq] != 1 {
				t.Errorf("seed %d: event %d is in %d pairs", seed, e.Seq, used[e.Seq])
			}
		}
	}
}

// A bound on tasks makes the result say so, and nothing grows.
func TestLimits(t *testing.T) {
	a := New(&format.Header{}, Options{MaxTasks: 10, MaxPeers: 3})
	events := script("e1 r1")
	for tid := range uint32(100) {
		events[0].TID, events[1].TID = tid, tid
		if err := a.Add(&format.Batch{Events: events[:1]}, false); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.LimitHit || r.Complete || !slices.ContainsFunc(r.Caveats, func(c Caveat) bool { return c.ID == "limit" }) {
		t.Errorf("%+v", r)
	}
}
