package format

// This file makes a block of columns out of events.

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"
)

// A blockEncoder makes the columns of a block while its events come. What a column
// has again and again is not written down before the block ends. Its memory is reused.
type blockEncoder struct {
	rows    int
	firstNS int64 // least time of an event
	lastNS  int64 // largest
	in      [maxSets]int32
	drafts  [maxFields]draft
	lag     [maxClasses]int32 // rows that in does not count yet
	unlike  uint64            // fields that repeats do not tell of, as bits, whose column has another number than 0 last
	last    values            // of each field, in the last row that has it; for those whose key is not the task

	tasks  keyTable
	known  []*known
	newest [maxClasses]newest
	keyed  [maxKeyed]keyState // in the order of plans.keyed
	texts  [maxFields]texts
	addrs  [maxFields]addrs
	seams  seams // in what append appended to

	pending pendingRows
	steady  steadyCalls

	numbered bool    // events have numbers of their own: it is a cut
	numbers  []int64 // of each
}

// known is the event that came last of a task, kind and errno. A repeat changes but the values.
type known struct {
	version uint64 // of event; no two of this place in memory are the same
	event   eventWords
	values
	num [maxKeyed]int32 // of its keys, in the order of plans.keyed
}

// newest is where the last event of a class is.
type newest struct {
	row int // from 1
	k   *known
}

// keyState is what is known of the rows that have the fields of a group.
type keyState struct {
	keys keyTable
	vals []int64 // of each key, in the row that came last
}

// begin is for a new block.
func (c *blockEncoder) begin() {
	c.rows, c.firstNS, c.lastNS, c.unlike, c.numbers = 0, math.MaxInt64, math.MinInt64, 0, c.numbers[:0]
	c.in, c.last, c.newest = [maxSets]int32{}, values{}, [maxClasses]newest{}
	for _, k := range c.known {
		k.version++
	}
	c.known = c.known[:0]
	c.tasks.forget()
	for _, at := range encoding.at[:len(Fields)] {
		c.drafts[at].begin(encoding.fields[at].on)
		c.texts[at].forget()
		c.addrs[at].forget()
	}
	c.pending.peer.known, c.pending.conn.num = false, -1
	c.steady.before, c.steady.streak = nil, 0
	for i := range c.keyed {
		s := &c.keyed[i]
		s.keys.forget()
		s.vals = s.vals[:0]
	}
}

// add adds an event, and gives what is known of its task, kind and errno.
func (c *blockEncoder) add(e *Event) *known {
	c.settle()
	c.catchUp()
	class := classOf(e)
	p := &encoding.of[class]
	task, known := c.tasks.number(taskKey(e))
	if !known {
		c.introduce(p)
	}
	k := c.known[task]
	words := (*eventWords)(unsafe.Pointer(e))
	differ := c.unlike | encoding.always
	if !known {
		differ = ^uint64(0)
	}
	for i, word := range words {
		if word != k.event[i] {
			differ |= encoding.inWord[i]
		}
	}
	k.event = *words
	k.version++
	c.read(&k.values, p, e)
	for _, f := range p.plain {
		c.put(f, k.of(f))
	}
	unlike := c.unlike &^ p.has
	if k.of(atMark) != 0 {
		unlike |= 1 << atMark
	}
	for left := differ & p.task; left != 0; left &= left - 1 {
		f := place(bits.TrailingZeros64(left))
		n := c.value(f, e)
		num := n - k.of(f)
		if c.put(f, num); num != 0 {
			unlike |= 1 << f
		}
		k.values[f&fieldMask] = n
	}
	c.unlike = unlike &^ encoding.repeated
	for _, f := range p.prev {
		num := k.of(f) - c.last.of(f)
		if c.put(f, num); num != 0 && encoding.repeated>>f&1 == 0 {
			c.unlike |= 1 << f
		}
		c.last[f&fieldMask] = k.of(f)
	}
	for _, i := range p.keyed {
		c.key(i, k)
		fields := encoding.keyed[i&keyedMask].fields
		before := c.keyed[i&keyedMask].vals[int(k.num[i&keyedMask])*len(fields):][:len(fields)]
		for at, f := range fields {
			n := k.of(f)
			c.put(f, n-before[at])
			before[at], c.last[f&fieldMask] = n, n
		}
	}
	for _, on := range p.sets {
		c.in[on%maxSets]++
	}
	c.end(class, k, e.BootNS)
	return k
}

