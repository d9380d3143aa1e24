package export

// This file keeps the values of one column until a row group of Parquet is written.

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// vector has one value for each row, 0 where it is not known.
type vector struct {
	kind  Kind
	rows  int
	known int
	have  []bool // by row, nil while none is known, or all are
	ints  []int64
	words []int32 // of Text and Addr, numbers in the dictionary

	texts    map[string]int32
	recent   [4]recent // words that were asked for last
	next     int       // which of them goes next
	v4       map[uint32]int32
	addrs    map[netip.Addr]int32 // others
	dict     []byte               // the texts, as a page has them
	size     int32                // of the dictionary
	min, max string
	last     string // text or address of the row before, and its number
	lastAddr netip.Addr
	lastWord int32
}

// recent is a text and its number in the dictionary.
type recent struct {
	text string
	word int32
}

func (v *vector) reset() {
	clear(v.texts)
	clear(v.v4)
	clear(v.addrs)
	*v = vector{kind: v.kind, have: v.have[:0], ints: v.ints[:0], words: v.words[:0], texts: v.texts, v4: v.v4,
		addrs: v.addrs, dict: v.dict[:0]}
}

// add takes the value of the next row.
func (v *vector) add(x *Value) {
	switch v.kind {
	case Text:
		v.text(x.S, x.Known)
	case Addr:
		v.addr(x.A, x.Known)
	case Time:
		v.number(floorMicros(x.N), x.Known)
	default:
		v.number(x.N, x.Known)
	}
}

// number takes that of a vector of integers, times or flags.
func (v *vector) number(n int64, known bool) {
	switch {
	case !known:
		v.null()
		return
	case v.known < v.rows:
		v.after()
	}
	if len(v.ints) == cap(v.ints) {
		v.ints = slices.Grow(v.ints, max(len(v.ints), 1024))
	}
	v.ints = append(v.ints, n)
	v.known++
	v.rows++
}

func (v *vector) flag(yes, known bool) {
	n := int64(0)
	if yes {
		n = 1
	}
	v.number(n, known)
}

func (v *vector) text(s string, known bool) {
	if !known {
		v.null()
		return
	}
	if v.size == 0 || s != v.last {
		v.last, v.lastWord = s, v.word(s)
	}
	v.word32(v.lastWord)
}

func (v *vector) addr(a netip.Addr, known bool) {
	if !known {
		v.null()
		return
	}
	if v.size == 0 || a != v.lastAddr {
		v.lastAddr, v.lastWord = a, v.addrWord(a)
	}
	v.word32(v.lastWord)
}

// word32 takes the number of a word.
func (v *vector) word32(n int32) {
	if v.known < v.rows {
		v.after()
	}
	if len(v.words) == cap(v.words) {
		v.words = slices.Grow(v.words, max(len(v.words), 1024))
	}
	v.words = append(v.words, n)
	v.known++
	v.rows++
}

// null takes a row whose value is not known.
func (v *vector) null() {
	if v.known > 0 {
		if v.known == v.rows {
			v.have = fill(v.have[:0], v.rows, true)
		}
		v.have = append(v.have, false)
		v.skip(1)
	}
	v.rows++
}

// after notes that the next row has a value, which one before it has not.
func (v *vector) after() {
	if v.known == 0 {
		v.have = fill(v.have[:0], v.rows, false)
		v.skip(v.rows)
	}
	v.have = append(v.have, true)
}

// skip leaves room for the values of rows that have none.
func (v *vector) skip(rows int) {
	for range rows {
		if v.kind == Text || v.kind == Addr {
			v.words = append(v.words, 0)
		} else {
			v.ints = append(v.ints, 0)
		}
	}
}

// floorMicros turns nanoseconds into microseconds, rounded down.
func floorMicros(ns int64) int64 {
	us := ns / int64(time.Microsecond)
	if ns%int64(time.Microsecond) < 0 {
		us--
	}
	return us
}

func fill(list []bool, n int, with bool) []bool {
	for range n {
		list = append(list, with)
	}
	return list
}

// word is the number of a text in the dictionary.
func (v *vector) word(s string) int32 {
	for i := range v.recent[:min(len(v.recent), int(v.size))] {
		if r := &v.recent[i]; r.text == s {
			return r.word
		}
	}
	n, known := v.texts[s]
	if !known {
		if v.texts == nil {
			v.texts = map[string]int32{}
		}
		n = v.newWord(strings.ToValidUTF8(s, "\ufffd"))
		s = strings.Clone(s)
		v.texts[s] = n
	}
	v.recent[v.next] = recent{s, n}
	v.next = (v.next + 1) % len(v.recent)
	return n
}

// addrWord is the number of an address.
func (v *vector) addrWord(a netip.Addr) int32 {
	if a.Is4() {
		ip := a.As4()
		key := binary.BigEndian.Uint32(ip[:])
		n, known := v.v4[key]
		if !known {
			if v.v4 == nil {
				v.v4 = map[uint32]int32{}
			}
			n = v.newWord(a.String())
			v.v4[key] = n
		}
		return n
	}
	n, known := v.addrs[a]
	if !known {
		if v.addrs == nil {
			v.addrs = map[netip.Addr]int32{}
		}
		n = v.newWord(a.String())
		v.addrs[a] = n
	}
	return n
}

func (v *vector) newWord(s string) int32 {
	v.dict = append(binary.LittleEndian.AppendUint32(v.dict, uint32(len(s))), s...)
	if v.size == 0 || s < v.min {
		v.min = s
	}
	if v.size == 0 || s > v.max {
		v.max = s
	}
	v.size++
	return v.size - 1
}
