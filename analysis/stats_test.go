package analysis

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
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

// A listener that was shut down has given its port back if it had not chosen it: what fails then is still its.
func TestListenerWithoutPort(t *testing.T) {
	var seq uint64
	b := batch(t, &seq, "e1 r1 e1 r1:22")
	for i := range b.Events {
		e := &b.Events[i]
		e.LAddr, e.LPort, e.Proto, e.Family = netip.MustParseAddr("127.0.0.1"), 40000, 6, format.FamilyIPv4
		if i >= 2 {
			e.LPort, e.State = 0, 7
		}
	}
	r := analyzed(t, Options{}, b)
	if len(r.Listeners) != 1 || r.Listeners[0].Addr != "127.0.0.1:40000" || r.Listeners[0].Failed != 1 {
		t.Errorf("%+v", r.Listeners)
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
	every := func(parts, ends, span bool) stats.Doubts {
		return stats.Doubts{Attempts: true, Outcomes: true, Waits: true, Lists: true, Connections: true, Parts: parts, Ends: ends, Span: span}
	}
	cases := []struct {
		name string
		end  *format.End
		c    Completeness
		want stats.Doubts
	}{
		{"nothing", &format.End{Clean: true}, Completeness{}, stats.Doubts{}},
		{"entries lost", total(call, in, 1, 0), Completeness{}, stats.Doubts{Attempts: true, Waits: true, Lists: true}},
		{"entries missed", total(call, in, 0, 1), Completeness{}, stats.Doubts{Attempts: true, Waits: true, Lists: true}},
		{"returns lost", total(call, out, 1, 0), Completeness{}, stats.Doubts{Outcomes: true, Waits: true, Lists: true, Connections: true, Ends: true}},
		{"returns missed", total(call, out, 0, 1), Completeness{}, stats.Doubts{Outcomes: true, Waits: true, Lists: true, Connections: true, Ends: true}},
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
		if r.Doubts != c.want || r.Complete != (c.want == stats.Doubts{}) || (len(r.Caveats) == 0) != r.Complete {
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
	a := New(&format.Header{}, Options{Pair: func(*pairing.Pair) error { return nil }})
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

// The busiest second has at least as many as the mean, however the recording is cut into seconds.
func TestPeakAndMean(t *testing.T) {
	m := newMaker(t, true)
	for i := range 12 { // eight a second, six in each of two seconds
		m.ns = int64(i+2) * 125e6
		m.taken(1+i, 1, func(int) {})
	}
	_, r := m.analyze(Options{})
	if r.Rate.Peak < r.Rate.Mean || r.Rate.Mean < 6.5 {
		t.Errorf("mean %v, peak %v", r.Rate.Mean, r.Rate.Peak)
	}
}
