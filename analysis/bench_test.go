package analysis

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/acc-project/acc/format"
)

// mix makes batches of n events of a usual kind: four workers on one listener,
// every accept followed by an attempt that finds the queue empty, peers from a
// few thousand addresses.
func mix(n int) []*format.Batch {
	rng := rand.New(rand.NewPCG(1, 2))
	listen := netip.MustParseAddr("0.0.0.0")
	local := netip.MustParseAddr("192.0.2.1")
	var batches []*format.Batch
	var events []format.Event
	ns, seq := int64(1e9), uint64(0)
	var open [4]bool
	var queue [4]int
	for seq < uint64(n) {
		w := rng.IntN(4)
		ns += int64(rng.ExpFloat64() * 5000)
		seq++
		e := format.Event{
			Seq: seq, BootNS: ns, Kind: format.Enter, Hook: format.HookSysAccept4, Via: format.ViaAccept4, CPU: uint32(w), CPUSeq: seq,
			PID: uint32(100 + w), TID: uint32(100 + w), UID: 33, Comm: "nginx", Proc: uint32(w + 1), Cgroup: 77, NetNS: 4026531840, SockFD: 6,
			Listener: 5555, Backlog: uint32(rng.IntN(3)), BacklogMax: 511, Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 10, LAddr: listen, LPort: 80,
		}
		if open[w] {
			e.Kind = format.Return
			if queue[w]++; queue[w]%2 == 0 {
				e.Ret = -11
			} else {
				r := rng.IntN(4000)
				e.Ret, e.State, e.LAddr, e.Inode = 9, 1, local, seq
				e.RAddr, e.RPort = netip.AddrFrom4([4]byte{10, 0, byte(r >> 8), byte(r)}), uint16(rng.IntN(60000))
			}
		}
		open[w] = !open[w]
		events = append(events, e)
		if len(events) == 1<<14 || seq == uint64(n) {
			batches = append(batches, &format.Batch{Events: events})
			events = nil
		}
	}
	return batches
}

func BenchmarkAdd(b *testing.B) {
	batches := mix(1 << 18)
	a := New(&format.Header{}, Options{})
	for _, batch := range batches {
		_ = a.Add(batch, false)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		batch := batches[n%len(batches)]
		if err := a.Add(batch, false); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)*(1<<14)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/(1<<14), "ns/event")
}

// Analysing allocates for what is new, not for events.
func TestAllocations(t *testing.T) {
	batches := mix(1 << 18)
	a := New(&format.Header{}, Options{})
	add := func() {
		for _, b := range batches {
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	add()
	if each := testing.AllocsPerRun(1, add) / (1 << 18); each > 0.001 {
		t.Errorf("%.4f allocations an event", each)
	}
}
