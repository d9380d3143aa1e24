package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acc-project/acc/format"
)

// capture writes events into frames that end before the events with these numbers.
func capture(t testing.TB, times []int64, ends []int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := format.NewWriter(&file, format.Header{ID: "x"}, format.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, ns := range times {
		if slices.Contains(ends, i) {
			if err := errors.Join(w.Flush(), w.Clock(format.Clock{BootNS: int64(i), RealNS: int64(i)})); err != nil {
				t.Fatal(err)
			}
		}
		e := format.Event{Kind: format.Enter, Hook: format.HookSysAccept4, BootNS: ns, CPU: uint32(i % 3), TID: uint32(i % 5)}
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(format.End{Clean: true}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// read gives a capture's events as a reader with such options orders them.
func read(t testing.TB, file []byte, o format.ReaderOptions, indexed bool) ([]format.Event, Late) {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file), o)
	if err != nil {
		t.Fatal(err)
	}
	opts := OrderOptions{}
	if indexed {
		if opts.Frames, err = format.ReadIndex(bytes.NewReader(file), int64(len(file))); err != nil {
			t.Fatal(err)
		}
	}
	ordered := Order(r, opts)
	var got []format.Event
	ended := false
	err = Play(t.Context(), ordered, PlayOptions{}, func(b *format.Batch) error { ended = ended || b.End != nil; return nil },
		func(e *format.Event) error { got = append(got, *e); return nil })
	if !errors.Is(err, io.EOF) || !ended {
		t.Fatal(ended, err)
	}
	return got, ordered.Late()
}

// inFileOrder gives the events without any order but the file's.
func inFileOrder(t testing.TB, file []byte) []format.Event {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var events []format.Event
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, b.Events...)
	}
}

// Interleavings of CPUs come out as a stable sort has them, with and without an index.
func TestOrderIsAStableSort(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rng.IntN(3000)
		back := 1 + rng.Int64N(int64(orderWindow)/10)
		times, ends := make([]int64, n), []int{}
		now := int64(1e9)
		for i := range times {
			now += rng.Int64N(1 + back/int64(1+rng.IntN(50)))
			times[i] = now
			if rng.IntN(1+int(seed)) == 0 {
				times[i] -= rng.Int64N(back)
			}
			if times[i] = times[i] / 1000 * 1000; rng.IntN(200) == 0 { // equal times
				ends = append(ends, i)
			}
		}
		file := capture(t, times, ends)
		want := inFileOrder(t, file)
		sort.SliceStable(want, func(i, j int) bool { return want[i].BootNS < want[j].BootNS })
		for _, indexed := range []bool{false, true} {
			got, late := read(t, file, format.ReaderOptions{Ahead: indexed}, indexed)
			if !slices.Equal(got, want) || late != (Late{}) {
				t.Fatalf("seed %d, index %v: %d events of %d in another order, %q", seed, indexed, len(got), len(want), late)
			}
		}
	}
}

// What the window does not hold is given all the same, and said with how far it goes back.
func TestOrderSaysWhatIsLate(t *testing.T) {
	const ms = int64(time.Millisecond)
	times := []int64{1000 * ms, 1500 * ms, 1250 * ms, 1600 * ms}
	file := capture(t, times, []int{2})
	got, late := read(t, file, format.ReaderOptions{}, false)
	if late != (Late{Events: 1, By: 50 * time.Millisecond}) && late != (Late{}) || len(got) != 4 {
		t.Error(late)
	}
	times[1], times[2] = 5000*ms, 1250*ms
	file = capture(t, append(times, 5100*ms, 1300*ms), []int{2, 5})
	if got, late = read(t, file, format.ReaderOptions{}, false); late.Events == 0 || len(got) != 6 || late.Full {
		t.Error(late)
	}
	if got, late = read(t, file, format.ReaderOptions{}, true); late != (Late{}) || len(got) != 6 {
		t.Errorf("with an index: %q", late)
	}
	// One event from the far future, and more behind it than can wait.
	times = []int64{0}
	for i := range int64(2 * maxHeld) {
		times = append(times, 1e12-i)
	}
	_, late = read(t, capture(t, times, nil), format.ReaderOptions{}, true)
	if !late.Full || late.Events == 0 || late.By > 2*maxHeld {
		t.Errorf("%+v", late)
	}
	if got, want := late.String(), fmt.Sprintf("%d events are out of order by up to %v, more than the window of 65536 events holds", late.Events, late.By); got != want {
		t.Error(got)
	}
	if got := (Late{Events: 1, By: time.Second}).String(); got != "1 event is out of order by up to 1s, more than the window of 200ms holds" {
		t.Error(got)
	}
}

// Records keep their place.
func TestOrderKeepsRecords(t *testing.T) {
	file := capture(t, []int64{10, 30, 20, 40}, []int{2})
	r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := Order(r, OrderOptions{})
	var got []string
	err = Play(t.Context(), o, PlayOptions{}, func(b *format.Batch) error {
		for _, c := range b.Clocks {
			got = append(got, fmt.Sprint("clock ", c.RealNS))
		}
		if b.End != nil {
			got = append(got, "end")
		}
		return nil
	}, func(e *format.Event) error {
		got = append(got, fmt.Sprint(e.BootNS))
		return nil
	})
	if want := []string{"clock 2", "end", "10", "20", "30", "40"}; !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
}

