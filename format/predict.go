package format

import "slices"

// A predictor finds, for each row of a block, the earlier row that a keyed
// column writes the difference to. Its memory is reused from block to block.
type predictor struct {
	table []slot // open addressing; a slot of an older round is empty
	dense []last // of keys that are small numbers
	round uint32
}

// last is the last row of a key.
type last struct {
	row   int32
	round uint32
}

const maxDense = 1 << 16 // of keys that are small numbers

type slot struct {
	a, b  uint64
	row   int32
	round uint32
}

const noRow = -1

// begin makes the predictor forget all keys, for a block of up to n rows.
func (p *predictor) begin(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if len(p.table) < size {
		p.table = make([]slot, size)
		p.round = 0
		clear(p.dense)
	}
	p.round++
	if p.round == 0 { // wrapped: old slots would look new
		clear(p.table)
		clear(p.dense)
		p.round = 1
	}
}

// small gives a key as a number below maxDense, if it is such a one.
func small(k keyKind, e *Event) (uint32, bool) {
	switch k {
	case byPort:
		return uint32(e.LPort), true
	case byCPU:
		return e.CPU, e.CPU < maxDense
	case byProbe:
		return e.CPU<<8 | uint32(e.Hook)<<3 | uint32(e.Kind), e.CPU < maxDense>>8 && e.Hook < 1<<5 && e.Kind < NumKinds
	}
	return 0, false
}

// prevSmall is prev for a small key. The same key is never given to both in a round.
func (p *predictor) prevSmall(key uint32, row int32) (before int32) {
	if p.dense == nil {
		p.dense = make([]last, maxDense)
	}
	l := &p.dense[key]
	before = noRow
	if l.round == p.round {
		before = l.row
	}
	l.row, l.round = row, p.round
	return before
}

// prev gives the last row with key (a, b), or noRow, and makes row the last one.
// slot is where it is kept.
func (p *predictor) prev(a, b uint64, row int32) (last, slot int32) {
	mask := uint64(len(p.table) - 1)
	i := (a*0x9E3779B97F4A7C15 ^ b*0xC2B2AE3D27D4EB4F) >> 17
	for {
		s := &p.table[i&mask]
		if s.round != p.round {
			s.a, s.b, s.row, s.round = a, b, row, p.round
			return noRow, int32(i & mask)
		}
		if s.a == a && s.b == b {
			last := s.row
			s.row = row
			return last, int32(i & mask)
		}
		i++
	}
}

// next is prev for the key that a slot has.
func (p *predictor) next(slot, row int32) (last int32) {
	s := &p.table[slot]
	last, s.row = s.row, row
	return last
}

// keyKind is the handful of keys that columns use.
type keyKind uint8

const (
	byPlain keyKind = iota // the value itself
	byPrev                 // the last row that has the field
	byConn
	byPort
	byCPU
	byProbe
	byTask
	numKeys
)

// keyOf recognises a field's key.
func keyOf(names []string) (keyKind, bool) {
	if names == nil {
		return byPlain, true
	}
	for k, known := range map[keyKind][]string{byPrev: keyPrev, byConn: keyConn, byPort: keyPort, byCPU: keyCPU, byProbe: keyProbe, byTask: keyTask} {
		if equal(names, known) {
			return k, true
		}
	}
	return 0, false
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// key packs what a row's key consists of into two words.
func key(k keyKind, e *Event) (a, b uint64) {
	switch k {
	case byConn:
		return uint64(uint32(e.Errno())), e.Cookie
	case byPort:
		return uint64(e.LPort), 0
	case byCPU:
		return uint64(e.CPU), 0
	case byProbe:
		return uint64(e.CPU), uint64(e.Hook)<<8 | uint64(e.Kind)
	case byTask:
		return uint64(e.TID), uint64(uint32(e.Errno()))<<8 | uint64(e.Kind)
	}
	return 0, 0
}

// A rowClass is what conditions tell events apart by: the kind, and whether it
// is a return that failed. An onMask is a set of classes.
type (
	rowClass uint8
	onMask   uint16
)

const (
	classFailed       = rowClass(NumKinds)
	numClasses        = NumKinds + 1
	onAllRows   onSet = 0 // of onMasks
	maxSets           = 16
	everyKind         = onMask(1<<numClasses - 1)
)

func classOf(e *Event) rowClass {
	if e.Kind == Return && e.Ret < 0 {
		return classFailed
	}
	return rowClass(e.Kind)
}

// maskOf gives the classes that a condition allows; it knows conditions on the
// kind, and on errno being 0.
func maskOf(on map[string][]int64) (mask onMask, ok bool) {
	if len(on) == 0 {
		return everyKind, true
	}
	kinds, hasKind := on["kind"]
	if !hasKind {
		return 0, false
	}
	for _, k := range kinds {
		if k <= 0 || k >= NumKinds {
			return 0, false
		}
		mask |= 1 << k
		if Kind(k) == Return {
			mask |= 1 << classFailed
		}
	}
	if errno, ok := on["errno"]; ok {
		if len(errno) != 1 || errno[0] != 0 {
			return 0, false
		}
		mask &^= 1 << classFailed
	}
	for name := range on {
		if name != "kind" && name != "errno" {
			return 0, false
		}
	}
	return mask, true
}

// onSet is a condition that some field of [Fields] has, a place in onMasks.
type onSet uint8

// onMasks are the conditions that fields have; the first one is all rows.
var onMasks = []onMask{everyKind}

// onOf gives the place of a condition in onMasks.
func onOf(on map[string][]int64) (onSet, bool) {
	mask, ok := maskOf(on)
	i := slices.Index(onMasks, mask)
	return onSet(i), ok && i >= 0
}

// rowSets lists the rows of a block that each condition holds for. The sets are
// known once the kind and errno of all rows are.
type rowSets struct {
	of      [maxSets][]int32
	as      [maxSets]onSet // which set it equals, the first one that does
	classes []rowClass
}

func (r *rowSets) fill(events []Event) {
	r.all(len(events))
	r.classes = slices.Grow(r.classes[:0], len(events))[:len(events)]
	var present onMask
	for i := range events {
		class := classOf(&events[i])
		r.classes[i] = class
		present |= 1 << class
	}
	r.split(present)
}

// split makes the sets of rows by their classes, of which those in present occur.
func (r *rowSets) split(present onMask) {
	for set := onSet(1); int(set) < len(onMasks); set++ {
		mask := onMasks[set] & present
		first := onSet(slices.IndexFunc(onMasks, func(m onMask) bool { return m&present == mask }))
		if r.as[set] = first; first < set {
			r.of[set] = append(r.of[set], r.of[first]...)
			continue
		}
		if mask == 0 {
			continue
		}
		rows := slices.Grow(r.of[set], len(r.classes))[:len(r.classes)]
		n := 0
		for i, class := range r.classes {
			rows[n] = int32(i)
			n += int(mask >> (class & 15) & 1)
		}
		r.of[set] = rows[:n]
	}
}

// all makes the set of all n rows and empties the others.
func (r *rowSets) all(n int) {
	for i := range r.of {
		r.of[i], r.as[i] = r.of[i][:0], onSet(i)
	}
	rows := slices.Grow(r.of[onAllRows], n)[:n]
	for i := range rows {
		rows[i] = int32(i)
	}
	r.of[onAllRows] = rows
}
