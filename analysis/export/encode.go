package export

// This file encodes the values of one column as pages of Parquet have them.

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// fewWords is how many integers a dictionary has at most.
const fewWords = 4096

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
	of     numbers
}

// numbers gives up to fewWords integers their places in a dictionary.
type numbers struct {
	at   [2 * fewWords]int32 // place from 1, by hash; 0: none
	list []int64
}

func (x *numbers) clear() {
	if len(x.list) > 0 {
		clear(x.at[:])
		x.list = x.list[:0]
	}
}

// hashBy is not known to who makes a capture, so that nobody can make all numbers collide.
var hashBy = rand.Uint64() | 1

// place gives that of an integer; -1: there is no room for another one.
func (x *numbers) place(n int64) int32 {
	i := uint64(n) * hashBy >> 40 % uint64(len(x.at))
	for ; x.at[i] != 0; i = (i + 1) % uint64(len(x.at)) {
		if at := x.at[i] - 1; x.list[at] == n {
			return at
		}
	}
	if len(x.list) == fewWords {
		return -1
	}
	x.list = append(x.list, n)
	x.at[i] = int32(len(x.list))
	return x.at[i] - 1
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
			c.encoding, c.dict, c.words = encodingDictionary, e.dict, int32(len(e.of.list))
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
	e.of.clear()
	e.words, e.dict = e.words[:0], e.dict[:0]
	last, word := int64(0), int32(-1)
	for _, n := range e.ints {
		if n != last || word < 0 {
			if last, word = n, e.of.place(n); word < 0 {
				return false
			}
		}
		e.words = append(e.words, word)
	}
	if len(e.of.list) < 2 {
		return false // one value is packed into nothing
	}
	for _, n := range e.of.list {
		e.dict = binary.LittleEndian.AppendUint64(e.dict, uint64(n))
	}
	steps := uint64(0) // bits of all differences are set
	for i := 1; i < len(e.ints); i++ {
		d := e.ints[i] - e.ints[i-1]
		steps |= uint64(max(d, -d))
	}
	size := len(e.ints)*bits.Len(uint(len(e.of.list)-1)) + 8*len(e.dict)
	return size < len(e.ints)*(bits.Len64(steps)+1)
}

// appendWords appends numbers in a dictionary of so many.
func appendWords(dst []byte, words []int32, size int32) ([]byte, error) {
	width := 0
	for int32(1)<<width < size {
		width++
	}
	if 4 < width && width < 8 { // so that zstd sees whole numbers: it takes less for those that are rare
		width = 8
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
