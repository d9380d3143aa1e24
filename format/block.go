package format

import (
	"net/netip"
	"unsafe"
)

// predictions says, for each kind of key and condition, which earlier row each
// row of a block is the difference to. They are made when a column first asks,
// once for all columns that share them.
type predictions struct {
	rows rowSets
	pred predictor
	prev [numKeys][maxSets][]int32
	news [numKeys][maxSets]int // rows without one before
	made [numKeys][maxSets]bool
}

func (p *predictions) begin() { p.made = [numKeys][maxSets]bool{} }

// of gives, for the rows of on, the index in that list of the row before by k.
func (p *predictions) of(events []Event, k keyKind, on onSet) []int32 {
	if p.made[k][on] {
		return p.prev[k][on]
	}
	p.made[k][on] = true
	prev := p.prev[k][on][:0]
	p.pred.begin(len(p.rows[on]))
	p.news[k][on] = 0
	for i, row := range p.rows[on] {
		a, b := key(k, &events[row])
		before := p.pred.prev(a, b, int32(i))
		if before < 0 {
			p.news[k][on]++
		}
		prev = append(prev, before)
	}
	p.prev[k][on] = prev
	return prev
}

// blockEncoder turns events into the columns of a block. Its memory is reused.
type blockEncoder struct {
	predictions
	nums  []int64
	texts map[string]int64
	addrs map[netip.Addr]int64
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
}

// column appends one column.
func (c *blockEncoder) column(b []byte, events []Event, f *Field) []byte {
	on, k := f.on, f.key
	c.nums = c.nums[:0]
	switch f.Type {
	case String:
		b = c.appendTexts(appendArrayLen(b, 2), events, f, on)
	case Addr:
		b = c.appendAddrs(appendArrayLen(b, 2), events, f, on)
	default:
		for _, row := range c.rows[on] {
			c.nums = append(c.nums, f.Int(&events[row]))
		}
	}
	c.subtract(events, k, on)
	return appendColumn(b, c.nums)
}

// subtract replaces each number by its difference to the one that its key picks.
func (c *blockEncoder) subtract(events []Event, k keyKind, on onSet) {
	switch k {
	case byPlain:
	case byPrev:
		last := int64(0)
		for i, v := range c.nums {
			c.nums[i], last = v-last, v
		}
	default:
		prev := c.of(events, k, on)
		for i := len(c.nums) - 1; i >= 0; i-- {
			if p := prev[i]; p >= 0 {
				c.nums[i] -= c.nums[p]
			}
		}
	}
}

// appendTexts appends the dictionary of a text field and leaves each row's index in nums.
func (c *blockEncoder) appendTexts(b []byte, events []Event, f *Field, on onSet) []byte {
	if c.texts == nil {
		c.texts = map[string]int64{}
	}
	clear(c.texts)
	var words []string
	for _, row := range c.rows[on] {
		s := *(*string)(unsafe.Add(unsafe.Pointer(&events[row]), f.at))
		n, ok := c.texts[s]
		if !ok {
			n = int64(len(words))
			c.texts[s] = n
			words = append(words, s)
		}
		c.nums = append(c.nums, n)
	}
	b = appendArrayLen(b, len(words))
	for _, s := range words {
		b = appendBin(b, []byte(s))
	}
	return b
}

// appendAddrs is appendTexts for addresses.
func (c *blockEncoder) appendAddrs(b []byte, events []Event, f *Field, on onSet) []byte {
	if c.addrs == nil {
		c.addrs = map[netip.Addr]int64{}
	}
	clear(c.addrs)
	var words []netip.Addr
	var last netip.Addr
	lastNum := int64(-1)
	for _, row := range c.rows[on] {
		a := *(*netip.Addr)(unsafe.Add(unsafe.Pointer(&events[row]), f.at))
		if a != last || lastNum < 0 {
			n, ok := c.addrs[a]
			if !ok {
				n = int64(len(words))
				c.addrs[a] = n
				words = append(words, a)
			}
			last, lastNum = a, n
		}
		c.nums = append(c.nums, lastNum)
	}
	b = appendArrayLen(b, len(words))
	for _, a := range words {
		b = appendBin(b, a.AsSlice())
	}
	return b
}

// appendBin appends msgpack binary of up to 65,535 bytes; longer data is cut.
func appendBin(b, data []byte) []byte {
	data = data[:min(len(data), 0xffff)]
	if len(data) <= 0xff {
		return append(append(b, 0xc4, byte(len(data))), data...)
	}
	return append(append(b, 0xc5, byte(len(data)>>8), byte(len(data))), data...)
}
