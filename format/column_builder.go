package format

// This file makes columns while events come.

// A draft is a column whose rows come one after the other. It writes down a number when it is
// not the one before.
type draft struct {
	last  int64
	rows  int32 // of a column that repeats have
	on    onSet
	soon  bool    // whether the next block's is dense
	dense bool    // instead of runs:
	nums  []int64 // all numbers, but for those at the end that are equal
	runs  []run
}

// A run is rows that have the same number, to where the next one begins.
type run struct {
	at  int32 // first row
	num int64
}

// begin is for a new block, of which the column is taken to be as dense as in the one before.
func (d *draft) begin(on onSet) {
	d.on, d.last, d.rows, d.runs, d.nums, d.dense = on, 0, 0, d.runs[:0], d.nums[:0], d.soon
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
	if d.dense {
		for len(d.nums) < int(d.rows) {
			d.nums = append(d.nums, d.last)
		}
		d.nums = append(d.nums, nums...)
		d.rows += int32(len(nums))
		if len(nums) > 0 {
			d.last = nums[len(nums)-1]
		}
		return
	}
	last, row := d.last, d.rows
	for i, num := range nums {
		if num != last {
			d.runs = append(d.runs, run{row + int32(i), num})
			last = num
		}
	}
	d.last, d.rows = last, row+int32(len(nums))
}

// note makes num the number of a row, and of those behind it.
func (d *draft) note(row int32, num int64) {
	if !d.dense {
		d.runs = append(d.runs, run{row, num})
		d.last = num
		return
	}
	for len(d.nums) < int(row) {
		d.nums = append(d.nums, d.last)
	}
	d.nums = append(d.nums, num)
	d.last = num
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

// all gives the numbers of n rows.
func (d *draft) all(n int32) []int64 {
	if !d.dense {
		d.nums = d.nums[:0]
		d.each(n, func(r run, end int32) {
			for row := r.at; row < end; row++ {
				d.nums = append(d.nums, r.num)
			}
		})
	}
	for len(d.nums) < int(n) {
		d.nums = append(d.nums, d.last)
	}
	return d.nums
}
