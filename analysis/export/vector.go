package export

// This file keeps the values of one column until a row group of Parquet is written.

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// vector has one value for each row. Of texts and addresses that is their number in the dictionary.
type vector struct {
	kind  Kind
	rows  int
	known int
	have  []bool  // by row, empty while none is known, or all are
	one   int64   // the value of all rows that have one, until vary
	vary  bool    // they have different ones:
	ints  []int64 // by row, anything where none is known

	texts    map[string]int32
	recent   [4]recent // words that were asked for last
	next     int       // which of them goes next
	v4       numbers
	v4Words  []int32              // by place in v4
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

// cells are the values of one column in rows that follow each other.
type cells struct {
	ints  [keptRows]int64
	have  [keptRows]bool
	known int
}

func (x *cells) set(row int, n int64, known bool) {
	x.ints[row], x.have[row] = n, known
	if known {
		x.known++
	}
}

func (x *cells) flag(row int, yes, known bool) {
	n := int64(0)
	if yes {
		n = 1
	}
	x.set(row, n, known)
}

func (x *cells) text(row int, s string, known bool, of *vector) {
	n := int64(0)
	if known {
		n = of.text(s)
	}
	x.set(row, n, known)
}

func (x *cells) addr(row int, a netip.Addr, known bool, of *vector) {
	n := int64(0)
	if known {
		n = of.addr(a)
	}
	x.set(row, n, known)
}

func (v *vector) reset() {
	clear(v.texts)
	v.v4.clear()
	clear(v.addrs)
	*v = vector{kind: v.kind, have: v.have[:0], ints: v.ints[:0], texts: v.texts, v4: v.v4,
		v4Words: v.v4Words[:0], addrs: v.addrs, dict: v.dict[:0]}
}

// add takes the value of the next row.
func (v *vector) add(x *Value) {
	var to cells
	n := x.N
	switch {
	case !x.Known:
	case v.kind == Text:
		n = v.text(x.S)
	case v.kind == Addr:
		n = v.addr(x.A)
	case v.kind == Time:
		n = floorMicros(x.N)
	}
	to.set(0, n, x.Known)
	v.take(&to, 1)
}

// take takes the values of so many rows.
func (v *vector) take(x *cells, rows int) {
	if !v.vary && x.known > 0 && v.other(x, rows) {
		v.vary = true
		v.grow(v.rows)
		v.ints = fill(v.ints, v.rows, v.one)
	}
	if v.vary {
		v.grow(rows)
		v.ints = append(v.ints, x.ints[:rows]...)
	}
	all, none := x.known == rows && v.known == v.rows, x.known == 0 && v.known == 0
	if !all && !none {
		if len(v.have) == 0 {
			v.have = fill(v.have, v.rows, v.known > 0)
		}
		v.have = append(v.have, x.have[:rows]...)
	}
	v.rows += rows
	v.known += x.known
}

// someRows is for how many rows there is room at once.
const someRows = 4096

// grow makes room for the values of rows: for those of a row group where there are many, so that they move but once.
func (v *vector) grow(rows int) {
	switch need := len(v.ints) + rows; {
	case need <= cap(v.ints):
	case need <= someRows:
		v.ints = slices.Grow(v.ints, someRows-len(v.ints))
	default:
		v.ints = slices.Grow(v.ints, max(rowGroup, need)-len(v.ints))
	}
}

// other reports whether there is another value than that of all rows so far.
func (v *vector) other(x *cells, rows int) bool {
	first := v.known == 0
	for i, n := range x.ints[:rows] {
		switch {
		case !x.have[i]:
		case first:
			v.one, first = n, false
		case n != v.one:
			return true
		}
	}
	return false
}

// floorMicros turns nanoseconds into microseconds, rounded down.
func floorMicros(ns int64) int64 {
	us := ns / int64(time.Microsecond)
	if ns%int64(time.Microsecond) < 0 {
		us--
	}
	return us
}

// fill appends n times the same.
func fill[T any](list []T, n int, with T) []T {
	for range n {
		list = append(list, with)
	}
	return list
}

// text is the number of a text in the dictionary.
func (v *vector) text(s string) int64 {
	if v.size == 0 || s != v.last {
		v.last, v.lastWord = s, v.word(s)
	}
	return int64(v.lastWord)
}

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

// addr is the number of an address.
func (v *vector) addr(a netip.Addr) int64 {
	if v.size == 0 || a != v.lastAddr {
		v.lastAddr, v.lastWord = a, v.addrWord(a)
	}
	return int64(v.lastWord)
}

func (v *vector) addrWord(a netip.Addr) int32 {
	if a.Is4() {
		ip := a.As4()
		n := v.v4.place(int64(binary.BigEndian.Uint32(ip[:])))
		if int(n) == len(v.v4Words) {
			v.v4Words = append(v.v4Words, v.newWord(a.String()))
		}
		return v.v4Words[n]
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
