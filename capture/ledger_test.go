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
	if l.lost != 2 || l.lostBefore(500) != 0 || l.lostBefore(1001) != 2 || l.missing(probeEnter, 500) ||
		!l.missing(probeEnter, 1001) {
		t.Errorf("%d lost, %d before the gap, %d with it", l.lost, l.lostBefore(500), l.lostBefore(1001))
	}
	n := 0
	_ = l.losses(500, func(format.Loss) error { n++; return nil })
	if n != 0 {
		t.Error("a gap was written before it was old")
	}
	// Calls that return in another order than they began leave nothing behind.
	for seq := uint64(1000); seq < 2000; seq += 2 {
		take(0, seq+1, int64(seq))
		take(0, seq, int64(seq)+1)
	}
	if gaps := l.cpus[0][probeEnter].gaps; len(gaps) != 2 || l.lost != 2+996 {
		t.Errorf("%d gaps, %d lost", len(gaps), l.lost)
	}
}
