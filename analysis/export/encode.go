package export

// This file encodes the values of one column as pages of Parquet have them.

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"

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

// numbers gives integers their places in a dictionary.
type numbers struct {
	at   []int32 // place from 1, by hash; 0: none. At most half of it is taken
	list []int64
}

func (x *numbers) clear() {
	clear(x.at)
	x.list = x.list[:0]
}

// hashBy is odd, and random: whoever makes a capture can't choose integers that collide. The highest bits of a product
// are its hash, because they alone depend on all bits of the integer.
var hashBy = rand.Uint64() | 1

const minSlots = 64 // a power of two

// place gives that of an integer, which is added if it is new.
func (x *numbers) place(n int64) int32 {
	if 2*len(x.list) >= len(x.at) {
		x.at = make([]int32, max(2*len(x.at), minSlots))
		for i, old := range x.list {
			*x.slot(old) = int32(i) + 1
		}
	}
	at := x.slot(n)
	if *at == 0 {
		x.list = append(x.list, n)
		*at = int32(len(x.list))
	}
	return *at - 1
}

// slot is where the place of an integer is, or goes.
func (x *numbers) slot(n int64) *int32 {
	mask := uint64(len(x.at) - 1)
	for i := uint64(n) * hashBy >> (64 - bits.TrailingZeros64(mask+1)); ; i++ {
		if at := &x.at[i&mask]; *at == 0 || x.list[*at-1] == n {
			return at
		}
	}
}

// encode makes the pages of a column, of the rows in this order; nil: as they came. They are valid until the next call.
func (e *encoder) encode(v *vector, order []int32) (c chunk, err error) {
	c.nulls = int64(v.rows - v.known)
	e.data = e.appendLevels(e.data[:0], v, order)
	if e.ints = e.ints[:0]; v.vary {
		e.ints = take(e.ints, v, order)
	}
	switch v.kind {
	case Text, Addr:
		c.encoding = encodingDictionary
		if c.dict, c.words = v.dict, v.size; v.known > 0 {
			c.min, c.max = []byte(v.min), []byte(v.max)
		}
		if e.words = e.words[:0]; v.vary {
			c.dict = e.texts(v)
		}
		e.data, err = appendWords(e.data, e.words, v.known, v.size)
	case Flag:
		c.encoding = encodingPlain
		if e.data = appendBits(e.data, e.ints); !v.vary {
			e.data = appendSameBits(e.data, v.known, v.one != 0)
		}
	default:
		if !v.vary {
			c.encoding = encodingDelta
			if e.data = appendSame(e.data, v.known, v.one); v.known > 0 {
				c.min, c.max = bounds([]int64{v.one})
			}
			break
		}
		c.min, c.max = bounds(e.ints)
		if e.dictionary() {
			c.encoding, c.dict, c.words = encodingDictionary, e.dict, int32(len(e.of.list))
			e.data, err = appendWords(e.data, e.words, v.known, c.words)
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

// take appends the values that are known, in an order, of a vector whose values vary.
func take(dst []int64, v *vector, order []int32) []int64 {
	all := v.known == v.rows
	if order == nil && all {
		return append(dst, v.ints...)
	}
	for i := range v.rows {
		if order != nil {
			i = int(order[i])
		}
		if all || v.have[i] {
			dst = append(dst, v.ints[i])
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
			if last, word = n, e.of.place(n); word == fewWords {
				return false
			}
		}
		e.words = append(e.words, word)
	}
	steps := uint64(0) // bits of all differences are set
	for i := 1; i < len(e.ints); i++ {
		d := e.ints[i] - e.ints[i-1]
		steps |= uint64(max(d, -d))
	}
	list := e.of.list // a word takes its digits and some more, in order and compressed
	wordBits := bits.Len64(uint64(slices.Max(list)-slices.Min(list))) + 8
	size := len(e.ints)*bits.Len(uint(len(list)-1)) + wordBits*len(list)
	if size >= len(e.ints)*(bits.Len64(steps)+1) {
		return false
	}
	order := e.sort(len(list), func(a, b int32) int { return cmp.Compare(list[a], list[b]) })
	for _, n := range order {
		e.dict = binary.LittleEndian.AppendUint64(e.dict, uint64(list[n]))
	}
	return true
}

// texts gives the dictionary of texts in their order, in which it compresses better: addresses that follow each other
// begin alike. It sets the words of the rows.
func (e *encoder) texts(v *vector) []byte {
	words := make([][]byte, 0, v.size)
	for rest := v.dict; len(rest) > 0; {
		end := 4 + binary.LittleEndian.Uint32(rest)
		words, rest = append(words, rest[:end]), rest[end:]
	}
	for _, n := range e.ints {
		e.words = append(e.words, int32(n))
	}
	e.dict = e.dict[:0]
	for _, n := range e.sort(len(words), func(a, b int32) int { return bytes.Compare(words[a][4:], words[b][4:]) }) {
		e.dict = append(e.dict, words[n]...)
	}
	return e.dict
}

// sort gives the order of the n words of a dictionary, and sets the words of the rows to their places in it.
func (e *encoder) sort(n int, compare func(a, b int32) int) (order []int32) {
	for i := range n {
		order = append(order, int32(i))
	}
	slices.SortFunc(order, compare)
	places := make([]int32, n)
	for place, word := range order {
		places[word] = int32(place)
	}
	for i, word := range e.words {
		e.words[i] = places[word]
	}
	return order
}

// appendWords appends numbers in a dictionary of so many words, n of them; of one word, none need be given.
func appendWords(dst []byte, words []int32, n int, size int32) ([]byte, error) {
	width := 0
	for int32(1)<<width < size {
		width++
	}
	if 4 < width && width < 8 { // so that zstd sees whole numbers: it takes less for those that are rare
		width = 8
	}
	dst = append(dst, byte(width))
	if width == 0 {
		if n > 0 { // one run of the only one
			dst = binary.AppendUvarint(dst, uint64(n)<<1)
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

// appendSameBits appends one flag n times.
func appendSameBits(dst []byte, n int, yes bool) []byte {
	if !yes {
		return fill(dst, (n+7)/8, 0)
	}
	if dst = fill(dst, n/8, 0xff); n%8 > 0 {
		dst = append(dst, 1<<(n%8)-1)
	}
	return dst
}

// The shape of delta encoding: blocks of so many differences, in four parts.
const (
	deltaBlock = 128
	deltaParts = 4
)

// appendSame appends one integer n times in delta encoding: of each block, the least difference and the widths of its
// parts, all 0.
func appendSame(dst []byte, n int, one int64) []byte {
	if n == 0 {
		one = 0
	}
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaParts)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendVarint(dst, one)
	return fill(dst, (max(n, 1)-1+deltaBlock-1)/deltaBlock*(1+deltaParts), 0)
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
