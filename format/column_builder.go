package format

// This file makes columns while events come.

import (
	"bytes"
	"math/bits"
	"slices"
)

// A draft is a column whose rows come one after the other. It writes down a number when it is
// not the one before, or, of a column that was dense in the block before, all of them, as their bytes.
type draft struct {
	last  int64
	rows  int32 // of a column that repeats have
	on    onSet
	soon  bool // whether the next block's is dense
	dense bool // planes and nums instead of runs:
	runs  []run

	planes [8][]byte // the lowest byte of each number, the next one …, of as many as any number needed
	width  int       // how many those are
	nums   []int64   // numbers behind those; the last one may be that of more rows
}

// A run is rows that have the same number, to where the next one begins.
type run struct {
	at  int32 // first row
	num int64
}

// begin is for a new block, of which the column is taken to be as dense as in the one before.
func (d *draft) begin(on onSet) {
	d.on, d.last, d.rows, d.runs, d.nums, d.dense = on, 0, 0, d.runs[:0], d.nums[:0], d.soon
	d.planes[0], d.width = d.planes[0][:0], 1
}

// nextSame makes num the number of the next n rows of a column that repeats have.
func (d *draft) nextSame(num int64, n int32) {
	if n > 0 && num != d.last {
		d.note(d.rows, num)
	}
	d.rows += n
}

// nextAll makes these the numbers of the next rows.
func (d *draft) nextAll(nums []int64) {
	last, row := d.last, d.rows
	for i, num := range nums {
		if num != last {
			d.runs = append(d.runs, run{row + int32(i), num})
			last = num
		}
	}
	d.last, d.rows = last, row+int32(len(nums))
}

// nextWide makes the first n numbers those of the next rows.
func (d *draft) nextWide(w *waitingNums, n int) {
	nums := w.of[:n]
	switch {
	case w.wide == 0: // all of them are
		d.nextSame(0, int32(n))
		return
	case d.dense:
		d.fill(d.rows)
		d.split()
		d.planes[0] = append(d.planes[0], w.low[:n]...)
		d.splitAll(nums, w.wide, 1)
		d.rows, d.last = d.rows+int32(n), nums[n-1]
	case areAll(nums, d.last):
		d.rows += int32(n)
	default:
		d.nextAll(nums)
	}
	w.wide = 0
}

// nextRare is nextWide for numbers that are 0 again then.
func (d *draft) nextRare(w *waitingNums, n int) {
	if w.wide == 0 {
		d.nextSame(0, int32(n))
		return
	}
	d.nextWide(w, n)
	clear(w.of[:n])
	clear(w.low[:n])
}

// nextBytes is nextWide for bytes below 128.
func (d *draft) nextBytes(nums []byte) {
	if bytes.Count(nums, nums[:1]) == len(nums) {
		d.nextSame(int64(nums[0]), int32(len(nums)))
		return
	}
	if !d.dense {
		for _, num := range nums {
			d.nextSame(int64(num), 1)
		}
		return
	}
	d.fill(d.rows)
	d.split()
	d.planes[0] = append(d.planes[0], nums...)
	for k := 1; k < d.width; k++ {
		d.planes[k] = append(d.planes[k], make([]byte, len(nums))...)
	}
	d.rows, d.last = d.rows+int32(len(nums)), int64(nums[len(nums)-1])
}

// areAll reports whether all numbers are num.
func areAll(nums []int64, num int64) bool {
	other := int64(0)
	for len(nums) >= 8 {
		n := (*[8]int64)(nums)
		other |= (n[0] ^ num) | (n[1] ^ num) | (n[2] ^ num) | (n[3] ^ num) | (n[4] ^ num) | (n[5] ^ num) | (n[6] ^ num) |
			(n[7] ^ num)
		nums = nums[8:]
	}
	for _, n := range nums {
		other |= n ^ num
	}
	return other == 0
}

// note makes num the number of a row, and of those behind it.
func (d *draft) note(row int32, num int64) {
	if !d.dense {
		d.runs = append(d.runs, run{row, num})
		d.last = num
		return
	}
	d.fill(row)
	d.nums = append(d.nums, num)
	d.last = num
	if len(d.nums) >= maxPending {
		d.split()
	}
}

// fill writes down the number of the rows before one that have the last one.
func (d *draft) fill(row int32) {
	for n := int(row) - len(d.planes[0]) - len(d.nums); n > 0; n-- {
		d.nums = append(d.nums, d.last)
	}
}

