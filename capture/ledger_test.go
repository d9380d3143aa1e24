package capture

import (
	"testing"

	"github.com/acc-project/acc/format"
)

// Numbers that do not come are losses with their place; one that comes late is none.
func TestLedger(t *testing.T) {
	var l ledger
	take := func(cpu uint32, seq uint64, ns int64) {
		l.take(probeEnter, cpu, seq, ns)
	}
	take(0, 1, 10)
	take(1, 1, 11)
	take(0, 4, 40) // 2 and 3 are missing
	take(0, 3, 39) // 3 is late
	take(0, 5, 50)
	take(1, 3, 30) // 2 is missing
	take(1, 2, 29) // and comes
	l.finish(map[uint32][numProbes]uint64{0: {7}, 1: {3}, 2: {4, 5}}, 100)
	var got []format.Loss
	if err := l.losses(101, func(x format.Loss) error { got = append(got, x); return nil }); err != nil {
		t.Fatal(err)
	}
	want := map[format.Loss]bool{
		{CPU: 0, Hook: 1, Kind: format.Enter, Count: 1, FromNS: 10, ToNS: 40}:  true,
		{CPU: 0, Hook: 1, Kind: format.Enter, Count: 2, FromNS: 50, ToNS: 100}: true,
		{CPU: 2, Hook: 1, Kind: format.Enter, Count: 4, ToNS: 100}:             true,
		{CPU: 2, Hook: 1, Kind: format.Return, Count: 5, ToNS: 100}:            true,
	}
	for _, x := range got {
		if !want[x] {
			t.Errorf("loss %+v", x)
		}
		delete(want, x)
	}
	if len(want) > 0 || l.lost != 12 {
		t.Errorf("not found: %v; %d lost", want, l.lost)
	}
	// A young gap waits for what may still come.
	l = ledger{}
	take(0, 3, 1000)
	n := 0
	_ = l.losses(500, func(format.Loss) error { n++; return nil })
	if n != 0 {
		t.Error("a gap was written before it was old")
	}
}