// catchUp counts the rows of repeats in the sets that they are of.
func (c *blockEncoder) catchUp() {
	for class, n := range c.lag {
		if n != 0 {
			for _, on := range encoding.of[class%numClasses].sets {
				c.in[on%maxSets] += n
			}
			c.lag[class] = 0
		}
	}
}

// put puts the number of the row that is being added into a field's column.
func (c *blockEncoder) put(f place, num int64) {
	d := &c.drafts[f&fieldMask]
	row := c.in[d.on%maxSets]
	if d.rows = row + 1; num != d.last {
		d.note(row, num)
	}
}

// introduce makes the values before those of the first row of a task, kind and errno: each is that of
// the last row that has the field.
func (c *blockEncoder) introduce(p *classPlan) {
	n := len(c.known)
	c.known = slices.Grow(c.known, 1)[:n+1]
	if c.known[n] == nil {
		c.known[n] = new(known)
	}
	k := c.known[n]
	*k = known{version: k.version}
	for left := p.task; left != 0; left &= left - 1 {
		f := bits.TrailingZeros64(left)
		if last := c.newestOf(onMasks[encoding.fields[f].on]); last != nil {
			k.values[f] = last.values[f]
		}
	}
}

// newestOf gives what is known of the last row of some classes, nil if there is none.
func (c *blockEncoder) newestOf(classes onMask) *known {
	var last newest
	for class, n := range c.newest {
		if classes>>class&1 != 0 && n.row > last.row {
			last = n
		}
	}
	return last.k
}

// key finds the number of a row's key, for the fields of group i.
func (c *blockEncoder) key(i uint8, k *known) {
	g, s := &encoding.keyed[i&keyedMask], &c.keyed[i&keyedMask]
	num, known := s.keys.number(k.key(g.key))
	if k.num[i&keyedMask] = num; known {
		return
	}
	for _, f := range g.fields {
		s.vals = append(s.vals, c.last.of(f))
	}
}

// end counts the row that was added.
func (c *blockEncoder) end(class rowClass, k *known, ns int64) {
	c.rows++
	c.newest[class%maxClasses] = newest{c.rows, k}
	c.firstNS, c.lastNS = min(c.firstNS, ns), max(c.lastNS, ns)
}

// quieten puts the usual number, 0, into the columns of a class in which a repeat is like the event
// before, if they have another one last.
func (c *blockEncoder) quieten(class rowClass, k *known) {
	p := &encoding.of[class%numClasses]
	left := c.unlike & p.has
	if left == 0 {
		return
	}
	c.catchUp()
	for c.unlike &^= p.has; left != 0; left &= left - 1 {
		f := place(bits.TrailingZeros64(left))
		if f != atRName {
			c.put(f, 0)
			continue
		}
		num := k.of(f) - c.last.of(f)
		if c.put(f, num); num != 0 {
			c.unlike |= 1 << f
		}
		c.last[f] = k.of(f)
	}
}

// append appends the columns, in the order of Fields, as one msgpack array.
func (c *blockEncoder) append(b []byte) []byte {
	c.settle()
	c.catchUp()
	c.seams = c.seams[:0]
	if c.numbered {
		b = appendArrayLen(b, len(Fields)+1)
	} else {
		b = appendArrayLen(b, len(Fields))
	}
	for i := range Fields {
		b = c.column(b, i)
	}
	if c.numbered {
		b = appendNumbers(b, c.numbers)
	}
	return b
}

// column appends the column of field i.
func (c *blockEncoder) column(b []byte, i int) []byte {
	at := encoding.at[i]
	switch Fields[i].Type {
	case String:
		b = c.texts[at].append(appendArrayLen(b, 2), Fields[i].most())
	case Addr:
		b = c.addrs[at].append(appendArrayLen(b, 2))
	}
	return c.drafts[at].append(b, c.in[Fields[i].on], &c.seams)
}

// hits tells of the events of the block.
func (c *blockEncoder) hits() []Hit {
	list := make([]Hit, c.rows)
	n := int32(c.rows)
	for row, num := range c.drafts[atKind].all(n) {
		list[row].Kind = Kind(num)
	}
	for row, num := range c.drafts[atHook].all(n) {
		list[row].Hook = Hook(num)
	}
	for row, num := range c.drafts[atCPU].all(n) {
		list[row].CPU = uint32(num)
	}
	ns := int64(0)
	for row, num := range c.drafts[atBootNS].all(n) {
		ns += num
		list[row].BootNS = ns
	}
	return list
}

// A Hit is an event, as far as losses tell.
type Hit struct {
	BootNS int64
	CPU    uint32
	Kind   Kind
	Hook   Hook
}
