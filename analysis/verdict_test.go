package analysis

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// batch makes a batch of events written as words: "e1" an entry of task 1, "r1"
// its return with a socket, "r1:24" one with errno 24, "r1@4" a call on descriptor
// 4. A letter after the kind marks it: "ep1" MarkPrevMissed, "rl1" MarkEnterLost,
// "rn1" MarkNoFacts, "rln1" both. "d1" is a return of do_accept inside a call,
// "u1" one of io_uring. Event n is stamped n milliseconds.
func batch(t *testing.T, seq *uint64, words string) *format.Batch {
	t.Helper()
	b := &format.Batch{}
	for w := range strings.FieldsSeq(words) {
		*seq++
		e := format.Event{
			Seq: *seq, BootNS: int64(*seq) * 1e6, Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, SockFD: 3,
			Listener: 7, NetNS: 1, Comm: "srv", BacklogMax: 128, Ret: 9,
		}
		kind := strings.TrimRight(w, "0123456789:@")
		if i := strings.IndexAny(w, "0123456789"); i > 0 {
			kind = w[:i]
		}
		rest := w[len(kind):]
		if at := strings.IndexByte(rest, '@'); at >= 0 {
			fmt.Sscan(rest[at+1:], &e.SockFD)
			rest = rest[:at]
		}
		if at := strings.IndexByte(rest, ':'); at >= 0 {
			fmt.Sscan(rest[at+1:], &e.Ret)
			e.Ret, rest = -e.Ret, rest[:at]
		}
		fmt.Sscan(rest, &e.TID)
		e.PID = e.TID
		switch kind[0] {
		case 'e':
			e.Kind, e.Ret = format.Enter, 0
		case 'd':
			e.Hook, e.Via, e.SockFD = format.HookDoAccept, format.ViaUnknown, -1
		case 'u':
			e.Hook, e.Via, e.SockFD = format.HookDoAccept, format.ViaIOUring, -1
		case 'r':
		default:
			t.Fatalf("no such event: %q", w)
		}
		if kind[0] == 'd' || kind == "r" {
			e.RAddr, e.RPort = netip.MustParseAddr("192.0.2.7"), uint16(*seq)
		}
		if e.Hook == format.HookDoAccept && e.Ret > 0 {
			e.Ret = 0
		}
		for _, m := range kind[1:] {
			e.Mark |= map[rune]uint16{'p': format.MarkPrevMissed, 'l': format.MarkEnterLost, 'n': format.MarkNoFacts}[m]
		}
		b.Events = append(b.Events, e)
	}
	return b
}

// told is a pair as words: "1-2" joins events 1 and 2, "1-" and "-2" stand alone;
// "1-(2)3" took the socket from event 2; then the reason and the attempt.
func told(p *pairing.Pair) string {
	s := ""
	if p.EnterSeq != 0 {
		s = fmt.Sprint(p.EnterSeq)
	}
	s += "-"
	if p.FactsSeq != 0 {
		s += fmt.Sprintf("(%d)", p.FactsSeq)
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
	return s
}

func lostReturns(fromMS, toMS int64) format.Loss {
	return format.Loss{Hook: format.HookSysAccept4, Kind: format.Return, Count: 1, FromNS: fromMS * 1e6, ToNS: toMS * 1e6}
}

func lostTotals(kind format.Kind, lost, missed uint64) []format.ProbeTotal {
	return []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: kind, Lost: lost, Missed: missed}}
}

