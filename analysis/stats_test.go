package analysis

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// analyzed gives the result of batches and a clean end.
func analyzed(t *testing.T, o Options, batches ...*format.Batch) *Result {
	t.Helper()
	a := New(&format.Header{Clock: format.Clock{BootNS: 0, RealNS: 1e18}, StartNS: 1e18}, o)
	for _, b := range batches {
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

// Buckets hold the same whatever order times come in and however often they are
// joined; the first is where the start is.
func TestSeries(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		sum, high := newSeries(1000, 10, 8), newSeries(1000, 10, 8)
		high.peak = true
		var times []int64
		var values []uint64
		for range 50 {
			ns, v := int64(900+rng.IntN(1000<<rng.IntN(8))), uint64(rng.IntN(100))
			times, values = append(times, ns), append(values, v)
			*sum.at(ns) += v
			h := high.at(ns)
			*h = max(*h, v)
		}
		alike(&sum, &high)
		wantSum, wantHigh := make([]uint64, len(sum.counts)), make([]uint64, len(sum.counts))
		for i, ns := range times {
			at := max(ns-1000, 0) / sum.widthNS
			wantSum[at] += values[i]
			wantHigh[at] = max(wantHigh[at], values[i])
		}
		if !slices.Equal(sum.counts, wantSum) || !slices.Equal(high.counts, wantHigh) || len(sum.counts) > 8 {
			t.Fatalf("seed %d: got %v and %v, want %v and %v", seed, sum.counts, high.counts, wantSum, wantHigh)
		}
	}
	s := newSeries(math.MinInt64, 1, 8)
	for _, ns := range []int64{math.MaxInt64, math.MinInt64, 0, math.MaxInt64} {
		*s.at(ns)++
	}
	if n := len(s.counts); n > 8 {
		t.Errorf("%d buckets", n)
	}
}

// The quantiles are within what the documentation says of the exact ones.
func TestWaits(t *testing.T) {
	for _, c := range []struct {
		digits int
		off    float64
	}{{3, 0.001}, {2, 0.01}} {
		rng := rand.New(rand.NewPCG(1, 1))
		w := newWaits(c.digits)
		var all []int64
		for range 100_000 {
			ns := int64(math.Exp(rng.Float64() * math.Log(float64(longest))))
			all = append(all, ns)
			w.add(ns)
		}
		slices.Sort(all)
		q := w.quantiles()
		for p, got := range map[int]int64{50: q.P50, 90: q.P90, 99: q.P99} {
			want := all[len(all)*p/100-1]
			if math.Abs(float64(got-want)) > c.off*float64(want)+1 {
				t.Errorf("%d digits: p%d is %d, want %d", c.digits, p, got, want)
			}
		}
		if q.Max != all[len(all)-1] || q.Count != uint64(len(all)) {
			t.Errorf("%+v", q)
		}
		w.add(math.MaxInt64)
		w.add(0)
		if q := w.quantiles(); q.Max != math.MaxInt64 || q.Count != uint64(len(all)+2) {
			t.Errorf("%+v", q)
		}
	}
}

// An inode number that is used again for another address is another listener; an
// accepted connection, whose address is its own, belongs to the one that is there.
func TestListenerInodeIsReused(t *testing.T) {
	var seq uint64
	b := batch(t, &seq, "e1 r1 e1 r1 e1 r1:24 e2 r2")
	for i := range b.Events {
		e := &b.Events[i]
		e.LAddr, e.LPort, e.Proto, e.Family = netip.MustParseAddr("127.0.0.1"), 80, 6, format.FamilyIPv4
		if e.Accepted() {
			e.LAddr = netip.MustParseAddr("127.0.0.9")
		}
		if i >= 4 {
			e.LPort = 8080
		}
	}
	r := analyzed(t, Options{}, b)
	var got []string
	for _, l := range r.Listeners {
		j, _ := json.Marshal([]any{l.Addr, l.Family, l.Proto, l.Attempts, l.Accepted, l.Failed, l.PIDs})
		got = append(got, string(j))
	}
	want := `["127.0.0.1:80","ipv4","tcp",2,2,0,[1]] ["127.0.0.1:8080","ipv4","tcp",2,1,1,[1,2]]`
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
	if e := r.Errors; len(e) != 1 || e[0].Errno != 24 || e[0].Name != "EMFILE" || len(e[0].Listeners) != 1 || e[0].Listeners[0].Addr != "127.0.0.1:8080" {
		t.Errorf("%+v", e)
	}
}

func TestQueue(t *testing.T) {
	var seq uint64
	b := batch(t, &seq, "e1 r1 e1 r1 e1")
	for i, n := range []uint32{3, 2, 129, 128, 0} {
		b.Events[i].Backlog = n
	}
	l := analyzed(t, Options{}, b, &format.Batch{End: &format.End{Clean: true}}).Listeners[0]
	if l.QueueHigh != 129 || l.QueueMax != 128 || l.Full != 1 || l.Waiting != 1 || !slices.Equal(l.Timeline.Queue, []uint64{129}) {
		t.Errorf("%+v", l)
	}
	if l.First == nil || l.First.UnixNano() != 1e18+2e6 || l.Last.UnixNano() != 1e18+4e6 {
		t.Errorf("first %v, last %v", l.First, l.Last)
	}
}

// What loss could falsify is doubted, and nothing else.
func TestDoubts(t *testing.T) {
	total := func(h format.Hook, k format.Kind, lost, missed uint64) *format.End {
		return &format.End{Clean: true, Totals: []format.ProbeTotal{{Hook: h, Kind: k, Lost: lost, Missed: missed}}}
	}
	const in, out, call, inner = format.Enter, format.Return, format.HookSysAccept4, format.HookDoAccept
	every := func(parts, ends, span bool) Doubts { return Doubts{true, true, true, true, true, parts, ends, span} }
	cases := []struct {
		name string
		end  *format.End
		c    Completeness
		want Doubts
	}{
		{"nothing", &format.End{Clean: true}, Completeness{}, Doubts{}},
		{"entries lost", total(call, in, 1, 0), Completeness{}, Doubts{Attempts: true, Waits: true, Lists: true}},
		{"entries missed", total(call, in, 0, 1), Completeness{}, Doubts{Attempts: true, Waits: true, Lists: true}},
		{"returns lost", total(call, out, 1, 0), Completeness{}, Doubts{Outcomes: true, Waits: true, Lists: true, Connections: true, Ends: true}},
		{"returns missed", total(call, out, 0, 1), Completeness{}, Doubts{Outcomes: true, Waits: true, Lists: true, Connections: true, Ends: true}},
		{"io_uring lost", total(inner, out, 1, 0), Completeness{}, every(false, true, false)},
		{"lost, of what is not said", &format.End{Clean: true, Lost: 1}, Completeness{}, every(false, true, false)},
		{"unclean", &format.End{}, Completeness{}, every(true, true, false)},
		{"truncated", nil, Completeness{Truncated: true}, every(false, false, true)},
		{"no end", nil, Completeness{}, every(false, false, true)},
		{"skipped", &format.End{Clean: true}, Completeness{Skipped: []format.Skip{{Bytes: 1}}}, every(false, false, true)}, // the header, at least
		{"events skipped", &format.End{Clean: true, Events: 1}, Completeness{Skipped: []format.Skip{{Bytes: 1}}}, every(true, true, true)},
	}
	for _, c := range cases {
		a := New(&format.Header{}, Options{})
		if err := a.Add(&format.Batch{End: c.end}, len(c.c.Skipped) > 0); err != nil {
			t.Fatal(err)
		}
		r, err := a.Finish(c.c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Doubts != c.want || r.Complete != (c.want == Doubts{}) || (len(r.Caveats) == 0) != r.Complete {
			t.Errorf("%s: %+v, complete %v, %+v", c.name, r.Doubts, r.Complete, r.Caveats)
		}
	}
}

// The same capture gives the same result, in batches of any size.
func TestResultIsStable(t *testing.T) {
	var want *Result
	for _, size := range []int{1 << 14, 1000, 7} {
		var cut []*format.Batch
		for _, b := range mix(20_000) {
			for events := range slices.Chunk(b.Events, size) {
				cut = append(cut, &format.Batch{Events: events})
			}
		}
		r := analyzed(t, Options{Top: -1}, cut...)
		if want == nil {
			want = r
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("batches of %d give another result", size)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	batches := mix(1 << 16)
	a := New(&format.Header{}, Options{Pair: func(*Pair) error { return nil }})
	feed := func() {
		for _, b := range batches {
			_ = a.Add(b, false)
		}
	}
	feed()
	if n := testing.AllocsPerRun(3, feed); n > 100 { // of 65,536 events: none for each
		t.Errorf("%v allocations", n)
	}
}
