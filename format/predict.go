package format

// This file says what a column is predicted from.

import "slices"

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
	for k, known := range map[keyKind][]string{byPrev: keyPrev, byConn: keyConn, byPort: keyPort, byCPU: keyCPU,
		byProbe: keyProbe, byTask: keyTask} {
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

// A rowClass is what conditions tell events apart by: the kind, and whether it
// is a return that failed. An onMask is a set of classes.
type (
	rowClass uint8
	onMask   uint16
)

const (
	classFailed       = rowClass(NumKinds)
	numClasses        = NumKinds + 1
	maxClasses        = 16 // a power of two
	onAllRows   onSet = 0  // of onMasks
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

// onMasks are the conditions that fields have, or had in captures before there was Stop; the first one is
// all rows.
var onMasks = []onMask{everyKind, 1<<Enter | 1<<Return | 1<<classFailed | 1<<Listen}

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
