package format

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// readParts reads by Batch.Parts, each batch twice, the first time not to its end.
func readParts(t *testing.T, data []byte, ahead bool) (events []Event, err error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{Parts: true, Ahead: ahead})
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if err != nil {
			return events, err
		}
		if len(b.Events) > 0 {
			t.Fatalf("a batch has %d events beside its parts", len(b.Events))
		}
		var first Event
		for part := range b.Parts() {
			first = part[0]
			break
		}
		n := len(events)
		for part := range b.Parts() {
			if len(part) == 0 {
				t.Fatal("a part is empty")
			}
			events = append(events, part...)
		}
		if len(events) > n && events[n] != first {
			t.Fatalf("a batch begins with %+v, and then with %+v", first, events[n])
		}
	}
}

// Parts are the events that a batch has without them, and what is wrong is found
// before the first one is given.
func TestParts(t *testing.T) {
	good := header(t, func(*Header) {})
	whole, broken, rounds := 0, 0, 200
	if testing.Short() {
		rounds = 40
	}
	same := func(data []byte, ahead bool) {
		t.Helper()
		all, _, _, want := read(data, ReaderOptions{})
		some, err := readParts(t, data, ahead)
		if fmt.Sprint(want) != fmt.Sprint(err) || !slices.Equal(all, some) {
			t.Fatalf("%d events, %v; in parts %d, %v", len(all), want, len(some), err)
		}
		if whole++; want != io.EOF {
			whole, broken = whole-1, broken+1
		}
	}
	for _, events := range [][]Event{sample(1000, 9), odd(), sample(tile, 2), sample(tile+1, 3)} {
		for _, ahead := range []bool{false, true} {
			same(write(t, events, 400), ahead)
			same(write(t, events, 1000), ahead)
		}
		content := appendBlock(nil, encode(events), 1)
		r := rand.New(rand.NewPCG(7, 8))
		for range rounds {
			bad := bytes.Clone(content)
			bad[r.IntN(len(bad))] = byte(r.Uint32())
			same(forge(uint32(len(events)), good, bad), false)
		}
	}
	if whole < 16 || broken < rounds/2 {
		t.Errorf("%d captures were whole, %d broken", whole, broken)
	}
	// Of a batch that was made otherwise they are its events.
	b := Batch{Events: sample(3, 1)}
	for part := range b.Parts() {
		if !slices.Equal(part, b.Events) {
			t.Errorf("parts give %v", part)
		}
	}
}
