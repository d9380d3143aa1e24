package format

// This file numbers texts in the order in which they come.

import (
	"encoding/binary"
	"net/netip"
)

// texts numbers the texts of a column of a block in the order in which they first
// come.
type texts struct {
	words []string
	nums  map[string]int64
	last  int64 // number of the word that was asked for last
}

func (t *texts) forget() {
	t.words, t.last = t.words[:0], 0
	clear(t.nums)
}

func (t *texts) number(s string) int64 {
	if t.last < int64(len(t.words)) && t.words[t.last] == s {
		return t.last
	}
	n, ok := t.nums[s]
	if !ok {
		if t.nums == nil {
			t.nums = map[string]int64{}
		}
		n = int64(len(t.words))
		t.nums[s] = n
		t.words = append(t.words, s)
	}
	t.last = n
	return n
}

// append appends the words as msgpack, longer ones cut.
func (t *texts) append(b []byte, most int) []byte {
	b = appendArrayLen(b, len(t.words))
	for _, s := range t.words {
		s = s[:min(len(s), most)]
		b = append(appendBinLen(b, len(s)), s...)
	}
	return b
}

// addrs is texts for addresses.
type addrs struct {
	words  []netip.Addr
	v4, v6 keyTable
	nums   [2][]int32 // place in words, by the number that v4 and v6 give
	none   int32      // place of no address, from 1
	last   int64
}

func (t *addrs) forget() {
	t.words, t.none, t.last = t.words[:0], 0, 0
	t.nums[0], t.nums[1] = t.nums[0][:0], t.nums[1][:0]
	t.v4.forget()
	t.v6.forget()
}

func (t *addrs) number(a netip.Addr) int64 {
	if t.last < int64(len(t.words)) && t.words[t.last] == a {
		return t.last
	}
	var n int32
	switch {
	case a.Is4():
		ip := a.As4()
		n = t.place(&t.v4, &t.nums[0], a, uint64(binary.NativeEndian.Uint32(ip[:])), 0)
	case a.Is6():
		ip := a.As16()
		n = t.place(&t.v6, &t.nums[1], a, binary.NativeEndian.Uint64(ip[:8]), binary.NativeEndian.Uint64(ip[8:]))
	default:
		if t.none == 0 {
			t.words = append(t.words, netip.Addr{})
			t.none = int32(len(t.words))
		}
		n = t.none - 1
	}
	t.last = int64(n)
	return t.last
}

func (t *addrs) place(table *keyTable, nums *[]int32, addr netip.Addr, a, b uint64) int32 {
	num, known := table.number(a, b)
	if !known {
		*nums = append(*nums, int32(len(t.words)))
		t.words = append(t.words, addr)
	}
	return (*nums)[num]
}

// append appends the addresses as msgpack.
func (t *addrs) append(b []byte) []byte {
	b = appendArrayLen(b, len(t.words))
	for _, a := range t.words {
		switch {
		case a.Is4():
			ip := a.As4()
			b = append(appendBinLen(b, len(ip)), ip[:]...)
		case a.Is6():
			ip := a.As16()
			b = append(appendBinLen(b, len(ip)), ip[:]...)
		default:
			b = appendBinLen(b, 0)
		}
	}
	return b
}

// appendBinLen appends the head of msgpack binary of n bytes.
func appendBinLen(b []byte, n int) []byte {
	switch {
	case n <= 0xff:
		return append(b, 0xc4, byte(n))
	case n <= 0xffff:
		return append(b, 0xc5, byte(n>>8), byte(n))
	}
	return append(b, 0xc6, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
