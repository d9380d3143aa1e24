package format

import (
	"fmt"
	"net/netip"
	"unsafe"
)

// column is how one column of a capture is to be decoded.
type column struct {
	field *Field // nil: a field that this version does not know; its column is passed over
	on    onSet
	key   keyKind

	omitted bool // its values are not needed
}

// plan matches a header's fields with Fields.
func plan(specs []FieldSpec) ([]column, error) {
	cols := make([]column, len(specs))
	known := map[string]bool{}
	for i, s := range specs {
		f, ok := FieldByName(s.Name)
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
type blockDecoder struct {
	keys
	cols  []column
	held  []held            // as cols
	texts map[string]string // texts seen, so that equal ones share memory
	size  int               // bytes of texts
	same  [1]Event
}

// held is a column that was parsed but not yet stored.
type held struct {
	vary  bool
	nums  []int64
	words []string
	addrs []netip.Addr
}

var firstRow = []int32{0}

// decode fills events from the msgpack array of columns at the head of b. The
// bytes must have passed check.
func (d *blockDecoder) decode(b []byte, events []Event, firstSeq uint64) error {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	if !ok || n != len(d.cols) {
		return fmt.Errorf("a block has %d columns, the header names %d", n, len(d.cols))
	}
	if len(d.held) != n {
		d.held = make([]held, n)
	}
	d.begin(len(events))
	d.same[0] = Event{}
	for i, c := range d.cols {
		d.held[i].vary = false
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
	return d.store(events, firstSeq)
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
		if b, err = d.dictionary(b, c.field.Type, h); err != nil {
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
				return rest, h.store(d.same[:], firstRow, h.nums, c.field)
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
	return b, nil
}

// store writes the events, from what is the same in all of them and what is held.
func (d *blockDecoder) store(events []Event, firstSeq uint64) error {
	const tile = 64 // events
	var from, to [maxSets]int
	for first := 0; first < len(events); first += tile {
		behind := min(first+tile, len(events))
		for i := first; i < behind; i++ {
			events[i] = d.same[0]
			events[i].Seq = firstSeq + uint64(i)
		}
		for set, rows := range d.rows.of[:len(onMasks)] {
			n := to[set]
			from[set] = n
			for n < len(rows) && int(rows[n]) < behind {
				n++
			}
			to[set] = n
		}
		for i, c := range d.cols {
			h := &d.held[i]
			if !h.vary {
				continue
			}
			from, to := from[c.on], to[c.on]
			if err := h.store(events, d.rows.of[c.on][from:to], h.nums[from:to], c.field); err != nil {
				return fmt.Errorf("field %q: %w", c.field.Name, err)
			}
		}
	}
	return nil
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

// store writes the column's numbers, or the words that they stand for, into a field of
// the rows.
func (h *held) store(events []Event, rows []int32, nums []int64, f *Field) error {
	switch f.Type {
	case String:
		return storeWords(events, rows, nums, f, h.words)
	case Addr:
		return storeWords(events, rows, nums, f, h.addrs)
	}
	return store(events, rows, nums, f)
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
func store(events []Event, rows []int32, nums []int64, f *Field) error {
	if len(rows) == 0 {
		return nil
	}
	base := unsafe.Pointer(unsafe.SliceData(events))
	const stride = unsafe.Sizeof(Event{})
	bad := int64(0)
	at := func(row int32) unsafe.Pointer { return unsafe.Add(base, uintptr(row)*stride+f.at) }
	switch {
	case f.size == 0: // errno
		for i, row := range rows {
			bad |= nums[i] &^ 0x7fffffff
			events[row].Ret = -int32(nums[i])
		}
	case f.Type == Bool:
		for i, row := range rows {
			bad |= nums[i] &^ 1
			*(*bool)(at(row)) = nums[i] != 0
		}
	case f.size == 1:
		for i, row := range rows {
			bad |= nums[i] &^ 0xff
			*(*uint8)(at(row)) = uint8(nums[i])
		}
	case f.size == 2:
		for i, row := range rows {
			bad |= nums[i] &^ 0xffff
			*(*uint16)(at(row)) = uint16(nums[i])
		}
	case f.size == 4 && f.sign:
		for i, row := range rows {
			bad |= nums[i] - int64(int32(nums[i]))
			*(*int32)(at(row)) = int32(nums[i])
		}
	case f.size == 4:
		for i, row := range rows {
			bad |= nums[i] &^ 0xffffffff
			*(*uint32)(at(row)) = uint32(nums[i])
		}
	default:
		for i, row := range rows {
			*(*int64)(at(row)) = nums[i]
		}
	}
	if bad != 0 {
		return errRange
	}
	if f.Name == "ret" {
		for i := range nums {
			if nums[i] < 0 {
				return errRange
			}
		}
	}
	return nil
}

// storeWords writes the words that nums number into a field of the rows.
func storeWords[T any](events []Event, rows []int32, nums []int64, f *Field, words []T) error {
	for i, row := range rows {
		if uint64(nums[i]) >= uint64(len(words)) {
			return errRange
		}
		*(*T)(unsafe.Add(unsafe.Pointer(&events[row]), f.at)) = words[nums[i]]
	}
	return nil
}

// dictionary reads the pair's head and the dictionary before a column.
func (d *blockDecoder) dictionary(b []byte, t Type, h *held) ([]byte, error) {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	if !ok || n != 2 {
		return nil, errColumn
	}
	n, b, ok = parseLen(b, 0x90, 0xdc)
	if !ok || n > maxEvents {
		return nil, errColumn
	}
	h.words, h.addrs = h.words[:0], h.addrs[:0]
	for range n {
		var word []byte
		if word, b, ok = parseBin(b); !ok {
			return nil, errColumn
		}
		if t == Addr {
			a, ok := netip.AddrFromSlice(word)
			if !ok && len(word) != 0 {
				return nil, fmt.Errorf("an address has %d bytes", len(word))
			}
			h.addrs = append(h.addrs, a)
			continue
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
