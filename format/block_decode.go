package format

// This file takes events out of a block of columns.

import (
	"fmt"
	"math"
	"net/netip"
	"unsafe"
)

// column is how one column of a capture is to be decoded.
type column struct {
	field *Field // nil: a field that this version does not know; its column is passed over
	on    onSet
	key   keyKind

	omitted bool // its values are not needed
	numbers bool // it is that of a cut's numbers of events
}

// plan matches a header's fields with Fields.
func plan(specs []FieldSpec) ([]column, error) {
	cols := make([]column, len(specs))
	known := map[string]bool{}
	for i, s := range specs {
		f, ok := FieldByName(s.Name)
		if s.Name == seqField.Name {
			if s.Type != seqField.Type || len(s.On) > 0 || s.Key == nil || len(s.Key) > 0 || known[s.Name] {
				return nil, fmt.Errorf("field %q is written in a way that this version does not know", s.Name)
			}
			known[s.Name] = true
			cols[i] = column{numbers: true}
		}
		if !ok {
			continue
		}
		on, okOn := onOf(s.On)
		k, okKey := keyOf(s.Key)
		if !okOn || !okKey || s.Type != f.Type || known[s.Name] {
			return nil, fmt.Errorf("field %q is written in a way that this version does not know", s.Name)
		}
		needs := map[string]bool{}
		for n := range s.On {
			needs[n] = true
		}
		for _, n := range s.Key {
			needs[n] = true
		}
		for n := range needs {
			if !known[n] {
				return nil, fmt.Errorf("field %q stands before %q, which it needs", s.Name, n)
			}
		}
		known[s.Name] = true
		cols[i] = column{field: f, on: on, key: k}
	}
	if !known["kind"] || !known["errno"] {
		return nil, fmt.Errorf("the fields kind and errno are not there")
	}
	return cols, nil
}

// blockDecoder turns columns back into events. Its memory is reused.
//
// Most columns have one value in all rows. Those go into one event, of which all
// events begin as copies; only the others are written row by row. That is done for a
// few rows at a time: the events of a block are larger than the caches near a CPU.
// All that can be wrong with a block is found before.
type blockDecoder struct {
	keys
	cols  []column
	held  []held            // as cols
	texts map[string]string // texts seen, so that equal ones share memory
	size  int               // bytes of texts
	same  [1]Event
	part  []Event

	numbers []int64 // of the events of a cut; empty: they follow from the block's first
}

// held is a column that was parsed but not yet stored.
type held struct {
	vary  bool
	nums  []int64
	words []string
	addrs []netip.Addr
}

var firstRow = []int32{0}

// decode takes the msgpack array of columns at the head of b, of so many rows. The
// bytes must have passed check.
func (d *blockDecoder) decode(b []byte, rows int) error {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	if !ok || n != len(d.cols) {
		return fmt.Errorf("a block has %d columns, the header names %d", n, len(d.cols))
	}
	if len(d.held) != n {
		d.held = make([]held, n)
	}
	d.begin(rows)
	d.same[0], d.numbers = Event{}, d.numbers[:0]
	for i, c := range d.cols {
		d.held[i].vary = false
		if c.numbers {
			var err error
			if d.numbers, b, err = parseNumbers(b, d.numbers, rows); err != nil {
				return err
			}
			continue
		}
		if c.field == nil {
			size, err := check(b)
			if err != nil {
				return err
			}
			b = b[size:]
			continue
		}
		var err error
		if b, err = d.column(b, i); err != nil {
			return fmt.Errorf("field %q: %w", c.field.Name, err)
		}
	}
	return nil
}

// column parses the i-th column. It stores a value that is the same in all rows; else
// it holds the column.
func (d *blockDecoder) column(b []byte, i int) ([]byte, error) {
	c, h := d.cols[i], &d.held[i]
	if c.omitted {
		return passColumn(b, len(d.rows.of[c.on]))
	}
	if c.field.Type == String || c.field.Type == Addr {
		var err error
		if b, err = d.dictionary(b, c.field, h); err != nil {
			return nil, err
		}
	}
	rows := d.rows.of[c.on]
	if cap(h.nums) < max(len(rows), 1) {
		h.nums = make([]int64, max(len(rows), 2*cap(h.nums), 1))
	}
	if len(rows) > 0 && !c.field.isKey() {
		if v, rest, ok := oneValue(b, c.key); ok {
			h.nums = append(h.nums[:0], v)
			switch {
			case len(rows) == len(d.row):
				if !h.fits(c.field) {
					return nil, errRange
				}
				h.store(d.same[:], firstRow, h.nums, c.field, 0)
				return rest, nil
			case h.isZero(c.field.Type):
				return rest, nil
			}
		}
	}
	h.nums = h.nums[:len(rows)]
	b, err := parseColumn(b, h.nums)
	if err != nil {
		return nil, err
	}
	d.add(h.nums, c)
	h.vary = true
	if c.field.isKey() {
		return b, d.keep(c.field, rows, h.nums)
	}
	if !h.fits(c.field) {
		return nil, errRange
	}
	return b, nil
}

