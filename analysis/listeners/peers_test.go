package listeners

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// The table counts as a map does, and takes nothing beyond its bound.
func TestPeers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const most = 3000
	ps, want, more := newPeers(most), map[string]uint64{}, uint64(0)
	for range 40_000 {
		n := r.IntN(4000)
		addr := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		name := addr.String()
		switch n % 3 {
		case 1:
			addr = netip.AddrFrom16(addr.As16()) // the same peer
		case 2:
			addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n), 15: byte(n >> 8)})
			name = addr.String()
		}
		ps.add(addr)
		if _, ok := want[name]; !ok && len(want) == most {
			more++
			continue
		}
		want[name]++
	}
	ps.add(netip.Addr{})
	ps.flush()
	list := ps.list()
	for _, p := range list {
		if want[p.Addr] != p.Accepted {
			t.Errorf("%s: %d connections, want %d", p.Addr, p.Accepted, want[p.Addr])
		}
	}
	if len(list) != len(want) || ps.more != more || more == 0 {
		t.Errorf("%d peers and %d connections of others, want %d and %d", len(list), ps.more, len(want), more)
	}
}
