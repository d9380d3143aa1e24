package format

// This file numbers keys in the order in which they come.

import "math/bits"

// A keyTable numbers keys of two words in the order in which they first come. It
// forgets them all at once, and its memory is reused.
type keyTable struct {
	slots []keySlot // open addressing; a slot of an older round is empty
	shift uint8     // 64 less the bits of a slot's number
	used  int       // keys of this round
	round uint32
}

type keySlot struct {
	a, b  uint64
	num   int32
	round uint32
}

const minTable = 64 // slots, a power of two

// forget empties the table.
func (t *keyTable) forget() {
	t.used = 0
	if t.round++; t.round == 0 { // wrapped: old slots would look new
		clear(t.slots)
		t.round = 1
	}
}

// number gives the number of a key, from 0, and whether it had come before.
func (t *keyTable) number(a, b uint64) (num int32, known bool) {
	if 2*t.used >= len(t.slots) {
		t.grow()
	}
	s := t.find(a, b)
	if s.round == t.round {
		return s.num, true
	}
	num = int32(t.used)
	s.a, s.b, s.num, s.round = a, b, num, t.round
	t.used++
	return num, false
}

// find gives the slot of a key, or the free one where it belongs.
func (t *keyTable) find(a, b uint64) *keySlot {
	slots, round := t.slots, t.round
	mask := uint64(len(slots) - 1)
	for i := (a*0x9E3779B97F4A7C15 ^ b*0xC2B2AE3D27D4EB4F) >> (t.shift & 63); ; i++ {
		s := &slots[i&mask]
		if s.round != round || s.a == a && s.b == b {
			return s
		}
	}
}

func (t *keyTable) grow() {
	old := t.slots
	if t.round == 0 {
		t.round = 1
	}
	t.slots = make([]keySlot, max(2*len(old), minTable))
	t.shift = uint8(64 - bits.TrailingZeros(uint(len(t.slots))))
	for i := range old {
		if s := &old[i]; s.round == t.round {
			*t.find(s.a, s.b) = *s
		}
	}
}