// cursor is how far the rows of a block are stored: their number, and that in each set.
type cursor struct {
	row int
	in  [maxSets]int
}

// store writes the next events, from what is the same in all of them and what is held.
func (d *blockDecoder) store(at *cursor, events []Event, firstSeq uint64) {
	first := at.row
	at.row += len(events)
	for i := range events {
		events[i] = d.same[0]
		events[i].Seq = firstSeq + uint64(first+i)
	}
	if len(d.numbers) > 0 {
		for i, n := range d.numbers[first:at.row] {
			events[i].Seq = uint64(n)
		}
	}
	from := at.in
	for set, rows := range d.rows.of[:len(onMasks)] {
		n := at.in[set]
		for n < len(rows) && int(rows[n]) < at.row {
			n++
		}
		at.in[set] = n
	}
	for i, c := range d.cols {
		if h := &d.held[i]; h.vary {
			from, to := from[c.on], at.in[c.on]
			h.store(events, d.rows.of[c.on][from:to], h.nums[from:to], c.field, int32(first))
		}
	}
}

// tile is how many events are stored at a time.
const tile = 128

// storeAll writes all events of the block.
func (d *blockDecoder) storeAll(events []Event, firstSeq uint64) {
	for at := (cursor{}); at.row < len(events); {
		d.store(&at, events[at.row:min(at.row+tile, len(events))], firstSeq)
	}
}

// parts gives them some at a time.
func (d *blockDecoder) parts(firstSeq uint64, yield func([]Event) bool) {
	if d.part == nil {
		d.part = make([]Event, tile)
	}
	for at := (cursor{}); at.row < len(d.row); {
		part := d.part[:min(tile, len(d.row)-at.row)]
		if d.store(&at, part, firstSeq); !yield(part) {
			return
		}
	}
}

// oneValue recognises a sparse column that gives all rows one value.
func oneValue(b []byte, k keyKind) (v int64, rest []byte, ok bool) {
	pairs, b, ok := parseLen(b, 0x80, 0xde)
	if !ok || pairs > 1 {
		return 0, nil, false
	}
	if pairs == 0 {
		return 0, b, true
	}
	i, b, ok := parseInt(b)
	want := int64(0) // the first row, to which all others have no difference
	if k == byPlain {
		want = -1
	}
	if !ok || i != want {
		return 0, nil, false
	}
	return parseInt(b)
}

// isZero reports whether the one value of the column is that of an empty event.
func (h *held) isZero(t Type) bool {
	n := h.nums[0]
	switch t {
	case String:
		return n == 0 && len(h.words) > 0 && h.words[0] == ""
	case Addr:
		return n == 0 && len(h.addrs) > 0 && h.addrs[0] == netip.Addr{}
	}
	return n == 0
}

// fits reports whether the numbers are ones that the field can have, or numbers of words.
func (h *held) fits(f *Field) bool {
	switch {
	case f.Type == String:
		return areBelow(h.nums, len(h.words))
	case f.Type == Addr:
		return areBelow(h.nums, len(h.addrs))
	case f.size == 8:
		return true
	}
	var some int64 // bits that are set in any
	for _, n := range h.nums {
		some |= n
	}
	switch {
	case f.size == 0: // errno
		return some&^0x7fffffff == 0
	case f.Name == "ret":
		return some&^math.MaxInt32 == 0
	case f.Type == Bool:
		return some&^1 == 0
	case f.size == 4 && f.sign:
		for _, n := range h.nums {
			if n != int64(int32(n)) {
				return false
			}
		}
	default:
		return some>>(8*f.size) == 0
	}
	return true
}

func areBelow(nums []int64, limit int) bool {
	for _, n := range nums {
		if uint64(n) >= uint64(limit) {
			return false
		}
	}
	return true
}

