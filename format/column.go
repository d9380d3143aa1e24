package format

// This file writes the numbers and lengths of msgpack, and columns of numbers.

import (
	"encoding/binary"
	"errors"
	"slices"
	"unsafe"
)

// A column is written as numbers in one of two forms.
//
//	sparse: a map. Row i has the number m[i], or m[-1], or 0.
//	dense:  an array of byte strings [p0, p1, …], all with a byte for each row. Row i
//	        has the number whose bytes are p0[i], p1[i], …, the lowest first, in two's
//	        complement. Bytes of one place stand together, as like compresses with like.

// appendInt appends v in msgpack's shortest form.
func appendInt(b []byte, v int64) []byte {
	be := binary.BigEndian
	switch {
	case v > 0xffffffff:
		return be.AppendUint64(append(b, 0xcf), uint64(v))
	case v > 0xffff:
		return be.AppendUint32(append(b, 0xce), uint32(v))
	case v > 0xff:
		return append(b, 0xcd, byte(v>>8), byte(v))
	case v > 0x7f:
		return append(b, 0xcc, byte(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= -0x80:
		return append(b, 0xd0, byte(v))
	case v >= -0x8000:
		return append(b, 0xd1, byte(v>>8), byte(v))
	case v >= -0x80000000:
		return be.AppendUint32(append(b, 0xd2), uint32(v))
	}
	return be.AppendUint64(append(b, 0xd3), uint64(v))
}

// appendLen appends the head of a msgpack array (fix 0x90, wide 0xdc) or map
// (fix 0x80, wide 0xde) of n elements.
func appendLen(b []byte, fix, wide byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, fix|byte(n))
	case n < 1<<16:
		return append(b, wide, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, wide+1), uint32(n))
}

func appendArrayLen(b []byte, n int) []byte { return appendLen(b, 0x90, 0xdc, n) }
func appendMapLen(b []byte, n int) []byte   { return appendLen(b, 0x80, 0xde, n) }

// stats are what the form of a column is chosen by.
type stats struct {
	usual  int64  // the last number
	others int    // how many are another one
	wide   uint64 // its highest bit is that of the sign where as few bytes are used as all of them need
}

// statsOf gives those of numbers. Of others it counts no more than the sparse form can have.
func statsOf(nums []int64) (s stats) {
	if len(nums) == 0 {
		return s
	}
	s.usual = nums[len(nums)-1]
	most := len(nums) / sparseShare
	for _, v := range nums {
		if v != s.usual {
			if s.others++; s.others > most {
				break
			}
		}
	}
	s.wide = wideOf(nums)
	return s
}

// wideOf gives a number whose highest bit is one above that of any number, but for the sign: a bit of v^v<<1 is one
// that is not like the one below.
func wideOf(nums []int64) (wide uint64) {
	for len(nums) >= 8 {
		n := (*[8]int64)(nums)
		wide |= uint64(n[0]^n[0]<<1) | uint64(n[1]^n[1]<<1) | uint64(n[2]^n[2]<<1) | uint64(n[3]^n[3]<<1) |
			uint64(n[4]^n[4]<<1) | uint64(n[5]^n[5]<<1) | uint64(n[6]^n[6]<<1) | uint64(n[7]^n[7]<<1)
		nums = nums[8:]
	}
	for _, v := range nums {
		wide |= uint64(v ^ v<<1)
	}
	return wide
}

// appendColumn appends numbers in the smaller form. Bytes that are best compressed
// on their own are noted in seams.
func appendColumn(b []byte, nums []int64, s stats, seams *seams) []byte {
	n := len(nums)
	if n == 0 {
		return appendMapLen(b, 0)
	}
	if s.others*sparseShare <= n {
		return appendSparse(b, nums, s.usual, s.others)
	}
	planes := planesOf(s.wide)
	b = appendArrayLen(b, planes)
	for k := range planes {
		b = appendBinLen(b, n)
		at := len(b)
		b = slices.Grow(b, n)[:at+n]
		seams.note(at, at+n)
		splitPlane(b[at:], nums, k)
	}
	return b
}

// appendPlanes appends numbers in the dense form.
func appendPlanes(b []byte, planes [][]byte, seams *seams) []byte {
	b = appendArrayLen(b, len(planes))
	for _, plane := range planes {
		b = appendBinLen(b, len(plane))
		seams.note(len(b), len(b)+len(plane))
		b = append(b, plane...)
	}
	return b
}

// splitPlane gives the k-th byte of each number, of which the lowest is the first, eight at a time.
func splitPlane(plane []byte, nums []int64, k int) {
	at := k
	if !lowFirst {
		at = 7 - k
	}
	for len(plane) >= 8 && len(nums) >= 8 {
		n := unsafe.Add(unsafe.Pointer(unsafe.SliceData(nums)), at)
		binary.LittleEndian.PutUint64(plane, byteOf(n, 0)|byteOf(n, 1)|byteOf(n, 2)|byteOf(n, 3)|
			byteOf(n, 4)|byteOf(n, 5)|byteOf(n, 6)|byteOf(n, 7))
		plane, nums = plane[8:], nums[8:]
	}
	for i, v := range nums {
		plane[i] = byte(v >> (8 * k & 63))
	}
}

