package format

import (
	"net/netip"
	"slices"
	"unsafe"
)

// predictions says, for each kind of key and condition, which earlier row each
// row of a block is the difference to. They are made when a column first asks,
// once for all columns that share them.
type predictions struct {
	rows rowSets
	pred predictor
	prev [numKeys][maxSets][]int32
	made [numKeys][maxSets]bool
	at   []int32 // place of each row in a list of rows

	likes []int32 // for each row one of the same task, kind and errno that differs little, see Writer.Like; -1: not known
	slots []int32 // where the predictor keeps each row's task
}

func (p *predictions) begin() { p.made = [numKeys][maxSets]bool{} }

// of gives, for the rows of on, the index in that list of the row before by k:
// the last one with the same key, else the last one; -1 for the first.
func (p *predictions) of(events []Event, k keyKind, on onSet) []int32 {
	on = p.rows.as[on]
	if p.made[k][on] {
		return p.prev[k][on]
	}
	p.made[k][on] = true
	rows := p.rows.of[on]
	prev := slices.Grow(p.prev[k][on][:0], len(rows))[:len(rows)]
	p.prev[k][on] = prev
	if k == byTask && on != onAllRows {
		p.amongTask(events, rows, prev)
		return prev
	}
	p.pred.begin(len(rows))
	if k == byTask {
		p.ofTask(events, prev)
		return prev
	}
	for i, row := range rows {
		e, before := &events[row], int32(noRow)
		if n, ok := small(k, e); ok {
			before = p.pred.prevSmall(n, int32(i))
		} else {
			a, b := key(k, e)
			before, _ = p.pred.prev(a, b, int32(i))
		}
		if before < 0 {
			before = int32(i) - 1
		}
		prev[i] = before
	}
	return prev
}

// ofTask is of for byTask and all rows.
func (p *predictions) ofTask(events []Event, prev []int32) {
	p.slots = slices.Grow(p.slots[:0], len(events))[:len(events)]
	likes := p.likes
	for i := range events {
		if i < len(likes) && likes[i] >= 0 {
			slot := p.slots[likes[i]]
			prev[i], p.slots[i] = p.pred.next(slot, int32(i)), slot
			continue
		}
		a, b := key(byTask, &events[i])
		before, slot := p.pred.prev(a, b, int32(i))
		if before < 0 {
			before = int32(i) - 1
		}
		prev[i], p.slots[i] = before, slot
	}
}

// amongTask is of for byTask and part of the rows: those of one task, kind and errno
// are all among them or none.
func (p *predictions) amongTask(events []Event, rows, prev []int32) {
	all := p.of(events, byTask, onAllRows)
	p.at = slices.Grow(p.at[:0], len(events))[:len(events)]
	for i, row := range rows {
		p.at[row] = int32(i)
		before := all[row]
		if before >= 0 && same(&events[before], &events[row]) {
			prev[i] = p.at[before]
		} else {
			prev[i] = int32(i) - 1
		}
	}
}

// same reports whether two events have the same key by task.
func same(a, b *Event) bool {
	return a.TID == b.TID && a.Kind == b.Kind && a.Errno() == b.Errno()
}

// blockEncoder turns events into the columns of a block. Its memory is reused.
type blockEncoder struct {
	predictions
	changes
	nums  []int64
	texts map[string]int64
	words []string
	addrs map[netip.Addr]int64
	ends  []netip.Addr
	seams seams // in what append appended to
}

// append adds the columns of events, in the order of Fields, as one msgpack array.
func (c *blockEncoder) append(b []byte, events []Event) []byte {
	c.start(events)
	b = appendArrayLen(b, len(Fields))
	for i := range Fields {
		b = c.column(b, events, &Fields[i])
	}
	return b
}

// start makes ready for the columns of events.
func (c *blockEncoder) start(events []Event) {
	c.begin()
	c.rows.fill(events)
	c.find(events, c.of(events, byTask, onAllRows), c.likes)
	c.seams = c.seams[:0]
}