func TestVerdicts(t *testing.T) {
	const R = format.Return
	sits := []format.Blocked{{TID: 1, SockFD: 3}}
	cases := []struct {
		name   string
		events string // | begins a batch; || one after a part that was skipped
		losses []format.Loss
		end    *format.End // nil: truncated; Clean and BlockedKnown are set
		vague  bool        // BlockedKnown is not
		want   string      // pairs in any order
	}{
		{name: "pair", events: "e1 r1", end: &format.End{}, want: "1-2"},
		{name: "two tasks cross in time", events: "e1 e2 r1 r2", end: &format.End{}, want: "1-3 2-4"},
		{name: "errno", events: "e1 r1:24", end: &format.End{}, want: "1-2"},

		{name: "blocked, by the list", events: "e1", end: &format.End{Blocked: sits}, want: "1-:blocked-at-end"},
		{name: "blocked, nothing else explains it", events: "e1", end: &format.End{}, want: "1-:blocked-at-end"},
		{name: "blocked though returns were lost then", events: "e1", losses: []format.Loss{lostReturns(1, 9)},
			end: &format.End{Blocked: sits, Totals: lostTotals(R, 1, 0)}, want: "1-:blocked-at-end"},
		{name: "open, lost before it began", events: "r9 e1", losses: []format.Loss{lostReturns(0, 1)},
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "-1:began-before 2-:blocked-at-end"},
		{name: "open, lost after", events: "e1", losses: []format.Loss{lostReturns(2, 9)},
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:return-lost"},
		{name: "open, lost after, who sits is not known", events: "e1", losses: []format.Loss{lostReturns(2, 9)}, vague: true,
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:unknown"},
		{name: "open, lost, no record says when", events: "e1", end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:return-lost"},
		{name: "open, missed", events: "e1", end: &format.End{Totals: lostTotals(R, 0, 1)}, want: "1-:return-missed"},
		{name: "open, lost or missed", events: "e1", losses: []format.Loss{lostReturns(2, 9)},
			end: &format.End{Totals: lostTotals(R, 1, 1)}, want: "1-:unknown"},
		{name: "sits in another call", events: "e1", losses: []format.Loss{lostReturns(2, 9)},
			end: &format.End{Blocked: []format.Blocked{{TID: 1, SockFD: 8}}, Totals: lostTotals(R, 1, 0)}, want: "1-:return-lost"},
		{name: "open, truncated", events: "e1", want: "1-:truncated"},

		{name: "return lost, the record comes later", events: "e1 e1 r1 | e2 r2", losses: []format.Loss{lostReturns(1, 2)},
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:return-lost 2-3 4-5"},
		{name: "two entries, lost at another time", events: "e1 e1 r1", losses: []format.Loss{lostReturns(2, 9)},
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:unknown 2-3"},
		{name: "two entries, entries were lost", events: "e1 e1 r1", losses: []format.Loss{{Hook: format.HookSysAccept4, Kind: format.Enter, Count: 1, ToNS: 9e6}},
			end: &format.End{Totals: lostTotals(format.Enter, 1, 0)}, want: "1-:unknown 2-3"},
		{name: "two entries, truncated", events: "e1 e1 r1", want: "1-:truncated 2-3"},
		{name: "return missed", events: "e1 ep1 r1", end: &format.End{Totals: lostTotals(R, 0, 1)}, want: "1-:return-missed 2-3"},
		{name: "mark beats loss", events: "e1 ep1 r1", losses: []format.Loss{lostReturns(1, 2)}, end: &format.End{Totals: lostTotals(R, 1, 1)},
			want: "1-:return-missed 2-3"},

		{name: "entry lost", events: "rl1:11", end: &format.End{}, want: "-1:entry-lost"},
		{name: "return and entry lost between", events: "e1 rl1 e1 r1", losses: []format.Loss{lostReturns(1, 2)},
			end: &format.End{Totals: lostTotals(R, 1, 0)}, want: "1-:return-lost -2:entry-lost 3-4"},
		{name: "return lost or missed, entry lost", events: "e1 rl1", losses: []format.Loss{lostReturns(1, 2)},
			end: &format.End{Totals: lostTotals(R, 1, 1)}, want: "1-:unknown -2:entry-lost"},
		{name: "began before", events: "r1 e1 r1", end: &format.End{}, want: "-1:began-before 2-3"},
		{name: "began before, or entry missed", events: "r1", end: &format.End{Totals: lostTotals(format.Enter, 0, 1)}, want: "-1:unknown"},
		{name: "began before, truncated", events: "r1", want: "-1:truncated"},
		{name: "second return", events: "e1 r1 r1", end: &format.End{}, want: "1-2 -3:unknown"},
		{name: "a return of another descriptor", events: "e1@4 r1@5", end: &format.End{}, want: "1-:unknown -2:unknown"},

		{name: "restart", events: "e1 r1:512 e1 r1", end: &format.End{}, want: "1-2:restarted 3-4#2"},
		{name: "restart, twice", events: "e1 r1:512 e1 r1:512 e1 r1:4", end: &format.End{}, want: "1-2:restarted 3-4:restarted#2 5-6#3"},
		{name: "restart, then blocked", events: "e1 r1:512 e1", end: &format.End{Blocked: sits}, want: "1-2:restarted 3-:blocked-at-end#2"},
		{name: "EINTR: the next call is another", events: "e1 r1:512 e1@4 r1@4", end: &format.End{}, want: "1-2:interrupted 3-4"},
		{name: "EINTR or killed", events: "e1 r1:512", end: &format.End{}, want: "1-2:interrupted"},
		{name: "interrupted, truncated", events: "e1 r1:512", want: "1-2:truncated"},
		{name: "interrupted, next entry lost", events: "e1 r1:512 rl1", end: &format.End{}, want: "1-2:unknown -3:entry-lost"},

		{name: "io_uring", events: "u1 u1:11 u1", end: &format.End{}, want: "-1:no-call -2:no-call -3:no-call"},
		{name: "io_uring inside an attempt of the thread", events: "e1 u1 r1", end: &format.End{}, want: "1-3 -2:no-call"},
		{name: "facts apart", events: "e1 d1 rn1", end: &format.End{}, want: "1-(2)3"},
		{name: "facts apart, entry lost", events: "d1 rln1", end: &format.End{}, want: "-(1)2:entry-lost"},
		{name: "facts apart, failed", events: "d1:11 rl1:11", end: &format.End{}, want: "-(1)2:entry-lost"},
		{name: "facts of another call", events: "d1:11 rl1:24", end: &format.End{}, want: "-1:unknown -2:entry-lost"},
		{name: "facts, return lost", events: "d1 e1 r1", end: &format.End{}, want: "-1:unknown 2-3"},
		{name: "what waits for one thread is not taken for another's", events: "e1 r1:512 e1 r1 d2 rln2 d3 e3 r3:512 e3 r3", end: &format.End{},
			want: "1-2:restarted 3-4#2 -(5)6:entry-lost -7:unknown 8-9:restarted 10-11#2"},
		{name: "facts alone", events: "d1", end: &format.End{}, want: "-1:unknown"},

		{name: "nothing pairs across a part that was left out", events: "e1 e2 r2 || r1 e2 r2", end: &format.End{}, want: "1-:skipped 2-3 -4:skipped 5-6"},
		{name: "entries across it", events: "e1 || e1 r1", end: &format.End{}, want: "1-:skipped 2-3"},
		{name: "open across it", events: "e1 || e2 r2", end: &format.End{}, want: "1-:skipped 2-3"},
		{name: "restart across it", events: "e1 r1:512 || e1 r1", end: &format.End{}, want: "1-2:skipped 3-4"},
		{name: "facts across it", events: "d1 || rln1", end: &format.End{}, want: "-1:unknown -2:entry-lost"},
	}
	for _, c := range cases {
		var got []string
		a := New(&format.Header{}, Options{Pair: func(p *pairing.Pair) error { got = append(got, told(p)); return nil }})
		seq, skipped := uint64(0), Completeness{Truncated: c.end == nil}
		for i, part := range strings.Split(c.events, "||") {
			if i > 0 {
				skipped.Skipped = []format.Skip{{Bytes: 1}}
			}
			for j, words := range strings.Split(part, "|") {
				if err := a.Add(batch(t, &seq, words), i > 0 && j == 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		last := &format.Batch{Losses: c.losses, End: c.end}
		if c.end != nil {
			c.end.Clean, c.end.BlockedKnown, c.end.Clock.BootNS = true, !c.vague, 100e6
		}
		if err := a.Add(last, false); err != nil {
			t.Fatal(err)
		}
		r, err := a.Finish(skipped)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(c.want)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s: got %q, want %q", c.name, c.events, got, want)
		}
		if x := r.Totals; x.Attempts != x.Accepted+x.Failed+x.EntryOnly || x.Attempts != uint64(len(want)) || x.Calls+x.Restarted != x.Attempts {
			t.Errorf("%s: totals do not add up: %+v", c.name, x)
		}
		var listeners, processes uint64
		for _, l := range r.Listeners {
			listeners += l.Restarted
			if l.Failed < l.Restarted {
				t.Errorf("%s: %d failed, %d of them restarted", c.name, l.Failed, l.Restarted)
			}
		}
		for _, p := range r.Processes {
			processes += p.Restarted
		}
		if x := r.Totals.Restarted; listeners != x || processes != x {
			t.Errorf("%s: %d restarted, %d at listeners, %d by processes", c.name, x, listeners, processes)
		}
	}
}

// A return that comes before its entry by the clocks of two CPUs has waited 0.
func TestInvertedClocks(t *testing.T) {
	var seq uint64
	b := batch(t, &seq, "e1 r1 e1 r1")
	b.Events[1].BootNS = b.Events[0].BootNS - 500
	var wait []int64
	a := New(&format.Header{}, Options{Pair: func(p *pairing.Pair) error { wait = append(wait, p.WaitNS); return nil }})
	if err := a.Add(b, false); err != nil {
		t.Fatal(err)
	}
	r, _ := a.Finish(Completeness{})
	if !slices.Equal(wait, []int64{0, 1e6}) || r.Totals.Inverted != 1 || r.Wait.Count != 2 {
		t.Errorf("waits %v, totals %+v", wait, r.Totals)
	}
}

// lossy makes the events of random calls of a few tasks as a recorder writes them
// when its ring is full now and then, with the account of what was lost; truth is
// the call of each event, by its number.
func lossy(rng *rand.Rand) (batches []*format.Batch, truth map[uint64]int, lost [3]uint64) {
	truth = map[uint64]int{}
	type state struct {
		call      int
		enterLost bool
		fd        int32
	}
	tasks := map[uint32]*state{}
	var seq uint64
	b := &format.Batch{}
	calls, now, full := 0, int64(1000), false
	var lastNS [3]int64
	var gap [3]uint64
	for range 400 {
		if rng.IntN(20) == 0 {
			full = !full
		}
		now += int64(rng.IntN(100)) - 3
		tid := uint32(rng.IntN(6) + 1)
		s := tasks[tid]
		if s == nil {
			s = &state{fd: int32(rng.IntN(2) + 3)}
			tasks[tid] = s
		}
		e := format.Event{BootNS: now, TID: tid, PID: tid, Hook: format.HookSysAccept4, Via: format.ViaAccept, SockFD: s.fd, Listener: 9, NetNS: 1}
		if s.call == 0 {
			calls++
			s.call, s.enterLost, e.Kind = calls, full, format.Enter
		} else {
			e.Kind, e.Ret = format.Return, []int32{7, -11, -512, -24}[rng.IntN(4)]
			if s.enterLost {
				e.Mark = format.MarkEnterLost
			}
		}
		if full {
			gap[e.Kind]++
			lost[e.Kind]++
		} else {
			if gap[e.Kind] > 0 {
				b.Losses = append(b.Losses, format.Loss{Hook: e.Hook, Kind: e.Kind, Count: gap[e.Kind], FromNS: lastNS[e.Kind], ToNS: now})
				gap[e.Kind] = 0
			}
			lastNS[e.Kind] = now
			seq++
			e.Seq = seq
			truth[seq] = s.call
			b.Events = append(b.Events, e)
		}
		if e.Kind == format.Return {
			s.call = 0
		}
		if len(b.Events) >= 16 {
			batches = append(batches, b)
			b = &format.Batch{}
		}
	}
	for kind, n := range gap {
		if n > 0 {
			b.Losses = append(b.Losses, format.Loss{Hook: format.HookSysAccept4, Kind: format.Kind(kind), Count: n, FromNS: lastNS[kind], ToNS: now + 1})
		}
	}
	b.End = &format.End{Clean: true, Events: seq, Lost: lost[1] + lost[2], Clock: format.Clock{BootNS: now + 2}}
	for kind := format.Enter; kind <= format.Return; kind++ {
		b.End.Totals = append(b.End.Totals, format.ProbeTotal{Hook: format.HookSysAccept4, Kind: kind, Lost: lost[kind]})
	}
	return append(batches, b), truth, lost
}

// Whatever is lost, skipped or over a bound, no pair is crossed or negative, and
// every event is in exactly one pair.
func TestEveryEventOnce(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 11))
		batches, truth, lost := lossy(rng)
		o := Options{}
		if seed%4 == 1 {
			o.MaxTasks = 3
		}
		used := map[uint64]int{}
		o.Pair = func(p *pairing.Pair) error {
			used[p.EnterSeq]++
			used[p.ReturnSeq]++
			if p.EnterSeq != 0 && p.ReturnSeq != 0 && truth[p.EnterSeq] != truth[p.ReturnSeq] {
				t.Errorf("seed %d: event %d of call %d is paired with %d of call %d", seed, p.EnterSeq, truth[p.EnterSeq], p.ReturnSeq, truth[p.ReturnSeq])
			}
			if p.WaitNS < -1 || (p.WaitNS >= 0) != (p.EnterSeq != 0 && p.ReturnSeq != 0) {
				t.Errorf("seed %d: waited %d ns: %s", seed, p.WaitNS, told(p))
			}
			if (p.EnterSeq == 0 || p.ReturnSeq == 0) && p.Why == "" {
				t.Errorf("seed %d: %s has no reason", seed, told(p))
			}
			return nil
		}
		a := New(&format.Header{}, o)
		c, events, skip := Completeness{}, 0, false
		for i, b := range batches {
			if seed%4 == 2 && rng.IntN(5) == 0 && i < len(batches)-1 {
				skip = true
				c.Skipped = append(c.Skipped, format.Skip{Bytes: 1})
				continue
			}
			if seed%4 == 3 && i == len(batches)/2 {
				c.Truncated = true
				break
			}
			events += len(b.Events)
			if err := a.Add(b, skip); err != nil {
				t.Fatal(err)
			}
			skip = false
		}
		r, err := a.Finish(c)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for seq, times := range used {
			if seq != 0 && times != 1 {
				t.Errorf("seed %d: event %d is in %d pairs", seed, seq, times)
			}
			if seq != 0 {
				n++
			}
		}
		x := r.Totals
		if n != events || x.Attempts != x.Accepted+x.Failed+x.EntryOnly || uint64(events) != 2*x.Attempts-x.EntryOnly-x.ReturnOnly {
			t.Errorf("seed %d: %d events, %d in pairs, %+v", seed, events, n, x)
		}
		if (lost[1]+lost[2] > 0 || c.Truncated || len(c.Skipped) > 0) && r.Complete {
			t.Errorf("seed %d: complete, but %v were lost: %+v", seed, lost, c)
		}
	}
}

// What is said of loss is true: with no other gap, every return-lost was lost.
func TestLossIsPlaced(t *testing.T) {
	for seed := range uint64(500) {
		batches, _, lost := lossy(rand.New(rand.NewPCG(seed, 5)))
		blame := uint64(0)
		a := New(&format.Header{}, Options{Pair: func(p *pairing.Pair) error {
			if p.Why == pairing.WhyReturnLost {
				blame++
			}
			if p.Why == pairing.WhyMissed || p.Why == pairing.WhyBegan || p.Why == pairing.WhyTruncated || p.Why == pairing.WhySkipped || p.Why == pairing.WhyLimit {
				t.Errorf("seed %d: %s", seed, told(p))
			}
			return nil
		}})
		for _, b := range batches {
			if b.End != nil {
				b.End.BlockedKnown = true
				b.End.Blocked = nil
			}
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Finish(Completeness{}); err != nil {
			t.Fatal(err)
		}
		if blame > lost[format.Return]+6 { // of six tasks the last attempt may be open
			t.Errorf("seed %d: %d returns are said to be lost, %d were", seed, blame, lost[format.Return])
		}
	}
}

// A capture with more of everything than is told apart: the totals stay right,
// memory stays bounded, and time does not depend on the order.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	a := New(&format.Header{}, Options{})
	e := format.Event{Hook: format.HookSysAccept4, Kind: format.Enter, Comm: "x", SockFD: 3, Family: format.FamilyIPv4, LAddr: netip.MustParseAddr("192.0.2.1")}
	const n = 1_200_000
	for i := range uint32(n) { // all stay open
		e.TID, e.PID, e.Proc, e.Listener, e.LPort = i, i, i, uint64(i%20_000)+1, uint16(i)
		e.Seq++
		if err := a.event(&e); err != nil {
			t.Fatal(err)
		}
	}
	e.Kind = format.Return
	for i := range uint32(n) { // from threads that are not known
		e.TID, e.Ret, e.RAddr = 1<<31+i, 5, netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)})
		e.Seq++
		if err := a.event(&e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(300_000) { // connections that stay, each with all that can be kept
		life := format.Event{Seq: 1, Kind: format.Queued, Hook: format.HookHashdance, NetNS: 1, Listener: uint64(i%20_000) + 1, Cookie: uint64(i) + 1,
			LAddr: e.LAddr, RAddr: netip.AddrFrom4([4]byte{2, byte(i >> 16), byte(i >> 8), byte(i)}), LPort: uint16(i), RPort: uint16(i)}
		for _, kind := range []format.Kind{format.Queued, format.State, format.Drop} {
			if life.Kind = kind; kind == format.State {
				life.State = 8
			}
			if err := a.event(&life); err != nil {
				t.Fatal(err)
			}
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d MiB live, %d MiB from the system", m.HeapAlloc>>20, m.Sys>>20)
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB", m.HeapAlloc>>20)
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Attempts != 2*n || r.Totals.EntryOnly != n || r.Totals.Accepted != n || !r.LimitHit || r.Complete || r.Others.PeersAccepted != n-100_000 {
		t.Errorf("%+v, limit %v, others %+v", r.Totals, r.LimitHit, r.Others)
	}
}
