package listeners

// This file counts accepted connections by the client's address.

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// peers counts accepted connections by remote address. An IPv4 address is the same
// peer on an IPv6 listener. Addresses gather until there are many: a table of many
// peers is not in the cache, and loads that do not wait for each other overlap.
type peers struct {
	max   int // addresses that are counted by themselves
	slots []peer
	used  int
	key   [2]uint64 // of the hash, so that nobody can choose addresses that collide
	more  uint64    // connections of addresses beyond max

	gathered [512]address
	n        int // of gathered
}

// address is an IPv6 address, or an IPv4 address mapped to one.
type address struct{ hi, lo uint64 }

type peer struct {
	addr  address
	count uint64 // 0: the slot is empty
}

func newPeers(max int) peers {
	return peers{max: max, slots: make([]peer, 64), key: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}}
}

// add counts a connection of addr.
func (ps *peers) add(addr netip.Addr) {
	if !addr.IsValid() {
		return
	}
	b := addr.As16()
	ps.gathered[ps.n] = address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	if ps.n++; ps.n == len(ps.gathered) {
		ps.flush()
	}
}

// flush counts what was gathered.
func (ps *peers) flush() {
	for _, a := range ps.gathered[:ps.n] {
		s := ps.slot(a)
		if s.count == 0 {
			if ps.used >= ps.max {
				ps.more++
				continue
			}
			s.addr = a
			if ps.used++; 2*ps.used > len(ps.slots) {
				s.count = 1
				ps.grow()
				continue
			}
		}
		s.count++
	}
	ps.n = 0
}

// slot gives the slot of an address, or the empty one where it belongs.
func (ps *peers) slot(a address) *peer {
	mask := uint64(len(ps.slots) - 1)
	hi, lo := bits.Mul64(a.lo^ps.key[0], a.hi^ps.key[1])
	for i := (hi ^ lo) * ps.key[0] >> 32; ; i++ {
		if s := &ps.slots[i&mask]; s.count == 0 || s.addr == a {
			return s
		}
	}
}

func (ps *peers) grow() {
	old := ps.slots
	ps.slots = make([]peer, 2*len(old))
	for i := range old {
		if old[i].count > 0 {
			*ps.slot(old[i].addr) = old[i]
		}
	}
}

// list gives all addresses with their connections, in no order.
func (ps *peers) list() []PeerInfo {
	list := make([]PeerInfo, 0, ps.used)
	for _, s := range ps.slots {
		if s.count > 0 {
			var b [16]byte
			binary.BigEndian.PutUint64(b[:8], s.addr.hi)
			binary.BigEndian.PutUint64(b[8:], s.addr.lo)
			list = append(list, PeerInfo{netip.AddrFrom16(b).Unmap().String(), s.count})
		}
	}
	return list
}
