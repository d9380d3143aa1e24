package format

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

// AheadDiffers reads a capture frame by frame and with frames decoded ahead, and says
// where that is not the same; "" if it is.
func AheadDiffers(data []byte, salvage bool) string {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	a, errA := NewReader(bytes.NewReader(data), ReaderOptions{Salvage: salvage})
	b, errB := NewReader(bytes.NewReader(data), ReaderOptions{Salvage: salvage, Ahead: true})
	for n := 0; ; n++ {
		if fmt.Sprint(errA) != fmt.Sprint(errB) || reflect.TypeOf(errA) != reflect.TypeOf(errB) {
			return fmt.Sprintf("error %v, ahead %v, after %d batches", errA, errB, n)
		}
		if a != nil && (!reflect.DeepEqual(a.Skipped(), b.Skipped()) || !reflect.DeepEqual(a.Header(), b.Header())) {
			return fmt.Sprintf("header %+v, skipped %+v, ahead %+v and %+v", a.Header(), a.Skipped(), b.Header(), b.Skipped())
		}
		if errA != nil {
			return ""
		}
		var x, y *Batch
		if x, errA = a.Next(); errA != nil {
			x = &Batch{}
		}
		if y, errB = b.Next(); errB != nil {
			y = &Batch{}
		}
		if !slices.Equal(x.Events, y.Events) || !bytes.Equal(x.raw, y.raw) {
			return fmt.Sprintf("other events in batch %d", n)
		}
		if x, y := alikeBut(x), alikeBut(y); !reflect.DeepEqual(x, y) {
			return fmt.Sprintf("%+v, ahead %+v", x, y)
		}
	}
}

// alikeBut is a copy of a batch without what is compared elsewhere, its empty lists nil.
func alikeBut(b *Batch) Batch {
	c := *b
	c.Events, c.raw, c.link, c.times = nil, nil, nil, nil
	for _, v := range reflect.ValueOf(&c).Elem().Fields() {
		if v.Kind() == reflect.Slice && v.Len() == 0 && v.CanSet() {
			v.SetZero()
		}
	}
	return c
}

// Frames that are decoded ahead, on other CPUs, change nothing, of whole captures and
// of damaged ones.
func TestAhead(t *testing.T) {
	data := write(t, sample(3000, 7), 100)
	both := func(what string, data []byte) {
		t.Helper()
		for _, salvage := range []bool{false, true} {
			if diff := AheadDiffers(data, salvage); diff != "" {
				t.Fatalf("%s (salvage %v): %s", what, salvage, diff)
			}
		}
	}
	both("whole", data)
	list := parts(data)
	r := rand.New(rand.NewPCG(5, 6))
	edits := 150
	if testing.Short() {
		edits = 15
	}
	for n := range edits {
		bad := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		both(fmt.Sprintf("edit %d", n), bad)
		both(fmt.Sprintf("cut %d", n), data[:r.IntN(len(data))])
		some := slices.Clone(list)
		i, k := r.IntN(len(some)), r.IntN(len(some))
		switch n % 3 {
		case 0:
			some = slices.Delete(some, i, i+1)
		case 1:
			some = slices.Insert(some, i, some[k])
		case 2:
			some[i], some[k] = some[k], some[i]
		}
		both(fmt.Sprintf("parts %d", n), bytes.Join(some, nil))
	}
	// A link and its frame inside of a frame that can't be decoded.
	inner := slices.Clone(list)
	inner[9] = append(bytes.Clone(inner[9][:100]), bytes.Join(list[11:13], nil)...)
	both("links in a frame", bytes.Join(inner, nil))
}

// Large frames among usual ones are decoded alone, and the others ahead.
func TestAheadLarge(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 50})
	if err != nil {
		t.Fatal(err)
	}
	events := sample(1000, 8)
	for i := range events {
		if err := w.Event(&events[i]); err != nil {
			t.Fatal(err)
		}
		if i%300 == 299 {
			if err := w.Snapshot(Snapshot{Listeners: make([]ListenSocket, 4000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(End{}); err != nil {
		t.Fatal(err)
	}
	for _, salvage := range []bool{false, true} {
		if diff := AheadDiffers(out.Bytes(), salvage); diff != "" {
			t.Fatal(diff)
		}
	}
	r, err := NewReader(bytes.NewReader(out.Bytes()), ReaderOptions{Ahead: true})
	if err != nil {
		t.Fatal(err)
	}
	ahead, alone := 0, 0
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		switch {
		case r.ahead.held != nil && b == &r.ahead.held.decoder.batch:
			ahead++
		case b == &r.decoder.batch && len(b.Snapshots) > 0:
			alone++
		}
	}
	if ahead < 15 || alone != 3 {
		t.Errorf("%d frames were decoded ahead, %d large ones alone", ahead, alone)
	}
}