// store writes the column's numbers, or the words that they stand for, into a field of
// the rows, of which events begin with the first.
func (h *held) store(events []Event, rows []int32, nums []int64, f *Field, first int32) {
	switch f.Type {
	case String:
		storeWords(events, rows, nums, f, first, h.words)
	case Addr:
		storeWords(events, rows, nums, f, first, h.addrs)
	default:
		store(events, rows, nums, f, first)
	}
}

// add undoes subtract.
func (d *blockDecoder) add(nums []int64, c column) {
	switch c.key {
	case byPlain:
	case byPrev:
		last := int64(0)
		for i := range nums {
			last += nums[i]
			nums[i] = last
		}
	default:
		prev := d.of(c.key, c.on)
		for i := 1; i < len(nums); i++ {
			nums[i] += nums[prev[i]]
		}
	}
}

var errRange = fmt.Errorf("a value is out of its range")

// store writes nums into a field of the rows.
func store(events []Event, rows []int32, nums []int64, f *Field, first int32) {
	if len(rows) == 0 {
		return
	}
	base := unsafe.Pointer(unsafe.SliceData(events))
	const stride = unsafe.Sizeof(Event{})
	at := func(row int32) unsafe.Pointer { return unsafe.Add(base, uintptr(row-first)*stride+f.at) }
	switch {
	case f.size == 0: // errno; where all rows were accepted with one descriptor, they have that already
		for i, row := range rows {
			if nums[i] != 0 {
				events[row-first].Ret = -int32(nums[i])
			}
		}
	case f.size == 1: // a boolean, too
		for i, row := range rows {
			*(*uint8)(at(row)) = uint8(nums[i])
		}
	case f.size == 2:
		for i, row := range rows {
			*(*uint16)(at(row)) = uint16(nums[i])
		}
	case f.size == 4:
		for i, row := range rows {
			*(*uint32)(at(row)) = uint32(nums[i])
		}
	default:
		for i, row := range rows {
			*(*int64)(at(row)) = nums[i]
		}
	}
}

// storeWords writes the words that nums number into a field of the rows.
func storeWords[T any](events []Event, rows []int32, nums []int64, f *Field, first int32, words []T) {
	for i, row := range rows {
		*(*T)(unsafe.Add(unsafe.Pointer(&events[row-first]), f.at)) = words[nums[i]]
	}
}

// dictionary reads the pair's head and the dictionary before a column.
func (d *blockDecoder) dictionary(b []byte, f *Field, h *held) ([]byte, error) {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	if !ok || n != 2 {
		return nil, errColumn
	}
	n, b, ok = parseLen(b, 0x90, 0xdc)
	if !ok || n > maxEvents {
		return nil, errColumn
	}
	h.words, h.addrs = h.words[:0], h.addrs[:0]
	most := f.most()
	for range n {
		var word []byte
		if word, b, ok = parseBin(b); !ok {
			return nil, errColumn
		}
		if f.Type == Addr {
			a, ok := netip.AddrFromSlice(word)
			if !ok && len(word) != 0 {
				return nil, fmt.Errorf("an address has %d bytes", len(word))
			}
			h.addrs = append(h.addrs, a)
			continue
		}
		if len(word) > most {
			return nil, fmt.Errorf("%s: %w", f.Name, errText)
		}
		h.words = append(h.words, d.intern(word))
	}
	return b, nil
}

// Texts that share memory: more of them, or longer ones, a recorder does not write.
const (
	maxTexts = 10_000
	maxText  = 4096
)

// intern gives equal texts the same memory. It forgets all when there are many, and
// does not remember long ones, so that a hostile capture can't make it grow.
func (d *blockDecoder) intern(word []byte) string {
	if s, ok := d.texts[string(word)]; ok {
		return s
	}
	s := string(word)
	if len(s) > maxText {
		return s
	}
	if d.size += len(s); d.texts == nil || len(d.texts) > maxTexts || d.size > 1<<20 {
		d.texts, d.size = map[string]string{}, len(s)
	}
	d.texts[s] = s
	return s
}

// parseBin reads msgpack binary or text.
func parseBin(b []byte) (data, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	size, inner, err := shape(b)
	head := uint64(0)
	switch c := b[0]; {
	case c&0xe0 == 0xa0:
		head = 1
	case c == 0xc4 || c == 0xd9:
		head = 2
	case c == 0xc5 || c == 0xda:
		head = 3
	case c == 0xc6:
		head = 5
	}
	if err != nil || inner != 0 || head == 0 || size > uint64(len(b)) {
		return nil, nil, false
	}
	return b[head:size], b[size:], true
}