// split puts the numbers that are not into the planes.
func (d *draft) split() {
	if len(d.nums) > 0 {
		d.splitAll(d.nums, wideOf(d.nums), 0)
		d.nums = d.nums[:0]
	}
}

// splitAll appends numbers, of which wide is wideOf, to the planes from one on.
func (d *draft) splitAll(nums []int64, wide uint64, from int) {
	n := planesOf(wide)
	for d.width < n {
		d.widen(len(d.planes[0]) - from*len(nums))
	}
	for k := from; k < d.width; k++ {
		rows := len(d.planes[k])
		plane := slices.Grow(d.planes[k], len(nums))[:rows+len(nums)]
		d.planes[k] = plane
		switch {
		case k <= n:
			splitPlane(plane[rows:], nums, k)
		default: // but signs, as in the one before
			copy(plane[rows:], d.planes[k-1][rows:])
		}
	}
}

// widen adds a plane, of the signs of the numbers that are there.
func (d *draft) widen(rows int) {
	high := slices.Grow(d.planes[d.width][:0], rows)[:rows]
	for i, b := range d.planes[d.width-1][:rows] {
		high[i] = byte(int8(b) >> 7)
	}
	d.planes[d.width] = high
	d.width++
}

// planesOf is how many bytes numbers need of which wide is wideOf.
func planesOf(wide uint64) int { return max(bits.Len64(wide)-1, 0)/8 + 1 }

// append appends the column of n rows.
func (d *draft) append(b []byte, n int32, seams *seams) []byte {
	if !d.dense && d.others(n)*sparseShare <= int(n) {
		return d.appendRuns(b, n)
	}
	if d.dense {
		d.fill(n)
		d.split()
		if n > 0 && d.isDense() {
			return appendPlanes(b, d.planes[:d.width], seams)
		}
	}
	nums := d.all(n)
	s := statsOf(nums)
	d.soon = s.others*sparseShare > len(nums)
	return appendColumn(b, nums, s, seams)
}

// isDense reports whether the numbers in the planes are best written so.
func (d *draft) isDense() bool {
	rows := len(d.planes[0])
	for _, plane := range d.planes[:d.width] { // mostly one of them alone says it
		if others := rows - bytes.Count(plane, plane[rows-1:]); others*sparseShare > rows {
			return true
		}
	}
	others := 0
	for i := range rows {
		for _, plane := range d.planes[:d.width] {
			if plane[i] != plane[rows-1] {
				others++
				break
			}
		}
	}
	return others*sparseShare > rows
}

// each calls f with each run of the first n rows and the row behind it, if the draft is not dense.
func (d *draft) each(n int32, f func(r run, end int32)) {
	first := n
	if len(d.runs) > 0 {
		first = d.runs[0].at
	}
	if first > 0 {
		f(run{}, first)
	}
	for i, r := range d.runs {
		end := n
		if i+1 < len(d.runs) {
			end = d.runs[i+1].at
		}
		f(r, end)
	}
}

// others is how many of n rows have another number than the last one.
func (d *draft) others(n int32) (others int) {
	d.each(n, func(r run, end int32) {
		if r.num != d.last {
			others += int(end - r.at)
		}
	})
	return others
}

// appendRuns appends the sparse form of n rows.
func (d *draft) appendRuns(b []byte, n int32) []byte {
	entries := d.others(n)
	if d.last != 0 {
		entries++
	}
	b = appendMapLen(b, entries)
	if d.last != 0 {
		b = appendInt(appendInt(b, -1), d.last)
	}
	d.each(n, func(r run, end int32) {
		for row := r.at; r.num != d.last && row < end; row++ {
			b = appendInt(appendInt(b, int64(row)), r.num)
		}
	})
	return b
}

// all gives the numbers of n rows, until the next row comes.
func (d *draft) all(n int32) []int64 {
	if !d.dense {
		d.nums = d.nums[:0]
		d.each(n, func(r run, end int32) {
			for row := r.at; row < end; row++ {
				d.nums = append(d.nums, r.num)
			}
		})
		return d.nums
	}
	d.fill(n)
	d.split()
	nums := slices.Grow(d.nums, int(n))[:n]
	for k, plane := range d.planes[:d.width] {
		addPlane(nums, plane, k, k == d.width-1)
	}
	return nums
}
