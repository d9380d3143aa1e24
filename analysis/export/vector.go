package export

// This file keeps the values of one column until a row group of Parquet is written.

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// fewWords is how many integers a dictionary has at most.
const fewWords = 4096

// vector has one value for each row, 0 where it is not known.
type vector struct {
	kind  Kind
	rows  int
	known int
	have  []bool // by row, nil while none is known, or all are
	ints  []int64
	words []int32 // of Text and Addr, numbers in the dictionary

	texts    map[string]int32
	addrs    map[netip.Addr]int32
	dict     []byte // the texts, as a page has them
	size     int32  // of the dictionary
	min, max string
	last     string // text or address of the row before, and its number
	lastAddr netip.Addr
	lastWord int32
}

func (v *vector) reset() {
	clear(v.texts)
	clear(v.addrs)
	*v = vector{kind: v.kind, have: v.have[:0], ints: v.ints[:0], words: v.words[:0], texts: v.texts, addrs: v.addrs,
		dict: v.dict[:0]}
}

// add takes the value of the next row.
func (v *vector) add(x *Value) {
	if !x.Known {
		if v.known == v.rows && v.known > 0 {
			v.have = fill(v.have[:0], v.rows, true)
		}
		if v.known > 0 {
			v.have = append(v.have, false)
			v.put(0, 0)
		}
		v.rows++
		return
	}
	switch {
	case v.known == 0 && v.rows > 0:
		v.have = fill(v.have[:0], v.rows, false)
		for range v.rows {
			v.put(0, 0)
		}
		v.have = append(v.have, true)
	case v.known < v.rows:
		v.have = append(v.have, true)
	}
	v.known++
	v.rows++
	switch v.kind {
	case Text:
		v.put(0, v.word(x.S))
	case Addr:
		v.put(0, v.addr(x.A))
	case Time:
		v.put(floorMicros(x.N), 0)
	default:
		v.put(x.N, 0)
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

func (v *vector) put(n int64, word int32) {
	if v.kind == Text || v.kind == Addr {
		v.words = append(v.words, word)
	} else {
		v.ints = append(v.ints, n)
	}
}

// word is the number of a text in the dictionary.
func (v *vector) word(s string) int32 {
	if s == v.last && v.size > 0 {
		return v.lastWord
	}
	n, known := v.texts[s]
	if !known {
		if v.texts == nil {
			v.texts = map[string]int32{}
		}
		n = v.newWord(strings.ToValidUTF8(s, "\ufffd"))
		v.texts[strings.Clone(s)] = n
	}
	v.last, v.lastWord = s, n
	return n
}

// addr is the number of an address.
func (v *vector) addr(a netip.Addr) int32 {
	if a == v.lastAddr && v.size > 0 {
		return v.lastWord
	}
	n, known := v.addrs[a]
	if !known {
		if v.addrs == nil {
			v.addrs = map[netip.Addr]int32{}
		}
		n = v.newWord(a.String())
		v.addrs[a] = n
	}
	v.lastAddr, v.lastWord = a, n
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

// chunk is what is written of a column in one row group.
type chunk struct {
	dict     []byte // a dictionary page; nil: there is none
	words    int32  // in it
	data     []byte // the data page
	encoding int64
	nulls    int64
	min, max []byte // nil: not known
}

// encoder has room that encoding a column needs.
type encoder struct {
	levels []byte
	ints   []int64
	words  []int32
	data   []byte
	dict   []byte
	of     map[int64]int32
}

// encode makes the pages of a column, of the rows in this order; nil: as they came. They are valid until the next call.
func (e *encoder) encode(v *vector, order []int32) (c chunk, err error) {
	c.nulls = int64(v.rows - v.known)
	e.data = e.appendLevels(e.data[:0], v, order)
	switch v.kind {
	case Text, Addr:
		c.encoding = encodingDictionary
		if c.dict, c.words = v.dict, v.size; v.known > 0 {
			c.min, c.max = []byte(v.min), []byte(v.max)
		}
		e.words = take(e.words[:0], v.words, v, order)
		e.data, err = appendWords(e.data, e.words, v.size)
	case Flag:
		c.encoding = encodingPlain
		e.ints = take(e.ints[:0], v.ints, v, order)
		e.data = appendBits(e.data, e.ints)
	default:
		e.ints = take(e.ints[:0], v.ints, v, order)
		c.min, c.max = bounds(e.ints)
		if e.dictionary() {
			c.encoding, c.dict, c.words = encodingDictionary, e.dict, int32(len(e.of))
			e.data, err = appendWords(e.data, e.words, c.words)
			break
		}
		c.encoding = encodingDelta
		var packed []byte
		packed, err = new(delta.BinaryPackedEncoding).EncodeInt64(e.dict[:0], e.ints)
		e.data, e.dict = append(e.data, packed...), packed
	}
	c.data = e.data
	return c, err
}

// appendLevels appends which rows have a value.
func (e *encoder) appendLevels(dst []byte, v *vector, order []int32) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch {
	case v.known == 0, v.known == v.rows: // one run
		dst = binary.AppendUvarint(dst, uint64(v.rows)<<1)
		level := byte(0)
		if v.known > 0 {
			level = 1
		}
		dst = append(dst, level)
	default:
		e.levels = e.levels[:0]
		for i := range v.rows {
			if order != nil {
				i = int(order[i])
			}
			level := byte(0)
			if v.have[i] {
				level = 1
			}
			e.levels = append(e.levels, level)
		}
		packed, _ := (&rle.Encoding{BitWidth: 1}).EncodeLevels(nil, e.levels) // has no other error than of its width
		dst = append(dst, packed...)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// take gives the values that are known, in an order.
func take[T any](dst, src []T, v *vector, order []int32) []T {
	if v.known == 0 {
		return dst
	}
	all := v.known == v.rows
	if order == nil && all {
		return append(dst, src...)
	}
	for i := range v.rows {
		if order != nil {
			i = int(order[i])
		}
		if all || v.have[i] {
			dst = append(dst, src[i])
		}
	}
	return dst
}

// dictionary makes a dictionary of the integers, if that takes less room than their differences do.
func (e *encoder) dictionary() bool {
	if e.of == nil {
		e.of = map[int64]int32{}
	}
	clear(e.of)
	e.words, e.dict = e.words[:0], e.dict[:0]
	last, word := int64(0), int32(-1)
	for _, n := range e.ints {
		if n != last || word < 0 {
			at, known := e.of[n]
			if !known {
				if len(e.of) == fewWords {
					return false
				}
				at = int32(len(e.of))
				e.of[n] = at
				e.dict = binary.LittleEndian.AppendUint64(e.dict, uint64(n))
			}
			last, word = n, at
		}
		e.words = append(e.words, word)
	}
	if len(e.of) < 2 {
		return false // one value is packed into nothing
	}
	steps := uint64(0) // bits of all differences are set
	for i := 1; i < len(e.ints); i++ {
		d := e.ints[i] - e.ints[i-1]
		steps |= uint64(max(d, -d))
	}
	size := len(e.ints)*bits.Len(uint(len(e.of)-1)) + 8*len(e.dict)
	return size < len(e.ints)*(bits.Len64(steps)+1)
}

// appendWords appends numbers in a dictionary of so many.
func appendWords(dst []byte, words []int32, size int32) ([]byte, error) {
	width := 0
	for int32(1)<<width < size {
		width++
	}
	dst = append(dst, byte(width))
	if width == 0 {
		if len(words) > 0 { // one run of the only one
			dst = binary.AppendUvarint(dst, uint64(len(words))<<1)
		}
		return dst, nil
	}
	packed, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, words)
	return append(dst, packed...), err
}

// appendBits appends flags, eight a byte.
func appendBits(dst []byte, flags []int64) []byte {
	for i := 0; i < len(flags); i += 8 {
		b := byte(0)
		for j, f := range flags[i:min(i+8, len(flags))] {
			b |= byte(f) << j
		}
		dst = append(dst, b)
	}
	return dst
}

// bounds are the least and the greatest, as statistics have them.
func bounds(ints []int64) (least, most []byte) {
	if len(ints) == 0 {
		return nil, nil
	}
	lo, hi := ints[0], ints[0]
	for _, n := range ints {
		lo, hi = min(lo, n), max(hi, n)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(lo)), binary.LittleEndian.AppendUint64(nil, uint64(hi))
}