// lowFirst: this CPU has the lowest byte of a number first.
var lowFirst = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// byteOf gives a byte of the i-th number from there on, at the i-th place.
func byteOf(nums unsafe.Pointer, i int) uint64 {
	return uint64(*(*byte)(unsafe.Add(nums, 8*i))) << (8 * i)
}

// sparseShare is how few rows, one in so many, may be other than usual in the sparse form.
const sparseShare = 24

// seams are offsets in a frame's content between which bytes are best compressed on
// their own, with statistics of their own.
type seams []int

const minSeam = 512 // bytes for which statistics of their own pay

func (s *seams) note(from, to int) {
	if s == nil || to-from < minSeam {
		return
	}
	if n := len(*s); n == 0 || from-(*s)[n-1] > 8 { // else: what lies between is but a head
		*s = append(*s, from)
	}
	*s = append(*s, to)
}

func appendSparse(b []byte, nums []int64, usual int64, others int) []byte {
	if usual != 0 {
		b = appendMapLen(b, others+1)
		b = appendInt(appendInt(b, -1), usual)
	} else {
		b = appendMapLen(b, others)
	}
	for i, v := range nums {
		if v != usual {
			b = appendInt(appendInt(b, int64(i)), v)
		}
	}
	return b
}

var errColumn = errors.New("a column does not have the form that the format gives it")

// parseColumn decodes the column at the head of b into nums, one number for
// each, and gives what follows it. b must have passed [check].
func parseColumn(b []byte, nums []int64) ([]byte, error) {
	if len(b) == 0 {
		return nil, errColumn
	}
	if c := b[0]; c&0xf0 == 0x80 || c == 0xde || c == 0xdf {
		return parseSparse(b, nums)
	}
	return eachPlane(b, len(nums), func(plane []byte, k int, last bool) { addPlane(nums, plane, k, last) })
}

// eachPlane calls f with each plane of a dense column of n numbers, and gives what follows it.
func eachPlane(b []byte, n int, f func(plane []byte, k int, last bool)) ([]byte, error) {
	planes, b, ok := parseLen(b, 0x90, 0xdc)
	if !ok || planes == 0 || planes > 8 {
		return nil, errColumn
	}
	for k := range planes {
		var plane []byte
		if plane, b, ok = parseBin(b); !ok || len(plane) != n {
			return nil, errColumn
		}
		f(plane, k, k == planes-1)
	}
	return b, nil
}

// addPlane adds the k-th byte of each number; the first plane sets them, the last has the sign.
func addPlane(nums []int64, plane []byte, k int, last bool) {
	plane = plane[:len(nums)]
	shift := uint(8*k) & 63
	switch {
	case k == 0 && last:
		for i, c := range plane {
			nums[i] = int64(int8(c))
		}
	case k == 0:
		for i, c := range plane {
			nums[i] = int64(c)
		}
	case last:
		for i, c := range plane {
			nums[i] |= int64(int8(c)) << shift
		}
	default:
		for i, c := range plane {
			nums[i] |= int64(c) << shift
		}
	}
}

func parseSparse(b []byte, nums []int64) ([]byte, error) {
	clear(nums)
	return eachSparse(b, len(nums), func(i, v int64) {
		if i >= 0 {
			nums[i] = v
			return
		}
		for j := range nums {
			nums[j] = v
		}
	})
}

// eachSparse calls f with each pair of a sparse column of n numbers, and gives what follows it.
func eachSparse(b []byte, n int, f func(i, v int64)) ([]byte, error) {
	pairs, b, ok := parseLen(b, 0x80, 0xde)
	if !ok {
		return nil, errColumn
	}
	last := int64(-2)
	for range pairs {
		var i, v int64
		if i, b, ok = parseInt(b); !ok {
			return nil, errColumn
		}
		if v, b, ok = parseInt(b); !ok || i <= last || i >= int64(n) {
			return nil, errColumn
		}
		last = i
		f(i, v)
	}
	return b, nil
}

// parseLen reads the head of an array or map; see appendLen.
func parseLen(b []byte, fix, wide byte) (int, []byte, bool) {
	switch {
	case len(b) == 0:
	case b[0]&0xf0 == fix:
		return int(b[0] & 0x0f), b[1:], true
	case b[0] == wide && len(b) >= 3:
		return int(binary.BigEndian.Uint16(b[1:])), b[3:], true
	case b[0] == wide+1 && len(b) >= 5:
		return int(binary.BigEndian.Uint32(b[1:])), b[5:], true
	}
	return 0, nil, false
}

// parseInt reads one msgpack integer; unsigned ones above the int64 range wrap.
func parseInt(b []byte) (int64, []byte, bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	c := b[0]
	if c <= 0x7f || c >= 0xe0 {
		return int64(int8(c)), b[1:], true
	}
	if c < 0xcc || c > 0xd3 {
		return 0, nil, false
	}
	size := 1 << ((c - 0xcc) & 3)
	if len(b) < 1+size {
		return 0, nil, false
	}
	var u uint64
	for _, x := range b[1 : 1+size] {
		u = u<<8 | uint64(x)
	}
	if c >= 0xd0 {
		unused := 64 - 8*size
		return int64(u<<unused) >> unused, b[1+size:], true
	}
	return int64(u), b[1+size:], true
}
