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
// events begin as copies; only the others are written row by row.
type blockDecoder struct {
	predictions
	cols  []column
	held  []held            // as cols
	texts map[string]string // every text seen, so that equal ones share memory
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
	d.begin()
	d.same[0] = Event{}
	clear(events)
	d.rows.all(len(events)) // the other sets are right after kind and errno
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
		if b, err = d.column(b, events, i); err != nil {
			return fmt.Errorf("field %q: %w", c.field.Name, err)
		}
	}
	for i := range events {
		e := &events[i]
		kind, ret, hook, cpu, seq, tid, port, cookie := e.Kind, e.Ret, e.Hook, e.CPU, e.CPUSeq, e.TID, e.LPort, e.Cookie
		*e = d.same[0]
		e.Seq, e.Kind, e.Ret, e.Hook, e.CPU, e.CPUSeq, e.TID, e.LPort, e.Cookie = firstSeq+uint64(i), kind, ret, hook, cpu, seq, tid, port, cookie
	}
	for i, c := range d.cols {
		if h := &d.held[i]; h.vary {
			if err := h.store(events, d.rows.of[c.on], c.field); err != nil {
				return fmt.Errorf("field %q: %w", c.field.Name, err)
			}
		}
	}
	return nil
}

// isKey reports whether other columns' keys and conditions need the field.
func (f *Field) isKey() bool {
	switch f.at {
	case unsafe.Offsetof(ev.Kind), unsafe.Offsetof(ev.Hook), unsafe.Offsetof(ev.CPU), unsafe.Offsetof(ev.CPUSeq), unsafe.Offsetof(ev.TID),
		unsafe.Offsetof(ev.LPort), unsafe.Offsetof(ev.Cookie):
		return true
	}
	return f.size == 0 // errno; Seq, at 0, is no field
}

// column parses the i-th column. It stores what keys need, and values that are
// the same in all rows; the rest it holds.
func (d *blockDecoder) column(b []byte, events []Event, i int) ([]byte, error) {
	c, h := d.cols[i], &d.held[i]
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
	if !c.field.isKey() && len(rows) > 0 {
		if v, rest, ok := oneValue(b, c.key); ok {
			h.nums = append(h.nums[:0], v)
			switch {
			case len(rows) == len(events):
				return rest, h.store(d.same[:], firstRow, c.field)
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
	d.add(events, h.nums, c)
	if !c.field.isKey() {
		h.vary = true
		return b, nil
	}
	err = h.store(events, rows, c.field)
	if c.field.size == 0 || c.field.at == unsafe.Offsetof(ev.Kind) {
		d.rows.fill(events)
	}
	return b, err
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

// store writes the column into a field of the rows.
func (h *held) store(events []Event, rows []int32, f *Field) error {
	switch f.Type {
	case String:
		return storeWords(events, rows, h.nums, f, h.words)
	case Addr:
		return storeWords(events, rows, h.nums, f, h.addrs)
	}
	return store(events, rows, h.nums, f)
}

// add undoes subtract.
func (d *blockDecoder) add(events []Event, nums []int64, c column) {
	switch c.key {
	case byPlain:
	case byPrev:
		last := int64(0)
		for i := range nums {
			last += nums[i]
			nums[i] = last
		}
	default:
		prev := d.of(events, c.key, c.on)
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
	if f.Name == "kind" {
		for i := range nums {
			if k := nums[i]; k < int64(Enter) || k >= NumKinds {
				return errRange
			}
		}
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

// intern gives equal texts the same memory. It forgets all when there are many,
// so that a hostile capture can't make it grow.
func (d *blockDecoder) intern(word []byte) string {
	if s, ok := d.texts[string(word)]; ok {
		return s
	}
	if d.texts == nil || len(d.texts) > 10_000 {
		d.texts = map[string]string{}
	}
	s := string(word)
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