// pipe gives batches when they are sent.
type pipe chan []format.Event

func (p pipe) Next() (*format.Batch, error) {
	events, ok := <-p
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return &format.Batch{Events: events}, nil
}

// No event of a live stream waits for earlier ones for longer than 200 ms, and what comes
// within that is in order.
func TestOrderLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		p := pipe(make(chan []format.Event))
		arrived := map[uint64]time.Time{}
		var mu sync.Mutex // of arrived and sent
		begin := time.Now()
		sent := 0
		go func() {
			held := int64(0)
			for range 300 { // some a second apart, some a few milliseconds
				time.Sleep(time.Duration(rng.Int64N(int64(2*time.Millisecond) << rng.IntN(10))))
				now := int64(time.Since(begin))
				var events []format.Event
				mu.Lock()
				for range rng.IntN(20) {
					e := format.Event{Seq: uint64(sent + 1), BootNS: held + rng.Int64N(max(now-held, 1))}
					sent++
					arrived[e.Seq] = time.Now()
					events = append(events, e)
				}
				mu.Unlock()
				held = max(held, now-int64(5*time.Millisecond))
				p <- events
			}
			close(p)
		}()
		o := Order(p, OrderOptions{Live: true})
		given, last, back, most := 0, int64(0), 0, time.Duration(0)
		for {
			b, err := o.Next()
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Error(err)
				}
				break
			}
			for events := range b.Parts() {
				for _, e := range events {
					mu.Lock()
					most = max(most, time.Since(arrived[e.Seq]))
					mu.Unlock()
					if given++; e.BootNS < last {
						back++
					}
					last = max(last, e.BootNS)
				}
			}
		}
		if most > orderWindow || most == 0 {
			t.Errorf("an event waited for %v", most)
		}
		if given != sent || uint64(back) != o.Late().Events || o.Late().By > 5*time.Millisecond {
			t.Errorf("%d of %d events, %d of them not in order: %q", given, sent, back, o.Late())
		}
	})
}

// Whatever times a capture has, all events come, once, each sequence of equal times in the file's
// order; what is not in order is counted; memory is bounded.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint64(1))
	f.Add([]byte{255, 0, 255, 0, 128, 7, 7, 7}, uint64(2))
	f.Fuzz(func(t *testing.T, steps []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var all batches
		var events []format.Event
		now, n := int64(0), uint64(0)
		for _, s := range steps {
			switch s {
			case 255:
				now = math.MaxInt64 - rng.Int64N(3)
			case 254:
				now = math.MinInt64 + rng.Int64N(3)
			default:
				now += (int64(s) - 100) << rng.IntN(40)
			}
			n++
			events = append(events, format.Event{Seq: n, BootNS: now})
			if s%7 == 0 {
				all = append(all, events)
				events = nil
			}
		}
		all = append(all, events)
		var index []format.Frame
		if seed%2 == 1 { // one that lies, too
			for range all {
				index = append(index, format.Frame{Events: 1, MinNS: rng.Int64() - math.MaxInt64/2})
			}
		}
		o := Order(&all, OrderOptions{Frames: index})
		seen := map[uint64]bool{}
		last := format.Event{BootNS: math.MinInt64}
		late := uint64(0)
		err := Play(t.Context(), o, PlayOptions{}, func(*format.Batch) error { return nil }, func(e *format.Event) error {
			if seen[e.Seq] {
				t.Fatalf("event %d comes twice", e.Seq)
			}
			seen[e.Seq] = true
			if e.BootNS < last.BootNS {
				late++
			} else {
				last = *e
			}
			return nil
		})
		if !errors.Is(err, io.EOF) || uint64(len(seen)) != n || late != o.Late().Events || o.hold.len() != 0 || len(o.hold.events) > maxHeld {
			t.Fatalf("%d of %d events, %d late, said: %+v, %v", len(seen), n, late, o.Late(), err)
		}
	})
}

func BenchmarkOrder(b *testing.B) {
	const n = 1 << 18
	rng := rand.New(rand.NewPCG(5, 6))
	times := make([]int64, n)
	for i := range times {
		times[i] = int64(i)*10_000 + 1e9
		if rng.IntN(200) == 0 { // as on two CPUs
			times[i] -= rng.Int64N(3_600_000)
		}
	}
	file := capture(b, times, nil)
	index, err := format.ReadIndex(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		b.Fatal(err)
	}
	var line []byte
	for _, way := range []string{"file", "time", "time without index"} {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
				if err != nil {
					b.Fatal(err)
				}
				var from Reader = r
				switch way {
				case "time":
					from = Order(r, OrderOptions{Frames: index})
				case "time without index":
					from = Order(r, OrderOptions{})
				}
				err = Play(b.Context(), from, PlayOptions{}, func(*format.Batch) error { return nil },
					func(e *format.Event) error { line = format.AppendJSON(line[:0], e, format.Clock{}); return nil })
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}