// column appends one column.
func (c *blockEncoder) column(b []byte, events []Event, f *Field) []byte {
	rows := c.rows.of[f.on]
	some := c.steady(f, len(rows)) // of most rows it is known that their number is 0
	given := rows
	if some {
		given = c.among(rows)
	}
	switch f.Type {
	case String:
		b = c.appendTexts(appendArrayLen(b, 2), events, f, given)
	case Addr:
		b = c.appendAddrs(appendArrayLen(b, 2), events, f, given)
	default:
		c.nums = gather(c.nums[:0], events, given, f)
	}
	if some {
		return c.appendFresh(b, events, f, given)
	}
	return appendColumn(b, c.nums, c.subtract(events, f), &c.seams)
}

// appendFresh appends a column of which only the fresh rows can have a number
// other than 0; their values are in nums.
func (c *blockEncoder) appendFresh(b []byte, events []Event, f *Field, fresh []int32) []byte {
	rows := c.rows.of[f.on]
	c.places = c.places[:0]
	at := 0
	for i, row := range fresh {
		v := c.nums[i]
		n, _ := slices.BinarySearch(rows[at:], row)
		at += n
		before := int64(0)
		switch {
		case at == 0:
		case f.Type == String || f.Type == Addr:
			before = c.wordOf(events, rows[at-1], f)
		default:
			before = f.Int(&events[rows[at-1]])
		}
		if v != before {
			c.places = append(c.places, place{int64(at), v - before})
		}
	}
	b = appendMapLen(b, len(c.places))
	for _, p := range c.places {
		b = appendInt(appendInt(b, p.row), p.num)
	}
	return b
}

// wordOf is the number of a row's word in the dictionary that was made last.
func (c *blockEncoder) wordOf(events []Event, row int32, f *Field) int64 {
	at := unsafe.Add(unsafe.Pointer(&events[row]), f.at)
	if f.Type == String {
		return c.texts[*(*string)(at)]
	}
	return c.addrs[*(*netip.Addr)(at)]
}

// gather appends the values of a field in the rows.
func gather(nums []int64, events []Event, rows []int32, f *Field) []int64 {
	if len(rows) == 0 {
		return nums
	}
	nums = slices.Grow(nums, len(rows))
	nums = nums[:len(rows)]
	base := unsafe.Add(unsafe.Pointer(unsafe.SliceData(events)), f.at)
	const stride = unsafe.Sizeof(Event{})
	switch {
	case len(rows) == len(events) && f.size != 0:
		gatherAll(nums, base, f)
	case f.size == 0: // errno
		for i, row := range rows {
			nums[i] = int64(events[row].Errno())
		}
	case f.size == 1:
		for i, row := range rows {
			nums[i] = int64(*(*uint8)(unsafe.Add(base, uintptr(row)*stride)))
		}
	case f.size == 2:
		for i, row := range rows {
			nums[i] = int64(*(*uint16)(unsafe.Add(base, uintptr(row)*stride)))
		}
	case f.size == 4 && f.sign:
		for i, row := range rows {
			nums[i] = int64(*(*int32)(unsafe.Add(base, uintptr(row)*stride)))
		}
	case f.size == 4:
		for i, row := range rows {
			nums[i] = int64(*(*uint32)(unsafe.Add(base, uintptr(row)*stride)))
		}
	default:
		for i, row := range rows {
			nums[i] = *(*int64)(unsafe.Add(base, uintptr(row)*stride))
		}
	}
	return nums
}

// gatherAll is gather for all rows; base is the field of the first event.
func gatherAll(nums []int64, base unsafe.Pointer, f *Field) {
	const stride = unsafe.Sizeof(Event{})
	at := uintptr(0)
	switch {
	case f.size == 1:
		for i := range nums {
			nums[i] = int64(*(*uint8)(unsafe.Add(base, at)))
			at += stride
		}
	case f.size == 2:
		for i := range nums {
			nums[i] = int64(*(*uint16)(unsafe.Add(base, at)))
			at += stride
		}
	case f.size == 4 && f.sign:
		for i := range nums {
			nums[i] = int64(*(*int32)(unsafe.Add(base, at)))
			at += stride
		}
	case f.size == 4:
		for i := range nums {
			nums[i] = int64(*(*uint32)(unsafe.Add(base, at)))
			at += stride
		}
	default:
		for i := range nums {
			nums[i] = *(*int64)(unsafe.Add(base, at))
			at += stride
		}
	}
}

// subtract replaces each number by its difference to the one that the field's key
// picks, and gives the stats of the differences.
func (c *blockEncoder) subtract(events []Event, f *Field) (s stats) {
	nums := c.nums
	n := len(nums)
	switch {
	case n == 0 || f.key == byPlain:
		return statsOf(nums)
	case f.key == byPrev:
		last := int64(0)
		if n > 1 {
			last = nums[n-2]
		}
		s.usual, last = nums[n-1]-last, 0
		for i, v := range nums {
			d := v - last
			nums[i], last = d, v
			if d != s.usual {
				s.others++
			}
			s.wide |= d ^ d>>63
		}
		return s
	}
	prev := c.of(events, f.key, f.on)[:n]
	for i := n - 1; i > 0; i-- {
		d := nums[i] - nums[prev[i]]
		nums[i] = d
		if i == n-1 {
			s.usual = d
		}
		if d != s.usual {
			s.others++
		}
		s.wide |= d ^ d>>63
	}
	first := nums[0]
	if n == 1 {
		s.usual = first
	}
	if first != s.usual {
		s.others++
	}
	s.wide |= first ^ first>>63
	return s
}

// appendTexts appends the dictionary of a text field in the rows, and leaves the
// number of each row's word in nums.
func (c *blockEncoder) appendTexts(b []byte, events []Event, f *Field, rows []int32) []byte {
	if c.texts == nil {
		c.texts = map[string]int64{}
	}
	clear(c.texts)
	c.nums, c.words = c.nums[:0], c.words[:0]
	last, lastNum := "", int64(-1)
	for _, row := range rows {
		s := *(*string)(unsafe.Add(unsafe.Pointer(&events[row]), f.at))
		if s != last || lastNum < 0 {
			n, ok := c.texts[s]
			if !ok {
				n = int64(len(c.words))
				c.texts[s] = n
				c.words = append(c.words, s)
			}
			last, lastNum = s, n
		}
		c.nums = append(c.nums, lastNum)
	}
	b = appendArrayLen(b, len(c.words))
	for _, s := range c.words {
		b = appendBin(b, unsafe.Slice(unsafe.StringData(s), len(s)))
	}
	return b
}

// appendAddrs is appendTexts for addresses.
func (c *blockEncoder) appendAddrs(b []byte, events []Event, f *Field, rows []int32) []byte {
	if c.addrs == nil {
		c.addrs = map[netip.Addr]int64{}
	}
	clear(c.addrs)
	c.nums, c.ends = c.nums[:0], c.ends[:0]
	var last netip.Addr
	lastNum := int64(-1)
	for _, row := range rows {
		a := *(*netip.Addr)(unsafe.Add(unsafe.Pointer(&events[row]), f.at))
		if a != last || lastNum < 0 {
			n, ok := c.addrs[a]
			if !ok {
				n = int64(len(c.ends))
				c.addrs[a] = n
				c.ends = append(c.ends, a)
			}
			last, lastNum = a, n
		}
		c.nums = append(c.nums, lastNum)
	}
	b = appendArrayLen(b, len(c.ends))
	for _, a := range c.ends {
		switch {
		case a.Is4():
			ip := a.As4()
			b = appendBin(b, ip[:])
		case a.Is6():
			ip := a.As16()
			b = appendBin(b, ip[:])
		default:
			b = appendBin(b, nil)
		}
	}
	return b
}

// appendBin appends msgpack binary of up to 65,535 bytes; longer data is cut.
func appendBin(b, data []byte) []byte {
	data = data[:min(len(data), 0xffff)]
	return append(appendBinLen(b, len(data)), data...)
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
